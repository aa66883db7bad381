package h3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// maxTries bounds how often a request is sent that no upstream has begun to process.
const maxTries = 3

// UnsentError is a request of which nothing was sent.
type UnsentError struct{ Err error }

// Error implements error.
func (e *UnsentError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *UnsentError) Unwrap() error { return e.Err }

var errHeaderTimeout error = timeoutError("timeout awaiting response headers")

// RoundTrip sends a request, whose URL has the scheme https, and returns the final response. The header of the request may be
// read until the body of the response is closed. What the upstream cannot have processed, as its connection was about to end,
// is sent again on another one; so is what may be repeated, when the connection that it was sent on was there before.
func (p *Pool) RoundTrip(r *http.Request, w *Way) (*http.Response, error) {
	body := newRequestBody(r, r.Body)
	if r.Method == http3.MethodGet0RTT || r.Method == http3.MethodHead0RTT {
		body.discard()
		return nil, fmt.Errorf("the method %s means something else in HTTP/3", r.Method)
	}
	for try := 1; ; try++ {
		k, reused, err := p.take(r.Context(), w)
		if err != nil {
			body.discard()
			return nil, err
		}
		p.watch(k)
		res, err := p.send(k, r, body)
		if err == nil {
			return res, nil
		}
		next, again := body, false
		if r.Context().Err() == nil {
			next, again = p.again(k, reused, r, body, err)
		}
		p.mu.Lock()
		p.leave(k)
		p.mu.Unlock()
		if !again || try == maxTries {
			next.discard()
			return nil, err
		}
		body = next
	}
}

// again reports whether a request may be sent once more after an error, and with what body. It takes the connection out of
// use where the error is the connection's.
func (p *Pool) again(k *link, reused bool, r *http.Request, body *requestBody, err error) (*requestBody, bool) {
	var unsent *UnsentError
	if errors.As(err, &unsent) {
		p.retire(k)
		return body, true
	}
	var own *bodyError
	var h3 *http3.Error
	if errors.As(err, &h3) && h3.Remote && h3.ErrorCode == http3.ErrCodeRequestRejected {
		p.retire(k)
		return body.rewind(r)
	}
	if errors.As(err, &own) || !isConnectionError(err) {
		return body, false
	}
	p.retire(k)
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return body, false
	}
	return body, reused && body == nil && isRepeatable(r)
}

// isConnectionError reports whether the connection has ended. A request may know it before the connection's context is done.
func isConnectionError(err error) bool {
	var socket *net.OpError
	return errors.Is(err, net.ErrClosed) || errors.As(err, &socket)
}

// isRepeatable is what net/http takes for that.
func isRepeatable(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil
}

// unusable begins the errors of quic-go about connections that take no more requests. They have a type that cannot be named.
const unusable = "http3: conn unusable: "

// send sends a request over a connection.
func (p *Pool) send(k *link, r *http.Request, body *requestBody) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	on := ctx
	if limit := p.o.HeaderTimeout; limit > 0 {
		t := &headerTimer{limit: limit, cancel: cancel}
		defer t.stop()
		on = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: t.wrote})
	}
	out := r.WithContext(on)
	if out.Body = nil; body != nil {
		body.cancel = cancel
		out.Body = body
	}
	res, err := k.RoundTrip(out)
	if err != nil {
		err = cause(ctx, err)
		cancel(nil)
		if strings.HasPrefix(err.Error(), unusable) {
			err = &UnsentError{err}
		}
		return nil, err
	}
	res.Request = r
	answer := &responseBody{ReadCloser: res.Body, pool: p, link: k, ctx: ctx, cancel: cancel}
	if res.Body = answer; hasNoContent(r, res) {
		answer.Close()
		res.Body = http.NoBody
	}
	return res, nil
}

// hasNoContent reports whether a response ends with its header, whatever that says.
func hasNoContent(r *http.Request, res *http.Response) bool {
	return r.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
}

// headerTimer ends a request whose response is late.
type headerTimer struct {
	limit  time.Duration
	cancel context.CancelCauseFunc
	timer  atomic.Pointer[time.Timer]
	over   atomic.Bool
}

// wrote is called when the request was sent.
func (t *headerTimer) wrote(info httptrace.WroteRequestInfo) {
	if info.Err != nil {
		return
	}
	t.timer.Store(time.AfterFunc(t.limit, func() {
		if !t.over.Swap(true) {
			t.cancel(errHeaderTimeout)
		}
	}))
	if t.over.Load() {
		t.stop()
	}
}

func (t *headerTimer) stop() {
	t.over.Store(true)
	if timer := t.timer.Load(); timer != nil {
		timer.Stop()
	}
}

// requestBody is the body of a request while it is sent. It ends early with an error only: a part is never presented as the
// whole. A nil value is no body.
type requestBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
	left   int64        // -1 if the length is not known
	state  atomic.Int32 // one of the following
}

const (
	bodyNew   = iota
	bodyUsed  // by whoever sends it
	bodyMoved // taken away before that
)

var errMoved = errors.New("the request is sent on another connection")

// used reports whether who sends the body may have it.
func (b *requestBody) used() bool {
	return b.state.CompareAndSwap(bodyNew, bodyUsed) || b.state.Load() == bodyUsed
}

func newRequestBody(r *http.Request, of io.ReadCloser) *requestBody {
	if of == nil || of == http.NoBody {
		return nil
	}
	b := &requestBody{ReadCloser: of, left: -1}
	if r.ContentLength > 0 {
		b.left = r.ContentLength
	}
	return b
}

// Read implements io.Reader. An error that is not the end ends the request.
func (b *requestBody) Read(p []byte) (int, error) {
	if !b.used() {
		return 0, errMoved
	}
	n, err := b.ReadCloser.Read(p)
	if b.left >= 0 {
		b.left = max(b.left-int64(n), 0)
		if err == io.EOF && b.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil && err != io.EOF {
		b.cancel(&bodyError{fmt.Errorf("reading the request body: %w", err)})
	}
	return n, err
}

// Close implements io.Closer.
func (b *requestBody) Close() error {
	if !b.used() {
		return nil
	}
	return b.ReadCloser.Close()
}

// discard closes a body that nobody sends. Who sends it closes it.
func (b *requestBody) discard() {
	if b != nil && b.state.CompareAndSwap(bodyNew, bodyMoved) {
		b.ReadCloser.Close()
	}
}

// rewind returns the body from its beginning once more, if that can be had.
func (b *requestBody) rewind(r *http.Request) (*requestBody, bool) {
	switch {
	case b == nil:
		return nil, true
	case b.state.CompareAndSwap(bodyNew, bodyMoved):
		return newRequestBody(r, b.ReadCloser), true
	case r.GetBody == nil:
		return b, false
	}
	body, err := r.GetBody()
	if err != nil {
		return b, false
	}
	return newRequestBody(r, body), true
}

// bodyError is a request body that could not be read.
type bodyError struct{ error }

// Unwrap returns the reason.
func (e *bodyError) Unwrap() error { return e.error }

// responseBody is the body of a response. Its end gives the connection back.
type responseBody struct {
	io.ReadCloser
	pool   *Pool
	link   *link
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  atomic.Bool
}

// Read implements io.Reader.
func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end()
		if err != io.EOF {
			err = cause(b.ctx, err)
		}
	}
	return n, err
}

// Close implements io.Closer.
func (b *responseBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	b.cancel(nil)
	return err
}

func (b *responseBody) end() {
	if b.ended.Swap(true) {
		return
	}
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	b.pool.leave(b.link)
}
