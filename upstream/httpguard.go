package upstream

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sluiceproxy/sluice/internal/idleread"
)

// guardConn is a connection that speaks HTTP/1 and on which nothing is a response that was not asked for. It follows the
// messages in both directions. What an upstream sends beyond the end of a response is held back and ends the
// connection, so that it can never be taken for the response to the next request; net/http alone leaves that to
// chance, because it offers a connection for use before it has looked for such bytes.
//
// To end the connection it reports io.EOF together with the last bytes of a response. net/http then does not keep it.
type guardConn struct {
	net.Conn
	tunnel atomic.Bool // after 101
	ahead  []byte      // what came with the 101; used by the one goroutine that reads

	mu      sync.Mutex // one goroutine reads while another writes
	in, out framer
	late    *pending
	idle    func(fd uintptr) bool // idling, made once
	gate    *gateConn             // below TLS; nil without
	waiting bool                  // for the response to a request that has begun
	dead    bool                  // nothing that comes may be used
}

func newGuard(conn net.Conn) *guardConn {
	g := &guardConn{Conn: conn, in: framer{response: true}, late: newPending(conn)}
	g.idle = g.idling
	return g
}

var errGuardDead = errors.New("the upstream has closed the connection or sent what nobody asked for, so that it cannot be used any more")

// Read implements io.Reader.
func (g *guardConn) Read(p []byte) (int, error) {
	if len(g.ahead) > 0 {
		n := copy(p, g.ahead)
		if g.ahead = g.ahead[n:]; len(g.ahead) == 0 {
			g.ahead = nil
		}
		return n, nil
	}
	if err := g.await(); err != nil {
		return 0, err
	}
	n, err := g.Conn.Read(p)
	if n <= 0 || g.tunnel.Load() {
		return n, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.accept(p[:n], err)
}

// await waits for the first byte where no request is under way. What comes before the next request is judged before that
// request can begin, and not, read already, after it.
func (g *guardConn) await() error {
	if g.late.raw == nil || g.tunnel.Load() {
		return nil
	}
	g.mu.Lock()
	busy := g.waiting || g.dead
	g.mu.Unlock()
	if busy {
		return nil
	}
	return g.late.wait(g.idle)
}

// idling reports whether there is something to read.
func (g *guardConn) idling(fd uintptr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !peek(fd) {
		return false
	}
	g.dead = g.dead || !g.waiting
	return true
}

// accept returns how much of what was read is to be seen.
func (g *guardConn) accept(p []byte, err error) (int, error) {
	if g.dead || !g.waiting {
		g.dead = true
		return 0, io.EOF
	}
	n, bad := g.in.feed(p)
	if bad != nil {
		g.dead = true
		return 0, bad
	}
	switch g.in.state {
	case frameTunnel:
		g.ahead = append([]byte(nil), p[n:]...) // out of net/http's buffer, which a tunnel does without
		g.tunnel.Store(true)
		g.in, g.out = framer{}, framer{}
	case frameDone:
		g.waiting = false
		if n < len(p) || g.in.doubtful || g.gate.held(g.Conn) {
			g.dead = true
			return n, io.EOF
		}
	}
	return n, err
}

// Write implements io.Writer.
func (g *guardConn) Write(p []byte) (int, error) {
	if !g.tunnel.Load() {
		if err := g.follow(p); err != nil {
			return 0, err
		}
	}
	return g.Conn.Write(p)
}

// follow takes note of what is about to be sent.
func (g *guardConn) follow(p []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return errGuardDead
	}
	for len(p) > 0 {
		if g.out.state == frameDone {
			// Either net/http took the response before for complete, or something came behind it that nobody has read yet.
			if g.waiting || g.late.found() {
				g.dead = true
				return errGuardDead
			}
			g.out.begin(false)
			g.in.begin(false)
			g.waiting = true
		}
		n, err := g.out.feed(p)
		if err != nil {
			return err
		}
		g.in.noBody = g.out.method == "HEAD"
		p = p[n:]
	}
	return nil
}

// RawRead returns what to read from without this connection's help: in a tunnel.
func (g *guardConn) RawRead() syscall.RawConn {
	if !g.tunnel.Load() || len(g.ahead) > 0 {
		return nil
	}
	return idleread.RawOf(g.Conn)
}

// CloseWrite ends the sending direction, where the connection can.
func (g *guardConn) CloseWrite() error { return closeWrite(g.Conn) }

func closeWrite(conn net.Conn) error {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
