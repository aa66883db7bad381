package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
)

// Handed is a socket on its way to the process that takes this one's place.
type Handed struct {
	// Key is the socket's identity.
	Key Key
	// File is a descriptor of it. It belongs to whoever has the Handed.
	File *os.File
	// Elders are the processes that still have QUIC connections over a UDP socket: the one that hands it over, and
	// those before it.
	Elders []Elder
}

// Elder is a process that has QUIC connections over a UDP socket which another process reads.
type Elder struct {
	// Tag is the first byte of its connection IDs.
	Tag byte
	// File is where it gets its packets.
	File *os.File
}

// Close closes all descriptors.
func (h *Handed) Close() {
	if h.File != nil {
		_ = h.File.Close()
	}
	for _, e := range h.Elders {
		_ = e.File.Close()
	}
}

// Inherited is the sockets that a process was handed over. Whoever would open one of them takes it instead. They are
// shared with the process before until Begin is called: nothing is accepted from them, closing one closes nothing but a
// descriptor, and it can be taken again. A nil Inherited is of a process that was handed nothing. It is safe for concurrent use.
type Inherited struct {
	begun chan struct{} // closed by Begin
	once  sync.Once

	mu    sync.Mutex
	list  map[Key]Handed
	taken map[Key]bool
	ready []func() // called by Begin
}

// NewInherited takes the list over.
func NewInherited(list []Handed) *Inherited {
	i := &Inherited{begun: make(chan struct{}), list: map[Key]Handed{}, taken: map[Key]bool{}}
	for _, h := range list {
		i.list[h.Key] = h
	}
	return i
}

// Take finds a socket, if it was handed over. The descriptors stay with the Inherited, which closes them when it
// begins.
func (i *Inherited) Take(key Key) (Handed, bool) {
	if i == nil {
		return Handed{}, false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	h, ok := i.list[key]
	if ok {
		i.taken[key] = true
	}
	return h, ok
}

// Listener is Take for a stream socket, with a descriptor of its own.
func (i *Inherited) Listener(key Key) (net.Listener, bool, error) {
	h, ok := i.Take(key)
	if !ok {
		return nil, false, nil
	}
	ln, err := net.FileListener(h.File)
	if err != nil {
		return nil, true, fmt.Errorf("using the socket that was handed over: %w", plain(err))
	}
	return ln, true, nil
}

// has reports whether a socket is there to be taken.
func (i *Inherited) has(key Key) bool {
	if i == nil {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	_, ok := i.list[key]
	return ok
}

// Begin says that the sockets belong to this process now. Those that nobody has taken are closed, and named.
func (i *Inherited) Begin() (unused []string) {
	i.once.Do(func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		for _, f := range i.ready {
			f()
		}
		for key, h := range i.list {
			if !i.taken[key] {
				unused = append(unused, string(key))
			}
			h.Close()
		}
		i.list, i.ready = nil, nil
		close(i.begun)
	})
	slices.Sort(unused)
	return unused
}

// OnBegin has f called before anything is accepted; at once if that is now.
func (i *Inherited) OnBegin(f func()) {
	if i == nil {
		f()
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.shared() {
		i.ready = append(i.ready, f)
		return
	}
	f()
}

// shared reports whether the process before still has the sockets.
func (i *Inherited) shared() bool {
	if i == nil {
		return false
	}
	select {
	case <-i.begun:
		return false
	default:
		return true
	}
}

// Wait returns when the sockets belong to this process, or when stop is closed, which it reports by false.
func (i *Inherited) Wait(stop <-chan struct{}) bool {
	if i == nil {
		return true
	}
	select {
	case <-i.begun:
		return true
	default:
	}
	select {
	case <-i.begun:
		return true
	case <-stop:
		return false
	}
}

// adopt takes the socket of w over, if it was handed to this process.
func (m *Manager) adopt(w *want) (*Socket, error) {
	l, ok, err := m.inherited.Listener(w.key)
	if !ok || err != nil {
		return nil, err
	}
	ln, ok := l.(listener)
	if !ok {
		_ = l.Close()
		return nil, errors.New("using the socket that was handed over: it is no stream socket")
	}
	s := newSocket(m, w, ln)
	s.inherited = m.inherited
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
		if !w.addr.IsAbstract() {
			if s.file, err = os.Lstat(w.path); err != nil {
				s.file = nil // somebody has removed it; what is connected goes on
			}
		}
	}
	return s, nil
}

// Hand returns the open sockets for another process to inherit, those aside that this one was started with, which a
// child has by their numbers. They stay open here.
func (m *Manager) Hand() ([]Handed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Handed
	for key, s := range m.sockets {
		if s.target.kind == kindFD {
			continue
		}
		f, err := s.File()
		if err != nil {
			closeHanded(list)
			return nil, fmt.Errorf("handing %s over: %w", s.target.text(), plain(err))
		}
		list = append(list, Handed{Key: key, File: f})
	}
	slices.SortFunc(list, func(a, b Handed) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return list, nil
}

func closeHanded(list []Handed) {
	for i := range list {
		list[i].Close()
	}
}

// Leave stops accepting and leaves the sockets, with what waits in their queues, to the process that has inherited
// them. It returns when every connection that was accepted is handed to its server.
func (m *Manager) Leave(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	var all []*Socket
	for s := range m.leaving {
		all = append(all, s)
	}
	for key, s := range m.sockets {
		delete(m.sockets, key)
		all = append(all, s)
		s.handed.Store(true)
		if s.running {
			m.leaving[s] = struct{}{}
			s.leave(nil, nil)
		} else {
			s.abandon(nil)
		}
	}
	m.mu.Unlock()
	for _, s := range all {
		select {
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// elders lists the tags of the processes that have connections over UDP sockets.
func (i *Inherited) elders() map[byte]bool {
	tags := map[byte]bool{}
	if i == nil {
		return tags
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, h := range i.list {
		for _, e := range h.Elders {
			tags[e.Tag] = true
		}
	}
	return tags
}
