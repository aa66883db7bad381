package config

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReuseLargeArray sends back a whole array of 10,000 routes in which one changed.
func TestReuseLargeArray(t *testing.T) {
	d := newDoc(t, string(large(10_000)))
	old, _ := d.Get(largeRoutes)
	body := strings.Replace(string(old.AppendJSON(nil)), "app-7777.example.com", "other.example.com", 1)
	next, err := d.Apply(Edit{Verb: Patch, Path: largeRoutes, Value: parse(t, body)})
	if err != nil {
		t.Fatal(err)
	}
	new, _ := next.Get(largeRoutes)
	if string(new.AppendJSON(nil)) != body {
		t.Error("the array is another")
	}
	if got := DiffArrays(old, new); !slices.Equal(got, []Span{{7777, 7778, 7777, 7778}}) {
		t.Errorf("spans %v", got)
	}
	if old.Label(7777) != new.Label(7777) || old.Index(7777) == new.Index(7777) || old.Index(7777).Get("handle") != new.Index(7777).Get("handle") {
		t.Error("the changed route has another label, or nothing of the old one")
	}
	same, err := next.Apply(Edit{Verb: Patch, Path: largeRoutes, Value: parse(t, body)})
	if err != nil || same != next {
		t.Errorf("the same array again is a change, %v", err)
	}
	if same, err = next.Apply(Edit{Whole: true, Value: next.Root().Clone()}); err != nil || same != next {
		t.Errorf("the same document again is a change, %v", err)
	}
}

func TestReuseArrays(t *testing.T) {
	const a, b, c, x = `{"v":["a"]}`, `{"v":["b"]}`, `{"v":["c"]}`, `{"v":["x"]}`
	id := func(id, v string) string { return `{"@id":"` + id + `","v":["` + v + `"],"w":[1]}` }
	list := func(s ...string) string { return "[" + strings.Join(s, ",") + "]" }
	for _, k := range []struct {
		name     string
		old, new string
		// for each new element: the old one whose node it is (or -1), whether its label is that one's too, and the old one
		// whose label it has although it changed (or -1)
		from   []int
		labels []int
	}{
		{"insert", list(a, b), list(a, x, b), []int{0, -1, 1}, []int{0, -1, 1}},
		{"insert first", list(a, b), list(x, a, b), []int{-1, 0, 1}, []int{-1, 0, 1}},
		{"append", list(a, b), list(a, b, x), []int{0, 1, -1}, []int{0, 1, -1}},
		{"remove", list(a, b, c), list(a, c), []int{0, 2}, []int{0, 2}},
		{"replace", list(a, b, c), list(a, x, c), []int{0, -1, 2}, []int{0, 1, 2}},
		{"swap", list(a, b, c, x), list(a, c, b, x), []int{0, 2, 1, 3}, []int{0, -1, 1, 3}},
		{"twins", list(a, a), list(a, a, a), []int{0, 1, -1}, []int{0, 1, -1}},
		{"fewer twins", list(a, a, a), list(a, a), []int{0, 1}, []int{0, 1}},
		{"by id", list(id("1", "a"), id("2", "b")), list(id("2", "c"), id("1", "a")), []int{-1, 0}, []int{-1, 0}},
		{"other id", list(id("1", "a"), c), list(id("2", "a"), c), []int{-1, 1}, []int{-1, 1}},
		{"new id", list(b, c), list(`{"@id":"n","v":["b"]}`, c), []int{-1, 1}, []int{0, 1}},
		{"middle replaced", list(a, b, b, c), list(a, x, c), []int{0, -1, 3}, []int{0, 1, 3}},
		{"moved into a gap", list(a, x, c, b), list(a, b, c), []int{0, 3, 2}, []int{0, -1, 2}},
		{"an id twice", list(id("1", "a"), c), list(id("1", "x"), id("1", "x")), []int{-1, -1}, []int{0, -1}},
		{"from nothing", list(), list(a), []int{-1}, []int{-1}},
	} {
		old, new := parse(t, k.old), parse(t, k.new)
		got := Reuse(old, new)
		checkTree(t, got)
		for j, e := range got.Elements() {
			from := slices.Index(old.elements(), e)
			label, ok := old.IndexOfLabel(got.Label(j))
			if !ok {
				label = -1
			}
			wantLabel := k.labels[j]
			if from != k.from[j] || wantLabel >= 0 && label != wantLabel {
				t.Errorf("%s: element %d is old %d with the label of %d, want %d and %d", k.name, j, from, label, k.from[j], wantLabel)
			}
		}
	}
	// What is paired but not equal is gone into, unless the ids say that it is something else.
	old := parse(t, list(id("1", "a"), id("2", "b")))
	got := Reuse(old, parse(t, list(id("2", "c"), id("3", "a"))))
	if got.Index(0).Get("w") != old.Index(1).Get("w") || got.Index(0).Get("v") == old.Index(1).Get("v") {
		t.Error("the parts of 2 are wrong")
	}
	if got.Index(1).Get("w") == old.Index(0).Get("w") {
		t.Error("3 has a part of 1")
	}
	if Reuse(nil, old) != old || Reuse(old, nil) != nil || Reuse(old, NewNull()).Kind() != Null {
		t.Error("reuse of unlike values is wrong")
	}
}

// TestReuseLabelsRunOut inserts where there is no label left.
func TestReuseLabelsRunOut(t *testing.T) {
	kids := stringsOf(0, 3)
	for _, labels := range [][]int64{{0, 1, 2}, {noLabel + 1, 0, 1<<63 - 1}} {
		old := arrayOf(split(nil, kids, labels))
		for i := range 4 {
			want := slices.Insert(slices.Clone(kids), i, NewString("x"), NewString("y"))
			got := Reuse(old, NewArray(want))
			if !slices.Equal(got.elements(), want) {
				t.Error("the array is another")
			}
			checkTree(t, got)
		}
	}
}

