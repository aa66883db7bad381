package automation

import (
	"crypto/x509"
	"math/rand/v2"
	"strings"
	"time"
)

// How long what was seen in the cache counts. certmagic does not tell of all that it puts in place of another, so that it is
// looked at again from time to time, each name at its own; shortly after a certificate was obtained that is expected.
const (
	viewLife   = 5 * time.Minute
	viewUnsure = time.Minute
)

// view is what the cache had of a name, without holding on to it. The Manager's tableMu guards it.
type view struct {
	list    []seen
	until   time.Time // when to look again
	unsure  time.Time // until when nothing that is seen counts for long
	changes uint64
}

// seen is a certificate in the cache. Immutable.
type seen struct {
	names          []string
	issuer, serial string
	from, to       time.Time
}

func seenOf(names []string, leaf *x509.Certificate) seen {
	s := seen{names: names, issuer: leaf.Issuer.CommonName, from: leaf.NotBefore, to: leaf.NotAfter}
	if s.issuer == "" {
		s.issuer = strings.Join(leaf.Issuer.Organization, ", ")
	}
	if leaf.SerialNumber != nil {
		s.serial = leaf.SerialNumber.Text(16)
	}
	return s
}

// due reports whether it is time to renew a certificate. certmagic's own answer writes to the log.
func (s *seen) due(ratio float64, interval time.Duration, now time.Time) bool {
	left := s.to.Sub(now)
	return left < time.Duration(float64(s.to.Sub(s.from))*ratio) || left < 5*interval
}

// forget has the cache asked again. It needs the table's lock.
func (v *view) forget() {
	v.until = time.Time{}
	v.changes++
}

// settle keeps what was seen. It needs the table's lock.
func (v *view) settle(list []seen, now time.Time) {
	v.list, v.until = list, time.Time{}
	if len(list) > 0 && now.After(v.unsure) {
		v.until = now.Add(viewLife + rand.N(viewLife))
	}
}

// viewOf is the view of a name, nil if the name is unknown. It needs the table's lock.
func (t *table) viewOf(name string) *view {
	if n := t.managed[name]; n != nil {
		return &n.view
	}
	if o := t.others[name]; o != nil {
		return &o.view
	}
	return nil
}

// lookAgain has the cache asked anew for what it has of a name.
func (m *Manager) lookAgain(name string) {
	m.tableMu.Lock()
	defer m.tableMu.Unlock()
	if v := m.table.viewOf(name); v != nil {
		v.forget()
	}
}

// glance is a name as it is being described.
type glance struct {
	name    string
	source  string
	binding *binding // nil for what policies say
	waiting bool
	ready   bool
	fault   fault
	list    []seen
	stale   bool // the list has to be looked at again
	changes uint64
}

// known copies the table.
func (m *Manager) known(now time.Time) []glance {
	m.tableMu.RLock()
	defer m.tableMu.RUnlock()
	out := make([]glance, 0, len(m.table.managed)+len(m.table.others))
	add := func(g glance, v *view) {
		g.list, g.stale, g.changes = v.list, !now.Before(v.until), v.changes
		out = append(out, g)
	}
	for name, n := range m.table.managed {
		add(glance{name: name, source: SourceManaged, binding: n.binding, waiting: n.waiting, ready: n.ready, fault: n.fault}, &n.view)
	}
	for name, o := range m.table.others {
		add(glance{name: name, source: SourceOnDemand, fault: o.fault}, &o.view)
	}
	return out
}

// look fills in what the cache has, where that has to be asked.
func (m *Manager) look(list []glance, now time.Time) {
	var looked []int
	for i := range list {
		g := &list[i]
		if !g.stale {
			continue
		}
		var found []seen
		for _, cert := range m.cached(g.name) {
			found = append(found, seenOf(cert.Names, cert.Leaf))
		}
		if found == nil && g.ready {
			continue // pushed out of the cache; it is read again when a client asks
		}
		g.list = found
		looked = append(looked, i)
	}
	if len(looked) == 0 {
		return
	}
	m.tableMu.Lock()
	defer m.tableMu.Unlock()
	for _, i := range looked {
		g := &list[i]
		v := m.table.viewOf(g.name)
		if v == nil || v.changes != g.changes {
			continue
		}
		if len(v.list) == 1 && len(g.list) == 1 && v.list[0].serial != g.list[0].serial {
			g.fault = fault{} // somebody else, who shares the storage, has renewed it
			*m.table.faultOf(g.name) = fault{}
		}
		v.settle(g.list, now)
	}
}
