// Package xconnect opens WebSockets to upstreams that speak HTTP/2: a handshake of HTTP/1.1 becomes an extended CONNECT (RFC
// 8441), and its answer the 101 that was asked for, whose body is the stream. It has connections of its own, because net/http's
// transport refuses the field that names the protocol.
package xconnect

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// Options are the settings of a [Connector].
type Options struct {
	// MaxConns bounds the connections per way; requests above it wait for a stream. 0 is no bound.
	MaxConns int
	// KeepAlive uses a connection for more than one stream.
	KeepAlive bool
	// IdleTimeout is how long a connection without streams is kept; 0 is forever.
	IdleTimeout time.Duration
	// MaxHeader is the size of response headers in bytes above which the response is an error; 0 is 10 MiB.
	MaxHeader int64
	// Patience bounds the wait for the first frame of an upstream; 0 is 10 seconds.
	Patience time.Duration
	// HeaderTimeout bounds the wait for the answer to an extended CONNECT; 0 is no bound.
	HeaderTimeout time.Duration
}

// Way is how to reach an upstream.
type Way struct {
	// Key is equal for ways that can share connections.
	Key string
	// Dial makes a connection. With TLS it is a *tls.Conn that has agreed on HTTP/2; else see [NotHTTP2].
	Dial func(context.Context) (net.Conn, error)
	// Alternative says that there is another way to open the WebSocket. An upstream that does not begin to speak is then
	// left alone for a while, and a handshake with a bad key is a refusal.
	Alternative bool
}

// NotHTTP2 returns the error of a Dial that has found out that the upstream does not speak HTTP/2. It is a refusal, see
// [IsRefusal].
func NotHTTP2() error { return errNotHTTP2 }

// Connector opens streams. Safe for concurrent use.
type Connector struct {
	o         Options
	transport *http2.Transport

	mu       sync.Mutex
	lines    map[string]*line // by encoded way
	verdicts map[string]verdict
}

// line is the connections of one way.
type line struct {
	conns   []*link
	dialing int
	changed chan struct{} // closed when there is one more connection, or one less on its way
}

// link is one connection.
type link struct {
	*http2.ClientConn
	peek *settingsPeek
}

// verdict is what is known of an upstream that takes no extended CONNECT. After a while it is asked again.
type verdict struct {
	err   error
	until time.Time
}

const (
	verdictTime    = time.Minute
	maxVerdicts    = 1024
	settingsTime   = 10 * time.Second // without a dial timeout
	defaultHeaders = 10 << 20
)

// New returns a Connector without connections.
func New(o Options) *Connector {
	if o.Patience <= 0 {
		o.Patience = settingsTime
	}
	headers := uint32(defaultHeaders)
	if o.MaxHeader > 0 {
		headers = uint32(min(o.MaxHeader, math.MaxUint32-1))
	}
	return &Connector{
		o: o,
		//nolint:staticcheck // there is nothing else that has extended CONNECT
		transport: &http2.Transport{
			DisableCompression: true, AllowHTTP: true, MaxHeaderListSize: headers, IdleConnTimeout: o.IdleTimeout,
			StrictMaxConcurrentStreams: o.MaxConns > 0, // wait for a stream where no connection may be made
		},
		lines: map[string]*line{}, verdicts: map[string]verdict{},
	}
}

// Open opens a stream for a WebSocket handshake of HTTP/1.1, which has the scheme, the path and the host to send. An answer
// that opens it is a 101 with an io.ReadWriteCloser as body.
//
// On a connection that was in use before it tries again with a new one: the upstream may have closed it meanwhile, and a
// handshake may be repeated.
func (c *Connector) Open(r *http.Request, w *Way) (*http.Response, error) {
	accept, err := acceptKey(r.Header)
	switch {
	case err != nil && w.Alternative:
		return nil, refusal(err.Error()) // there the upstream itself may judge it
	case err != nil:
		return badRequest(r, err), nil
	}
	if err := c.refused(w.Key); err != nil {
		return nil, err
	}
	conn, used, err := c.take(r.Context(), w, false)
	if err != nil {
		return nil, err
	}
	res, err := c.openStream(conn.ClientConn, r, accept)
	if err == nil || !used || r.Context().Err() != nil || err == errHeaderTimeout { //nolint:errorlint // never wrapped
		return res, err
	}
	if conn, _, err = c.take(r.Context(), w, true); err != nil {
		return nil, err
	}
	return c.openStream(conn.ClientConn, r, accept)
}

