// Package listen owns the process's listening sockets.
//
// A socket belongs to an address, not to the server that is configured on it.
// A [Manager] holds what is open; [Manager.Plan] compares that with what a new
// generation wants and says, before anything is touched, what is kept, opened,
// handed over and closed; Prepare opens, and may fail and be undone; Commit,
// after the generations were swapped, cannot fail. An address that is in the
// old and in the new plan keeps its very socket, so no edit can lose one of
// its connections.
//
// # Handing over
//
// A new address may overlap an open one: 127.0.0.1:80 and :80. The kernel
// refuses that unless both sockets have SO_REUSEPORT. Sockets are opened
// without it, so that neither we nor a stranger shares an address silently;
// for a hand-over it is set on our own overlapping sockets, the new socket is
// bound with it, and it is taken off all of them again (Linux looks at the
// flags of both sides at the time of the bind). Strangers that also set
// SO_REUSEPORT under our user id would be let in by that, so before it the
// listening sockets of the system (from netlink, else /proc/net/tcp) are
// searched for overlapping ones that are not ours. Where neither can be read
// only the kernel's own check is left. The other way round there is a gap that
// Linux leaves: once a port was handed over, and until its sockets are closed,
// a process of our user that sets SO_REUSEPORT of its own accord is let in. A
// second sluice never does so on a port where it has no socket.
//
// A TCP socket that leaves is first hidden: it is bound to an interface that
// does not exist, which takes it out of the kernel's search for new
// connections (Linux 5.7 or later, no privilege needed) while handshakes under
// way still finish on it. When none is left its accept queue is emptied; its
// connections go to the socket that now covers their address, else to the last
// server of the old one. Only then is it closed: closing a listener resets
// what waits in its queue.
package listen

import (
	"context"
	"errors"
	"net"
	"sort"
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// Times of a socket that leaves.
const (
	minLinger = 20 * time.Millisecond // for packets that were being handled when it was hidden
	maxLinger = 5 * time.Second       // for handshakes that never finish
)

// Want is one address that a generation listens on.
type Want struct {
	Addr      netaddr.Addr // a range stands for its single ports
	Owner     string       // the server's name, for messages and for List
	KeepAlive net.KeepAliveConfig
}

// Serve takes over a connection that was accepted on s. It is called on the
// goroutine that accepts and must return at once.
type Serve func(s *Socket, c net.Conn)

// Options are what a Manager needs of its surroundings; the zero value is the
// real thing.
type Options struct {
	Resolver Resolver         // finds the addresses of host names
	Now      func() time.Time // the clock of SocketInfo.Opened
	// Inherited is what the process before has handed over; nil if nothing.
	Inherited *Inherited
}

// Manager owns the listening sockets of a process. All methods are safe for
// concurrent use; plans are carried out one after the other.
type Manager struct {
	resolver  Resolver
	now       func() time.Time
	dualStack bool // one socket can take IPv4 and IPv6
	inherited *Inherited

	handshakes handshakeList

	mu      sync.Mutex
	version uint64 // counts commits
	busy    *Plan  // prepared, neither committed nor undone
	closed  bool
	sockets map[Key]*Socket
	leaving map[*Socket]struct{} // hidden, being drained
}

// NewManager returns a Manager without sockets.
func NewManager(o Options) *Manager {
	if o.Resolver == nil {
		o.Resolver = &net.Resolver{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Manager{
		resolver: o.Resolver, now: o.Now, dualStack: hasDualStack(), inherited: o.Inherited,
		sockets: map[Key]*Socket{}, leaving: map[*Socket]struct{}{},
	}
}

// ErrClosed is returned by a Manager after Close.
var ErrClosed = errors.New("the socket manager is closed")

// SocketInfo describes an open socket.
type SocketInfo struct {
	Key      Key
	Addr     net.Addr // with the port that the system chose
	Owner    string
	Accepted uint64 // connections so far
	Opened   time.Time
	Leaving  bool // no longer wanted, waiting for handshakes under way
}

// List returns the open sockets, sorted by key.
func (m *Manager) List() []SocketInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]SocketInfo, 0, len(m.sockets)+len(m.leaving))
	for _, s := range m.sockets {
		list = append(list, s.info(false))
	}
	for s := range m.leaving {
		list = append(list, s.info(true))
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Key < list[j].Key })
	return list
}

// Close stops accepting on every socket, hands over what waits in their
// queues and closes them. It returns when all are closed; when ctx ends before
// that they are closed at once and ctx's error is returned.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	all := make([]*Socket, 0, len(m.sockets)+len(m.leaving))
	for s := range m.leaving {
		all = append(all, s)
	}
	for key, s := range m.sockets {
		delete(m.sockets, key)
		all = append(all, s)
		if s.running {
			m.leaving[s] = struct{}{}
			s.leave(nil, nil)
		} else {
			s.abandon(nil)
		}
	}
	m.mu.Unlock()
	for i, s := range all {
		select {
		case <-s.done:
		case <-ctx.Done():
			for _, s := range all[i:] {
				s.ln.Close()
			}
			return ctx.Err()
		}
	}
	return nil
}

// gone is told by a socket that it has closed.
func (m *Manager) gone(s *Socket) {
	m.mu.Lock()
	delete(m.leaving, s)
	m.mu.Unlock()
}

// KeepAlive makes the probe settings of a server's fields keepalive_interval,
// keepalive_idle and keepalive_count. A negative interval means no probes; zero
// is 15 s, 15 s and 9; other negative values leave the system's own.
func KeepAlive(interval, idle time.Duration, count int) net.KeepAliveConfig {
	if interval < 0 {
		return net.KeepAliveConfig{}
	}
	return net.KeepAliveConfig{Enable: true, Interval: interval, Idle: idle, Count: count}
}
