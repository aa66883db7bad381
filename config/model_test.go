package config

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// model is a slow and obvious document: Go values in a map with the key "config".
type model map[string]any

func clone(v any) any {
	switch v := v.(type) {
	case []any:
		c := make([]any, len(v))
		for i, e := range v {
			c[i] = clone(e)
		}
		return c
	case map[string]any:
		c := map[string]any{}
		for k, e := range v {
			c[k] = clone(e)
		}
		return c
	}
	return v
}

// apply edits the model and returns the status. It is left in pieces when that is not 200.
func (m model) apply(verb Verb, path Path, value any) int {
	segs := append([]string{"config"}, path...)
	dots := len(segs) > 1 && segs[len(segs)-1] == "..."
	if dots {
		segs = segs[:len(segs)-1]
		if arr, ok := m.at(segs[:len(segs)-1]).([]any); ok {
			i, status := modelIndex(segs[len(segs)-1], len(arr)-1)
			if inner := status == 200 && isArray(arr[i]); !inner {
				segs = segs[:len(segs)-1]
			}
		}
	}
	// put changes the container that is being walked in its own container.
	var parent any = map[string]any(m)
	put := func(any) {}
	for len(segs) > 1 {
		seg := segs[0]
		segs = segs[1:]
		var child any
		var set func(any)
		switch p := parent.(type) {
		case map[string]any:
			child, set = p[seg], func(v any) { p[seg] = v }
		case []any:
			i, status := modelIndex(seg, len(p)-1)
			if status != 200 {
				return status
			}
			child, set = p[i], func(v any) { p[i] = v }
		default:
			return 404
		}
		if child == nil && verb == Put {
			child = map[string]any{}
			set(child)
		}
		parent, put = child, set
	}
	last := segs[0]
	switch p := parent.(type) {
	case map[string]any:
		old, exists := p[last]
		switch {
		case verb == Put && exists:
			return 409
		case (verb == Patch || verb == Delete) && !exists:
			return 404
		case verb == Delete:
			delete(p, last)
		case verb == Post && isArray(old):
			grown, status := grow(old.([]any), value, dots)
			p[last] = grown
			return status
		default:
			p[last] = value
		}
		return 200
	case []any:
		if verb == Post && !dots {
			put(append(slices.Clone(p), value))
			return 200
		}
		end := len(p) - 1
		if verb == Put {
			end++
		}
		i, status := modelIndex(last, end)
		switch {
		case status != 200:
			return status
		case dots && verb == Put:
			return 409
		case verb == Put:
			put(slices.Insert(slices.Clone(p), i, value))
		case verb == Delete:
			put(slices.Delete(slices.Clone(p), i, i+1))
		case verb == Post:
			grown, status := grow(p[i].([]any), value, true)
			p[i] = grown
			return status
		default:
			p[i] = value
		}
		return 200
	}
	return 404
}

func grow(a []any, value any, dots bool) ([]any, int) {
	if !dots {
		return append(slices.Clone(a), value), 200
	}
	if !isArray(value) {
		return a, 400
	}
	return append(slices.Clone(a), value.([]any)...), 200
}

func isArray(v any) bool {
	_, ok := v.([]any)
	return ok
}

func modelIndex(seg string, end int) (int, int) {
	i, err := strconv.Atoi(seg)
	if err != nil || fmt.Sprint(i) != seg {
		return 0, 400
	}
	if i < 0 || i > end {
		return 0, 404
	}
	return i, 200
}

func (m model) at(segs []string) any {
	var v any = map[string]any(m)
	for _, s := range segs {
		switch c := v.(type) {
		case map[string]any:
			v = c[s]
		case []any:
			i, status := modelIndex(s, len(c)-1)
			if status != 200 {
				return nil
			}
			v = c[i]
		default:
			return nil
		}
	}
	return v
}

// ids returns the path of each id, and whether all is well with them.
func (m model) ids() (map[string]string, bool) {
	found, good := map[string]string{}, true
	var walk func(v any, path string)
	walk = func(v any, path string) {
		switch v := v.(type) {
		case []any:
			for i, e := range v {
				walk(e, fmt.Sprint(path, "/", i))
			}
		case map[string]any:
			if id, ok := v["@id"]; ok {
				s, isString := id.(string)
				if f, ok := id.(float64); ok {
					s, isString = fmt.Sprint(f), true
				}
				if _, twice := found[s]; twice || !isString {
					good = false
				}
				found[s] = path
			}
			for k, e := range v {
				walk(e, path+"/"+k)
			}
		}
	}
	walk(m["config"], "")
	return found, good
}

