package config

import "strconv"

// Change is one difference between two documents.
type Change struct {
	// Op is "add", "remove" or "replace".
	Op string
	// Pointer is the JSON Pointer of the place: for "remove" in the old document, else in the new one. So the old document
	// becomes the new one by all removals, the last first, and then the other changes in their order.
	Pointer string
	// Old and New are the values; nil for "add" and "remove" respectively.
	Old, New *Node
}

// Diff lists the differences between two documents, in the order of the document. Elements of arrays are told from each
// other by their @id, their content and last by their position, so that an insertion is one "add". An element that was moved
// is a "remove" and an "add". Subtrees that both share cost nothing.
func Diff(old, new *Node) []Change {
	var d differ
	switch {
	case old == nil && new == nil:
	case old == nil:
		d.add("", new)
	case new == nil:
		d.remove("", old)
	default:
		d.compare(place{}, old, new)
	}
	return d.changes
}

type differ struct{ changes []Change }

func (d *differ) add(pointer string, n *Node) {
	d.changes = append(d.changes, Change{Op: "add", Pointer: pointer, New: n})
}

func (d *differ) remove(pointer string, n *Node) {
	d.changes = append(d.changes, Change{Op: "remove", Pointer: pointer, Old: n})
}

// place is the JSON Pointer of what is compared, in both documents: they differ behind an insertion.
type place struct{ old, new string }

func (d *differ) compare(at place, o, n *Node) {
	switch {
	case Equal(o, n):
	case o.Kind() == Object && n.Kind() == Object:
		d.objects(at, o, n)
	case o.Kind() == Array && n.Kind() == Array:
		d.arrays(at, o, n)
	default:
		d.changes = append(d.changes, Change{Op: "replace", Pointer: at.new, Old: o, New: n})
	}
}

func (d *differ) objects(at place, o, n *Node) {
	i, j := 0, 0
	for i < o.Len() || j < n.Len() {
		switch {
		case j == n.Len() || i < o.Len() && o.Key(i) < n.Key(j):
			d.remove(JoinPointer(at.old, o.Key(i)), o.Value(i))
			i++
		case i == o.Len() || n.Key(j) < o.Key(i):
			d.add(JoinPointer(at.new, n.Key(j)), n.Value(j))
			j++
		default:
			if k := n.Key(j); o.Value(i) != n.Value(j) {
				d.compare(place{JoinPointer(at.old, k), JoinPointer(at.new, k)}, o.Value(i), n.Value(j))
			}
			i, j = i+1, j+1
		}
	}
}

func (d *differ) arrays(at place, o, n *Node) {
	element := func(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }
	for _, s := range DiffArrays(o, n) {
		from, to := slice(o, s.OldStart, s.OldEnd), slice(n, s.NewStart, s.NewEnd)
		p := align(from, to)
		i := 0
		for j, e := range to {
			if !p.ordered[j] {
				d.add(element(at.new, s.NewStart+j), e)
				continue
			}
			for ; i < p.from[j]; i++ {
				d.remove(element(at.old, s.OldStart+i), from[i])
			}
			if !Equal(from[i], e) {
				d.compare(place{element(at.old, s.OldStart+i), element(at.new, s.NewStart+j)}, from[i], e)
			}
			i++
		}
		for ; i < len(from); i++ {
			d.remove(element(at.old, s.OldStart+i), from[i])
		}
	}
}

// slice returns elements of an array.
func slice(n *Node, from, to int) []*Node {
	if n.box.vec == nil {
		return n.box.kids[from:to]
	}
	part := make([]*Node, 0, to-from)
	for c := cursorAt(n.box.vec.chunks, from, to); c.index < c.end; c.next() {
		part = append(part, c.node())
	}
	return part
}
