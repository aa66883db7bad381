package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// chmod is a mode that Prepare changed, and how to put it back.
type chmod struct {
	socket   *Socket
	path     string
	old, new fs.FileMode
}

// Prepare opens the sockets that the plan lacks. They take no connections yet;
// clients that connect wait in their queues until Commit. If one fails, those
// that were opened are closed again and the error, which names the address and
// who holds it, joins every failure. The plan must be the only one prepared.
func (p *Plan) Prepare(ctx context.Context) error {
	m := p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return ErrClosed
	case p.state != planned:
		return errors.New("the listen plan has been carried out")
	case m.busy != nil:
		return errors.New("another listen plan is being carried out")
	case m.version != p.version:
		return errors.New("the open sockets have changed since the listen plan was made; plan again")
	}
	var errs []error
	for _, w := range p.wants {
		if w.socket != nil {
			if err := p.prepareMode(w); err != nil {
				errs = append(errs, err)
			}
			continue
		}
		s, err := m.open(ctx, w)
		if err != nil {
			errs = append(errs, &OwnerError{w.owner, fmt.Errorf("listening on %s for %s: %w", w.text(), ownerText(w.owner), err)})
			continue
		}
		w.socket = s
		m.sockets[w.key] = s
		p.opened = append(p.opened, s)
	}
	p.state, m.busy = prepared, p
	if err := errors.Join(errs...); err != nil {
		p.undo()
		return err
	}
	p.bind()
	return nil
}

// prepareMode changes the mode of a unix socket that is kept.
func (p *Plan) prepareMode(w *want) error {
	if w.kind != kindUnix || w.addr.IsAbstract() || w.addr.Mode == w.socket.mode {
		return nil
	}
	c := chmod{socket: w.socket, path: w.path, old: w.socket.mode, new: w.addr.Mode}
	if err := os.Chmod(c.path, c.new); err != nil {
		return &OwnerError{w.owner, fmt.Errorf("setting the mode of %s for %s: %w", w.text(), ownerText(w.owner), err)}
	}
	p.chmods = append(p.chmods, c)
	return nil
}

// Undo closes what Prepare opened and nothing else. Connections that came to a
// new socket meanwhile go to the open socket that covers their address. It
// does nothing unless the plan is prepared.
func (p *Plan) Undo() {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.state == prepared {
		p.undo()
	}
}

func (p *Plan) undo() {
	m := p.m
	for _, s := range p.opened {
		delete(m.sockets, s.target.key)
	}
	for _, s := range p.opened {
		if !m.closed { // else Close has let go of it
			s.abandon(m.covering(s.target))
		}
	}
	for _, c := range p.chmods {
		os.Chmod(c.path, c.old) // it is our file; nothing can be done if it is gone
	}
	for _, w := range p.wants {
		if p.isOpened(w.socket) {
			w.socket = nil
		}
	}
	p.opened, p.chmods = nil, nil
	p.state, m.busy = finished, nil
	p.bind()
}

// Commit is Begin and End in one.
func (p *Plan) Commit(serve Serve, gone func(*Socket)) {
	p.Begin(serve)
	p.End(gone)
}

// Begin makes serve the server of every socket of the plan and starts accepting
// on the new ones. Those that are to leave go on until End, which must follow.
// It cannot fail, but panics if the plan is not prepared.
func (p *Plan) Begin(serve Serve) {
	m := p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.state != prepared {
		panic("listen: Begin of a plan that is not prepared")
	}
	p.state = begun
	if m.closed {
		return // Close has let go of every socket
	}
	m.version++
	for _, c := range p.chmods {
		c.socket.mode = c.new
	}
	for _, w := range p.wants {
		w.socket.set(w, serve)
	}
	for _, s := range p.opened {
		s.start()
	}
}

// End lets the sockets go that the plan has no more use for. gone, which may be
// nil, is called for each, on another goroutine, after its last connection was
// handed over and it was closed. End panics if the plan was not begun.
func (p *Plan) End(gone func(*Socket)) {
	m := p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.state != begun {
		panic("listen: End of a plan that was not begun")
	}
	p.state, m.busy = finished, nil
	if m.closed {
		return
	}
	for _, s := range p.closing {
		delete(m.sockets, s.target.key)
		m.leaving[s] = struct{}{}
	}
	for _, s := range p.closing {
		s.leave(m.covering(s.target), gone)
	}
}

// covering returns the open sockets that overlap t, specific ones first.
func (m *Manager) covering(t *target) (list []*Socket) {
	var wild []*Socket
	for _, s := range m.sockets {
		switch {
		case !s.target.overlaps(t):
		case s.target.wildcard():
			wild = append(wild, s)
		default:
			list = append(list, s)
		}
	}
	// The kernel prefers 0.0.0.0 to [::] for IPv4.
	for _, dual := range []bool{false, true} {
		for _, s := range wild {
			if s.target.dual() == dual {
				list = append(list, s)
			}
		}
	}
	return list
}

// overlapping returns all our sockets, those that leave too, that stand in the
// way of a bind to t.
func (m *Manager) overlapping(t *target) (list []*Socket) {
	for _, s := range m.sockets {
		if s.target.overlaps(t) {
			list = append(list, s)
		}
	}
	for s := range m.leaving {
		if s.target.overlaps(t) {
			list = append(list, s)
		}
	}
	return list
}
