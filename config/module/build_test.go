package module

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// A small module world: a root with leaves in every kind of slot.

type leaf interface{ Text() string }

type leafValue struct {
	text  string
	state *int
}

func (l *leafValue) Text() string { return l.text }

type leafConfig struct {
	Text  string   `json:"text" check:"enum=|a|b|c|d|e"`
	File  string   `json:"file"`
	Count int      `json:"count" check:"min=0,max=10"`
	After Duration `json:"after"`
	Bad   bool     `json:"bad"`
	Soon  Later    `json:"soon"`
}

type rootConfig struct {
	One    Ref[leaf]              `json:"one" module:"t.leaves" inline:"kind"`
	Many   []Ref[leaf]            `json:"many" module:"t.leaves" inline:"kind"`
	Keyed  []map[string]Ref[leaf] `json:"keyed" module:"t.leaves" keyed:"true"`
	List   Ref[*sum]              `json:"list" module:"=t.list"`
	Always Ref[leaf]              `json:"always" module:"=t.leaves.plain" always:"true"`
}

type sum struct {
	resets, updates int
	values          map[int64]string
}

type world struct {
	*Builder
	mu       sync.Mutex
	events   []string
	compiled []string
	prepare  error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	compileLeaf := func(env *Env, c *leafConfig) (leaf, error) {
		if c.Bad {
			return nil, Problem("/bad", "bad leaf")
		}
		text := c.Text
		if c.File != "" {
			data, err := env.ReadFile(c.File)
			if err != nil {
				return nil, err
			}
			text += string(data)
		}
		w.mu.Lock()
		w.compiled = append(w.compiled, text)
		w.mu.Unlock()
		state := env.State("n", func() any { return new(int) }).(*int)
		env.Own(Acquired(func() error {
			w.events = append(w.events, "+"+text)
			return w.prepare
		}, func() { w.events = append(w.events, "-"+text) }))
		return &leafValue{text, state}, nil
	}
	table, err := NewTable([]Spec{
		New("t.leaves.plain", "A leaf.", &leafConfig{Count: 3}, compileLeaf),
		New("t.leaves.other", "Another leaf.", nil, compileLeaf),
		New("t.root", "The root.", nil, func(_ *Env, c *rootConfig) (*rootConfig, error) { return c, nil }),
		NewList("t.list", "Leaves.", "t.leaves.plain", func(prev *sum, d Delta[leaf]) *sum {
			next := &sum{values: map[int64]string{}}
			if prev != nil {
				next.resets, next.updates = prev.resets, prev.updates+1
				if !d.Reset {
					for k, v := range prev.values {
						next.values[k] = v
					}
				}
			}
			if d.Reset {
				next.resets++
			}
			for _, it := range d.Removed {
				if next.values[it.Label] != it.Value.Text() {
					t.Errorf("removed %q at %d, where %q stands", it.Value.Text(), it.Label, next.values[it.Label])
				}
				delete(next.values, it.Label)
			}
			for _, it := range d.Added {
				next.values[it.Label] = it.Value.Text()
			}
			return next
		}),
	}, map[string]string{"t.leaves.future": "it comes later"})
	if err != nil {
		t.Fatal(err)
	}
	w.Builder = &Builder{Table: table, Sources: Sources{ReadFile: os.ReadFile, Globals: vars.NewGlobal()}}
	return w
}

