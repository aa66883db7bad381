package fastcgi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/upstream"
)

// exchange is one request and its response on a connection of its own.
type exchange struct {
	conn   net.Conn
	stdout stdout
	stop   func() bool // stops watching the request's context

	mu   sync.Mutex
	sent error // why the body could not be sent, if its reader is to blame

	once   sync.Once
	report *report // nil if nothing is reported
}

// RoundTrip implements [upstream.Transport]. Requests that the application cannot be told of are errors with a status of
// their own: 400 for a path with a NUL, 411 for a body of unknown length.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	e, err := t.begin(r)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	res, err := e.response(r)
	if err != nil {
		e.close()
		return nil, e.reason(r.Context(), err)
	}
	if e.report != nil {
		e.report.status = res.StatusCode
	}
	return res, nil
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}

// begin connects and sends all but the body, which is sent from then on.
func (t *Transport) begin(r *http.Request) (*exchange, error) {
	if strings.IndexByte(r.URL.Path, 0) >= 0 {
		return nil, handlers.NewError(http.StatusBadRequest, errors.New("the path has a NUL byte, with which a FastCGI application would see another one"))
	}
	length, err := bodyLength(r)
	if err != nil {
		return nil, err
	}
	env, err := t.variables(r, length)
	if err != nil {
		return nil, err
	}
	conn, err := t.connect(r)
	if err != nil {
		return nil, err
	}
	e := &exchange{conn: conn, stdout: stdout{r: readers.Get().(*bufio.Reader), keep: t.stderr}}
	e.stdout.r.Reset(conn)
	if t.stderr {
		e.report = newReport(r, env, t.env)
	}
	e.stop = context.AfterFunc(r.Context(), func() { conn.Close() })
	head := appendHead(make([]byte, 0, 2048), env)
	if length <= 0 {
		head = appendStream(head, typeStdin, nil)
	}
	if _, err := conn.Write(head); err != nil {
		// An application that refuses at once has answered all the same, and the answer says more.
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			e.close()
			return nil, e.reason(r.Context(), fmt.Errorf("sending the request to the FastCGI application: %w", err))
		}
	}
	if length > 0 {
		go e.sendBody(r.Body, length)
	} else {
		closeBody(r)
	}
	return e, nil
}

// bodiless: requests of these methods are sent without a body (FC-7).
func bodiless(method string) bool {
	return strings.EqualFold(method, http.MethodHead) || strings.EqualFold(method, http.MethodOptions)
}

// bodyLength is the length of the body to send.
func bodyLength(r *http.Request) (int64, error) {
	switch {
	case bodiless(r.Method) || r.Body == nil || r.Body == http.NoBody:
		return 0, nil
	case r.ContentLength < 0:
		return 0, handlers.NewError(http.StatusLengthRequired,
			errors.New("a FastCGI application has to know the length of a request body in advance; set body_spool_size, or request_buffers, to more than the longest body that comes without one"))
	}
	return r.ContentLength, nil
}

func (t *Transport) connect(r *http.Request) (net.Conn, error) {
	network, address, err := upstream.DecodeHost(r.URL.Host)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: t.dial}
	conn, err := d.DialContext(r.Context(), network, address)
	if err != nil {
		return nil, &upstream.DialError{Network: network, Address: address, Err: err}
	}
	now := time.Now()
	if t.read > 0 {
		err = conn.SetReadDeadline(now.Add(t.read))
	}
	if t.write > 0 && err == nil {
		err = conn.SetWriteDeadline(now.Add(t.write))
	}
	if err != nil {
		conn.Close()
		return nil, &upstream.DialError{Network: network, Address: address, Err: err}
	}
	return conn, nil
}

type sendBuffer [32 << 10]byte

var sendBuffers = sync.Pool{New: func() any { return new(sendBuffer) }}

// sendBody sends the body as it comes. A body that breaks off ends the connection, for the application must not take a
// part for the whole. A connection that breaks does not matter here: the application may have answered before it had read
// all, and the reader of the response finds out.
func (e *exchange) sendBody(body io.ReadCloser, length int64) {
	defer body.Close()
	buf := sendBuffers.Get().(*sendBuffer)
	defer sendBuffers.Put(buf)
	for length > 0 {
		room := buf[headerSize : len(buf)-8]
		n, err := body.Read(room[:min(int64(len(room)), length)])
		if n > 0 {
			length -= int64(n)
			record := appendRecord(buf[:0], typeStdin, room[:n])
			if _, werr := e.conn.Write(record); werr != nil {
				e.lost(werr)
				return
			}
		}
		if err != nil && length > 0 {
			e.broken(fmt.Errorf("reading the request body: %w", unexpected(err)))
			return
		}
	}
	if _, err := e.conn.Write(appendRecord(buf[:0], typeStdin, nil)); err != nil {
		e.lost(err)
	}
}

// lost notes that the connection did not take the body in time.
func (e *exchange) lost(err error) {
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		e.broken(fmt.Errorf("sending the request body to the FastCGI application: %w", err))
	}
}

func (e *exchange) broken(err error) {
	e.mu.Lock()
	e.sent = err
	e.mu.Unlock()
	e.conn.Close()
}

// reason returns the error that is behind the one that the reader of a response saw.
func (e *exchange) reason(ctx context.Context, err error) error {
	e.mu.Lock()
	sent := e.sent
	e.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case sent != nil:
		return sent
	}
	return err
}

// close ends the exchange. Nobody reads from it at that time or later.
func (e *exchange) close() {
	e.once.Do(func() {
		e.stop()
		e.conn.Close()
		e.stdout.r.Reset(nil)
		readers.Put(e.stdout.r)
		e.stdout.r, e.stdout.err = nil, net.ErrClosed
		e.report.write(e.stdout.stderr)
	})
}
