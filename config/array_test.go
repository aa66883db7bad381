package config

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

func stringsOf(from, n int) []*Node {
	kids := make([]*Node, n)
	for i := range kids {
		kids[i] = NewString(strconv.Itoa(from + i))
	}
	return kids
}

// checkArray compares an array with a list of the very same nodes.
func checkArray(t *testing.T, a *Node, want []*Node) {
	t.Helper()
	if a.Len() != len(want) || !slices.Equal(a.elements(), want) {
		t.Fatalf("%d elements, want %d, or other ones", a.Len(), len(want))
	}
	for i, e := range a.Elements() {
		if e != want[i] || a.Index(i) != e {
			t.Fatalf("element %d is wrong", i)
		}
	}
	if a.Digest() != NewArray(want).Digest() {
		t.Fatal("digest depends on the history")
	}
	checkLabels(t, a)
}

// TestLongArrays edits arrays of several chunks against slices, and follows the labels.
func TestLongArrays(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 3))
		want := stringsOf(0, []int{0, 3, 500, 513, 2000, 5000}[seed])
		a := NewArray(want)
		checkArray(t, a, want)
		label := map[*Node]int64{}
		for i, e := range want {
			label[e] = a.Label(i)
		}
		relabelled := 0
		for step := range 500 {
			old, was := a, slices.Clone(want)
			e := NewString(fmt.Sprint("new", step))
			switch k := r.IntN(6); {
			case k == 0 || len(want) == 0:
				more := []*Node{e}
				if r.IntN(40) == 0 {
					more = append(more, stringsOf(step*10_000, r.IntN(1500))...)
				}
				a, want = a.withAppended(more), append(slices.Clone(want), more...)
			case k == 1 || k == 2 && step%100 > 50:
				i := r.IntN(len(want) + 1)
				if r.IntN(3) == 0 {
					i = 0
				}
				a, want = a.withInserted(i, e), slices.Insert(slices.Clone(want), i, e)
			case k <= 3:
				i := r.IntN(len(want))
				label[e] = a.Label(i)
				a, want = a.withElement(i, e), slices.Clone(want)
				want[i] = e
			default:
				for range 1 + r.IntN(4) {
					if len(want) > 0 {
						i := r.IntN(len(want))
						a, want = a.withoutElement(i), slices.Delete(slices.Clone(want), i, i+1)
					}
				}
			}
			if step%25 == 0 {
				checkArray(t, a, want)
				checkArray(t, old, was)
			}
			moved := false
			i := 0
			for _, c := range runs(a) {
				for k := range c.kids {
					e, is := want[i], c.label(k)
					was, ok := label[e]
					moved = moved || ok && was != is
					label[e] = is
					i++
				}
			}
			if moved && a.Label(0) != 0 {
				t.Fatal("elements have other labels, though the array was not labelled afresh")
			}
			if moved {
				relabelled++
			}
			checkSpans(t, old, a)
		}
		if relabelled > 100 {
			t.Errorf("seed %d: labelled afresh %d times", seed, relabelled)
		}
	}
}

// checkSpans checks what DiffArrays promises.
func checkSpans(t *testing.T, old, new *Node) []Span {
	t.Helper()
	spans := DiffArrays(old, new)
	from, to := old.elements(), new.elements()
	i, j := 0, 0
	for _, s := range append(slices.Clone(spans), Span{old.Len(), old.Len(), new.Len(), new.Len()}) {
		if s.OldStart-i != s.NewStart-j || s.OldStart < i || s.OldEnd < s.OldStart || s.NewEnd < s.NewStart {
			t.Fatalf("spans %v of %d and %d elements", spans, old.Len(), new.Len())
		}
		for ; i < s.OldStart; i, j = i+1, j+1 {
			if from[i] != to[j] {
				t.Fatalf("elements %d and %d outside of %v differ", i, j, spans)
			}
		}
		i, j = s.OldEnd, s.NewEnd
	}
	for k := 1; k < len(spans); k++ {
		if spans[k].OldStart == spans[k-1].OldEnd && spans[k].NewStart == spans[k-1].NewEnd {
			t.Fatalf("spans %v touch", spans)
		}
	}
	return spans
}

