package listen

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Bounds of the pause after an accept that failed for want of resources.
const (
	minBackoff = time.Millisecond
	maxBackoff = time.Second
)

// listener is what package net's stream listeners have in common.
type listener interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
	File() (*os.File, error)
}

// Socket is one open listening socket. It is safe for concurrent use.
type Socket struct {
	m      *Manager
	target *target
	ln     listener
	opened time.Time
	file   os.FileInfo // unix: what was bound, to remove nothing else
	mode   fs.FileMode // unix; guarded by Manager.mu
	inode  uint64      // its identity in the system's list

	accepted atomic.Uint64
	server   atomic.Pointer[server]

	inherited *Inherited  // nil unless another process has handed it over
	handed    atomic.Bool // another process has it now

	running bool // guarded by Manager.mu
	drain   chan struct{}
	shut    chan struct{} // closed when the listener is
	done    chan struct{}
	// Set before drain is closed.
	hidden time.Time
	heirs  []*Socket
	onGone func(*Socket)
}

// server is what a generation swaps.
type server struct {
	serve     Serve
	owner     string
	keepAlive net.KeepAliveConfig
}

func newSocket(m *Manager, w *want, ln listener) *Socket {
	s := &Socket{m: m, target: w.target, ln: ln, opened: m.now(), mode: w.addr.Mode, drain: make(chan struct{}), shut: make(chan struct{}), done: make(chan struct{})}
	s.set(w, nil)
	control(ln, func(fd uintptr) error { s.inode = inode(fd); return nil })
	return s
}

// Key returns the socket's identity.
func (s *Socket) Key() Key { return s.target.key }

// Addr returns the bound address, with the port that the system chose.
func (s *Socket) Addr() net.Addr { return s.ln.Addr() }

// Owner returns the name of the server that the socket belongs to now.
func (s *Socket) Owner() string { return s.server.Load().owner }

// ChosenPort reports whether the port was left to the system.
func (s *Socket) ChosenPort() bool { return s.target.kind == kindTCP && s.target.port == 0 }

// Accepted returns how many connections were accepted so far.
func (s *Socket) Accepted() uint64 { return s.accepted.Load() }

// Done is closed when the socket has left and its last connection was handed
// over.
func (s *Socket) Done() <-chan struct{} { return s.done }

// File returns a duplicate of the descriptor, for another process to inherit.
// The caller closes it.
func (s *Socket) File() (*os.File, error) { return s.ln.File() }

// SetServe makes serve the server of the connections accepted from now on.
func (s *Socket) SetServe(serve Serve) {
	for {
		old := s.server.Load()
		next := *old
		next.serve = serve
		if s.server.CompareAndSwap(old, &next) {
			return
		}
	}
}

func (s *Socket) set(w *want, serve Serve) {
	s.server.Store(&server{serve: serve, owner: w.owner, keepAlive: w.keepAlive})
}

func (s *Socket) info(leaving bool) SocketInfo {
	return SocketInfo{Key: s.target.key, Addr: s.Addr(), Owner: s.Owner(), Accepted: s.accepted.Load(), Opened: s.opened, Leaving: leaving}
}

// start begins to accept.
func (s *Socket) start() {
	s.running = true
	go s.run()
}

// leave takes the socket out of service: no new connection reaches it, the
// accepting goroutine hands over what is left and closes it.
func (s *Socket) leave(heirs []*Socket, gone func(*Socket)) {
	s.heirs, s.onGone = heirs, gone
	if !s.shared() {
		s.hide()
	}
	s.hidden = time.Now()
	s.ln.SetDeadline(time.Unix(1, 0)) // wakes Accept
	close(s.drain)
}

// abandon lets go of a socket that never accepted. Its queue goes to heirs;
// without them nobody was promised anything.
func (s *Socket) abandon(heirs []*Socket) {
	shared := s.shared()
	if !shared {
		s.hide()
	}
	if len(heirs) == 0 || shared {
		s.ln.Close()
		close(s.shut)
		close(s.done)
		return
	}
	s.m.leaving[s] = struct{}{}
	s.heirs, s.hidden = heirs, time.Now()
	close(s.drain)
	s.running = true
	go s.run()
}

// shared reports whether another process has the socket, so that it must be
// left as it is.
func (s *Socket) shared() bool { return s.handed.Load() || s.inherited.shared() }

// run accepts until the socket leaves.
func (s *Socket) run() {
	s.inherited.Wait(s.drain)
	var pause time.Duration
	for !s.isLeaving() {
		c, err := s.ln.Accept()
		if err == nil {
			pause = 0
			s.deliver(c)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			<-s.drain // it is closed by nobody else before it leaves
		}
		if transient(err) {
			continue
		}
		pause = min(max(2*pause, minBackoff), maxBackoff)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-s.drain:
			t.Stop()
		}
	}
	if !s.shared() {
		s.drainQueue()
	}
	s.ln.Close()
	close(s.shut)
	s.m.gone(s)
	close(s.done)
	if s.onGone != nil {
		s.onGone(s)
	}
}

func (s *Socket) isLeaving() bool {
	select {
	case <-s.drain:
		return true
	default:
		return false
	}
}

// drainQueue hands over the connections of a hidden socket: those whose
// handshake is under way as they finish, then those in the queue.
func (s *Socket) drainQueue() {
	if s.target.kind == kindFD {
		return // the queue belongs to every holder of the descriptor
	}
	end := time.Now().Add(maxLinger)
	if s.target.kind == kindTCP {
		for step := minLinger; ; step = min(2*step, maxLinger/20) {
			s.acceptUntil(time.Now().Add(step))
			if n, err := handshakes(s); n == 0 && err == nil || time.Now().After(end) {
				break
			}
		}
	}
	for {
		c, err := acceptNow(s.ln)
		if err != nil {
			if transient(err) {
				continue
			}
			if !exhausted(err) || time.Now().After(end) {
				return
			}
			time.Sleep(minLinger) // until a descriptor is free
			continue
		}
		s.deliver(c)
	}
}

func (s *Socket) acceptUntil(end time.Time) {
	s.ln.SetDeadline(end)
	for {
		c, err := s.ln.Accept()
		if err == nil {
			s.deliver(c)
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return
		}
		if !transient(err) {
			if rest := time.Until(end); rest > 0 { // descriptors have run out
				time.Sleep(min(rest, minLinger))
			}
			if time.Now().After(end) {
				return
			}
		}
	}
}

// deliver hands c to the server.
func (s *Socket) deliver(c net.Conn) {
	s.accepted.Add(1)
	to := s
	if s.isLeaving() {
		to = s.heir(c)
	}
	srv := to.server.Load()
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetKeepAliveConfig(srv.keepAlive) // best effort: the peer may be gone
	}
	if srv.serve == nil {
		c.Close()
		return
	}
	srv.serve(to, c)
}

// heir is the socket that c would have reached, had it come later.
func (s *Socket) heir(c net.Conn) *Socket {
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		ip := netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		for _, h := range s.heirs {
			if h.target.covers(ip.Addr(), ip.Port()) {
				return h
			}
		}
	}
	return s
}

// transient reports whether the error of an accept concerns one connection
// only, so that the next may be accepted at once.
func transient(err error) bool {
	return errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ECONNRESET)
}

// exhausted reports whether an accept failed for want of resources.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}
