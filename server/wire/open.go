package wire

import (
	"net"
)

// Opener reads what stands before the protocol on a new connection, such as a
// PROXY header. It is safe for concurrent use.
type Opener interface {
	// Open reads from c, on a goroutine of the connection's own, and must come to
	// an end by itself: it sets its own read deadline, and leaves none. An error
	// closes the connection without a word. It must not write, keep or close c.
	Open(c net.Conn) (Opening, error)
}

// Opening is what an Opener has found out.
type Opening struct {
	// Local and Remote are the addresses that the connection has from now on; nil
	// leaves what it has.
	Local, Remote net.Addr
	// Rest is what was read and belongs to what follows.
	Rest []byte
}

// opened is a connection of which the beginning was read.
type opened struct {
	net.Conn
	local, remote net.Addr
	rest          []byte
}

// Read returns what was read too much before what has not been read yet.
func (o *opened) Read(p []byte) (int, error) {
	if len(o.rest) == 0 {
		return o.Conn.Read(p)
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// LocalAddr is the address as found so far.
func (o *opened) LocalAddr() net.Addr { return o.local }

// RemoteAddr is the address as found so far.
func (o *opened) RemoteAddr() net.Addr { return o.remote }

// open lets the openers read and serves what follows.
func (s *Server) open(c *conn, set *Settings) {
	o, err := runOpeners(&opened{Conn: c.raw, local: c.id.local, remote: c.id.remote}, set.Openers)
	if err != nil {
		s.unopened(c, err)
		return
	}
	c.id.local, c.id.remote = o.local, o.remote
	if set.TLS != nil {
		s.secure(c, o.rest)
		return
	}
	s.begin(c, o.rest)
}

// runOpeners lets openers read the beginning of a connection.
func runOpeners(o *opened, openers []Opener) (*opened, error) {
	for _, opener := range openers {
		found, err := opener.Open(o)
		if err != nil {
			return nil, err
		}
		o.rest = append(found.Rest, o.rest...)
		if found.Local != nil {
			o.local = found.Local
		}
		if found.Remote != nil {
			o.remote = found.Remote
		}
	}
	return o, nil
}

// unopened ends a connection that an opener has refused.
func (s *Server) unopened(c *conn, err error) {
	if s.opt.ErrorLog != nil && !c.closed.Load() {
		s.opt.ErrorLog.Printf("http: closing a connection from %s: %v", c.id.remote, err)
	}
	_ = c.forceClose()
}

// begin serves HTTP/1, or HTTP/2 with prior knowledge, on a connection of which
// the beginning was read.
func (s *Server) begin(c *conn, beginning []byte) {
	c.mu.Lock()
	c.replay = beginning
	c.got = len(beginning) > 0
	c.mu.Unlock()
	_ = c.core.Serve(&once{c: c})
	if s.isDraining() {
		c.drain()
	}
}
