package wire

import (
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// How long a connection that has sent nothing may take to send its first
// byte once the server drains, and one that is idle its next.
const drainFirstByte = 5 * time.Second

// never stands for no time-out: net/http must be given some, so that it tells
// our connections when a header begins and when they are idle.
const never = 100 * 365 * 24 * time.Hour

// Options describe a Server.
type Options struct {
	// Handler serves every request. Required.
	Handler http.Handler
	// Settings returns what holds now. It is called several times for each
	// request, from many goroutines, and must be fast. Required.
	Settings func() *Settings
	// ErrorLog takes what net/http has to say; nil is the standard logger.
	ErrorLog *log.Logger
	// Listener is what Conn.Listener returns.
	Listener any
}

// Server serves the connections of one listener. Make one with NewServer. It
// has no goroutines beyond those of its connections.
type Server struct {
	opt Options

	sweeping atomic.Int32 // idle connections are being closed

	mu       sync.Mutex
	conns    map[*conn]struct{}
	hijacked int
	accepted uint64
	cores    map[coreKey]*core
	draining bool
	closed   bool
	empty    chan struct{} // closed when draining and no connection is served
	gone     chan struct{} // closed when draining and no connection is left at all

	patient atomic.Bool // idle connections may send one more request, see HandOver
}

// coreKey is what a connection is bound to from its start.
type coreKey struct {
	h2        bool
	maxHeader int
}

// core is the http.Server of the connections with one key.
type core struct {
	http.Server
	key   coreKey
	conns int // guarded by Server.mu
}

// maxFrame is the payload of the largest HTTP/2 frame that is taken, the least that
// RFC 9113, section 4.2, allows. A connection keeps a buffer for the largest
// that has come; net/http would take 1 MB.
const maxFrame = 16 << 10

// spareCores is how many cores without connections are remembered.
const spareCores = 4

var _ Protocol = (*Server)(nil)

// NewServer returns a Server that is ready to serve.
func NewServer(o Options) *Server {
	return &Server{
		opt: o, conns: map[*conn]struct{}{}, empty: make(chan struct{}), gone: make(chan struct{}), cores: map[coreKey]*core{},
	}
}

// Serve takes over c and returns at once. While the server drains one request
// is served on c; after that c is closed at once.
func (s *Server) Serve(raw net.Conn) {
	set := s.opt.Settings()
	c := &conn{raw: raw, srv: s, id: &Conn{
		local: raw.LocalAddr(), remote: raw.RemoteAddr(), listener: s.opt.Listener, accepted: time.Now(),
	}}
	c.guard.protocols = set.Protocols
	c.set.Store(set)
	if !s.track(c, coreKey{maxHeader: set.maxHeader()}) {
		raw.Close()
		return
	}
	s.mu.Lock()
	s.accepted++
	s.mu.Unlock()
	if len(set.Openers) > 0 || set.TLS != nil {
		go s.open(c, set)
		return
	}
	c.core.Serve(&once{c: c})
}

// track adds c and gives it a core; it reports false if the server is closed.
func (s *Server) track(c *conn, key coreKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	c.core = s.coreFor(key)
	c.core.conns++
	return true
}

func (s *Server) untrack(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.conns[c]; !ok {
		return
	}
	delete(s.conns, c)
	if c.passthrough.Load() {
		s.hijacked--
	}
	c.core.conns--
	if c.core.conns == 0 && len(s.cores) > spareCores && s.cores[c.core.key] == c.core {
		delete(s.cores, c.core.key)
	}
	s.checkEmpty()
}

// checkEmpty is called with mu held.
func (s *Server) checkEmpty() {
	if s.draining && len(s.conns)-s.hijacked == 0 && !s.closed {
		s.closed = true
		close(s.empty)
	}
	if s.closed && len(s.conns) == 0 && !isClosed(s.gone) {
		close(s.gone)
	}
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// upgrade serves HTTP/2 on a connection whose preface was read.
func (s *Server) upgrade(old *conn) {
	s.succeed(old, &conn{raw: old.raw, srv: s, id: old.id, h2: true, replay: old.replay})
}

// succeed serves c, which is what has become of another connection.
func (s *Server) succeed(old, c *conn) {
	set := s.opt.Settings()
	c.set.Store(set)
	if c.h2 {
		c.activity = &activity{idle: set.IdleTimeout, expired: c.leave}
		if s.isDraining() {
			c.activity.idle = drainFirstByte // it may have its first request before it
		}
	}
	if !s.track(c, coreKey{h2: c.h2, maxHeader: set.maxHeader()}) {
		c.raw.Close()
	} else {
		if c.h2 {
			c.activity.start()
		}
		o := &once{c: c}
		if c.core.Serve(o); o.c != nil { // the server drains since now
			c.forceClose()
		}
	}
	s.untrack(old)
}

// coreFor returns the core of a connection. mu is held.
func (s *Server) coreFor(key coreKey) *core {
	if k := s.cores[key]; k != nil && !(s.draining && key.h2) {
		return k
	}
	k := &core{key: key, Server: http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		Protocols:         new(http.Protocols),
		MaxHeaderBytes:    key.maxHeader,
		ReadHeaderTimeout: never, // ours holds
		IdleTimeout:       never,
		ErrorLog:          s.opt.ErrorLog,
		ConnState:         connState,
		ConnContext:       connContext,
	}}
	k.Protocols.SetHTTP1(!key.h2)
	k.Protocols.SetUnencryptedHTTP2(key.h2)
	if key.h2 {
		k.IdleTimeout = 0 // ours holds
		k.HTTP2 = &http.HTTP2Config{MaxReadFrameSize: maxFrame}
	}
	if s.draining { // one that is new and has its first request before it
		k.SetKeepAlivesEnabled(false)
		if key.h2 {
			return k // its like have been told to go away
		}
	}
	s.cores[key] = k
	return k
}

func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// serveHTTP is the handler given to net/http.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*conn)
	c.id.requests.Add(1)
	if c.tls != nil {
		r.TLS = c.tls
	}
	if c.h2 {
		c.activity.begin()
		defer c.activity.end()
		serveStream(s.opt.Settings(), s.opt.Handler, w, r)
		return
	}
	if s.patient.Load() && r.Header["Upgrade"] == nil {
		w.Header()["Connection"] = []string{"close"}
	}
	if c.set.Load().EnableFullDuplex {
		if d, ok := w.(interface{ EnableFullDuplex() error }); ok {
			d.EnableFullDuplex()
		}
	}
	s.opt.Handler.ServeHTTP(w, r)
}

