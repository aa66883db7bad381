package timeouts

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/sluiceproxy/sluice/handlers"
)

// body is a request body whose reads are watched.
type body struct {
	io.ReadCloser
	watch *watch
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.watch.begin()
	n, err := b.ReadCloser.Read(p)
	b.watch.end(int64(n))
	return n, err
}

// writer is a response whose writes are watched, in pieces.
type writer struct {
	under http.ResponseWriter
	watch *watch
	reads *watch // nil if they are not watched
	chunk int
}

// Header is that of the writer below.
func (w *writer) Header() http.Header { return w.under.Header() }

// WriteHeader passes the status on.
func (w *writer) WriteHeader(status int) { w.under.WriteHeader(status) }

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.under }

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (n int, err error) {
	for {
		piece := p[n:min(n+w.chunk, len(p))]
		w.watch.begin()
		m, err := w.under.Write(piece)
		w.watch.end(int64(m))
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// WriteString implements io.StringWriter.
func (w *writer) WriteString(s string) (n int, err error) {
	for {
		piece := s[n:min(n+w.chunk, len(s))]
		w.watch.begin()
		m, err := io.WriteString(w.under, piece)
		w.watch.end(int64(m))
		if n += m; err != nil || n == len(s) {
			return n, err
		}
	}
}

const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// ReadFrom copies a file in pieces that the writer below may pass on without
// reading them. Other sources are read here, so that a source that stalls is not
// taken for a client that does.
func (w *writer) ReadFrom(r io.Reader) (total int64, err error) {
	to, ok := w.under.(io.ReaderFrom)
	src, limit := r, int64(1)<<62
	lr, limited := r.(*io.LimitedReader)
	if limited {
		src, limit = lr.R, lr.N
	}
	file, isFile := src.(*os.File)
	if !ok || !isFile {
		buf := copyBuffers.Get().(*[copySize]byte)
		defer copyBuffers.Put(buf)
		return io.CopyBuffer(onlyWriter{w}, onlyReader{r}, buf[:])
	}
	for total < limit {
		piece := &io.LimitedReader{R: file, N: min(int64(w.chunk), limit-total)}
		want := piece.N
		w.watch.begin()
		n, err := to.ReadFrom(piece)
		w.watch.end(n)
		total += n
		if limited {
			lr.N -= n
		}
		if err != nil || n < want {
			return total, err
		}
	}
	return total, nil
}

// onlyWriter and onlyReader hide what else a writer and a reader can do.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// Flush implements http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls.
func (w *writer) FlushError() error {
	w.watch.begin()
	defer w.watch.end(0)
	return http.NewResponseController(w.under).Flush()
}

// Hijack implements http.Hijacker. Nothing is watched after it.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.under).Hijack()
	if err == nil {
		w.watch.stop()
		w.reads.stop()
	}
	return conn, rw, err
}

// Push implements http.Pusher if the writer below, or one that it wraps, does.
func (w *writer) Push(target string, opts *http.PushOptions) error {
	return handlers.Push(w.under, target, opts)
}
