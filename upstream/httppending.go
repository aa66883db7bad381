package upstream

import (
	"net"
	"os"
	"syscall"
	"time"
)

// pending finds out whether bytes have come on a connection that nobody has read yet.
type pending struct {
	raw   syscall.RawConn // nil if it cannot be found out, as through TLS
	timed *timedConn      // nil if reads have no limit
	look  func(fd uintptr)
	any   bool // guarded by whoever calls found
}

func newPending(conn net.Conn) *pending {
	p := &pending{}
	p.look = func(fd uintptr) { p.any = peek(fd) }
	for canPeek && conn != nil {
		switch c := conn.(type) {
		case *timedConn:
			p.timed, conn = c, c.Conn
		case *trackedConn:
			conn = c.Conn
		case *net.TCPConn:
			p.raw, _ = c.SyscallConn()
			return p
		case *net.UnixConn:
			p.raw, _ = c.SyscallConn()
			return p
		default:
			return p
		}
	}
	return p
}

// found reports whether there is something to read, the end of the connection included. It does not wait, not even for
// another goroutine that does.
func (p *pending) found() bool {
	if p.raw == nil {
		return false
	}
	p.any = false
	return p.raw.Control(p.look) == nil && p.any
}

// wait waits until there is something to read, and reads nothing. Each time something may be there it calls look, which
// is to report whether that is so.
func (p *pending) wait(look func(fd uintptr) bool) error {
	if p.timed != nil && p.timed.read > 0 {
		if err := p.timed.SetReadDeadline(time.Now().Add(p.timed.read)); err != nil {
			return err
		}
	}
	return p.raw.Read(look)
}

// gateConn is what TLS reads from. While it is shut nothing comes from the network, so that TLS can be asked for what it
// holds already. It is used by the one goroutine that reads.
type gateConn struct {
	net.Conn
	shut bool
}

// Read implements io.Reader.
func (g *gateConn) Read(p []byte) (int, error) {
	if g.shut {
		return 0, os.ErrDeadlineExceeded // which crypto/tls takes for no lasting error
	}
	return g.Conn.Read(p)
}

// NetConn returns the connection below.
func (g *gateConn) NetConn() net.Conn { return g.Conn }

// held reports whether TLS holds bytes that have not been read yet. They are gone then. A nil gate holds none.
func (g *gateConn) held(over net.Conn) bool {
	if g == nil {
		return false
	}
	g.shut = true
	defer func() { g.shut = false }()
	var one [1]byte
	n, _ := over.Read(one[:])
	return n > 0
}