func connState(nc net.Conn, st http.ConnState) {
	c, ok := nc.(*conn)
	if !ok || c.h2 {
		return
	}
	switch st {
	case http.StateIdle:
		c.becomeIdle()
	case http.StateHijacked:
		c.becomeHijacked()
	case http.StateClosed:
		if !c.switching {
			c.forceClose()
		}
	}
}

// Drain closes idle connections, lets active requests finish ("Connection:
// close", GOAWAY) and returns when none is left. After grace, or when ctx ends,
// what is left is cut and the error says how many; a grace of 0 waits as long
// as it takes. Hijacked connections are their handlers' and go on. Call it when
// the listener has handed over its last connection.
func (s *Server) Drain(ctx context.Context, grace time.Duration) error {
	s.mu.Lock()
	s.draining = true
	s.checkEmpty()
	conns, cores := s.snapshot(), slices.Collect(maps.Values(s.cores))
	s.mu.Unlock()
	shut, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.sweeping.Add(1)
	for _, k := range cores {
		if k.key.h2 {
			go k.Shutdown(shut)
		} else if !s.patient.Load() {
			k.SetKeepAlivesEnabled(false)
		}
	}
	s.sweeping.Add(-1)
	for _, c := range conns {
		c.drain()
	}
	var expired <-chan time.Time
	if grace > 0 {
		t := time.NewTimer(grace)
		defer t.Stop()
		expired = t.C
	}
	err := errors.New("the grace period is over")
	select {
	case <-s.empty:
		return nil
	case <-expired:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	conns = s.snapshot()
	s.mu.Unlock()
	n := 0
	for _, c := range conns {
		if !c.passthrough.Load() {
			c.forceClose()
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("cut %d connections with active requests: %w", n, err)
}

// snapshot is called with mu held.
func (s *Server) snapshot() []*conn {
	list := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}

// Close cuts every connection, hijacked ones too, and refuses further ones. Its
// error is nil.
func (s *Server) Close() error {
	s.mu.Lock()
	s.draining = true
	conns := s.snapshot()
	if !s.closed {
		s.closed = true
		close(s.empty)
	}
	s.checkEmpty()
	s.mu.Unlock()
	for _, c := range conns {
		c.forceClose()
	}
	return nil
}

// Stats counts the connections.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Open: len(s.conns) - s.hijacked, Hijacked: s.hijacked, Accepted: s.accepted}
}

// once is a listener with one connection.
type once struct{ c *conn }

// Accept returns the connection, then net.ErrClosed.
func (o *once) Accept() (net.Conn, error) {
	if c := o.c; c != nil {
		o.c = nil
		return c, nil
	}
	return nil, net.ErrClosed
}

// Close does nothing.
func (o *once) Close() error { return nil }

// Addr returns an address without meaning.
func (o *once) Addr() net.Addr { return &net.TCPAddr{} }
