package config

import "fmt"

// Apply returns the document after an edit; d stays as it is. Where a value is replaced, Reuse keeps what is equal of the
// old one, and if the edit changes nothing d itself is returned. On an error, of type *Error, there is no new document.
func (d *Doc) Apply(e Edit) (*Doc, error) {
	if e.Value == nil {
		e.Value = nullNode
	}
	if e.Whole {
		return d.withRoot(Reuse(d.root, e.Value))
	}
	// Each segment but the last, and one for the root, leads into a value; a path as deep as that makes too deep a document.
	if len(e.Path) > d.maxDepth+1 {
		return nil, d.tooDeep()
	}
	w := d.wrapped()
	ed := newEditor(w, e)
	next, err := ed.walk(w, 0)
	if err != nil {
		return nil, err
	}
	return d.withRoot(next.Get("config"))
}

// editor carries out one edit.
type editor struct {
	verb        Verb
	segs        []string // the path in the wrapped document, without "..."
	spread      bool     // whether the path ended in "..."
	value       *Node
	requestPath string
}

func newEditor(w *Node, e Edit) *editor {
	ed := &editor{verb: e.Verb, segs: rooted(e.Path), value: e.Value, requestPath: e.RequestPath}
	if ed.requestPath == "" {
		if ed.requestPath = "/config" + e.Path.String(); len(e.Path) == 0 {
			ed.requestPath = "/config/"
		}
	}
	if n := len(ed.segs) - 1; n > 0 && ed.segs[n] == ellipsis {
		ed.spread, ed.segs = true, ed.segs[:n]
		ed.dropElement(w)
	}
	return ed
}

// dropElement makes /array/3/... mean /array/..., unless the element is itself an array.
func (ed *editor) dropElement(w *Node) {
	last := len(ed.segs) - 1
	parent, err := get(w, ed.segs[:last])
	if err != nil || parent.Kind() != Array {
		return
	}
	at, err := element(parent, ed.segs, last, "", parent.Len())
	if err != nil || parent.Index(at).Kind() != Array {
		ed.segs = ed.segs[:last]
	}
}

// walk returns what n, which may be nil, becomes by applying the segments from i on.
func (ed *editor) walk(n *Node, i int) (*Node, error) {
	last := i == len(ed.segs)-1
	switch n.Kind() {
	case Object:
		if last {
			return ed.member(n, ed.segs[i])
		}
		child, err := ed.walk(ed.created(n.Get(ed.segs[i])), i+1)
		if err != nil {
			return nil, err
		}
		return n.with(ed.segs[i], child), nil
	case Array:
		if last {
			return ed.element(n, i)
		}
		at, err := element(n, ed.segs, i, "", n.Len())
		if err != nil {
			return nil, err
		}
		child, werr := ed.walk(ed.created(n.Index(at)), i+1)
		if werr != nil {
			return nil, werr
		}
		return n.withElement(at, child), nil
	}
	return nil, badTraversal(ed.segs, i)
}

// created puts an object where PUT finds nothing, or null, on its way.
func (ed *editor) created(n *Node) *Node {
	if ed.verb == Put && n.Kind() == Null {
		return newObject(emptyShape, nil)
	}
	return n
}

// member edits the member of an object that the path ends at.
func (ed *editor) member(n *Node, key string) (*Node, error) {
	old := n.Get(key)
	switch {
	case ed.verb == Put && old != nil:
		return nil, ed.fail(statusConflict, "key already exists: %s", key)
	case (ed.verb == Patch || ed.verb == Delete) && old == nil:
		return nil, ed.fail(statusNotFound, "key does not exist: %s", key)
	case ed.verb == Delete:
		i, _ := n.box.shape.find(key)
		return n.without(i), nil
	case ed.verb == Post && old.Kind() == Array:
		child, err := ed.appended(old)
		if err != nil {
			return nil, err
		}
		return n.with(key, child), nil
	}
	return n.with(key, Reuse(old, ed.value)), nil
}

// element edits the element of an array that the path ends at, by its segment i.
func (ed *editor) element(n *Node, i int) (*Node, error) {
	if ed.verb == Post && !ed.spread {
		return ed.appended(n)
	}
	end := n.Len()
	if ed.verb == Put {
		end++
	}
	at, err := element(n, ed.segs, i, ed.requestPath, end)
	if err != nil {
		return nil, err
	}
	switch {
	case ed.verb == Put && ed.spread:
		return nil, ed.fail(statusConflict, "key already exists: %s", ed.segs[i])
	case ed.verb == Put:
		return n.withInserted(at, ed.value), nil
	case ed.verb == Delete:
		return n.withoutElement(at), nil
	case ed.verb == Post:
		child, err := ed.appended(n.Index(at))
		if err != nil {
			return nil, err
		}
		return n.withElement(at, child), nil
	}
	return n.withElement(at, Reuse(n.Index(at), ed.value)), nil
}

// appended returns the array n with the value at its end, or with the elements of the value.
func (ed *editor) appended(n *Node) (*Node, error) {
	if !ed.spread {
		return n.withAppended([]*Node{ed.value}), nil
	}
	if ed.value.Kind() != Array {
		return nil, &Error{Status: statusBadRequest, Pointer: Path(ed.segs[1:]).Pointer(), Msg: "final element is not an array"}
	}
	return n.withAppended(ed.value.elements()), nil
}

func (ed *editor) fail(status int, format string, args ...any) error {
	return &Error{Status: status, Pointer: Path(ed.segs[1:]).Pointer(),
		Msg: fmt.Sprintf("[%s] ", ed.requestPath) + fmt.Sprintf(format, args...)}
}
