// Package wire serves accepted connections: HTTP/1.0, HTTP/1.1 and HTTP/2, with
// TLS or without, over net/http; and HTTP/3 on UDP sockets, over quic-go.
//
// A [Server] serves the connections of one listener. What a request may take,
// in time and size, comes from a function that is asked at each request, so an
// edit reaches open connections: time-outs and rates of HTTP/1 at the next
// request (each phase of it: waiting, header, body, response), those of HTTP/2
// at the next stream. What belongs to a connection (header limit, protocols,
// the idle time-out of HTTP/2) is taken when it begins.
//
// net/http is given our own net.Conn, which keeps the deadlines and watches the
// framing of what it passes on; see [Settings] and guard.go. Handlers that need a
// deadline of their own use http.ResponseController as usual; it replaces ours
// for the rest of the request.
package wire

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// Protocol serves the connections of one listener. It is the seam between
// sockets and HTTP: a hand-tuned implementation may take the place of Server.
type Protocol interface {
	// Serve takes over an accepted connection and returns at once. It may be
	// called from several goroutines.
	Serve(c net.Conn)
	// Drain lets active requests finish and closes the connections; see
	// Server.Drain.
	Drain(ctx context.Context, grace time.Duration) error
	// Close cuts every connection, hijacked ones too.
	Close() error
	// Stats counts connections.
	Stats() Stats
}

// Stats counts the connections of a Server.
type Stats struct {
	Open     int    // being served
	Hijacked int    // taken over by a handler and not closed yet
	Accepted uint64 // since the start
}

// Conn tells a handler about the connection of its request. It is safe for
// concurrent use.
type Conn struct {
	local, remote net.Addr
	listener      any
	accepted      time.Time
	requests      atomic.Uint64
}

// LocalAddr returns the address the client connected to.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Listener returns the identity of the listener, as given in Options.
func (c *Conn) Listener() any { return c.listener }

// Accepted returns when the connection was handed to Serve.
func (c *Conn) Accepted() time.Time { return c.accepted }

// Requests returns how many requests reached the handler on this connection,
// the current one included.
func (c *Conn) Requests() uint64 { return c.requests.Load() }

type connKey struct{}

// FromContext returns the connection of a request's context, nil if the
// request was not served by this package.
func FromContext(ctx context.Context) *Conn {
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		return c.id
	}
	return nil
}
