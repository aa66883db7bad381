package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sort"
	"strings"
)

// Binding is one wanted address and the socket that serves it.
type Binding struct {
	Want   int     // index in the wants the plan was made of
	Index  int     // which port of its range
	Key    Key     // the socket's identity
	Socket *Socket // nil for a socket that Prepare has yet to open
}

// Step is what a plan does about one socket.
type Step struct {
	Key    Key
	Owner  string
	Socket *Socket // nil if it is not open yet
	// Over lists the open sockets that hand connections over to this one when
	// it is opened, or that take over its connections when it is closed.
	Over []Key
}

// Plan is the way from the open sockets to the wanted ones. It touches nothing
// until Prepare. Use it from one goroutine.
type Plan struct {
	m       *Manager
	version uint64
	wants   []*want // one per socket, in the order of the wants
	binds   []Binding
	closing []*Socket
	opened  []*Socket
	chmods  []chmod
	state   planState
}

type planState uint8

const (
	planned planState = iota
	prepared
	begun
	finished
)

// want is a target with who wants it.
type want struct {
	*target
	owner     string
	keepAlive net.KeepAliveConfig
	socket    *Socket
}

// Plan compares the wanted addresses with the open sockets. Its error joins
// every problem: addresses that are unknown, cannot be resolved, are listed
// twice, or mean the same socket for two owners.
func (m *Manager) Plan(ctx context.Context, wants []Want) (*Plan, error) {
	m.mu.Lock()
	p := &Plan{m: m, version: m.version}
	open := make(map[Key]*Socket, len(m.sockets))
	for k, s := range m.sockets {
		open[k] = s
	}
	m.mu.Unlock()

	isOpen := func(k Key) bool { return open[k] != nil || m.inherited.has(k) }
	var errs []error
	texts := map[string]string{}
	byKey := map[Key]*want{}
	for i, w := range wants {
		for j := range w.Addr.Count() {
			a := w.Addr.At(j)
			if other, dup := texts[plainText(a)]; dup {
				errs = append(errs, &OwnerError{w.Owner, fmt.Errorf("%s: listed twice, by %s and %s; list each address once",
					addrText(a), ownerText(other), ownerText(w.Owner))})
				continue
			}
			texts[plainText(a)] = w.Owner
			t, err := m.canonical(ctx, a, isOpen)
			if err != nil {
				errs = append(errs, &OwnerError{w.Owner, fmt.Errorf("%s of %s: %w", addrText(a), ownerText(w.Owner), err)})
				continue
			}
			n := &want{target: t, owner: w.Owner, keepAlive: w.KeepAlive, socket: open[t.key]}
			if have := byKey[t.key]; have == nil {
				byKey[t.key] = n
				p.wants = append(p.wants, n)
			} else if err := have.clash(n); err != nil {
				errs = append(errs, err)
				continue
			}
			p.binds = append(p.binds, Binding{Want: i, Index: j, Key: t.key})
		}
	}
	errs = append(errs, p.foldWildcards(byKey)...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for k, s := range open {
		if byKey[k] == nil {
			p.closing = append(p.closing, s)
		}
	}
	sort.Slice(p.closing, func(i, j int) bool { return p.closing[i].target.key < p.closing[j].target.key })
	p.bind()
	return p, nil
}

// plainText is what two addresses must not share: the mode is no part of it.
func plainText(a interface{ String() string }) string {
	text, _, _ := strings.Cut(a.String(), "|")
	return text
}

func ownerText(owner string) string { return fmt.Sprintf("server %q", owner) }

// clash tells whether n may be merged into w, which has the same key.
func (w *want) clash(n *want) error {
	if w.owner != n.owner {
		return &OwnerError{n.owner, fmt.Errorf("%s of %s and %s of %s are the same socket; give each server its own address",
			w.text(), ownerText(w.owner), n.text(), ownerText(n.owner))}
	}
	if w.kind == kindUnix && w.addr.Mode != n.addr.Mode {
		return &OwnerError{w.owner, fmt.Errorf("%s and %s of %s are the same socket with two modes; want one", w.text(), n.text(), ownerText(w.owner))}
	}
	return nil
}

// foldWildcards merges tcp6/:80 into :80: for IPv6 the kernel would prefer
// neither. One owner gets what it asked for from :80 alone.
func (p *Plan) foldWildcards(byKey map[Key]*want) (errs []error) {
	kept := p.wants[:0]
	for _, w := range p.wants {
		dual := target{kind: kindTCP, v4: true, v6: true, port: w.port}
		have := byKey[dual.tcpKey()]
		if !w.wildcard() || w.v4 || w.port == 0 || have == nil {
			kept = append(kept, w)
			continue
		}
		if have.owner != w.owner {
			errs = append(errs, &OwnerError{w.owner, fmt.Errorf("%s of %s and %s of %s both take every IPv6 connection; give each server its own address",
				have.text(), ownerText(have.owner), w.text(), ownerText(w.owner))})
		}
		delete(byKey, w.key)
		for i := range p.binds {
			if p.binds[i].Key == w.key {
				p.binds[i].Key = have.key
			}
		}
	}
	p.wants = kept
	return errs
}

// bind fills in the sockets of the bindings.
func (p *Plan) bind() {
	sockets := make(map[Key]*Socket, len(p.wants))
	for _, w := range p.wants {
		sockets[w.key] = w.socket
	}
	for i := range p.binds {
		p.binds[i].Socket = sockets[p.binds[i].Key]
	}
}

// Bindings returns the socket of every wanted address, in the order of the
// wants. Sockets that are not open yet are nil before Prepare.
func (p *Plan) Bindings() []Binding { return p.binds }

// Changes reports whether the plan opens or closes a socket.
func (p *Plan) Changes() bool { return len(p.closing) > 0 || len(p.Open()) > 0 }

// Opened returns the sockets that Prepare opened.
func (p *Plan) Opened() []*Socket { return p.opened }

// Kept lists the sockets that stay as they are.
func (p *Plan) Kept() []Step {
	return p.steps(func(w *want) bool { return w.socket != nil && !p.isOpened(w.socket) })
}

// Open lists the sockets to open. Those with an Over are handed over.
func (p *Plan) Open() []Step {
	return p.steps(func(w *want) bool { return w.socket == nil || p.isOpened(w.socket) })
}

func (p *Plan) isOpened(s *Socket) bool {
	for _, o := range p.opened {
		if o == s {
			return true
		}
	}
	return false
}

func (p *Plan) steps(pick func(*want) bool) (steps []Step) {
	for _, w := range p.wants {
		if !pick(w) {
			continue
		}
		st := Step{Key: w.key, Owner: w.owner, Socket: w.socket}
		for _, s := range p.closing {
			if s.target.overlaps(w.target) {
				st.Over = append(st.Over, s.target.key)
			}
		}
		for _, o := range p.wants {
			if o != w && o.socket != nil && o.overlaps(w.target) {
				st.Over = append(st.Over, o.key)
			}
		}
		steps = append(steps, st)
	}
	return steps
}

// Close lists the sockets that Commit closes, with those that take over.
func (p *Plan) Close() (steps []Step) {
	for _, s := range p.closing {
		st := Step{Key: s.target.key, Owner: s.Owner(), Socket: s}
		for _, w := range p.wants {
			if w.overlaps(s.target) {
				st.Over = append(st.Over, w.key)
			}
		}
		steps = append(steps, st)
	}
	return steps
}
