package handlers

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// ResponseWriter is the writer nearest to the client. It remembers status and
// size, for logs, metrics and error handling. Optional abilities of the writer
// below are reached with http.ResponseController, which finds them through
// Unwrap; flush, read-from and hijack are also offered directly.
type ResponseWriter struct {
	http.ResponseWriter
	status   int
	size     int64
	hijacked bool
}

// NewResponseWriter wraps w.
func NewResponseWriter(w http.ResponseWriter) *ResponseWriter {
	return &ResponseWriter{ResponseWriter: w}
}

// Reset makes the writer as new, around w.
func (w *ResponseWriter) Reset(under http.ResponseWriter) { *w = ResponseWriter{ResponseWriter: under} }

// Unwrap returns the writer below.
func (w *ResponseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Status is the final status that was sent, 101 after a switch of protocols, 0
// if none was yet.
func (w *ResponseWriter) Status() int { return w.status }

// Size counts the bytes of the body so far, and after a hijack those sent on
// the connection.
func (w *ResponseWriter) Size() int64 { return w.size }

// Hijacked reports whether the connection was taken over.
func (w *ResponseWriter) Hijacked() bool { return w.hijacked }

// AddSize counts bytes that went to the client past this writer, after a hijack.
func (w *ResponseWriter) AddSize(n int64) { w.size += n }

// LetGo forgets the writer below, of which only the header stays. It is called when the connection was taken over and the
// handlers have returned, so that what net/http had for the connection is not kept as long as it lives.
func (w *ResponseWriter) LetGo() { w.ResponseWriter = taken(w.ResponseWriter.Header()) }

// taken is the header of a response whose connection was taken over.
type taken http.Header

// Header implements http.ResponseWriter.
func (t taken) Header() http.Header { return http.Header(t) }

// Write implements http.ResponseWriter.
func (taken) Write([]byte) (int, error) { return 0, http.ErrHijacked }

// WriteHeader implements http.ResponseWriter.
func (taken) WriteHeader(int) {}

// WriteHeader sends the header. Informational statuses other than 101 may come
// several times before the final one; a second final one is ignored.
func (w *ResponseWriter) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body, with status 200 if none was set.
func (w *ResponseWriter) Write(p []byte) (int, error) {
	w.implicitHeader()
	n, err := w.ResponseWriter.Write(p)
	w.size += int64(n)
	return n, err
}

// WriteString is Write without a copy where the writer below can do that.
func (w *ResponseWriter) WriteString(s string) (int, error) {
	w.implicitHeader()
	n, err := io.WriteString(w.ResponseWriter, s)
	w.size += int64(n)
	return n, err
}

// ReadFrom copies a body by the fastest means that the writer below has.
func (w *ResponseWriter) ReadFrom(r io.Reader) (int64, error) {
	w.implicitHeader()
	n, err := CopyBody(w.ResponseWriter, r)
	w.size += n
	return n, err
}

// Push begins an HTTP/2 push through the writer, or one that it wraps. Without
// one that can, it returns http.ErrNotSupported.
func Push(w http.ResponseWriter, target string, opts *http.PushOptions) error {
	for {
		if p, ok := w.(http.Pusher); ok {
			return p.Push(target, opts)
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return http.ErrNotSupported
		}
		w = u.Unwrap()
	}
}

// CopyBody copies a body to a writer by the fastest means that it has. Unlike
// io.Copy it asks the writer first: a file that is asked first hides what it is,
// and the kernel can no longer send it by itself.
func CopyBody(w io.Writer, r io.Reader) (int64, error) {
	if to, ok := w.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(w, r)
}

func (w *ResponseWriter) implicitHeader() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}

// Flush sends what is buffered, where the writer below can.
func (w *ResponseWriter) Flush() { _ = w.FlushError() }

// FlushError is Flush with the error that it may meet.
func (w *ResponseWriter) FlushError() error {
	w.implicitHeader()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack takes over the connection.
func (w *ResponseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked = true
		if w.status == 0 {
			w.status = http.StatusSwitchingProtocols
		}
	}
	return conn, rw, err
}

// CountingBody is a request body that counts what is read of it. The count may
// be asked for while another goroutine still reads, as a transport may.
type CountingBody struct {
	io.ReadCloser
	n atomic.Int64
}

// NewCountingBody wraps a body.
func NewCountingBody(body io.ReadCloser) *CountingBody { return &CountingBody{ReadCloser: body} }

// Read counts and passes on.
func (b *CountingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// Add counts bytes that the client sent past the body, after a hijack.
func (b *CountingBody) Add(n int64) { b.n.Add(n) }

// Count is the number of bytes read so far.
func (b *CountingBody) Count() int64 {
	if b == nil {
		return 0
	}
	return b.n.Load()
}
