package push

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// writer pushes what the response's Link fields name when its header is written.
type writer struct {
	under   http.ResponseWriter
	pushing *pushing
	wrote   bool
}

// Header is that of the writer below.
func (w *writer) Header() http.Header { return w.under.Header() }

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.under }

// WriteHeader pushes before the client can see the links and ask by itself.
func (w *writer) WriteHeader(status int) {
	if !w.wrote && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.wrote = true
		w.pushLinks()
	}
	w.under.WriteHeader(status)
}

// maxLinks bounds what one response can push.
const maxLinks = 100

func (w *writer) pushLinks() {
	n := 0
	for _, line := range w.under.Header()["Link"] {
		for target := range links(line) {
			if n++; n > maxLinks || !w.pushing.push("", target) {
				return
			}
		}
	}
}

func (w *writer) implicitHeader() {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	w.implicitHeader()
	return w.under.Write(p)
}

// WriteString implements io.StringWriter.
func (w *writer) WriteString(s string) (int, error) {
	w.implicitHeader()
	return io.WriteString(w.under, s)
}

// ReadFrom lets the writer below choose how to copy.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	w.implicitHeader()
	if rf, ok := w.under.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(w.under, r)
}

// Flush implements http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls.
func (w *writer) FlushError() error {
	w.implicitHeader()
	return http.NewResponseController(w.under).Flush()
}

// Hijack implements http.Hijacker.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.under).Hijack()
}

// Push implements http.Pusher.
func (w *writer) Push(target string, opts *http.PushOptions) error {
	return w.pushing.pusher.Push(target, opts)
}
