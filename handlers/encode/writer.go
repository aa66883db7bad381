package encode

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/sluiceproxy/sluice/handlers"
	"sync"
)

// writer encodes a response if its header and length speak for it. Whether they
// do is decided once: when the header is written, if that is enough to know, else
// when the body begins, or at the end if it has none. Until then the header is
// held back. It is not pooled, so that a handler's goroutine that outlives its
// request can write to no other response.
type writer struct {
	under    http.ResponseWriter
	handler  *handler
	encoding *Encoding
	stream   *stream // nil before the first byte is encoded
	status   int     // the final status, 0 before it is known
	declared int64   // the Content-Length of the body before encoding, -1: unknown
	written  int64   // bytes of the body before encoding
	state    state
	able     bool      // the header speaks for encoding, and states no length
	head     bool      // the request is a HEAD: what is written goes nowhere
	connect  bool      // the request is a CONNECT
	tag      [1]string // space for the header Etag
}

type state uint8

const (
	undecided state = iota
	plain           // the response stays as it is
	encoded
	hijacked
	over
)

// Header is that of the writer below.
func (w *writer) Header() http.Header { return w.under.Header() }

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.under }

// WriteHeader takes the final status, and passes informational ones on.
func (w *writer) WriteHeader(status int) {
	switch {
	case w.status != 0 || w.state >= hijacked:
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.under.WriteHeader(status)
	default:
		w.status = status
		w.decideByHeader()
	}
}

// decideByHeader decides if the status and the header say enough.
func (w *writer) decideByHeader() {
	h := w.under.Header()
	contentType := first(h, "Content-Type")
	switch {
	case w.connect && w.status < 300 || !hasBody(w.status):
		if w.status == http.StatusNotModified {
			addVary(h)
		}
		w.begin(false)
	case isEventStream(contentType):
		w.begin(w.eligible(h))
	case contentType == "":
		// The type is found from the first bytes.
	case !w.eligible(h), w.handler.minimum < 0 && !w.head:
		w.begin(false)
	default:
		if n := lengthOf(h); n >= 0 {
			w.begin(n > w.handler.minimum)
		} else {
			w.able = len(h["Content-Length"]) == 0
		}
	}
}

// eligible reports whether all but the length speaks for encoding.
func (w *writer) eligible(h http.Header) bool {
	if w.status == http.StatusPartialContent || noTransform(h) || first(h, "Content-Encoding") != "" {
		return false
	}
	return w.handler.match.Match(max(w.status, http.StatusOK), h)
}

// decideByBody decides by a first piece of the body of n bytes.
func (w *writer) decideByBody(n int, beginning func() []byte) {
	if w.status == 0 {
		if w.WriteHeader(http.StatusOK); w.state != undecided {
			return
		}
	}
	h, least := w.under.Header(), w.handler.minimum
	if w.able {
		w.begin(least >= 0 && int64(n) > least)
		return
	}
	if least < 0 || int64(n) <= least && lengthOf(h) <= least {
		w.begin(false)
		return
	}
	if first(h, "Content-Type") == "" {
		h["Content-Type"] = []string{http.DetectContentType(beginning())}
	}
	w.begin(w.eligible(h))
}

// begin writes the header.
func (w *writer) begin(encode bool) {
	w.state = plain
	if encode {
		w.state = encoded
		h := w.under.Header()
		if !w.able {
			w.declared = lengthOf(h)
			delete(h, "Content-Length")
		}
		w.encoding.rewrite(h, &w.tag)
	}
	if w.status != 0 {
		w.under.WriteHeader(w.status)
	}
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	if w.state == undecided && len(p) > 0 {
		w.decideByBody(len(p), func() []byte { return p })
	}
	switch {
	case w.state == plain:
		return w.under.Write(p)
	case w.state == undecided: // nothing to write
		if w.status == 0 {
			w.WriteHeader(http.StatusOK)
		}
		return 0, nil
	case w.state != encoded:
		return w.late()
	}
	return w.encode(p)
}