// TestEqualHistories compares long arrays of equal content whose elements have other labels.
func TestEqualHistories(t *testing.T) {
	a := NewArray(stringsOf(0, 1200)).withoutElement(7).withInserted(600, NewString("x"))
	b := NewArray(a.Clone().elements())
	c := b.withElement(900, NewString("y"))
	d := NewArray(stringsOf(0, 1200)).withElement(5, NewString("z"))
	if !Equal(a, b) || !Equal(b, a) || Equal(a, c) || !Equal(d, NewArray(d.elements())) || !Equal(d, d.relabelled()) {
		t.Error("equality depends on the history")
	}
	if !equalPlain(a, b) || equalPlain(a, c) || !equalArrays(a, b) || equalArrays(a, c) || equalArrays(b, c) {
		t.Error("arrays are compared wrongly")
	}
}

// TestReuseSharesChunks changes long arrays here and there as one new array each.
func TestReuseSharesChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	elements := func(a *Node) []*Node {
		var e []*Node
		for _, k := range a.Elements() {
			e = append(e, k.Clone())
		}
		return e
	}
	fresh := func(i int) *Node { return mustFromGo(t, map[string]any{"n": fmt.Sprint("fresh", i)}) }
	var kids []*Node
	for i := range 5000 {
		kids = append(kids, fresh(-i-1))
	}
	a := NewArray(kids)
	for step := range 60 {
		e := elements(a)
		for range 1 + r.IntN(5) {
			i := r.IntN(len(e))
			switch r.IntN(4) {
			case 0:
				e = slices.Insert(e, i, fresh(step))
			case 1:
				e = slices.Delete(e, i, min(len(e), i+1+r.IntN(50)))
			case 2:
				e[i] = fresh(step)
			case 3:
				j := r.IntN(len(e))
				e[i], e[j] = e[j], e[i]
			}
		}
		b := Reuse(a, NewArray(e))
		if !Equal(b, NewArray(e)) || b.Digest() != NewArray(e).Digest() {
			t.Fatal("the array is another")
		}
		checkTree(t, b)
		checkSpans(t, a, b)
		own := map[*chunk]bool{}
		for _, c := range a.box.vec.chunks {
			own[c] = true
		}
		shared := 0
		for _, c := range b.box.vec.chunks {
			if own[c] {
				shared++
			}
		}
		if all := len(a.box.vec.chunks); shared < all-25 || len(b.box.vec.chunks) > 60 {
			t.Fatalf("step %d: %d of %d chunks are shared", step, shared, all)
		}
		a = b
	}
}

// TestReuseIsLinear reverses, rotates and shuffles long lists, which would take minutes if it were not.
func TestReuseIsLinear(t *testing.T) {
	var kids []*Node
	for i := range 60_000 {
		kids = append(kids, mustFromGo(t, map[string]any{"n": i % 40_000}))
	}
	old := NewArray(kids)
	start := time.Now()
	for name, change := range map[string]func(s []*Node){
		"reverse": func(s []*Node) { slices.Reverse(s) },
		"shuffle": func(s []*Node) {
			rand.New(rand.NewPCG(1, 1)).Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
		},
		"all new": func(s []*Node) {
			for i := range s {
				s[i] = mustFromGo(t, map[string]any{"m": i})
			}
		},
	} {
		e := old.Clone().elements()
		change(e)
		got := Reuse(old, NewArray(e))
		if !Equal(got, NewArray(e)) {
			t.Errorf("%s: the array is another", name)
		}
		checkSpans(t, old, got)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestDiff(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`{"a":1}`, `{"a":1}`, ``},
		{`1`, `"1"`, `replace `},
		{`{"a":1,"b":{"c":2,"d/":[]},"e":null}`, `{"b":{"c":3,"d/":{}},"e":null,"f":1}`, `remove /a, replace /b/c, replace /b/d~1, add /f`},
		{`["a","b","c"]`, `["x","a","b","c"]`, `add /0`},
		{`["a","b","c"]`, `["a","c"]`, `remove /1`},
		{`["a","b","c"]`, `["a","y","c"]`, `replace /1`},
		{`["a","b","c"]`, `["c","a","b"]`, `add /0, remove /2`},
		{`[{"@id":1,"a":[1,2]},{"@id":2}]`, `[{"@id":3},{"@id":1,"a":[2]},{"@id":2}]`, `add /0, remove /0/a/0`},
		{`{"l":[{"a":1,"b":1},{"a":2,"b":2}]}`, `{"l":[{"a":1,"b":1},{"a":2,"b":3},{"a":4}]}`, `replace /l/1/b, add /l/2`},
	} {
		var got []string
		for _, d := range Diff(parse(t, c.old), parse(t, c.new)) {
			got = append(got, d.Op+" "+d.Pointer)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s -> %s: %s, want %s", c.old, c.new, strings.Join(got, ", "), c.want)
		}
	}
	n := parse(t, `1`)
	if d := Diff(nil, n); len(d) != 1 || d[0] != (Change{Op: "add", New: n}) {
		t.Errorf("%+v", d)
	}
	if d := Diff(n, nil); len(d) != 1 || d[0] != (Change{Op: "remove", Old: n}) {
		t.Errorf("%+v", d)
	}
	if d := Diff(nil, nil); d != nil {
		t.Errorf("%+v", d)
	}
}
