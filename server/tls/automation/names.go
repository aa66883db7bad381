package automation

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
)

// origin is a set of reasons to manage a name.
type origin uint8

const (
	listedName origin = 1 << iota // by the app, whatever else covers it
	servedName                    // by a server
	alwaysName                    // by a server, although a loaded certificate covers it
	neededName                    // by a client of this process, which shows it to servers
)

// names is the names that somebody wants, with why. The Manager's lock guards it.
type names struct {
	wanted   map[string]origin
	needed   map[string]int                 // how often, see [Manager.Need]
	byParent map[string]map[string]struct{} // served names by what stands after their first label
	wild     map[pattern]string             // the managed wildcards
}

func (n *names) init() {
	n.wanted, n.needed, n.byParent, n.wild = map[string]origin{}, map[string]int{}, map[string]map[string]struct{}{}, map[pattern]string{}
}

// managed is one name that is managed. The Manager's tableMu guards it, but for what never changes.
type managed struct {
	name    string
	binding *binding
	// ready says that the certificate is there, waiting that nobody works on it until a client asks.
	ready, waiting bool
	fault          fault
	view           view
	// settled is closed once the first work on the name is done or has failed; nil if there is nothing to wait for.
	settled chan struct{}
	// cancel ends the work in progress; each piece of work has a number.
	cancel context.CancelFunc
	work   uint64
	// slot gives the place back that an attempt to obtain the certificate has, nil if there is none.
	slot func()
}

// fault is what went wrong last with a name; the zero value is nothing.
type fault struct {
	text     string
	at, next time.Time
	attempts int
}

// Manage says which names are served now and which no longer are, besides those before. A name stays alone that a loaded
// certificate covers, or a wildcard that is managed. Names that no certificate can have are ignored.
func (m *Manager) Manage(added, removed []string) { m.change(added, removed, servedName) }

// ManageAlways is Manage for names that are managed although a loaded certificate covers them. The two do not know of
// each other's names.
func (m *Manager) ManageAlways(added, removed []string) { m.change(added, removed, alwaysName) }

func (m *Manager) change(added, removed []string, o origin) {
	m.state()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.want(normalAll(added), normalAll(removed), o)
}

func normalAll(list []string) []string {
	out := make([]string, 0, len(list))
	for _, name := range list {
		if name = normal(name); certmagic.SubjectQualifiesForCert(name) {
			out = append(out, name)
		}
	}
	return out
}

// listed replaces the names of the app. It needs the lock, and takes the lists over.
func (m *Manager) listed(before, now []string) {
	set := make(map[string]struct{}, len(now))
	for _, name := range now {
		set[name] = struct{}{}
	}
	before = slices.DeleteFunc(before, func(name string) bool { _, still := set[name]; return still })
	m.want(slices.DeleteFunc(now, func(name string) bool { return m.names.wanted[name]&listedName != 0 }), before, listedName)
}

// want changes the reasons for names, wildcards first where they come and last where they go, and decides anew about
// those that this touches. It needs the lock.
func (m *Manager) want(added, removed []string, o origin) {
	n := &m.names
	touched := map[string]struct{}{}
	for _, name := range added {
		if n.wanted[name]&o == 0 {
			n.set(name, n.wanted[name]|o)
			touched[name] = struct{}{}
		}
	}
	for _, name := range removed {
		if n.wanted[name]&o != 0 {
			n.set(name, n.wanted[name]&^o)
			touched[name] = struct{}{}
		}
	}
	m.decide(slices.Collect(maps.Keys(touched)))
}

// set changes the reasons for a name.
func (n *names) set(name string, o origin) {
	const served = servedName | alwaysName | neededName
	before := n.wanted[name]
	if o == 0 {
		delete(n.wanted, name)
	} else {
		n.wanted[name] = o
	}
	_, parent, _ := strings.Cut(name, ".")
	switch {
	case before&served == 0 && o&served != 0:
		if n.byParent[parent] == nil {
			n.byParent[parent] = map[string]struct{}{}
		}
		n.byParent[parent][name] = struct{}{}
	case before&served != 0 && o&served == 0:
		delete(n.byParent[parent], name)
		if len(n.byParent[parent]) == 0 {
			delete(n.byParent, parent)
		}
	}
}

// decide decides which of the names are managed, and about those that a wildcard among them covers. It needs the lock.
func (m *Manager) decide(list []string) {
	// More stars first, then fewer, then none: a name depends only on those with more.
	slices.SortFunc(list, func(a, b string) int { return strings.Count(b, "*") - strings.Count(a, "*") })
	var again []string
	for _, name := range list {
		if m.decideOne(name) {
			again = append(again, m.names.coveredBy(name)...)
		}
	}
	if len(again) > 0 { // they have fewer stars, so this ends
		m.decide(again)
	}
}

// decideOne decides about one name and reports whether it is a wildcard that came or went.
func (m *Manager) decideOne(name string) bool {
	n := &m.names
	o := n.wanted[name]
	by := ""
	should := o&listedName != 0
	if !should && o != 0 {
		by = n.wildcardOf(name)
		should = by == "" && (o&alwaysName != 0 || !m.current.Load().app.covers.has(name))
	}
	m.tableMu.RLock()
	is := m.table.managed[name] != nil
	m.tableMu.RUnlock()
	if should == is {
		return false
	}
	w, wild := patternOf(name)
	switch {
	case wild && should:
		n.wild[w] = name
	case wild:
		delete(n.wild, w)
	}
	if should {
		m.begin(name)
	} else {
		m.end(name, by)
	}
	return wild
}

// wildcardOf returns a managed wildcard that covers a name, other than itself.
func (n *names) wildcardOf(name string) (found string) {
	if len(n.wild) == 0 {
		return ""
	}
	covering(name, func(w pattern) bool {
		if other, ok := n.wild[w]; ok && other != name {
			found = other
		}
		return found == ""
	})
	return found
}

// coveredBy lists the served names that a wildcard covers.
func (n *names) coveredBy(wildcard string) []string {
	w, ok := patternOf(wildcard)
	if !ok {
		return nil
	}
	if w.stars == 1 {
		return slices.Collect(maps.Keys(n.byParent[w.rest]))
	}
	var out []string
	for name, o := range n.wanted {
		if o&^listedName != 0 && certmagic.MatchWildcard(name, wildcard) {
			out = append(out, name)
		}
	}
	return out
}

// rebind gives all managed names what applies to them now, and works on those for which that is something else. It needs the
// lock.
func (m *Manager) rebind(s *state) {
	type move struct {
		name string
		b    *binding
	}
	var moves []move
	m.tableMu.RLock()
	for name, n := range m.table.managed {
		if b := s.derived(name, m.names.wanted[name]&listedName == 0); b != n.binding {
			moves = append(moves, move{name, b})
		}
	}
	m.tableMu.RUnlock()
	for _, mv := range moves {
		m.move(mv.name, mv.b)
	}
}