// randomPath goes down the model, mostly to where something is.
func (m model) randomPath(r *rand.Rand) Path {
	var p Path
	v := m["config"]
	for r.IntN(9) > 0 {
		switch c := v.(type) {
		case map[string]any:
			keys := make([]string, 0, len(c))
			for k := range c {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			k := string(rune('p' + r.IntN(6)))
			if len(keys) > 0 && r.IntN(4) > 0 {
				k = keys[r.IntN(len(keys))]
			}
			p, v = append(p, k), c[k]
		case []any:
			if r.IntN(15) == 0 {
				return append(p, []string{"x", "01", "-1", "99", "..."}[r.IntN(5)])
			}
			i := r.IntN(len(c) + 1)
			p = append(p, strconv.Itoa(i))
			if v = nil; i < len(c) {
				v = c[i]
			}
		default:
			if r.IntN(2) == 0 {
				return p
			}
			p, v = append(p, string(rune('p'+r.IntN(6)))), nil
		}
	}
	if r.IntN(8) == 0 {
		p = append(p, "...")
	}
	return p
}

// withIDs gives some objects in v an id.
func withIDs(r *rand.Rand, v any) any {
	switch c := v.(type) {
	case []any:
		for _, e := range c {
			withIDs(r, e)
		}
	case map[string]any:
		for _, e := range c {
			withIDs(r, e)
		}
		switch r.IntN(12) {
		case 0, 1, 2, 3:
			c["@id"] = "id" + strconv.Itoa(r.IntN(2000))
		case 4:
			c["@id"] = float64(r.IntN(100)) * 1e5
		case 5:
			if r.IntN(10) == 0 {
				c["@id"] = true
			}
		}
	}
	return v
}

func TestRandomEdits(t *testing.T) {
	steps := 1500
	if testing.Short() {
		steps = 200
	}
	statuses := map[int]int{}
	size := 0
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := model{"config": map[string]any{}}
		d := newDoc(t, `{}`)
		for step := range steps {
			verb := Verb(1 + r.IntN(4))
			path := m.randomPath(r)
			if n := countNodes(d.Root()); n < 300 && (verb == Delete || len(path) < 3) && r.IntN(30) > 0 {
				verb = Put // lest the document stays small
			}
			value := withIDs(r, randomValue(r, 4))
			if old := m.at(append([]string{"config"}, path...)); old != nil && r.IntN(3) == 0 {
				value = mutate(r, clone(old)) // like a client that sends back what it got, changed
			}
			e := Edit{Verb: verb, Path: path, Value: mustFromGo(t, value), Whole: r.IntN(300) == 0}
			next := clone(map[string]any(m)).(map[string]any)
			want := 200
			if e.Whole {
				next["config"] = value
			} else {
				want = model(next).apply(verb, path, clone(value))
			}
			ids, good := model(next).ids()
			if want == 200 && !good {
				want = 400
			}
			before := text(d)
			after, err := d.Apply(e)
			got := 200
			if err != nil {
				got = err.(*Error).Status
			}
			statuses[got]++
			if got != want {
				t.Fatalf("seed %d step %d: %v %s %s on %s: %v, want %d", seed, step, verb, path, e.Value.AppendJSON(nil), before, err, want)
			}
			if text(d) != before {
				t.Fatalf("seed %d step %d: the old document changed", seed, step)
			}
			if err != nil {
				continue
			}
			compareModel(t, next, ids, after)
			if same := text(after) == before; same != (after == d) {
				t.Fatalf("seed %d step %d: same text %v, same document %v", seed, step, same, after == d)
			}
			m, d = next, after
			size += countNodes(d.Root())
		}
	}
	t.Logf("statuses %v, %d values on average", statuses, size/statuses[200])
	for _, s := range []int{200, 400, 404, 409} {
		if statuses[s] < 20 {
			t.Errorf("status %d came up %d times only", s, statuses[s])
		}
	}
}

