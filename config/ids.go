package config

import (
	"fmt"
	"strconv"
)

// step is one step of a way from the root of a document to a node: an object's key, or the label of an array's element, so
// that it stays right when elements are inserted or removed before it. The root is a step without a parent.
type step struct {
	parent *step
	key    string
	label  int64 // noLabel for a step by key
}

func (s *step) child(key string, label int64) *step {
	return &step{parent: s, key: key, label: label}
}

// chain returns the steps from the root on.
func (s *step) chain() []*step {
	n := 0
	for t := s; t.parent != nil; t = t.parent {
		n++
	}
	steps := make([]*step, n)
	for t := s; t.parent != nil; t = t.parent {
		n--
		steps[n] = t
	}
	return steps
}

// path returns the way as a path in the document root.
func (s *step) path(root *Node) Path {
	steps := s.chain()
	p := make(Path, len(steps))
	for i, t := range steps {
		if t.label == noLabel {
			p[i] = t.key
			root = root.Get(t.key)
			continue
		}
		at, _ := root.IndexOfLabel(t.label)
		p[i] = strconv.Itoa(at)
		root = root.Index(at)
	}
	return p
}

// before reports whether s comes before t in the order of the document.
func (s *step) before(t *step) bool {
	a, b := s.chain(), t.chain()
	for i := range min(len(a), len(b)) {
		if a[i].label != b[i].label {
			return a[i].label < b[i].label
		}
		if a[i].key != b[i].key {
			return a[i].key < b[i].key
		}
	}
	return len(a) < len(b)
}

// idText returns the id that the value of an @id stands for: numbers in the shortest form that %v gives.
func idText(v *Node) (string, bool) {
	switch v.Kind() {
	case String:
		return v.str, true
	case Number:
		return strconv.FormatFloat(v.Number(), 'g', -1, 64), true
	}
	return "", false
}

// reindex returns the index for the document new, given that of old.
func reindex(ids idMap, old, new *Node) (idMap, error) {
	var d idDiff
	d.walk(old, new, &step{})
	if d.malformed != nil {
		p := d.malformed.path(new)
		return ids, &Error{Status: statusBadRequest, Pointer: p.Pointer(),
			Msg: fmt.Sprintf("indexing config: /config%s: @id field must be a string or number", p)}
	}
	if len(d.removed) == 0 && len(d.added) == 0 {
		return ids, nil
	}
	e := ids.edit()
	for _, id := range d.removed {
		e.drop(id)
	}
	for _, a := range d.added {
		if other := e.get(a.id); other != nil {
			return ids, duplicateID(a.id, other, a.at, new)
		}
		e.put(a.id, a.at)
	}
	return e.idMap, nil
}

func duplicateID(id string, a, b *step, root *Node) error {
	if b.before(a) {
		a, b = b, a
	}
	p := b.path(root)
	return &Error{Status: statusBadRequest, Pointer: p.Pointer(),
		Msg: fmt.Sprintf("indexing config: duplicate ID '%s' found at /config%s and /config%s", id, a.path(root), p)}
}

// idDiff collects which ids went and which came between two versions of a document.
type idDiff struct {
	removed   []string
	added     []idAt
	malformed *step
}

type idAt struct {
	id string
	at *step
}

// walk compares what is at one place, where either can be nil.
func (d *idDiff) walk(o, n *Node, at *step) {
	if o == n || !anyID(o, n) {
		return
	}
	if o.Kind() != n.Kind() && o != nil && n != nil {
		d.walk(o, nil, at)
		d.walk(nil, n, at)
		return
	}
	if o.Kind() == Array || n.Kind() == Array {
		merge(whole(o), whole(n), func(_, _ int, oe, ne *Node, label int64) {
			if anyID(oe, ne) {
				d.walk(oe, ne, at.child("", label))
			}
		})
		return
	}
	d.own(o, n, at)
	i, j := 0, 0
	for i < o.Len() || j < n.Len() {
		var oe, ne *Node
		var key string
		switch {
		case j == n.Len() || i < o.Len() && o.Key(i) < n.Key(j):
			key, oe = o.Key(i), o.Value(i)
			i++
		case i == o.Len() || n.Key(j) < o.Key(i):
			key, ne = n.Key(j), n.Value(j)
			j++
		default:
			key, oe, ne = n.Key(j), o.Value(i), n.Value(j)
			i, j = i+1, j+1
		}
		if oe != ne && anyID(oe, ne) {
			d.walk(oe, ne, at.child(key, noLabel))
		}
	}
}

// own compares the ids of two objects themselves.
func (d *idDiff) own(o, n *Node, at *step) {
	was, had := nodeID(o)
	is, has := nodeID(n)
	if !has && n != nil && n.box.shape.id >= 0 && d.malformed == nil {
		d.malformed = at
	}
	if had && has && was == is {
		return
	}
	if had {
		d.removed = append(d.removed, was)
	}
	if has {
		d.added = append(d.added, idAt{is, at})
	}
}

func anyID(o, n *Node) bool { return o != nil && o.hasID() || n != nil && n.hasID() }

// whole returns a cursor over all elements of an array.
func whole(n *Node) cursor { return cursorAt(runs(n), 0, n.Len()) }
