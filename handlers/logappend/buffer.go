package logappend

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"

	"github.com/sluiceproxy/sluice/handlers"
)

// maxBody is how much of a response is held back, in bytes.
const maxBody = 10 << 20

// buffer holds a response back until it is complete, or until it has become too
// long. Header and informational responses are not held back.
type buffer struct {
	under  http.ResponseWriter
	body   bytes.Buffer
	status int
	// passing is set when the response goes straight to the client.
	passing bool
}

// Header is that of the writer below.
func (b *buffer) Header() http.Header { return b.under.Header() }

// Unwrap is for http.ResponseController.
func (b *buffer) Unwrap() http.ResponseWriter { return b.under }

// WriteHeader keeps the first final status.
func (b *buffer) WriteHeader(status int) {
	switch {
	case b.passing || (status < 200 && status != http.StatusSwitchingProtocols):
		b.under.WriteHeader(status)
	case status == http.StatusSwitchingProtocols:
		b.passing = true
		b.under.WriteHeader(status)
	case b.status == 0:
		b.status = status
	}
}

// Write implements http.ResponseWriter.
func (b *buffer) Write(p []byte) (int, error) {
	if b.passing {
		return b.under.Write(p)
	}
	if b.status == 0 {
		b.status = http.StatusOK
	}
	if room := maxBody - b.body.Len(); len(p) > room {
		b.body.Write(p[:room])
		if err := b.send(); err != nil {
			return 0, err
		}
		n, err := b.under.Write(p[room:])
		return room + n, err
	}
	return b.body.Write(p)
}

// ReadFrom copies through Write while the response is held back, and then lets
// the writer below choose how.
func (b *buffer) ReadFrom(r io.Reader) (int64, error) {
	var sum int64
	for !b.passing {
		n, err := io.CopyN(struct{ io.Writer }{b}, r, 64<<10)
		sum += n
		if err == io.EOF {
			return sum, nil
		}
		if err != nil {
			return sum, err
		}
	}
	n, err := handlers.CopyBody(b.under, r)
	return sum + n, err
}

// Flush implements http.Flusher.
func (b *buffer) Flush() { _ = b.FlushError() }

// FlushError does nothing while the response is held back.
func (b *buffer) FlushError() error {
	if !b.passing {
		return nil
	}
	return http.NewResponseController(b.under).Flush()
}

// Hijack implements http.Hijacker. Nothing is held back after it.
func (b *buffer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(b.under).Hijack()
	if err == nil {
		b.passing = true
	}
	return conn, rw, err
}

// Push implements http.Pusher if the writer below, or one that it wraps, does.
func (b *buffer) Push(target string, opts *http.PushOptions) error {
	return handlers.Push(b.under, target, opts)
}

// send sends what was held back, if there is anything.
func (b *buffer) send() error {
	if b.passing || b.status == 0 {
		return nil
	}
	b.passing = true
	b.under.WriteHeader(b.status)
	if b.body.Len() == 0 || b.status == http.StatusNoContent || b.status == http.StatusNotModified {
		return nil
	}
	_, err := b.under.Write(b.body.Bytes())
	return err
}

// discard is for a response that will not be sent: the length that was announced
// is not that of what will be sent instead.
func (b *buffer) discard() {
	if !b.passing && b.status != 0 {
		b.under.Header().Del("Content-Length")
	}
}