// take returns a connection for one more stream, and whether it had one before. A new one is made if fresh, or if all are
// full and the limit allows.
func (c *Connector) take(ctx context.Context, w *Way, fresh bool) (*link, bool, error) {
	for {
		c.mu.Lock()
		l := c.lines[w.Key]
		if l == nil {
			l = &line{changed: make(chan struct{})}
			c.lines[w.Key] = l
		}
		conns, changed := slices.Clone(l.conns), l.changed
		room := c.o.MaxConns <= 0 || len(l.conns)+l.dialing < c.o.MaxConns
		if fresh && room {
			l.dialing++
			c.mu.Unlock()
			break
		}
		c.mu.Unlock()
		// Outside of the lock, for the connections have locks of their own.
		if i := slices.IndexFunc(conns, c.hasRoom); i >= 0 {
			return conns[i], true, nil
		}
		if room {
			fresh = true
			continue
		}
		if i := slices.IndexFunc(conns, c.reserve); i >= 0 { // waits until a stream ends
			return conns[i], true, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
	conn, err := c.open(ctx, w)
	return conn, false, err
}

// hasRoom reserves a stream that can begin at once.
func (c *Connector) hasRoom(conn *link) bool {
	if c.o.MaxConns > 0 {
		if s := conn.State(); s.StreamsActive+s.StreamsReserved >= int(s.MaxConcurrentStreams) {
			return false
		}
	}
	return c.reserve(conn)
}

// reserve reserves a stream on a connection that can have several.
func (c *Connector) reserve(conn *link) bool { return c.o.KeepAlive && conn.ReserveNewRequest() }

// open makes a connection and learns whether it takes extended CONNECT. Its place in the line was counted as dialling.
func (c *Connector) open(ctx context.Context, w *Way) (*link, error) {
	conn, err := c.dial(ctx, w)
	if err == nil {
		conn.ReserveNewRequest() // if it cannot, its RoundTrip says why
	}
	if IsRefusal(err) || w.Alternative && errors.Is(err, ErrNoSettings) {
		c.refuse(w.Key, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lines[w.Key]
	l.dialing--
	if err == nil && !conn.peek.closed() {
		l.conns = append(l.conns, conn)
	}
	c.settle(w.Key, l)
	return conn, err
}

// settle is called with the lock held after a line has changed.
func (c *Connector) settle(key string, l *line) {
	close(l.changed)
	l.changed = make(chan struct{})
	if len(l.conns) == 0 && l.dialing == 0 {
		delete(c.lines, key)
	}
}

func (c *Connector) dial(ctx context.Context, w *Way) (*link, error) {
	raw, err := w.Dial(ctx)
	if err != nil {
		return nil, err
	}
	peek := &settingsPeek{Conn: raw, known: make(chan struct{})}
	conn := &link{peek: peek}
	peek.gone = func() { c.forget(w.Key, conn) }
	conn.ClientConn, err = c.transport.NewClientConn(peek) //nolint:staticcheck // as above
	if err != nil {
		return nil, err
	}
	if err := peek.wait(ctx, c.o.Patience); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// forget drops a connection that was closed.
func (c *Connector) forget(key string, conn *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lines[key]
	if l == nil {
		return
	}
	if i := slices.Index(l.conns, conn); i >= 0 {
		l.conns = slices.Delete(l.conns, i, i+1)
		c.settle(key, l)
	}
}

// CloseIdle closes the connections without streams, and the others as soon as their last stream ends.
func (c *Connector) CloseIdle() {
	c.mu.Lock()
	var all []*link
	for _, l := range c.lines {
		all = append(all, l.conns...)
	}
	c.mu.Unlock()
	for _, conn := range all {
		conn.SetDoNotReuse()
		if s := conn.State(); s.StreamsActive+s.StreamsReserved+s.StreamsPending == 0 {
			conn.Close()
		}
	}
}

// refused returns why an upstream takes no extended CONNECT, if that is known.
func (c *Connector) refused(key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.verdicts[key]
	switch {
	case !ok:
		return nil
	case time.Now().After(v.until):
		delete(c.verdicts, key)
		return nil
	}
	return v.err
}

func (c *Connector) refuse(key string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.verdicts) >= maxVerdicts {
		clear(c.verdicts) // what is forgotten is asked again
	}
	c.verdicts[key] = verdict{err, time.Now().Add(verdictTime)}
}
