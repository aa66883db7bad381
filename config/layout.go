package config

import (
	"slices"
	"strings"
)

// layoutMax is up to how many members an object is read by layouts.
const layoutMax = 64

// layout is a list of keys in the order of a text: those of its parent, and one more. Documents repeat a few layouts many
// times, so the objects that have the same one share their list of keys, and only the first of them is sorted.
type layout struct {
	parent   *layout
	key      string
	depth    int
	likely   *layout // the child that was used last
	children map[string]*layout

	shape      *shape
	order      []int32 // for each key of shape the place of its value in the text; nil if it is the same
	duplicates bool
}

// layout returns the child of l for a key.
func (p *parser) layout(l *layout, key []byte) *layout {
	if c := l.likely; c != nil && c.key == string(key) {
		return c
	}
	c := l.children[string(key)]
	if c == nil {
		c = &layout{parent: l, key: p.key(key), depth: l.depth + 1}
		if l.likely != nil {
			if l.children == nil {
				l.children = map[string]*layout{l.likely.key: l.likely}
			}
			l.children[c.key] = c
		}
	}
	l.likely = c
	return c
}

// key returns a key as a string, the same for all its uses.
func (p *parser) key(key []byte) string {
	s, ok := p.keys[string(key)]
	if !ok {
		s = string(key)
		p.keys[s] = s
	}
	return s
}

// keys returns the keys in the order of the text.
func (l *layout) keys() []string {
	keys := make([]string, l.depth)
	for ; l.parent != nil; l = l.parent {
		keys[l.depth-1] = l.key
	}
	return keys
}

// complete computes the shape for these keys.
func (l *layout) complete(keys []string) {
	order := make([]int32, len(keys))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return strings.Compare(keys[a], keys[b]) })
	kept := order[:0]
	for i, at := range order {
		if i+1 < len(order) && keys[order[i+1]] == keys[at] {
			l.duplicates = true
			continue
		}
		kept = append(kept, at)
	}
	sorted := make([]string, len(kept))
	same := !l.duplicates
	for i, at := range kept {
		sorted[i] = keys[at]
		same = same && int(at) == i
	}
	if !same {
		l.order = kept
	}
	l.shape = newShape(sorted)
}
