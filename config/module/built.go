package module

import (
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/internal/seq"
)

// Built is a module that runs: its value together with what is needed to know
// whether it can serve the next document as it is. Immutable after the build,
// but for the resources it owns.
type Built struct {
	spec  *entry
	node  *config.Node
	value any
	kids  []*child
	extra *extra
	size  int32
	// outside says that something in this subtree read more than its node.
	outside bool
}

// extra is what most modules do not have; it is apart because there may be
// hundreds of thousands of modules.
type extra struct {
	elems  seq.Seq[*Built] // of a list
	inputs []input
	owned  []Resource
	state  []kept
}

// kept is a state under its name.
type kept struct {
	name   string
	value  any
	around surroundings // of SteadyState
}

func (b *Built) more() *extra {
	if b.extra == nil {
		b.extra = &extra{}
	}
	return b.extra
}

func (b *Built) elements() seq.Seq[*Built] {
	if b.extra == nil {
		return seq.Seq[*Built]{}
	}
	return b.extra.elems
}

// ID is that of the module's kind.
func (b *Built) ID() string { return b.spec.ID }

// Value is the running value.
func (b *Built) Value() any { return b.value }

// Node is the subtree it was made from.
func (b *Built) Node() *config.Node { return b.node }

// Size counts the modules of the subtree, itself included.
func (b *Built) Size() int {
	if b == nil {
		return 0
	}
	return int(b.size)
}

// Owned is the resources it needs, in the order of their acquisition.
func (b *Built) Owned() []Resource {
	if b.extra == nil {
		return nil
	}
	return b.extra.owned
}

// All lists b and every module below it, children before parents.
func (b *Built) All() []*Built {
	var out []*Built
	b.walk(func(x *Built) { out = append(out, x) })
	return out
}

// walk visits b and all below it, parents last.
func (b *Built) walk(visit func(*Built)) {
	for _, k := range b.kids {
		if k.built != nil {
			k.built.walk(visit)
		}
	}
	for _, it := range b.elements().All() {
		it.Value.walk(visit)
	}
	visit(b)
}

// id is the @id of the module's object, in text form, or "".
func id(n *config.Node) string {
	v := n.Get("@id")
	if v == nil {
		return ""
	}
	return string(v.AppendJSON(nil))
}
