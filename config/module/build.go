package module

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// Builder builds documents with one table of modules.
type Builder struct {
	Table   *Table
	Sources Sources
	// Workers is how many goroutines build the elements of long lists; 0 or 1
	// means no concurrency.
	Workers int
}

// Options of one build.
type Options struct {
	// Force checks every recorded input of what would be reused again.
	Force bool
}

// Result is what a build made. Nothing of it is visible yet: the caller
// prepares and starts the resources of New, and closes those of Gone when no
// request uses them any more.
type Result struct {
	// Root is the new tree, nil if there are problems.
	Root *Built
	// New is the modules that were compiled, children before parents.
	New []*Built
	// Gone is the modules of the previous tree that are not in this one.
	Gone []*Built
	// Reused counts the modules taken over.
	Reused   int
	Problems schema.Problems
	Warnings schema.Problems
}

// Build makes the module root (a fixed ID) from node, taking over from prev
// what has not changed. It has no effect outside.
func (b *Builder) Build(prev *Built, root string, node *config.Node, opts Options) Result {
	t := &task{builder: b}
	if opts.Force && prev != nil {
		t.stale = staleOf(prev, &b.Sources)
	}
	c := &child{node: node, slot: &slot{fixed: root}}
	t.build(c, prev, "", &place{node: node})
	res := Result{New: t.made, Gone: t.gone, Problems: t.problems, Warnings: t.warnings}
	if len(t.problems) == 0 {
		res.Root = c.built
		res.Reused = c.built.Size() - len(t.made)
	}
	return res
}

// staleOf finds the modules below b that read something which has changed, and
// their ancestors.
func staleOf(b *Built, s *Sources) map[*Built]bool {
	stale := map[*Built]bool{}
	var visit func(*Built) bool
	visit = func(b *Built) bool {
		if !b.outside {
			return false
		}
		old := b.extra != nil && slices.ContainsFunc(b.extra.inputs, func(in input) bool { return in.current(s) != in.digest })
		for _, k := range b.kids {
			if k.built != nil && visit(k.built) {
				old = true
			}
		}
		for _, it := range b.elements().All() {
			if visit(it.Value) {
				old = true
			}
		}
		if old {
			stale[b] = true
		}
		return old
	}
	visit(b)
	return stale
}

// task is one line of work of a build; long lists use several.
type task struct {
	builder  *Builder
	stale    map[*Built]bool
	made     []*Built
	gone     []*Built
	problems schema.Problems
	warnings schema.Problems
}

// build fills c.built, from prev if that still holds. On problems c.built stays
// nil.
func (t *task) build(c *child, prev *Built, pointer string, at *place) {
	if c.spec == nil {
		if p := c.resolve(t.builder.Table, lastSegment(c.pointer)); p != nil {
			p.Pointer = pointer + p.Pointer
			t.problems = append(t.problems, *p)
			return
		}
	}
	if prev != nil && prev.spec != c.spec {
		t.drop(prev)
		prev = nil
	}
	if prev != nil && prev.node == c.node && !t.stale[prev] {
		c.built = prev
		return
	}
	if c.spec.list != nil {
		t.buildList(c, prev, pointer, at)
		return
	}
	t.buildOne(c, prev, pointer, at)
}

func (t *task) buildOne(c *child, prev *Built, pointer string, at *place) {
	before := len(t.problems)
	inline := c.slot.inline
	if c.slot.fixed != "" || c.slot.keyed {
		inline = ""
	}
	cfg, d := c.spec.read(c.node, inline)
	t.problems = append(t.problems, d.problems.Under(pointer)...)
	built := &Built{spec: c.spec, node: c.node, kids: d.children, size: 1}
	for i, old := range t.pair(d.children, prev) {
		kid := d.children[i]
		t.build(kid, old, pointer+kid.pointer, at.member(kid, d.namedAt[i]))
		if kid.built != nil {
			built.size += kid.built.size
			built.outside = built.outside || kid.built.outside
		}
	}
	if len(t.problems) > before {
		return
	}
	env := &Env{task: t, built: built, prev: prev, pointer: pointer, at: at}
	value, err := t.compile(c.spec, env, cfg.Interface())
	if err != nil {
		t.fail(pointer, err)
		return
	}
	built.value = value
	if prev != nil {
		t.gone = append(t.gone, prev)
	}
	t.made = append(t.made, built)
	c.built = built
}

func (t *task) compile(e *entry, env *Env, cfg any) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("module %s failed to compile: %v\n%s", e.ID, r, debug.Stack())
		}
	}()
	return e.Spec.compile(env, cfg)
}

func (t *task) fail(pointer string, err error) {
	var ps schema.Problems
	if errors.As(err, &ps) {
		t.problems = append(t.problems, ps.Under(pointer)...)
		return
	}
	t.problems = append(t.problems, schema.Problem{Pointer: pointer, Message: err.Error()})
}

// drop marks a whole subtree of the previous tree as gone.
func (t *task) drop(b *Built) { b.walk(func(x *Built) { t.gone = append(t.gone, x) }) }

// pair finds for each child the module that stood at its place before: the one
// with the same node, else with the same @id, else in the same slot. What is
// left over is gone.
func (t *task) pair(kids []*child, prev *Built) []*Built {
	out := make([]*Built, len(kids))
	if prev == nil || len(prev.kids) == 0 {
		return out
	}
	used := make([]bool, len(prev.kids))
	take := func(same func(k, old *child) bool) {
		for i, k := range kids {
			if out[i] != nil {
				continue
			}
			for j, old := range prev.kids {
				if !used[j] && old.built != nil && same(k, old) {
					out[i], used[j] = old.built, true
					break
				}
			}
		}
	}
	take(func(k, old *child) bool { return k.node == old.node && k.pointer == old.pointer })
	take(func(k, old *child) bool { return k.node == old.node && *k.slot == *old.slot })
	take(func(k, old *child) bool { i := id(k.node); return i != "" && i == id(old.node) })
	take(func(k, old *child) bool { return k.pointer == old.pointer })
	for j, old := range prev.kids {
		if !used[j] && old.built != nil {
			t.drop(old.built)
		}
	}
	return out
}

func lastSegment(pointer string) string {
	seg := pointer[strings.LastIndexByte(pointer, '/')+1:]
	return strings.ReplaceAll(strings.ReplaceAll(seg, "~1", "/"), "~0", "~")
}