// late is a write that comes too late.
func (w *writer) late() (int, error) {
	if w.state == hijacked {
		return 0, http.ErrHijacked
	}
	return 0, errOver
}

func (w *writer) encode(p []byte) (int, error) {
	if w.head || len(p) == 0 {
		w.written += int64(len(p))
		return len(p), nil
	}
	if err := w.open(); err != nil {
		return 0, err
	}
	n, err := w.stream.Write(p)
	w.written += int64(n)
	return n, err
}

func (w *writer) open() (err error) {
	if w.stream == nil {
		w.stream, err = w.encoding.open(w.under)
	}
	return err
}

const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// sniffed is how much of a body http.DetectContentType looks at.
const sniffed = 512

// WriteString implements io.StringWriter.
func (w *writer) WriteString(s string) (int, error) {
	if w.state == undecided && s != "" {
		w.decideByBody(len(s), func() []byte { return []byte(s[:min(len(s), sniffed)]) })
	}
	switch {
	case w.state == plain:
		return io.WriteString(w.under, s)
	case w.state != encoded || s == "":
		return w.Write(nil)
	}
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	total := 0
	for total < len(s) {
		n, err := w.encode(buf[:copy(buf[:], s[total:])])
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}

// ReadFrom copies a body. One that is not encoded is left to the writer below,
// which may pass a file on without reading it.
func (w *writer) ReadFrom(r io.Reader) (total int64, err error) {
	var buf *[copySize]byte
	if w.state == undecided || w.state == encoded {
		buf = copyBuffers.Get().(*[copySize]byte)
		defer copyBuffers.Put(buf)
	}
	for w.state == undecided {
		// What is looked at is one piece of at most 512 bytes.
		n, rerr := r.Read(buf[:sniffed])
		if n > 0 || rerr != nil {
			var m int
			m, err = w.Write(buf[:n])
			total += int64(m)
		}
		if rerr != nil && rerr != io.EOF && err == nil {
			err = rerr
		}
		if rerr != nil || err != nil {
			return total, err
		}
	}
	var n int64
	switch w.state {
	case plain:
		n, err = handlers.CopyBody(w.under, r)
	case encoded:
		n, err = io.CopyBuffer(onlyWriter{w}, r, buf[:])
	default:
		_, err = w.late()
	}
	return total + n, err
}

// onlyWriter hides that a writer can read.
type onlyWriter struct{ io.Writer }

// Flush implements http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls. It sends all that was
// written so far such that the client can decode it. As long as the header is
// held back it does nothing.
func (w *writer) FlushError() error {
	switch {
	case w.state == undecided:
		return nil
	case w.state >= hijacked:
		_, err := w.late()
		return err
	case w.stream != nil:
		if err := w.stream.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.under).Flush()
}

// Hijack implements http.Hijacker. Nothing is encoded after it.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.under).Hijack()
	if err == nil {
		w.release()
		w.state = hijacked
	}
	return conn, rw, err
}

// Push implements http.Pusher if the writer below, or one that it wraps, does.
func (w *writer) Push(target string, opts *http.PushOptions) error {
	return handlers.Push(w.under, target, opts)
}

// finish ends the response. After a panic it is not called: then the connection
// is cut, and a body must not look complete.
func (w *writer) finish(failed bool) {
	switch {
	case w.state == undecided && !failed:
		h := w.under.Header()
		n := lengthOf(h)
		w.begin(n >= 0 && n > w.handler.minimum && w.eligible(h))
	case w.state == encoded && !w.head:
		w.end()
	}
	w.release()
	if w.state != hijacked {
		w.state = over
	}
}

// end completes the encoded body. If less was written than the Content-Length
// had announced, the body is left incomplete, so that the client still notices.
// There is nobody to tell an error.
func (w *writer) end() {
	if w.written < w.declared {
		if w.stream != nil {
			_ = w.stream.Flush()
		}
		return
	}
	if w.open() == nil {
		_ = w.stream.Close()
	}
}

func (w *writer) release() {
	if w.stream != nil {
		w.encoding.release(w.stream)
		w.stream = nil
	}
}
