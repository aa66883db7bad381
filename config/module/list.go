package module

import (
	"slices"
	"strconv"
	"sync"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// concurrent is how many elements must be new before several goroutines build
// them.
const concurrent = 64

// buildList builds a list module, touching only the spans in which the array
// differs from the one before.
func (t *task) buildList(c *child, prev *Built, pointer string, at *place) {
	if c.node.Kind() != config.Array && c.node.Kind() != config.Null {
		t.problems = append(t.problems, mismatch(c.node, "an array").Under(pointer)...)
		return
	}
	l := &listBuild{task: t, spec: c.spec, node: c.node, prev: prev, pointer: pointer, at: at, slot: &slot{fixed: c.spec.list.element}}
	before := len(t.problems)
	l.spans = l.difference()
	l.collect()
	l.buildNew()
	if len(t.problems) > before {
		return
	}
	c.built = l.finish()
}

type listBuild struct {
	task    *task
	spec    *entry
	node    *config.Node
	prev    *Built
	pointer string
	spans   []config.Span
	fresh   []*child // the elements inside the spans, in order
	slot    *slot
	pairs   []*Built // what each of them takes over from
	at      *place
	single  []bool // each of them took over from one other, both alone in their span
}

func (l *listBuild) difference() []config.Span {
	if l.prev == nil {
		return []config.Span{{NewEnd: l.node.Len()}}
	}
	spans := config.DiffArrays(l.prev.node, l.node)
	if len(l.task.stale) == 0 {
		return spans
	}
	return withStale(spans, l.prev, l.task.stale)
}

// withStale adds a span of one element for each stale one outside the spans.
func withStale(spans []config.Span, prev *Built, stale map[*Built]bool) []config.Span {
	var out []config.Span
	at, shift := 0, 0
	upTo := func(end int) {
		for i := at; i < end; i++ {
			if stale[prev.elements().At(i).Value] {
				out = append(out, config.Span{OldStart: i, OldEnd: i + 1, NewStart: i + shift, NewEnd: i + 1 + shift})
			}
		}
	}
	for _, s := range spans {
		upTo(s.OldStart)
		out = append(out, s)
		at, shift = s.OldEnd, s.NewEnd-s.OldEnd
	}
	upTo(prev.elements().Len())
	return out
}

// collect pairs the new elements with old ones: same node, same @id, or same
// position within a span.
func (l *listBuild) collect() {
	byNode, byID := map[*config.Node]*Built{}, map[string]*Built{}
	used := map[*Built]bool{}
	for _, s := range l.spans {
		for i := s.OldStart; i < s.OldEnd; i++ {
			b := l.prev.elements().At(i).Value
			byNode[b.node] = b
			if id := id(b.node); id != "" {
				byID[id] = b
			}
		}
	}
	for _, s := range l.spans {
		for i := s.NewStart; i < s.NewEnd; i++ {
			n := l.node.Index(i)
			c := &child{node: n, slot: l.slot, pointer: "/" + strconv.Itoa(i)}
			old := byNode[n]
			if old == nil && len(byID) > 0 {
				if id := id(n); id != "" {
					old = byID[id]
				}
			}
			if used[old] {
				old = nil
			}
			if old != nil {
				used[old] = true
			}
			l.fresh, l.pairs = append(l.fresh, c), append(l.pairs, old)
		}
	}
	l.pairByPosition(used)
	l.dropUnused(used)
}

func (l *listBuild) pairByPosition(used map[*Built]bool) {
	k := 0
	l.single = make([]bool, len(l.fresh))
	for _, s := range l.spans {
		for i := range s.NewEnd - s.NewStart {
			if l.pairs[k] == nil && s.OldStart+i < s.OldEnd {
				if b := l.prev.elements().At(s.OldStart + i).Value; !used[b] {
					l.pairs[k], used[b] = b, true
				}
			}
			l.single[k] = s.NewEnd-s.NewStart == 1 && s.OldEnd-s.OldStart == 1 && l.pairs[k] == l.prev.elements().At(s.OldStart).Value
			k++
		}
	}
}

func (l *listBuild) dropUnused(used map[*Built]bool) {
	for _, s := range l.spans {
		for i := s.OldStart; i < s.OldEnd; i++ {
			if b := l.prev.elements().At(i).Value; !used[b] {
				l.task.drop(b)
			}
		}
	}
}

func (l *listBuild) buildNew() {
	workers := min(l.task.builder.Workers, len(l.fresh)/concurrent)
	if workers < 2 {
		l.buildRange(l.task, 0, len(l.fresh))
		return
	}
	l.at.surrounding() // what several would compute at once
	tasks := make([]*task, workers)
	var wg sync.WaitGroup
	for w := range tasks {
		tasks[w] = &task{builder: l.task.builder, stale: l.task.stale}
		wg.Go(func() {
			l.buildRange(tasks[w], w*len(l.fresh)/workers, (w+1)*len(l.fresh)/workers)
		})
	}
	wg.Wait()
	for _, t := range tasks {
		l.task.join(t)
	}
}

func (l *listBuild) buildRange(t *task, from, to int) {
	for i := from; i < to; i++ {
		at := &place{up: l.at, node: l.fresh[i].node, single: l.single[i]}
		t.build(l.fresh[i], l.pairs[i], l.pointer+l.fresh[i].pointer, at)
	}
}

func (t *task) join(o *task) {
	t.made = append(t.made, o.made...)
	t.gone = append(t.gone, o.gone...)
	t.problems = append(t.problems, o.problems...)
	t.warnings = append(t.warnings, o.warnings...)
}

// finish splices the new elements in and derives the list's value.
func (l *listBuild) finish() *Built {
	b := &Built{spec: l.spec, node: l.node, size: 1, extra: &extra{}}
	elems := &b.extra.elems
	var prevValue any
	if l.prev != nil {
		*elems, b.size, b.outside, prevValue = l.prev.elements(), l.prev.size, l.prev.outside, l.prev.value
	}
	reset := l.prev == nil
	var removed, added []item
	k := len(l.fresh)
	for _, s := range slices.Backward(l.spans) {
		for _, it := range elems.Range(s.OldStart, s.OldEnd) {
			removed = append(removed, item{it.Label, it.Value.value})
			b.size -= it.Value.size
		}
		n := s.NewEnd - s.NewStart
		k -= n
		builts := make([]*Built, n)
		for i := range builts {
			builts[i] = l.fresh[k+i].built
			b.size += builts[i].size
			b.outside = b.outside || builts[i].outside
		}
		var relabelled bool
		*elems, relabelled = elems.Splice(s.OldStart, s.OldEnd, builts)
		reset = reset || relabelled
		for _, it := range elems.Range(s.OldStart, s.OldStart+n) {
			added = append(added, item{it.Label, it.Value.value})
		}
	}
	if reset {
		removed, added = nil, make([]item, 0, elems.Len())
		for _, it := range elems.All() {
			added = append(added, item{it.Label, it.Value.value})
		}
	}
	b.value = l.spec.list.update(prevValue, reset, removed, added)
	if l.prev != nil {
		l.task.gone = append(l.task.gone, l.prev)
	}
	l.task.made = append(l.task.made, b)
	return b
}

// Problem is a shorthand for a compile function: one problem at a pointer
// relative to the module.
func Problem(pointer, message string) schema.Problems {
	return schema.Problems{{Pointer: pointer, Message: message}}
}
