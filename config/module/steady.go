package module

import (
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/sluiceproxy/sluice/config"
)

// place is where a module stands in the document.
type place struct {
	up   *place // of the parent; nil at the root
	node *config.Node
	// Where the parent is no list: the way from there, and which of its steps are keys of a map, counted from the first.
	pointer string
	named   uint64
	// Where the parent is a list: the element took over from one other, both alone between what has not changed.
	single bool
	// What context returns, once that was called.
	context surroundings
	known   bool
}

// surroundings is a digest of all that leads to a module: keys, and what stands beside them. The zero value is that of a
// module whose surroundings are too large to tell.
type surroundings uint64

// member is the place of a child.
func (p *place) member(c *child, named uint64) *place {
	return &place{up: p, node: c.node, pointer: c.pointer, named: named}
}

// surrounding computes the surroundings. They are known for lists before several goroutines build the elements.
func (p *place) surrounding() surroundings {
	if p.known {
		return p.context
	}
	p.known = true
	switch {
	case p.up == nil:
		p.context = 1
	case p.pointer == "":
		p.context = p.up.surrounding()
	default:
		p.context = p.along(p.up.surrounding())
	}
	return p.context
}

// maxBeside is how many elements an array may have whose elements are told apart by what stands beside them.
const maxBeside = 256

// along is the surroundings of what the pointer leads to, from those where it begins.
func (p *place) along(from surroundings) surroundings {
	if from == 0 {
		return 0
	}
	sum := strconv.AppendUint(nil, uint64(from), 16)
	add := func(key string, n *config.Node) {
		sum = append(append(sum, '/'), key...)
		if n != nil {
			sum = strconv.AppendUint(append(sum, ':'), n.Digest(), 16)
		}
	}
	n := p.up.node
	depth := 0
	for segment := range strings.SplitSeq(p.pointer[1:], "/") {
		segment = strings.ReplaceAll(strings.ReplaceAll(segment, "~1", "/"), "~0", "~")
		add(segment, nil)
		switch {
		case n.Kind() == config.Array:
			at, err := strconv.Atoi(segment)
			if err != nil || at >= n.Len() || n.Len() > maxBeside {
				return 0
			}
			for i, e := range n.Elements() {
				if i != at {
					add("", e)
				}
			}
			n = n.Index(at)
		default:
			for key, e := range n.Members() {
				if key != segment && p.named>>depth&1 == 0 {
					add(key, e)
				}
			}
			n = n.Get(segment)
		}
		depth++
	}
	return surroundings(max(xxhash.Sum64(sum), 1))
}

// inPlace reports whether each element of a list on the way took over from one other.
func (p *place) inPlace() bool {
	for ; p.up != nil; p = p.up {
		if p.pointer == "" && !p.single {
			return false
		}
	}
	return true
}

// SteadyState is State, but what is kept is only found again by what is certainly the same thing, edited: a module with the
// same @id, or one that has changed alone in all that leads to it. In a list one element must have taken the place of
// one other, and besides the module everything is what it was when the value was kept; only what stands under other keys
// of a map does not matter. State asks for less: modules that have changed at once may swap what they kept.
func (e *Env) SteadyState(name string, make func() any) any {
	now := e.at.surrounding()
	v, before, ok := e.before(name)
	if ok {
		is, was := id(e.built.node), id(e.prev.node)
		ok = is == was && (is != "" || now != 0 && before == now && e.at.inPlace())
	}
	return e.keep(name, v, ok, make, now)
}