func compareModel(t *testing.T, m model, ids map[string]string, d *Doc) {
	t.Helper()
	v, exists := m["config"]
	if exists != (d.Root() != nil) {
		t.Fatalf("document exists: %v, want %v", d.Root() != nil, exists)
	}
	want, _ := json.Marshal(v)
	n, err := d.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.AppendJSON(nil); string(got) != string(want) {
		t.Fatalf("document\n     %s\nwant %s", got, want)
	}
	checkTree(t, d.Root())
	if tag, _ := d.Etag("/config/", nil); tag != fmt.Sprintf(`"/config/ %016x"`, xxhash.Sum64(append(want, '\n'))) {
		t.Fatalf("etag %s of %s", tag, want)
	}
	if d.IDs() != len(ids) {
		t.Fatalf("%d ids, want %d", d.IDs(), len(ids))
	}
	for id, path := range ids {
		if p, ok := d.PathOf(id); !ok || p.String() != path {
			t.Fatalf("id %s is at %s, %v; want %s", id, p, ok, path)
		}
	}
}

// mutate changes a value in a few places.
func mutate(r *rand.Rand, v any) any {
	if r.IntN(12) == 0 {
		return randomValue(r, 2)
	}
	switch c := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(c))
		for k := range c {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if r.IntN(3) == 0 && k != "@id" {
				c[k] = mutate(r, c[k])
			}
		}
	case []any:
		for i := range c {
			if r.IntN(4) == 0 {
				c[i] = mutate(r, c[i])
			}
		}
		switch r.IntN(5) {
		case 0:
			i := r.IntN(len(c) + 1)
			return slices.Insert(c, i, randomValue(r, 2))
		case 1:
			if len(c) > 0 {
				i := r.IntN(len(c))
				return slices.Delete(c, i, i+1)
			}
		case 2:
			r.Shuffle(len(c), func(i, j int) { c[i], c[j] = c[j], c[i] })
		}
	}
	return v
}

// TestRandomReuse checks what holds for every Reuse, and for Diff of the same trees.
func TestRandomReuse(t *testing.T) {
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 2))
		from := any(map[string]any{"a": []any{randomValue(r, 6), randomValue(r, 6), randomValue(r, 4), randomValue(r, 4)}, "b": randomValue(r, 6)})
		if seed%3 == 0 {
			from = withIDs(r, from)
		}
		to := mutate(r, clone(from))
		old, new := mustFromGo(t, from), mustFromGo(t, to)
		got := Reuse(old, new)
		if want := string(new.AppendJSON(nil)); string(got.AppendJSON(nil)) != want || !Equal(got, new) || got.Digest() != new.Digest() {
			t.Fatalf("seed %d: %s, want %s", seed, got.AppendJSON(nil), want)
		}
		if Equal(old, new) != (got == old) {
			t.Fatalf("seed %d: equal %v, but the same %v", seed, Equal(old, new), got == old)
		}
		checkTree(t, got)
		checkDiff(t, old, new)
	}
}

// checkDiff carries out the changes of a Diff on the old value and compares.
func checkDiff(t *testing.T, old, new *Node) {
	t.Helper()
	m := model{"config": old.ToGo()}
	changes := Diff(old, new)
	if (len(changes) == 0) != Equal(old, new) {
		t.Fatalf("%d changes between %s and %s", len(changes), old.AppendJSON(nil), new.AppendJSON(nil))
	}
	split := func(c Change) Path {
		p, ok := SplitPointer(c.Pointer)
		if !ok {
			t.Fatalf("pointer %q", c.Pointer)
		}
		return p
	}
	// Removals point into the old document: from the last to the first they don't move each other.
	for _, c := range slices.Backward(changes) {
		if c.Op == "remove" {
			if c.New != nil || c.Old == nil {
				t.Fatalf("%+v", c)
			}
			if status := m.apply(Delete, split(c), nil); status != 200 {
				t.Fatalf("%d for %+v", status, c)
			}
		}
	}
	for _, c := range changes {
		verb := Put
		switch c.Op {
		case "remove":
			continue
		case "replace":
			if verb = Patch; Equal(c.Old, c.New) {
				t.Fatalf("%s is replaced by the same", c.Pointer)
			}
		}
		if status := m.apply(verb, split(c), c.New.ToGo()); status != 200 {
			t.Fatalf("%d for %s %s: %s -> %s", status, c.Op, c.Pointer, old.AppendJSON(nil), new.AppendJSON(nil))
		}
	}
	if got, _ := json.Marshal(m["config"]); string(got) != string(new.AppendJSON(nil)) {
		var all []string
		for _, c := range changes {
			all = append(all, c.Op+" "+c.Pointer)
		}
		t.Fatalf("%s changed by %s\n is   %s\n want %s", old.AppendJSON(nil), strings.Join(all, ", "), got, new.AppendJSON(nil))
	}
}
