package filter

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// Tree is the filters of an encoder by the paths of their fields.
type Tree struct{ root node }

// NewTree makes a tree of filters by path.
func NewTree(fields map[string]*Filter) *Tree {
	t := &Tree{}
	for _, path := range slices.Sorted(maps.Keys(fields)) {
		n := &t.root
		for name := range strings.SplitSeq(path, ">") {
			if n.children == nil {
				n.children = map[string]*node{}
			}
			if n.children[name] == nil {
				n.children[name] = &node{}
			}
			n = n.children[name]
		}
		n.Filter = fields[path]
	}
	return t
}

// node is what is done to a field, and to those below it.
type node struct {
	*Filter
	children map[string]*node
	hidden   bool // no field passes
}

// child is the node of a field; nil means that nothing is done to it.
func (n *node) child(name string) *node {
	switch {
	case n == nil:
		return nil
	case n.hidden:
		return n
	}
	return n.children[name]
}

// namespace is the node of the fields that follow the opening of a namespace.
func (n *node) namespace(name string) *node {
	c := n.child(name)
	if c != nil && c.Filter != nil && (c.kind == remove || c.kind == replace) {
		return &node{Filter: Delete(), hidden: true}
	}
	return c
}

// Encoder passes entries to another encoder, filtered. It writes times, levels,
// names and messages as that one does.
type Encoder struct {
	object
	enc zapcore.Encoder
}

// Encoder returns an encoder that filters what enc gets.
func (t *Tree) Encoder(enc zapcore.Encoder) *Encoder {
	return &Encoder{object{enc, &t.root}, enc}
}

// Clone implements zapcore.Encoder.
func (e *Encoder) Clone() zapcore.Encoder {
	c := e.enc.Clone()
	return &Encoder{object{c, e.at}, c}
}

// fieldLists are lists of filtered fields to use again.
var fieldLists = sync.Pool{New: func() any { return new([]zapcore.Field) }}

// maxKept bounds what a list of the pool holds on to.
const maxKept = 64

// EncodeEntry implements zapcore.Encoder.
func (e *Encoder) EncodeEntry(ent zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	list := fieldLists.Get().(*[]zapcore.Field)
	at := e.at
	for i := range fields {
		f, keep := at.field(fields[i])
		if fields[i].Type == zapcore.NamespaceType {
			at = at.namespace(fields[i].Key)
		}
		if keep {
			*list = append(*list, f)
		}
	}
	buf, err := e.enc.EncodeEntry(ent, *list)
	clear(*list)
	if cap(*list) <= maxKept {
		*list = (*list)[:0]
		fieldLists.Put(list)
	}
	return buf, err
}
