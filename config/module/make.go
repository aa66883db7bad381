package module

import (
	"slices"
	"strconv"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// Make builds one more module below the one that is being compiled, from a
// config that the document does not hold but that follows from it: a node that
// the compile function has made. The ID must be a full module ID. What the new
// module owns, reads and warns of belongs to the module that asked for it, and
// it is made anew whenever that one is.
//
// An error is a schema.Problems, with pointers into n.
func (e *Env) Make(id string, n *config.Node) (any, error) {
	t := e.task
	problems, warnings := len(t.problems), len(t.warnings)
	// The pointer is none that a child of the document could have.
	c := &child{node: n, slot: &slot{fixed: id}, pointer: "#" + strconv.Itoa(len(e.built.kids))}
	t.build(c, nil, "", e.at.member(c, 0))
	for i := range t.warnings[warnings:] {
		t.warnings[warnings+i].Pointer = e.pointer
	}
	if len(t.problems) > problems {
		out := schema.Problems(slices.Clone(t.problems[problems:]))
		t.problems = t.problems[:problems]
		return nil, out
	}
	e.built.kids = append(e.built.kids, c)
	e.built.size += c.built.size
	e.built.outside = e.built.outside || c.built.outside
	return c.built.value, nil
}
