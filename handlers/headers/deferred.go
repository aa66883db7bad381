package headers

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"

	"github.com/sluiceproxy/sluice/handlers"
)

// deferred applies a handler's operations when the header is written. All else
// it passes on: it buffers nothing and has no header of its own.
type deferred struct {
	under    http.ResponseWriter
	handler  *handler
	exchange *handlers.Exchange
	wrote    bool
	hijacked bool
}

var pool = sync.Pool{New: func() any { return new(deferred) }}

func newDeferred(w http.ResponseWriter, h *handler, x *handlers.Exchange) *deferred {
	d := pool.Get().(*deferred)
	*d = deferred{under: w, handler: h, exchange: x}
	return d
}

// finish is for a chain that ended well. If nothing was written, the header
// will be with status 200.
func (d *deferred) finish() {
	if !d.wrote {
		d.apply(http.StatusOK)
	}
	d.release()
}

// release lets another request use the writer, unless someone may still hold
// on to it. It is not called after a panic.
func (d *deferred) release() {
	if d.hijacked {
		return
	}
	*d = deferred{}
	pool.Put(d)
}

func (d *deferred) apply(status int) {
	if h := d.under.Header(); d.handler.require.Match(status, h) {
		d.handler.response.Apply(h, d.exchange)
	}
}

// Header is that of the writer below.
func (d *deferred) Header() http.Header { return d.under.Header() }

// Unwrap is for http.ResponseController.
func (d *deferred) Unwrap() http.ResponseWriter { return d.under }

// WriteHeader applies the operations and passes the status on. What they do to
// an informational response they do again to the final one, so it is taken back
// in between.
func (d *deferred) WriteHeader(status int) {
	switch {
	case d.wrote:
		return
	case status < 200 && status != http.StatusSwitchingProtocols:
		h := d.under.Header()
		before := maps.Clone(h) // value slices are never changed in place
		d.apply(status)
		d.under.WriteHeader(status)
		clear(h)
		maps.Copy(h, before)
		return
	}
	d.wrote = true
	d.apply(status)
	d.under.WriteHeader(status)
}

func (d *deferred) implicitHeader() {
	if !d.wrote {
		d.WriteHeader(http.StatusOK)
	}
}

// Write implements http.ResponseWriter.
func (d *deferred) Write(p []byte) (int, error) {
	d.implicitHeader()
	return d.under.Write(p)
}

// WriteString implements io.StringWriter.
func (d *deferred) WriteString(s string) (int, error) {
	d.implicitHeader()
	return io.WriteString(d.under, s)
}

// ReadFrom lets the writer below choose how to copy.
func (d *deferred) ReadFrom(r io.Reader) (int64, error) {
	d.implicitHeader()
	return handlers.CopyBody(d.under, r)
}

// Flush implements http.Flusher.
func (d *deferred) Flush() { _ = d.FlushError() }

// FlushError is what http.ResponseController calls.
func (d *deferred) FlushError() error {
	d.implicitHeader()
	return http.NewResponseController(d.under).Flush()
}

// Hijack implements http.Hijacker. No header is written after it.
func (d *deferred) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(d.under).Hijack()
	if err == nil {
		d.wrote, d.hijacked = true, true
	}
	return conn, rw, err
}

// Push implements http.Pusher if the writer below, or one that it wraps, does.
func (d *deferred) Push(target string, opts *http.PushOptions) error {
	return handlers.Push(d.under, target, opts)
}
