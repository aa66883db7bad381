package intercept

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/route"
)

// interceptor is what the handlers behind write to. It decides when the final
// header is written: pass on, pass on with another status, or keep the response
// for the routes of an entry.
type interceptor struct {
	under     http.ResponseWriter
	responses route.Responses
	exchange  *handlers.Exchange

	decided bool
	entry   *route.Response // whose routes get the response; nil passes it on
	status  int
	body    spool
}

// Header is that of the response.
func (i *interceptor) Header() http.Header { return i.under.Header() }

// Unwrap is for http.ResponseController. It leads past the interceptor, so that
// it offers itself what must not go past it.
func (i *interceptor) Unwrap() http.ResponseWriter { return i.under }

// WriteHeader decides what becomes of the response.
func (i *interceptor) WriteHeader(status int) {
	switch {
	case i.decided:
		return
	case status < 200 && status != http.StatusSwitchingProtocols:
		i.under.WriteHeader(status)
		return
	}
	i.decided, i.status = true, status
	entry := i.responses.Find(status, i.under.Header())
	switch {
	case entry == nil:
		i.under.WriteHeader(status)
	case !entry.HasRoutes:
		i.under.WriteHeader(entry.StatusFor(i.exchange, status))
	default:
		i.entry = entry
	}
}

func (i *interceptor) implicitHeader() {
	if !i.decided {
		i.WriteHeader(http.StatusOK)
	}
}

// Write passes the body on or keeps it.
func (i *interceptor) Write(p []byte) (int, error) {
	i.implicitHeader()
	if i.entry != nil {
		return i.body.Write(p)
	}
	return i.under.Write(p)
}

// ReadFrom lets the writer below choose how to copy.
func (i *interceptor) ReadFrom(r io.Reader) (int64, error) {
	i.implicitHeader()
	if i.entry != nil {
		return io.Copy(&i.body, r)
	}
	return handlers.CopyBody(i.under, r)
}

// Flush implements http.Flusher.
func (i *interceptor) Flush() { _ = i.FlushError() }

// FlushError is what http.ResponseController calls. A response that is kept is
// not flushed.
func (i *interceptor) FlushError() error {
	i.implicitHeader()
	if i.entry != nil {
		return nil
	}
	return http.NewResponseController(i.under).Flush()
}

// Hijack implements http.Hijacker.
func (i *interceptor) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if i.entry != nil {
		return nil, nil, http.ErrNotSupported
	}
	i.decided = true
	return http.NewResponseController(i.under).Hijack()
}

// outcome notes what the routes of an entry write.
type outcome struct {
	http.ResponseWriter
	wroteHeader, wroteBody, hijacked bool
}

// Unwrap is for http.ResponseController.
func (o *outcome) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// WriteHeader notes a final status.
func (o *outcome) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		o.wroteHeader = true
	}
	o.ResponseWriter.WriteHeader(status)
}

// Write notes a body.
func (o *outcome) Write(p []byte) (int, error) {
	o.wroteHeader = true
	o.wroteBody = o.wroteBody || len(p) > 0
	return o.ResponseWriter.Write(p)
}

// ReadFrom notes a body.
func (o *outcome) ReadFrom(r io.Reader) (int64, error) {
	o.wroteHeader = true
	n, err := handlers.CopyBody(o.ResponseWriter, r)
	o.wroteBody = o.wroteBody || n > 0
	return n, err
}

// Flush implements http.Flusher.
func (o *outcome) Flush() { _ = o.FlushError() }

// FlushError notes that a header was sent.
func (o *outcome) FlushError() error {
	o.wroteHeader = true
	return http.NewResponseController(o.ResponseWriter).Flush()
}

// Hijack notes that the connection is gone.
func (o *outcome) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(o.ResponseWriter).Hijack()
	o.hijacked = o.hijacked || err == nil
	return conn, rw, err
}
