package templates

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/templates/engine"
)

// buffer holds a response back if it is one to be executed, and passes on all
// others. Which it is turns out when the header is written.
type buffer struct {
	under   http.ResponseWriter
	types   []string
	status  int
	held    bool
	tooLong bool
	body    *bytes.Buffer // once held
}

// maxPooled is how large a buffer may be that is used again, in bytes.
const maxPooled = 1 << 20

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func getBuffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func putBuffer(b *bytes.Buffer) {
	if b.Cap() > maxPooled {
		return
	}
	b.Reset()
	buffers.Put(b)
}

func newBuffer(w http.ResponseWriter, types []string) *buffer {
	return &buffer{under: w, types: types}
}

// free gives the memory back. What was held back is dropped; a handler's
// goroutine that still writes, writes nowhere.
func (b *buffer) free() {
	if b.body != nil {
		putBuffer(b.body)
		b.body = nil
	}
}

// Header is that of the writer below.
func (b *buffer) Header() http.Header { return b.under.Header() }

// Unwrap is for http.ResponseController.
func (b *buffer) Unwrap() http.ResponseWriter { return b.under }

// WriteHeader decides what becomes of the response, when the status is final.
func (b *buffer) WriteHeader(status int) {
	switch {
	case b.held:
		if status < 200 {
			b.under.WriteHeader(status)
		}
		return
	case b.status != 0 || (status < 200 && status != http.StatusSwitchingProtocols):
		b.under.WriteHeader(status)
		return
	}
	b.status = status
	if !b.executed(status) {
		b.under.WriteHeader(status)
		return
	}
	b.held, b.body = true, getBuffer()
}

// executed reports whether the response that begins is a template.
func (b *buffer) executed(status int) bool {
	if status < 200 || status == http.StatusNoContent || status == http.StatusNotModified {
		return false
	}
	h := b.under.Header()
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return false
	}
	kind := h.Get("Content-Type")
	return slices.ContainsFunc(b.types, func(t string) bool { return strings.Contains(kind, t) })
}

// Write implements http.ResponseWriter.
func (b *buffer) Write(p []byte) (int, error) {
	if b.status == 0 {
		b.WriteHeader(http.StatusOK)
	}
	if !b.held {
		return b.under.Write(p)
	}
	if b.body == nil || b.body.Len()+len(p) > engine.MaxText {
		b.tooLong = true
		return 0, errTooLong
	}
	return b.body.Write(p)
}

// ReadFrom lets the writer below choose how to copy what is passed on.
func (b *buffer) ReadFrom(r io.Reader) (int64, error) {
	if b.status == 0 {
		b.WriteHeader(http.StatusOK)
	}
	if !b.held {
		return handlers.CopyBody(b.under, r)
	}
	return io.Copy(struct{ io.Writer }{b}, r)
}

// Flush implements http.Flusher.
func (b *buffer) Flush() { _ = b.FlushError() }

// FlushError is what http.ResponseController calls. It does nothing while the
// response is held back.
func (b *buffer) FlushError() error {
	if b.status == 0 {
		b.WriteHeader(http.StatusOK)
	}
	if b.held {
		return nil
	}
	return http.NewResponseController(b.under).Flush()
}

// Hijack implements http.Hijacker. No header is written after it.
func (b *buffer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(b.under).Hijack()
	if err == nil {
		b.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// Push implements http.Pusher if the writer below, or one that it wraps, does.
func (b *buffer) Push(target string, opts *http.PushOptions) error {
	return handlers.Push(b.under, target, opts)
}
