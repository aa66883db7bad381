package xconnect

import (
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 wants it
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// protocolField is where net/http keeps the pseudo field :protocol of an extended CONNECT.
const protocolField = ":protocol"

// openStream sends the extended CONNECT over a connection, and makes the response one of HTTP/1.1.
func (c *Connector) openStream(conn *http2.ClientConn, r *http.Request, accept string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	body, writer := io.Pipe()
	s := &stream{writer: writer, cancel: cancel, sent: make(chan struct{})}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { s.wrote.Do(func() { close(s.sent) }) }})
	out := (&http.Request{
		Method: http.MethodConnect, URL: r.URL, Host: r.Host, Header: connectHeader(r.Header), Body: body, ContentLength: -1,
		Close: !c.o.KeepAlive,
	}).WithContext(ctx)
	if c.o.HeaderTimeout > 0 {
		timer := time.AfterFunc(c.o.HeaderTimeout, func() {
			conn.SetDoNotReuse()
			cancel(errHeaderTimeout)
		})
		defer timer.Stop()
	}
	res, err := conn.RoundTrip(out)
	if err != nil {
		writer.Close()
		if context.Cause(ctx) == errHeaderTimeout { //nolint:errorlint // never wrapped
			err = errHeaderTimeout
		}
		cancel(nil)
		return nil, err
	}
	s.body = res.Body
	res.Request = r
	if res.StatusCode < 200 || res.StatusCode > 299 { // refused
		writer.Close()
		res.Body = &closing{res.Body, cancel}
		return res, nil
	}
	res.StatusCode, res.Status = http.StatusSwitchingProtocols, "101 Switching Protocols"
	res.Header = switchHeader(res.Header, accept)
	res.ContentLength, res.Trailer, res.Body = -1, nil, s
	return res, nil
}

// connectHeader is the header of an extended CONNECT. What negotiates the WebSocket stays, but for the key, which has no
// use in HTTP/2 (RFC 8441 section 5).
func connectHeader(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		switch textproto.CanonicalMIMEHeaderKey(name) {
		case "Connection", "Upgrade", "Sec-Websocket-Key", "Http2-Settings", "Content-Length":
		default:
			out[name] = values
		}
	}
	out[protocolField] = []string{"websocket"}
	return out
}

// switchHeader is the header of the 101.
func switchHeader(h http.Header, accept string) http.Header {
	out := make(http.Header, len(h)+3)
	for name, values := range h {
		switch name {
		case "Content-Length", "Transfer-Encoding", "Trailer":
		default:
			out[name] = values
		}
	}
	out["Connection"], out["Upgrade"], out["Sec-Websocket-Accept"] = []string{"Upgrade"}, []string{"websocket"}, []string{accept}
	return out
}

// acceptKey answers the key of a handshake (RFC 6455 section 4.2.2). Over HTTP/2 nobody else does.
func acceptKey(h http.Header) (string, error) {
	key := h["Sec-Websocket-Key"]
	if key == nil {
		key = h["Sec-WebSocket-Key"]
	}
	if len(key) != 1 {
		return "", errors.New("a WebSocket handshake needs exactly one Sec-WebSocket-Key")
	}
	if nonce, err := base64.StdEncoding.DecodeString(key[0]); err != nil || len(nonce) != 16 {
		return "", errors.New("the Sec-WebSocket-Key is not the base64 of 16 bytes")
	}
	sum := sha1.Sum([]byte(key[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// badRequest is the answer that the upstream would have given over HTTP/1.1.
func badRequest(r *http.Request, err error) *http.Response {
	text := err.Error() + "\n"
	return &http.Response{
		Status: "400 Bad Request", StatusCode: http.StatusBadRequest, Proto: "HTTP/2.0", ProtoMajor: 2, Request: r,
		Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, ContentLength: int64(len(text)),
		Body: io.NopCloser(strings.NewReader(text)),
	}
}

var errHeaderTimeout error = headerTimeout{}

// headerTimeout is an error like that of net/http for its ResponseHeaderTimeout.
type headerTimeout struct{}

func (headerTimeout) Error() string { return "timeout awaiting response headers" }
func (headerTimeout) Timeout() bool { return true }

// closing is the body of a response that opened no stream.
type closing struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

// Close implements io.Closer.
func (b *closing) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// stream is the upstream's end of a tunnel inside an HTTP/2 stream.
type stream struct {
	body   io.ReadCloser
	writer *io.PipeWriter
	cancel context.CancelCauseFunc

	wrote sync.Once
	sent  chan struct{} // closed when all that was written is sent, or nothing more will be
}

// streamFarewell bounds the wait for what was written last to be sent.
const streamFarewell = time.Second

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) { return s.body.Read(p) }

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) { return s.writer.Write(p) }

// CloseWrite ends the sending direction.
func (s *stream) CloseWrite() error { return s.writer.Close() }

// Close ends the stream. What was written before goes out first, as it would on a connection of its own.
func (s *stream) Close() error {
	s.writer.Close()
	timer := time.NewTimer(streamFarewell)
	defer timer.Stop()
	select {
	case <-s.sent:
	case <-timer.C:
	}
	err := s.body.Close()
	s.cancel(nil)
	return err
}
