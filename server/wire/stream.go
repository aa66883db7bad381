package wire

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// stream watches the body and the response of an HTTP/2 request. A connection
// carries many, so the deadlines of section 2.5 are kept by a timer per stream
// that is set for the first operation and looks again when it fires: an
// operation itself sets no timer.
type stream struct {
	http.ResponseWriter
	set   *Settings
	start time.Time

	mu                 sync.Mutex
	timer              *time.Timer
	fires              time.Time // zero: not set
	done               bool
	reads, writes      time.Time // deadline of the operation in flight; zero: none
	userRead, userWrit bool
	nread, nwritten    int64
	// begun is set once the header of a response has gone out; only the handler uses it.
	begun bool
	// flushed is set once the response may be more than the server's buffer holds; only the handler uses it.
	flushed bool
	http3   bool
	// connect: a 2xx makes a tunnel of it, which lasts as long as its two ends want,
	// as one does that was taken over in HTTP/1.
	connect bool
	tunnel  bool // guarded by mu
}

// held is how much of a response the servers of HTTP/2 and HTTP/3 keep until the
// handler is done: both have buffers of 4 KB, and half of that is safe. Writing
// it cannot take time, so it needs no timer.
const held = 2 << 10

// longAgo is a deadline that has passed: it makes net/http end the operation.
var longAgo = time.Unix(1, 0)

type deadlines interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

func serveStream(set *Settings, h http.Handler, w http.ResponseWriter, r *http.Request) {
	s := &stream{ResponseWriter: w, set: set, start: time.Now(), http3: r.ProtoMajor == 3, connect: r.Method == http.MethodConnect}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &streamBody{r.Body, s}
	}
	defer s.finish()
	h.ServeHTTP(s, r)
	s.begin()
}

// begin takes what is about the connection out of the header: unlike that of
// HTTP/2, the server of HTTP/3 would send it, and clients refuse such a response
// (RFC 9114, section 4.2).
func (s *stream) begin() {
	if !s.http3 || s.begun {
		return
	}
	h := s.Header()
	for _, name := range [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"} {
		delete(h, name)
	}
}

// WriteHeader implements http.ResponseWriter.
func (s *stream) WriteHeader(status int) {
	s.begin()
	s.begun = s.begun || status >= 200
	if s.connect && status >= 200 && status < 300 {
		s.mu.Lock()
		s.tunnel, s.reads, s.writes = true, time.Time{}, time.Time{}
		s.mu.Unlock()
	}
	s.ResponseWriter.WriteHeader(status)
}

// finish bounds the last flush, which comes after the handler.
func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	if s.timer != nil {
		s.timer.Stop()
	}
	if d := s.set.write().deadline(time.Now(), s.start, s.nwritten); !d.IsZero() && !s.userWrit {
		if w, ok := s.ResponseWriter.(deadlines); ok {
			w.SetWriteDeadline(d)
		}
	}
}

// watch sets the deadline of an operation in flight. mu is held.
func (s *stream) watch(slot *time.Time, d time.Time) {
	*slot = d
	if d.IsZero() || !s.fires.IsZero() && !d.Before(s.fires) {
		return
	}
	s.fires = d
	wait := time.Until(d)
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.check)
	} else {
		s.timer.Reset(wait)
	}
}

// check ends operations that take too long.
func (s *stream) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return
	}
	s.fires = time.Time{}
	now := time.Now()
	w, ok := s.ResponseWriter.(deadlines)
	if !ok {
		return
	}
	for _, op := range []struct {
		slot *time.Time
		cut  func(time.Time) error
	}{{&s.reads, w.SetReadDeadline}, {&s.writes, w.SetWriteDeadline}} {
		switch d := *op.slot; {
		case d.IsZero():
		case d.After(now):
			s.watch(op.slot, d)
		default:
			*op.slot = time.Time{}
			op.cut(longAgo)
		}
	}
}

func (s *stream) beginWrite() {
	s.mu.Lock()
	if !s.userWrit && !s.tunnel {
		s.watch(&s.writes, s.set.write().deadline(time.Now(), s.start, s.nwritten))
	}
	s.mu.Unlock()
}

func (s *stream) endWrite(n int) {
	s.mu.Lock()
	s.writes = time.Time{}
	s.nwritten += int64(n)
	s.mu.Unlock()
}

// Write writes p in pieces of at most the largest chunk.
func (s *stream) Write(p []byte) (n int, err error) {
	s.begin()
	s.begun = true
	for {
		piece := p[n:min(n+s.set.maxChunk(), len(p))]
		s.flushed = s.flushed || s.nwritten+int64(len(piece)) > held
		if !s.flushed {
			m, err := s.ResponseWriter.Write(piece)
			s.nwritten += int64(m) // no timer can be looking
			return n + m, err
		}
		s.beginWrite()
		m, err := s.ResponseWriter.Write(piece)
		s.endWrite(m)
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// Flush sends what is buffered.
func (s *stream) Flush() { s.FlushError() }

// FlushError sends what is buffered.
func (s *stream) FlushError() error {
	s.begin()
	s.begun, s.flushed = true, true
	s.beginWrite()
	defer s.endWrite(0)
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// Push starts a server push.
func (s *stream) Push(target string, o *http.PushOptions) error {
	if p, ok := s.ResponseWriter.(http.Pusher); ok {
		return p.Push(target, o)
	}
	return http.ErrNotSupported
}

// SetReadDeadline replaces our deadline for reading.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	s.userRead, s.reads = !t.IsZero(), time.Time{}
	s.mu.Unlock()
	return http.NewResponseController(s.ResponseWriter).SetReadDeadline(t)
}

// SetWriteDeadline replaces our deadline for writing.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	s.userWrit, s.writes = !t.IsZero(), time.Time{}
	s.mu.Unlock()
	return http.NewResponseController(s.ResponseWriter).SetWriteDeadline(t)
}

// Unwrap is for http.ResponseController.
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// streamBody is the body of an HTTP/2 request.
type streamBody struct {
	io.ReadCloser
	s *stream
}

// Read reads within the stream's deadline.
func (b *streamBody) Read(p []byte) (int, error) {
	s := b.s
	s.mu.Lock()
	if !s.userRead && !s.done && !s.tunnel {
		s.watch(&s.reads, s.set.read().deadline(time.Now(), s.start, s.nread))
	}
	s.mu.Unlock()
	n, err := b.ReadCloser.Read(p)
	s.mu.Lock()
	s.reads = time.Time{}
	s.nread += int64(n)
	s.mu.Unlock()
	return n, err
}
