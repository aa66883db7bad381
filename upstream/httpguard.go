package upstream

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
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

	mu      sync.Mutex // one goroutine reads while another writes
	in, out framer
	waiting bool // for the response to a request that has begun
	dead    bool // nothing that comes may be used
}

func newGuard(conn net.Conn) *guardConn {
	return &guardConn{Conn: conn, in: framer{response: true}}
}

var errGuardDead = errors.New("the upstream has sent what nobody asked for, so that the connection cannot be used any more")

// Read implements io.Reader.
func (g *guardConn) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n <= 0 || g.tunnel.Load() {
		return n, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.accept(p[:n], err)
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
		g.tunnel.Store(true)
		g.in, g.out = framer{}, framer{}
	case frameDone:
		g.waiting = false
		if n < len(p) || g.in.doubtful {
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
			if g.waiting { // net/http took the response before for complete
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

// CloseWrite ends the sending direction, where the connection can.
func (g *guardConn) CloseWrite() error {
	if c, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
