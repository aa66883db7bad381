package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluiceproxy/sluice/internal/idleread"
	"github.com/sluiceproxy/sluice/upstream/framing"
)

// guardConn is a connection that speaks HTTP/1 and on which nothing is a response that was not asked for. It follows the
// messages in both directions. What an upstream sends beyond the end of a response is held back and ends the
// connection, so that it can never be taken for the response to the next request; net/http alone leaves that to
// chance, because it offers a connection for use before it has looked for such bytes.
//
// To end the connection it reports io.EOF together with the last bytes of a response. net/http then does not keep it.
type guardConn struct {
	net.Conn
	gate   *gateConn   // below TLS; nil without
	tunnel atomic.Bool // after 101
	ahead  []byte      // what came with the 101; used by the one goroutine that reads

	mu      sync.Mutex // one goroutine reads while another writes
	in, out framing.Framer
	late    *pending
	idle    func(fd uintptr) bool // readIdle, made once
	into    []byte                // where readIdle reads to, and what came of it
	n       int
	err     error
	waiting bool        // for the response to a request that has begun
	silent  bool        // and nothing of it has come
	kept    bool        // there was a request before
	dead    bool        // nothing that comes may be used
	timer   *time.Timer // see [guardConn.retire]; nil if the upstream does not say when it hangs up
}

func newGuard(conn net.Conn) *guardConn {
	g := &guardConn{Conn: conn, in: framing.NewFramer(true), late: newPending(conn)}
	g.idle = g.readIdle
	return g
}

var errGuardDead = &StaleError{Err: errors.New("it was closed, or has sent what nobody asked for")}

// Read implements io.Reader.
func (g *guardConn) Read(p []byte) (int, error) {
	n, err := g.read(p)
	if n == 0 && err != nil && !g.tunnel.Load() {
		err = g.explain(err)
	}
	return n, err
}

// explain says that an upstream has hung up instead of answering a request on a connection that it had kept. Of one that
// hangs up while nobody asks for anything it returns no io.EOF: net/http would take that for an error that nothing is known
// of, and not send again a request of which nothing was sent.
func (g *guardConn) explain(err error) error {
	if err != io.EOF && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kept && (!g.waiting || g.silent) {
		return &StaleError{Err: err}
	}
	return err
}

func (g *guardConn) read(p []byte) (int, error) {
	if len(g.ahead) > 0 {
		n := copy(p, g.ahead)
		if g.ahead = g.ahead[n:]; len(g.ahead) == 0 {
			g.ahead = nil
		}
		return n, nil
	}
	if g.isIdle() && len(p) > 0 {
		g.into = p
		err := g.late.wait(g.idle)
		g.into = nil
		if err != nil {
			return 0, err
		}
		return g.n, g.err
	}
	n, err := g.Conn.Read(p)
	if n <= 0 || g.tunnel.Load() {
		return n, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.accept(p[:n], err)
}

// isIdle reports whether no request is under way, on a connection that readIdle can read.
func (g *guardConn) isIdle() bool {
	if g.late.raw == nil || g.tunnel.Load() {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.waiting && !g.dead
}

// readIdle reads and judges in one step, so that what came before a request can not be read before it begins and judged
// after. It reports false if there is nothing to read yet.
func (g *guardConn) readIdle(fd uintptr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, err := readNow(fd, g.into)
	switch {
	case err == syscall.EAGAIN:
		return false
	case err != nil:
		g.n, g.err = 0, &net.OpError{Op: "read", Net: g.LocalAddr().Network(), Source: g.LocalAddr(), Addr: g.RemoteAddr(), Err: os.NewSyscallError("read", err)}
	case n == 0:
		g.n, g.err = 0, io.EOF
	default:
		g.n, g.err = g.accept(g.into[:n], nil)
		return true
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
	g.silent = false
	n, bad := g.in.Feed(p)
	if bad != nil {
		g.dead = true
		return 0, bad
	}
	switch {
	case g.in.Tunnel():
		g.ahead = append([]byte(nil), p[n:]...) // out of net/http's buffer, which a tunnel does without
		g.tunnel.Store(true)
		g.in, g.out = framing.Framer{}, framing.Framer{}
	case g.in.Done():
		g.waiting, g.kept = false, true
		if seconds := g.in.KeepAlive(); seconds > 0 {
			g.retireAfter(seconds)
		}
		if n < len(p) || g.in.Doubtful() || g.gate.held(g.Conn) {
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
		if g.out.Done() {
			// Either net/http took the response before for complete, or something came behind it that nobody has read yet.
			if g.waiting || g.late.found() {
				g.dead = true
				return errGuardDead
			}
			g.out.Begin(false)
			g.in.Begin(false)
			g.waiting, g.silent = true, true
		}
		n, err := g.out.Feed(p)
		if err != nil {
			return err
		}
		g.in.NoBody(g.out.Head())
		p = p[n:]
	}
	return nil
}

// retireAfter has the connection closed, if it is still idle, a second before the upstream will do it, so that no request
// meets the end of it.
func (g *guardConn) retireAfter(seconds int) {
	after := time.Duration(seconds) * time.Second
	if after -= time.Second; after == 0 {
		after = time.Second / 2
	}
	if g.timer == nil {
		g.timer = time.AfterFunc(after, g.retire)
	} else {
		g.timer.Reset(after)
	}
}

func (g *guardConn) retire() {
	g.mu.Lock()
	idle := !g.waiting && !g.tunnel.Load()
	g.dead = g.dead || idle
	g.mu.Unlock()
	if idle {
		g.Conn.Close()
	}
}

// Close implements net.Conn.
func (g *guardConn) Close() error {
	g.mu.Lock()
	if g.timer != nil {
		g.timer.Stop()
	}
	g.mu.Unlock()
	return g.Conn.Close()
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