func TestDiffArrays(t *testing.T) {
	kids := stringsOf(0, 3000)
	a := NewArray(kids)
	e, f := NewString("e"), NewString("f")
	for i, c := range []struct {
		new  *Node
		want []Span
	}{
		{a, nil},
		{NewArray(kids), nil},
		{a.withInserted(0, e), []Span{{0, 0, 0, 1}}},
		{a.withInserted(1500, e), []Span{{1500, 1500, 1500, 1501}}},
		{a.withAppended([]*Node{e, f}), []Span{{3000, 3000, 3000, 3002}}},
		{a.withoutElement(0), []Span{{0, 1, 0, 0}}},
		{a.withoutElement(2999), []Span{{2999, 3000, 2999, 2999}}},
		{a.withElement(700, e).withElement(2500, f).withElement(2501, e), []Span{{700, 701, 700, 701}, {2500, 2502, 2500, 2502}}},
		{a.withoutElement(100).withInserted(2000, e), []Span{{100, 101, 100, 100}, {2001, 2001, 2000, 2001}}},
		{a.relabelled().withInserted(10, e), []Span{{10, 10, 10, 11}}},
		{NewArray(nil), []Span{{0, 3000, 0, 0}}},
		{NewString("no array"), []Span{{0, 3000, 0, 0}}},
	} {
		got := DiffArrays(a, c.new)
		if !slices.Equal(got, c.want) {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
		if c.new.Kind() == Array {
			checkSpans(t, a, c.new)
			checkSpans(t, c.new, a)
		}
	}
	if got := DiffArrays(nil, a); !slices.Equal(got, []Span{{0, 0, 0, 3000}}) {
		t.Errorf("from nothing %v", got)
	}
	if got := DiffArrays(nil, nil); got != nil {
		t.Errorf("nothing from nothing %v", got)
	}
}

// TestSharedChunks holds an edit to the chunks it has to copy.
func TestSharedChunks(t *testing.T) {
	a := NewArray(stringsOf(0, 100_000))
	b := a.withInserted(50_000, NewString("x")).withElement(3, NewString("y"))
	own := map[*chunk]bool{}
	for _, c := range a.box.vec.chunks {
		own[c] = true
	}
	copied := 0
	for _, c := range b.box.vec.chunks {
		if !own[c] {
			copied++
		}
	}
	if copied > 3 {
		t.Errorf("%d of %d chunks were copied", copied, len(b.box.vec.chunks))
	}
}

func TestLabelsRunOut(t *testing.T) {
	a := NewArray(stringsOf(0, 1000))
	want := slices.Clone(a.elements())
	for i := range 200 { // halves the same gap again and again
		e := NewString(fmt.Sprint("e", i))
		a, want = a.withInserted(501, e), slices.Insert(want, 501, e)
	}
	checkArray(t, a, want)
	first := a.Label(0)
	a = a.withInserted(0, NewString("first"))
	if a.Label(0) != first-stride || a.Label(1) != first {
		t.Errorf("labels %d, %d", a.Label(0), a.Label(1))
	}
	// Labels at the very ends of their range.
	kids := stringsOf(0, 2)
	a = arrayOf(split(nil, kids, []int64{noLabel + 1, 1<<63 - 1}))
	for _, b := range []*Node{a.withInserted(0, kids[0]), a.withInserted(1, kids[0]), a.withAppended(kids), a.withAppended(stringsOf(0, 700))} {
		checkLabels(t, b)
	}
	if i, ok := a.IndexOfLabel(1<<63 - 1); !ok || i != 1 {
		t.Error("the last label leads nowhere")
	}
	if _, ok := a.IndexOfLabel(noLabel); ok {
		t.Error("a label below the first leads somewhere")
	}
}

// TestIDsFollowRelabelling makes an array with ids get fresh labels.
func TestIDsFollowRelabelling(t *testing.T) {
	d := newDoc(t, `{"l":[{"@id":"a"},{"@id":"b","x":[{"@id":"c"}]}]}`)
	want := []string{"a", "b"}
	for i := range 100 {
		id := fmt.Sprint("n", i)
		var err error
		d, err = d.Apply(Edit{Verb: Put, Path: Path{"l", "1"}, Value: parse(t, `{"@id":"`+id+`"}`)})
		if err != nil {
			t.Fatal(err)
		}
		want = slices.Insert(want, 1, id)
		for j, id := range want {
			if p, ok := d.PathOf(id); !ok || p.String() != fmt.Sprint("/l/", j) {
				t.Fatalf("%s is at %s, want %d", id, p, j)
			}
		}
		if p, _ := d.PathOf("c"); p.String() != fmt.Sprintf("/l/%d/x/0", len(want)-1) {
			t.Fatalf("c is at %s", p)
		}
	}
}

func TestIDMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	var m idMap
	model := map[string]*step{}
	for range 200 {
		old, was := m, len(model)
		e := m.edit()
		kept := map[string]*step{}
		for k, v := range model {
			kept[k] = v
		}
		for range r.IntN(200) {
			id := strconv.Itoa(r.IntN(3000))
			if _, ok := model[id]; ok {
				e.drop(id)
				delete(model, id)
			} else {
				model[id] = &step{label: int64(len(id))}
				e.put(id, model[id])
			}
		}
		m = e.idMap
		if m.len != len(model) || old.len != was {
			t.Fatalf("%d ids, want %d", m.len, len(model))
		}
		for i := range 3000 {
			id := strconv.Itoa(i)
			if m.get(id) != model[id] || old.get(id) != kept[id] {
				t.Fatalf("id %s is wrong", id)
			}
		}
	}
	e := m.edit()
	for id := range model {
		e.drop(id)
	}
	if e.root != nil || e.len != 0 {
		t.Error("an empty map holds something")
	}
	l := &idLeaf{id: "a", next: &idLeaf{id: "b", next: &idLeaf{id: "c"}}}
	if l := l.without("b"); l.id != "a" || l.next.id != "c" || l.next.next != nil || l.without("x").next.id != "c" {
		t.Error("leaves with the same hash are wrong")
	}
}
