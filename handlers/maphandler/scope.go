package maphandler

import (
	"slices"

	"github.com/sluiceproxy/sluice/handlers"
)

// scope is the destinations of all maps that a request has come through.
type scope struct {
	exchange *handlers.Exchange
	maps     []*handler
	space    [2]*handler
	// active is the destinations that are being computed, by name. One that needs
	// itself is empty then, instead of taking the process down.
	active []string
	// asking is set while the names of the house are asked for one of ours.
	asking bool
}

// self is the name by which a map finds the scope of those before it. No
// placeholder that is written down by accident has it.
const self = "\x00map"

// join adds a map to the scope of its request.
func join(x *handlers.Exchange, h *handler) {
	v, _ := x.Lookup(self)
	s, ok := v.(*scope)
	if !ok {
		s = &scope{exchange: x}
		s.maps = s.space[:0]
		x.AddScope(s)
	}
	if !slices.Contains(s.maps, h) {
		s.maps = append(s.maps, h)
	}
}

// String keeps the scope out of texts.
func (s *scope) String() string { return "" }

// Lookup implements vars.Scope. The first map that has the name counts.
func (s *scope) Lookup(name string) (any, bool) {
	if name == self {
		return s, true
	}
	if s.asking {
		return nil, false
	}
	for _, h := range s.maps {
		for i := range h.dests {
			if d := &h.dests[i]; d.name == name {
				return s.value(h, d), true
			}
		}
	}
	return nil, false
}

func (s *scope) value(h *handler, d *destination) any {
	if d.builtIn {
		s.asking = true
		v, known := s.exchange.Lookup(d.name)
		s.asking = false
		if known {
			return v
		}
	}
	if slices.Contains(s.active, d.name) {
		return nil
	}
	s.active = append(s.active, d.name)
	defer func() { s.active = s.active[:len(s.active)-1] }()
	return h.value(d, s.exchange)
}
