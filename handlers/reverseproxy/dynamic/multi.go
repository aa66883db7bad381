package dynamic

import (
	"errors"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
)

// Multi is the source multi: the upstreams of several sources, one after the other.
type Multi struct {
	// Sources is the sources. One that fails is left out, unless it still knows what it found before.
	Sources []module.Ref[Source] `json:"sources" module:"http.reverse_proxy.upstreams" inline:"source"`
}

func multiSpec() module.Spec {
	return module.New(Namespace+".multi", "Takes the upstreams of several sources.", nil, compileMulti,
		module.Examples(module.Example{Title: "Add the addresses of a name to the records of a service.",
			JSON: `{"source":"multi","sources":[{"source":"srv","name":"_api._tcp.example.com"},{"source":"a","name":"backup.example.com","port":"8080"}]}`}),
		module.Words(readMulti))
}

type multi struct {
	sources []Source
	loose   []int // those whose question depends on the request
	last    atomic.Pointer[combination]
	warned  []atomic.Pointer[List] // the empty list of each source that was reported
}

// combination is what was made of the lists of the sources.
type combination struct {
	parts []*List
	list  *List
}

func compileMulti(env *module.Env, c *Multi) (Source, error) {
	m := &multi{warned: make([]atomic.Pointer[List], len(c.Sources))}
	for i, s := range c.Sources {
		m.sources = append(m.sources, s.Value())
		if f, ok := s.Value().(interface{ fixed() bool }); !ok || !f.fixed() {
			m.loose = append(m.loose, i)
		}
	}
	if len(c.Sources) == 0 {
		env.Warn("/sources", "there are no sources, so there are no upstreams")
	}
	return m, nil
}

// Upstreams implements [Source]. It fails for a cancelled request only (MULTI-1), and looks nothing up again for a retry
// (DYN-2).
func (m *multi) Upstreams(q Query) (*List, error) {
	q.Again = false
	var room [8]*List
	parts := room[:0]
	for i, s := range m.sources {
		list, err := s.Upstreams(q)
		if err != nil && q.Context.Err() != nil {
			return nil, q.Context.Err()
		}
		m.report(q.Log, i, list, err)
		parts = append(parts, list)
	}
	return m.combine(parts), nil
}

func (m *multi) report(log *zap.Logger, i int, list *List, err error) {
	var failure *Failure
	switch {
	case err != nil:
		if !errors.As(err, &failure) || failure.Tell() {
			log.Error("upstream source returned error", zap.Int("source", i), zap.Error(err))
		}
	case list == nil || len(list.Dials) == 0:
		if m.warned[i].Swap(list) != list {
			log.Warn("upstream source returned no upstreams", zap.Int("source", i))
		}
	}
}

// combine joins lists. As long as they are the same, so is the result.
func (m *multi) combine(parts []*List) *List {
	last := m.last.Load()
	if last != nil && slices.Equal(last.parts, parts) {
		return last.list
	}
	list := &List{Key: "multi"}
	for _, i := range m.loose {
		list.Key += "\n"
		if parts[i] != nil {
			list.Key += parts[i].Key
		}
	}
	for _, p := range parts {
		if p != nil {
			list.Dials = append(list.Dials, p.Dials...)
		}
	}
	m.last.Store(&combination{slices.Clone(parts), list})
	return list
}

func (m *multi) fixed() bool { return len(m.loose) == 0 }

// Known implements [Source].
func (m *multi) Known() *List {
	parts := make([]*List, len(m.sources))
	some := false
	for i, s := range m.sources {
		parts[i] = s.Known()
		some = some || parts[i] != nil
	}
	if !some {
		return nil
	}
	return m.combine(parts)
}