func parse(t *testing.T, text string) *config.Node {
	t.Helper()
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (w *world) build(t *testing.T, prev *Built, node *config.Node, force bool) Result {
	t.Helper()
	res := w.Build(prev, "t.root", node, Options{Force: force})
	if len(res.Problems) > 0 {
		t.Fatal(res.Problems)
	}
	return res
}

func TestReuseFollowsTheChange(t *testing.T) {
	w := newWorld(t)
	old := parse(t, `{"one":{"kind":"plain","text":"a"},"many":[{"kind":"plain","text":"b"},{"kind":"other","text":"c"}],"keyed":[{"plain":{"text":"d"}}]}`)
	first := w.build(t, nil, old, false)
	if len(first.New) != 6 || first.Root.Size() != 6 {
		t.Fatalf("first build made %d of %d modules", len(first.New), first.Root.Size())
	}
	*first.Root.Value().(*rootConfig).Many[1].Value().(*leafValue).state = 7
	w.compiled = nil
	edited := config.Reuse(old, parse(t, `{"one":{"kind":"plain","text":"a"},"many":[{"kind":"plain","text":"b"},{"kind":"other","text":"e"}],"keyed":[{"plain":{"text":"d"}}]}`))
	second := w.build(t, first.Root, edited, false)
	if !slices.Equal(w.compiled, []string{"e"}) || second.Reused != 4 || len(second.New) != 2 || len(second.Gone) != 2 {
		t.Fatalf("compiled %q, reused %d, new %d, gone %d", w.compiled, second.Reused, len(second.New), len(second.Gone))
	}
	root := second.Root.Value().(*rootConfig)
	if root.One.Value() != first.Root.Value().(*rootConfig).One.Value() {
		t.Error("an unchanged child was built again")
	}
	if got := *root.Many[1].Value().(*leafValue).state; got != 7 {
		t.Errorf("the changed child's state is %d, want 7 from the one before it", got)
	}
	if got := root.Many[1].Name(); got != "other" {
		t.Errorf("name %q", got)
	}
}

func TestStateFollowsIDAndKind(t *testing.T) {
	w := newWorld(t)
	old := parse(t, `{"many":[{"@id":"x","kind":"plain","text":"a"},{"kind":"plain","text":"b"}]}`)
	first := w.build(t, nil, old, false)
	*first.Root.Value().(*rootConfig).Many[0].Value().(*leafValue).state = 5
	moved := parse(t, `{"many":[{"kind":"plain","text":"c"},{"@id":"x","kind":"plain","text":"d"}]}`)
	second := w.build(t, first.Root, moved, false)
	if got := *second.Root.Value().(*rootConfig).Many[1].Value().(*leafValue).state; got != 5 {
		t.Errorf("state of x is %d after it moved, want 5", got)
	}
	other := parse(t, `{"many":[{"kind":"plain","text":"c"},{"@id":"x","kind":"other","text":"d"}]}`)
	third := w.build(t, second.Root, other, false)
	if got := *third.Root.Value().(*rootConfig).Many[1].Value().(*leafValue).state; got != 0 {
		t.Errorf("a module of another kind took over state %d", got)
	}
}

func TestListTouchesOnlySpans(t *testing.T) {
	w := newWorld(t)
	var elems []string
	for i := range 1000 {
		elems = append(elems, fmt.Sprintf(`{"text":"a","count":%d}`, i%10))
	}
	doc := func() *config.Node { return parse(t, `{"list":[`+strings.Join(elems, ",")+`]}`) }
	old := doc()
	w.Workers = 4
	w.compiled = nil
	first := w.build(t, nil, old, false)
	w.Workers = 1
	elems[500] = `{"text":"b"}`
	elems = slices.Insert(elems, 20, `{"text":"c"}`)
	node := config.Reuse(old, doc())
	w.compiled = nil
	second := w.build(t, first.Root, node, false)
	if len(w.compiled) != 2 || len(second.New) != 4 {
		t.Fatalf("compiled %q, new %d", w.compiled, len(second.New))
	}
	s := second.Root.Value().(*rootConfig).List.Value()
	if len(s.values) != 1001 || s.resets != 1 || s.updates != 1 {
		t.Fatalf("list has %d values, %d resets, %d updates", len(s.values), s.resets, s.updates)
	}
	if second.Root.Size() != 1004 {
		t.Errorf("size is %d", second.Root.Size())
	}
}

func TestForcedBuildChecksFiles(t *testing.T) {
	w := newWorld(t)
	file := t.TempDir() + "/f"
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1")
	node := parse(t, `{"one":{"kind":"plain","text":"a"},"list":[{"text":"b"},{"text":"c","file":"`+file+`"},{"text":"d"}]}`)
	first := w.build(t, nil, node, false)
	write("2")
	if again := w.build(t, first.Root, node, false); again.Root != first.Root {
		t.Error("an unforced build of the same document did something")
	}
	w.compiled = nil
	second := w.build(t, first.Root, node, true)
	if !slices.Equal(w.compiled, []string{"c2"}) {
		t.Errorf("a forced build compiled %q", w.compiled)
	}
	if third := w.build(t, second.Root, node, true); third.Root != second.Root {
		t.Error("a forced build without any change did something")
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	w := newWorld(t)
	node := parse(t, `{"one":{"kind":"plan"},"many":[{"kind":"plain","txt":"a"},{"kind":"plain","count":11},{"text":"a"},null,
		{"kind":"plain","after":"5x"},{"kind":"future"},{"kind":"plain","soon":1}],"keyed":[{"plain":null},{"nope":{}}],"list":[{"bad":true},{"text":7}],"zzz":1}`)
	res := w.Build(nil, "t.root", node, Options{})
	want := map[string]string{
		"/one/kind": "unknown module: t.leaves.plan", "/many/0/txt": `unknown field "txt"`, "/many/1/count": "of at most 10",
		"/many/2": "module name not specified with key 'kind'", "/many/3": "expected an object with key", "/many/4/after": "invalid duration",
		"/many/5/kind": "not supported yet: it comes later", "/many/6/soon": `field "soon" is not supported yet`,
		"/keyed/0/plain": "cannot be null", "/keyed/1/nope": "unknown module: t.leaves.nope", "/list/0/bad": "bad leaf", "/list/1/text": "expected a string", "/zzz": "unknown field",
	}
	for _, p := range res.Problems {
		if text, ok := want[p.Pointer]; !ok || !strings.Contains(p.Message, text) {
			t.Errorf("unexpected problem %v", p)
		}
		delete(want, p.Pointer)
	}
	if len(want) > 0 {
		t.Errorf("missing problems: %v", want)
	}
	if res.Root != nil || len(w.events) > 0 {
		t.Error("a failed build left something behind")
	}
	nearest := func(ptr string) string {
		i := slices.IndexFunc(res.Problems, func(p schema.Problem) bool { return p.Pointer == ptr })
		return res.Problems[i].Nearest
	}
	if nearest("/one/kind") != "plain" || nearest("/many/0/txt") != "text" {
		t.Errorf("nearest names: %q, %q", nearest("/one/kind"), nearest("/many/0/txt"))
	}
}

func TestCaseAndNullAndDefaults(t *testing.T) {
	w := newWorld(t)
	res := w.build(t, nil, parse(t, `{"ONE":{"kind":"plain","TEXT":"a","count":null},"@id":"r"}`), false)
	c := res.Root.Value().(*rootConfig)
	if c.One.Value().Text() != "a" || !c.Always.Set() || c.Always.Value().Text() != "" {
		t.Error("field case, null or an always slot is wrong")
	}
}

func TestPanicInCompileIsAProblem(t *testing.T) {
	table, err := NewTable([]Spec{New("t.root", "Panics.", nil, func(*Env, *leafConfig) (any, error) { panic(errors.New("boom")) })}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &Builder{Table: table, Sources: Sources{Globals: vars.NewGlobal()}}
	if res := b.Build(nil, "t.root", parse(t, `{}`), Options{}); len(res.Problems) != 1 || !strings.Contains(res.Problems[0].Message, "boom") {
		t.Errorf("problems: %v", res.Problems)
	}
}
