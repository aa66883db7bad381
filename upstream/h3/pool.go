package h3

import (
	"context"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Options are the settings of a [Pool].
type Options struct {
	// MaxConns bounds the connections of one way; requests above what they take wait. 0 is no bound.
	MaxConns int
	// KeepAlive uses a connection for more than one request.
	KeepAlive bool
	// MaxIdle and MaxIdlePerWay bound the connections without requests; 0 is no bound.
	MaxIdle, MaxIdlePerWay int
	// IdleTimeout is how long a connection without requests is kept; 0 is forever.
	IdleTimeout time.Duration
	// MaxHeader is the size of response headers in bytes above which the response is an error; 0 is 10 MiB.
	MaxHeader int64
	// HeaderTimeout bounds the wait for response headers after the request was sent; 0 is no bound.
	HeaderTimeout time.Duration
	// Compression asks for gzip where the request does not state what it accepts, and decompresses the answer.
	Compression bool
	// Patience is how long an upstream may be silent after a request before no other request is sent on the same connection; 0
	// is 3 seconds.
	Patience time.Duration
}

const defaultPatience = 3 * time.Second

// maxStreams is how many requests run on one connection before there is another one: what upstreams are to take at least
// (RFC 9114 section 6.1). One that takes fewer makes them wait.
const maxStreams = 100

// Way is how to reach an upstream.
type Way struct {
	// Key is equal for ways that can share connections.
	Key string
	// Dial makes a connection.
	Dial func(context.Context) (*quic.Conn, error)
}

// Pool keeps connections and sends requests over them. Safe for concurrent use.
type Pool struct {
	o    Options
	http *http3.Transport

	mu     sync.Mutex
	lines  map[string]*line
	idle   int
	closed bool
}

// line is the connections of one way. The pool's lock guards it.
type line struct {
	key     string
	links   []*link
	dial    *dialing      // one that is on its way and has room
	dials   int           // all that are on their way
	changed chan struct{} // closed when there is one connection less; nil while nobody waits
}

// dialing is a connection on its way, and the requests that wait for it.
type dialing struct {
	line   *line
	cancel context.CancelFunc
	done   chan struct{}

	waiting int // guarded by the pool's lock
	link    *link
	err     error // both valid when done is closed
}

// New returns a pool without connections.
func New(o Options) *Pool {
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	return &Pool{
		o: o, lines: map[string]*line{},
		http: &http3.Transport{MaxResponseHeaderBytes: int(o.MaxHeader), DisableCompression: !o.Compression},
	}
}

// Close closes the connections without requests, and each other one when its last request ends. The pool can still be used;
// it keeps nothing then.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, l := range p.lines {
		for _, k := range l.links {
			if p.wake(k); k.active == 0 && !k.shut {
				k.close()
			}
		}
	}
}

// take returns a connection with one more request on it, and whether it was there before. It waits for one that is made,
// and for room where none may be made.
func (p *Pool) take(ctx context.Context, w *Way) (k *link, reused bool, err error) {
	for {
		p.mu.Lock()
		l := p.line(w.Key)
		best := l.best()
		if best != nil && best.active < maxStreams {
			p.enter(best)
			p.mu.Unlock()
			return best, true, nil
		}
		room := p.o.MaxConns <= 0 || len(l.links)+l.dials < p.o.MaxConns
		d := l.dial
		if d == nil || d.waiting >= maxStreams && room {
			switch {
			case room:
				d = p.start(l, w)
			case best != nil: // QUIC makes it wait for its turn
				p.enter(best)
				p.mu.Unlock()
				return best, true, nil
			default:
				changed := l.wait()
				p.mu.Unlock()
				select {
				case <-changed:
					continue
				case <-ctx.Done():
					return nil, false, context.Cause(ctx)
				}
			}
		}
		d.waiting++
		p.mu.Unlock()
		k, err = p.await(ctx, d)
		return k, false, err
	}
}

// line returns that of a way.
func (p *Pool) line(key string) *line {
	l := p.lines[key]
	if l == nil {
		l = &line{key: key}
		p.lines[key] = l
	}
	return l
}

// best returns the connection with the fewest requests that takes more; nil if there is none.
func (l *line) best() (best *link) {
	for _, k := range l.links {
		if !k.gone && (best == nil || k.active < best.active) {
			best = k
		}
	}
	return best
}

// wait returns what is closed when there is a connection less.
func (l *line) wait() <-chan struct{} {
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

// start begins to make a connection.
func (p *Pool) start(l *line, w *Way) *dialing {
	ctx, cancel := context.WithCancel(context.Background())
	d := &dialing{line: l, cancel: cancel, done: make(chan struct{})}
	l.dials++
	if p.o.KeepAlive {
		l.dial = d
	}
	go func() {
		conn, err := w.Dial(ctx)
		p.dialled(l, d, conn, err)
	}()
	return d
}

// dialled gives a connection to the requests that wait for it.
func (p *Pool) dialled(l *line, d *dialing, conn *quic.Conn, err error) {
	var k *link
	if err == nil {
		k = p.newLink(l, conn)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d.cancel()
	l.dials--
	if l.dial == d {
		l.dial = nil
	}
	if d.link, d.err = k, err; k != nil {
		l.links = append(l.links, k)
		k.active = d.waiting
		if !p.o.KeepAlive {
			k.gone = true
		}
		if k.active == 0 {
			p.rest(k)
		}
		context.AfterFunc(conn.Context(), func() { p.lost(k) })
	}
	close(d.done)
	p.settle(l)
}

// await waits for a connection. The last one that gives up ends the making of it.
func (p *Pool) await(ctx context.Context, d *dialing) (*link, error) {
	select {
	case <-d.done:
		return d.link, d.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-d.done:
		if d.link != nil {
			p.leave(d.link)
		}
	default:
		if d.waiting--; d.waiting == 0 { // so nobody may join it either
			if d.line.dial == d {
				d.line.dial = nil
			}
			d.cancel()
		}
	}
	return nil, context.Cause(ctx)
}

// lost forgets a connection that was closed.
func (p *Pool) lost(k *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(k)
	k.gone, k.shut = true, true
	l := k.line
	for i, other := range l.links {
		if other == k {
			l.links = append(l.links[:i], l.links[i+1:]...)
			break
		}
	}
	p.settle(l)
}

// settle tells those that wait of a change, and drops a line that is empty.
func (p *Pool) settle(l *line) {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	if len(l.links) == 0 && l.dials == 0 {
		delete(p.lines, l.key)
	}
}
