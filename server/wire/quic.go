package wire

import (
	"context"
	"crypto/tls"
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

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/time/rate"
)

// QUICOptions describe a QUIC.
type QUICOptions struct {
	// Handler serves every request. Required.
	Handler http.Handler
	// Settings returns what holds now; its TLS is what handshakes begin with. It is
	// called for each connection and for each request. Required.
	Settings func() *Settings
	// ErrorLog takes what goes wrong; nil is the standard logger.
	ErrorLog *log.Logger
	// Listener is what Conn.Listener returns.
	Listener any
	// Tag is the first byte of the connection IDs; see ProcessTag.
	Tag byte
}

// QUIC serves HTTP/3 on one UDP socket, which outlives every edit that keeps its
// address.
type QUIC struct {
	opt       QUICOptions
	transport *quic.Transport
	listener  *quic.EarlyListener
	done      chan struct{} // closed when no connection is taken any more
	requests  atomic.Int64  // that run
	idle      chan struct{} // told when none does

	mu       sync.Mutex
	cores    map[int]*quicCore // by the header limit
	draining bool
	open     int
	accepted uint64
}

// quicStreams is how many requests a client of HTTP/3 may have open at a time.
const quicStreams = 250

// quicRunning is how many may run. They can be more than are open, since a stream
// that its client has given up is none, but its handler may still run.
const quicRunning = 4 * quicStreams

// quicCore is the http3.Server of the connections with one header limit.
type quicCore struct {
	http3.Server
	conns int // guarded by QUIC.mu
}

// handshakesUnvalidated is how many connections a second may begin before their
// addresses have to be proven (RFC 9000, section 8.1.2).
const handshakesUnvalidated = 1000

// NewQUIC serves HTTP/3 on conn, which it closes in the end.
func NewQUIC(conn net.PacketConn, o QUICOptions) (*QUIC, error) {
	limit := rate.NewLimiter(handshakesUnvalidated, handshakesUnvalidated)
	q := &QUIC{
		opt: o, cores: map[int]*quicCore{}, done: make(chan struct{}), idle: make(chan struct{}, 1),
		transport: &quic.Transport{Conn: conn, ConnectionIDGenerator: tagged(o.Tag), VerifySourceAddress: func(net.Addr) bool { return !limit.Allow() }},
	}
	entry := &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		set := o.Settings()
		if set.TLS == nil {
			return nil, errors.New("the address speaks no TLS any more")
		}
		if set.TLS.Config.GetConfigForClient == nil {
			return set.TLS.Config, nil
		}
		return set.TLS.Config.GetConfigForClient(hello)
	}}
	entry.GetEncryptedClientHelloKeys = func(hello *tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
		if set := o.Settings(); set.TLS != nil && set.TLS.Config.GetEncryptedClientHelloKeys != nil {
			return set.TLS.Config.GetEncryptedClientHelloKeys(hello)
		}
		return nil, nil
	}
	ln, err := q.transport.ListenEarly(http3.ConfigureTLSConfig(entry), &quic.Config{
		GetConfigForClient: func(*quic.ClientInfo) (*quic.Config, error) { return quicConfig(o.Settings()), nil },
	})
	if err != nil {
		return nil, fmt.Errorf("serving QUIC on %s: %w", conn.LocalAddr(), err)
	}
	q.listener = ln
	go q.accept()
	return q, nil
}

// handshakeIdle is how long a client may be silent during its handshake, which
// may take twice that. A first packet costs its sender nothing, not even an
// address, so the time is not that of Settings.ReadHeaderTimeout unless that is less.
const handshakeIdle = 5 * time.Second

// quicConfig is the settings of a connection that begins now.
func quicConfig(set *Settings) *quic.Config {
	idle, handshake := set.IdleTimeout, time.Duration(handshakeIdle)
	if idle <= 0 {
		idle = never
	}
	if set.ReadHeaderTimeout > 0 {
		handshake = min(handshake, set.ReadHeaderTimeout)
	}
	return &quic.Config{HandshakeIdleTimeout: handshake, MaxIdleTimeout: idle, Allow0RTT: set.EarlyData, MaxIncomingStreams: quicStreams}
}

// accept hands connections to the core that their settings ask for.
func (q *QUIC) accept() {
	defer close(q.done)
	for {
		c, err := q.listener.Accept(context.Background())
		if err != nil {
			return
		}
		core := q.coreFor(q.opt.Settings())
		if core == nil {
			_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
			continue
		}
		go func() {
			defer q.left(core)
			if err := core.ServeQUICConn(c); err != nil && !errors.Is(err, http.ErrServerClosed) {
				q.logf("http: HTTP/3 connection from %s: %v", c.RemoteAddr(), err)
			}
		}()
	}
}

