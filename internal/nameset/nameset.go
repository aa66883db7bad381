// Package nameset has sets of texts that share their structure: one that is made from another costs what has changed, and
// so does comparing the two.
package nameset

import (
	"hash/maphash"
	"iter"
	"maps"
	"slices"
)

// seed is one for the process, so that equal sets have equal shapes.
var seed = maphash.MakeSeed()

// Set is an immutable multiset of texts. The zero value is empty. It is safe for concurrent use.
type Set struct{ root *node }

// node is one of a treap: a search tree by name, and a heap by priority. Its shape depends on its names only.
type node struct {
	name        string
	priority    uint64
	count       int
	size        int // names at and below it
	left, right *node
}

func (n *node) len() int {
	if n == nil {
		return 0
	}
	return n.size
}

func (n *node) with(left, right *node) *node {
	if n.left == left && n.right == right {
		return n
	}
	return &node{n.name, n.priority, n.count, 1 + left.len() + right.len(), left, right}
}

// Of returns the set of names that are there as often as counts says.
func Of(counts map[string]int) Set {
	var spine []*node // from the root down to the right
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if counts[name] <= 0 {
			continue
		}
		n := &node{name: name, priority: maphash.String(seed, name), count: counts[name]}
		var under *node
		for len(spine) > 0 && above(n, spine[len(spine)-1]) {
			under = spine[len(spine)-1]
			under.size = 1 + under.left.len() + under.right.len()
			spine = spine[:len(spine)-1]
		}
		n.left = under
		if len(spine) > 0 {
			spine[len(spine)-1].right = n
		}
		spine = append(spine, n)
	}
	for _, n := range slices.Backward(spine) {
		n.size = 1 + n.left.len() + n.right.len()
	}
	if len(spine) == 0 {
		return Set{}
	}
	return Set{spine[0]}
}

// Len is how many different names the set has.
func (s Set) Len() int { return s.root.len() }

// Count is how often a name is in the set.
func (s Set) Count(name string) int {
	for n := s.root; n != nil; {
		switch {
		case name == n.name:
			return n.count
		case name < n.name:
			n = n.left
		default:
			n = n.right
		}
	}
	return 0
}

// Has reports whether a name is in the set.
func (s Set) Has(name string) bool { return s.Count(name) > 0 }

// Same reports whether the sets are known to be equal without looking at their names. Sets with the same names that were
// made apart need not be.
func (s Set) Same(o Set) bool { return s.root == o.root }

// Max is the last name in order, "" of an empty set.
func (s Set) Max() string {
	n := s.root
	if n == nil {
		return ""
	}
	for n.right != nil {
		n = n.right
	}
	return n.name
}

// All iterates over the names in order.
func (s Set) All() iter.Seq[string] {
	return func(yield func(string) bool) { s.root.walk(yield) }
}

func (n *node) walk(yield func(string) bool) bool {
	return n == nil || n.left.walk(yield) && yield(n.name) && n.right.walk(yield)
}

// Add returns the set with a name n times more, or less often if n is negative. A name that is there no more often than
// never is not there.
func (s Set) Add(name string, n int) Set {
	if n == 0 {
		return s
	}
	count := s.Count(name) + n
	if count <= 0 {
		if count-n == 0 {
			return s
		}
		left, _, right := split(s.root, name)
		return Set{merge(left, right)}
	}
	left, _, right := split(s.root, name)
	return Set{merge(merge(left, &node{name: name, priority: maphash.String(seed, name), count: count, size: 1}), right)}
}

// split returns what comes before a name, the node of the name, and what comes after.
func split(n *node, name string) (left, at, right *node) {
	switch {
	case n == nil:
		return nil, nil, nil
	case name == n.name:
		return n.left, n, n.right
	case name < n.name:
		left, at, right = split(n.left, name)
		return left, at, n.with(right, n.right)
	}
	left, at, right = split(n.right, name)
	return n.with(n.left, left), at, right
}

// above reports whether a is nearer to the root.
func above(a, b *node) bool {
	return a.priority > b.priority || a.priority == b.priority && a.name < b.name
}

// merge joins two trees, all names of the first before those of the second.
func merge(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case above(a, b):
		return a.with(a.left, merge(a.right, b))
	}
	return b.with(merge(a, b.left), b.right)
}

// Diff tells which names left and which came between two sets, each in order of the name. It costs what differs, if one was
// made from the other.
func Diff(from, to Set, left, came func(name string)) { diff(from.root, to.root, left, came) }

func diff(from, to *node, left, came func(string)) {
	switch {
	case from == to:
	case from == nil:
		to.walk(func(name string) bool { came(name); return true })
	case to == nil:
		from.walk(func(name string) bool { left(name); return true })
	case from.name == to.name:
		diff(from.left, to.left, left, came)
		diff(from.right, to.right, left, came)
	case above(from, to):
		below, at, beyond := split(to, from.name)
		diff(from.left, below, left, came)
		if at == nil {
			left(from.name)
		}
		diff(from.right, beyond, left, came)
	default:
		below, at, beyond := split(from, to.name)
		diff(below, to.left, left, came)
		if at == nil {
			came(to.name)
		}
		diff(beyond, to.right, left, came)
	}
}