func (q *QUIC) logf(format string, args ...any) {
	var idle *quic.IdleTimeoutError
	var app *quic.ApplicationError
	for _, a := range args { // these are how connections end
		if err, ok := a.(error); ok && (errors.As(err, &idle) || errors.As(err, &app)) {
			return
		}
	}
	if q.opt.ErrorLog != nil {
		q.opt.ErrorLog.Printf(format, args...)
	}
}

// coreFor returns the server of connections that begin now; nil while none is
// taken.
func (q *QUIC) coreFor(set *Settings) *quicCore {
	key := set.maxHeader()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.draining {
		return nil
	}
	q.open++
	q.accepted++
	k := q.cores[key]
	if k == nil {
		k = &quicCore{Server: http3.Server{
			Handler: http.HandlerFunc(q.serveHTTP), MaxHeaderBytes: key, ConnContext: q.connContext,
		}}
		q.cores[key] = k
	}
	k.conns++
	return k
}

// left counts a connection that has ended.
func (q *QUIC) left(k *quicCore) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open--
	if k.conns--; k.conns == 0 && len(q.cores) > spareCores && !q.draining {
		delete(q.cores, k.MaxHeaderBytes)
	}
}

func (q *QUIC) connContext(ctx context.Context, c *quic.Conn) context.Context {
	id := &Conn{local: c.LocalAddr(), remote: c.RemoteAddr(), listener: q.opt.Listener, accepted: time.Now()}
	known := &conn{id: id, h2: true, activity: &activity{
		idle: q.opt.Settings().IdleTimeout,
		most: quicRunning,
		expired: func() {
			_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "idle")
		},
		excess: func() {
			_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "too many requests run that were given up")
		},
	}}
	known.activity.start()
	context.AfterFunc(c.Context(), known.activity.stop)
	return context.WithValue(ctx, connKey{}, known)
}

func (q *QUIC) serveHTTP(w http.ResponseWriter, r *http.Request) {
	q.requests.Add(1)
	defer q.ended()
	c := r.Context().Value(connKey{}).(*conn)
	if !c.activity.begin() {
		return
	}
	defer c.activity.end()
	c.id.requests.Add(1)
	if r.Method == http.MethodConnect && r.Proto != "HTTP/3.0" {
		// An extended CONNECT (RFC 9220), told as net/http tells of those of HTTP/2.
		r.Header[":protocol"] = []string{r.Proto}
		r.Proto = "HTTP/3.0"
	}
	serveStream(q.opt.Settings(), q.opt.Handler, w, r)
}

// Drain takes no more connections, tells clients to go away, and returns when
// the running requests have ended. After grace, or when ctx ends, what is left
// is cut; a grace of 0 waits as long as it takes.
func (q *QUIC) Drain(ctx context.Context, grace time.Duration) error {
	q.mu.Lock()
	q.draining = true
	cores := slices.Collect(maps.Values(q.cores))
	q.mu.Unlock()
	if grace > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, grace)
		defer cancel()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(cores))
	var wg sync.WaitGroup
	for i, k := range cores {
		wg.Go(func() { errs[i] = k.Shutdown(ctx) })
	}
	gone := make(chan struct{})
	go func() {
		wg.Wait()
		close(gone)
	}()
	quiet := q.quiet(ctx, gone)
	cancel()
	if <-gone; quiet {
		errs = nil // nothing is cut that anybody waits for
	}
	return errors.Join(errors.Join(errs...), q.Close())
}

// farewell is how long the last of the responses may take to arrive, and clients
// to go by themselves, once no request runs.
const farewell = time.Second

// quiet waits until no request has run for a while. Clients that stay although
// they were told to go are not waited for. It reports false if the clients have
// gone by themselves, or ctx has ended.
func (q *QUIC) quiet(ctx context.Context, gone <-chan struct{}) bool {
	for {
		var over <-chan time.Time
		if q.requests.Load() == 0 {
			over = time.After(farewell)
		}
		select {
		case <-gone:
			return false
		case <-ctx.Done():
			return false
		case <-q.idle:
		case <-over:
			if q.requests.Load() == 0 {
				return true
			}
		}
	}
}

// ended counts a request that has.
func (q *QUIC) ended() {
	if q.requests.Add(-1) == 0 {
		select {
		case q.idle <- struct{}{}:
		default:
		}
	}
}

// Close cuts every connection and closes the socket.
func (q *QUIC) Close() error {
	q.mu.Lock()
	q.draining = true
	q.mu.Unlock()
	err := errors.Join(q.listener.Close(), q.transport.Close(), q.transport.Conn.Close())
	<-q.done
	return err
}

// Stats counts the connections.
func (q *QUIC) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{Open: q.open, Accepted: q.accepted}
}
