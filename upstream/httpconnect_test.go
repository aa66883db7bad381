package upstream

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluiceproxy/sluice/upstream/xconnect"
)

// settingsFrame is a SETTINGS frame of pairs of identifier and value.
func settingsFrame(pairs ...uint32) string {
	b := []byte{0, 0, byte(len(pairs) * 3), 4, 0, 0, 0, 0, 0}
	for i := 0; i < len(pairs); i += 2 {
		b = binary.BigEndian.AppendUint16(b, uint16(pairs[i]))
		b = binary.BigEndian.AppendUint32(b, pairs[i+1])
	}
	return string(b)
}

// echoes is an upstream whose HTTP/2 streams echo. It counts connections.
type echoes struct {
	*httptest.Server
	conns, open atomic.Int64
	streams     chan string
}

func newEchoes(t *testing.T, streams int) *echoes {
	u := &echoes{streams: make(chan string, 100)}
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "7")
		w.Header().Set("X-Protocol", r.Header.Get(":protocol"))
		w.(http.Flusher).Flush()
		got, _ := io.ReadAll(r.Body)
		u.streams <- string(got)
	}))
	u.Config.Protocols = new(http.Protocols)
	u.Config.Protocols.SetUnencryptedHTTP2(true)
	u.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
	u.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			u.conns.Add(1)
			u.open.Add(1)
		case http.StateClosed:
			u.open.Add(-1)
		}
	}
	u.Start()
	t.Cleanup(u.Close)
	return u
}

func webSocketRequest(ctx context.Context, addr string) *http.Request {
	r, _ := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-WebSocket-Version": {"13"},
	}
	return r
}

func (u *echoes) open1(t *testing.T, h *HTTP) (io.ReadWriteCloser, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	r := webSocketRequest(ctx, u.Listener.Addr().String())
	res, err := h.Send(r, Route{})
	if err != nil {
		return nil, err
	}
	want := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Accept": {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}, "X-Protocol": {"websocket"}}
	for name, values := range want {
		if res.StatusCode != 101 || fmt.Sprint(res.Header[name]) != fmt.Sprint(values) || res.Header["Content-Length"] != nil {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	}
	return res.Body.(io.ReadWriteCloser), nil
}

func mustOpen(t *testing.T, u *echoes, h *HTTP) io.ReadWriteCloser {
	t.Helper()
	s, err := u.open1(t, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func h2cOptions() HTTPOptions {
	o := DefaultHTTPOptions()
	o.H2C, o.HTTP2Only = true, true
	return o
}

func acquire(t *testing.T, registry *Transports, o HTTPOptions) *HTTP {
	t.Helper()
	h, err := registry.Acquire(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestStreamsPerConnection(t *testing.T) {
	u := newEchoes(t, 2)
	h := acquire(t, NewTransports(TransportsConfig{}), h2cOptions())
	var all []io.ReadWriteCloser
	for range 5 {
		all = append(all, mustOpen(t, u, h))
	}
	if n := u.conns.Load(); n < 3 || n > 5 { // 3, unless the limit of a connection was not known yet
		t.Errorf("%d connections for 5 streams of 2 each", n)
	}
	for _, s := range all {
		io.WriteString(s, "last words")
		s.Close()
		if got := <-u.streams; got != "last words" {
			t.Errorf("the upstream read %q", got)
		}
	}
}

func TestMaxConnsPerHostHoldsForStreams(t *testing.T) {
	u := newEchoes(t, 1)
	o := h2cOptions()
	o.MaxConnsPerHost = 2
	h := acquire(t, NewTransports(TransportsConfig{}), o)
	a := mustOpen(t, u, h)
	mustOpen(t, u, h)
	third := make(chan error, 1)
	go func() {
		s, err := u.open1(t, h)
		if err == nil {
			err = s.Close()
		}
		third <- err
	}()
	select {
	case err := <-third:
		t.Fatalf("a third stream was opened: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	a.Close()
	if err := <-third; err != nil {
		t.Error(err)
	}
	if n := u.conns.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestStreamsWithoutKeepAlive(t *testing.T) {
	u := newEchoes(t, 100)
	o := h2cOptions()
	o.KeepAlive = false
	h := acquire(t, NewTransports(TransportsConfig{}), o)
	for i := range 3 {
		mustOpen(t, u, h).Close()
		until(t, "the connection is closed", func() bool { return u.open.Load() == 0 })
		if n := u.conns.Load(); n != int64(i+1) {
			t.Errorf("%d connections", n)
		}
	}
}

// HT-12: a release lets streams live and keeps no connection.
func TestReleaseAndStreams(t *testing.T) {
	u := newEchoes(t, 100)
	registry := NewTransports(TransportsConfig{})
	h := acquire(t, registry, h2cOptions())
	s := mustOpen(t, u, h)
	registry.Release(h)
	io.WriteString(s, "still here")
	if n := u.open.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	s.Close()
	if got := <-u.streams; got != "still here" {
		t.Errorf("the upstream read %q", got)
	}
	until(t, "the connection is closed", func() bool { return u.open.Load() == 0 })

	h = acquire(t, registry, h2cOptions())
	mustOpen(t, u, h).Close()
	registry.Release(h)
	until(t, "the idle connection is closed", func() bool { return u.open.Load() == 0 })
	late := mustOpen(t, u, h) // who holds on to it is still served
	late.Close()
	until(t, "its connection is closed", func() bool { return u.open.Load() == 0 })
}

// bubble sends a WebSocket's request inside a synctest bubble to an upstream that serve is.
func bubble(t *testing.T, o HTTPOptions, serve func(net.Conn)) (res *http.Response, err error, took time.Duration, dials int) { //nolint:revive // as it comes
	registry := NewTransports(TransportsConfig{Dial: func(context.Context, *net.Dialer, string, string) (net.Conn, error) {
		dials++
		a, b := net.Pipe()
		go func() {
			serve(b)
			b.Close()
		}()
		return a, nil
	}})
	h := acquire(t, registry, o)
	start := time.Now()
	for range 2 {
		if res, err = h.Send(webSocketRequest(t.Context(), "10.0.0.1:80"), Route{}); err == nil {
			res.Body.Close()
		}
	}
	took = time.Since(start)
	registry.Release(h)
	return res, err, took, dials
}

func TestSilentUpstreams(t *testing.T) {
	silent := func(c net.Conn) { io.Copy(io.Discard, c) }
	synctest.Test(t, func(t *testing.T) {
		o := h2cOptions()
		_, err, took, dials := bubble(t, o, silent)
		if !errors.Is(err, xconnect.ErrNoSettings) || IsUnsupported(err) || took != 2*o.DialTimeout || dials != 2 {
			t.Errorf("%v after %v and %d dials", err, took, dials)
		}
	})
	synctest.Test(t, func(t *testing.T) { // with HTTP/1.1 at hand, and remembered
		o := h2cOptions()
		o.HTTP2Only = false
		res, err, took, dials := bubble(t, o, func(c net.Conn) {
			r := bufio.NewReader(c)
			if begin, _ := r.Peek(3); string(begin) == "PRI" {
				io.Copy(io.Discard, r)
				return
			}
			if _, err := http.ReadRequest(r); err == nil {
				io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			}
		})
		if err != nil || res.StatusCode != 403 || took != o.DialTimeout || dials != 3 {
			t.Errorf("%v, %v after %v and %d dials", res, err, took, dials)
		}
	})
	synctest.Test(t, func(t *testing.T) { // it takes the stream and never answers
		o := h2cOptions()
		o.ResponseHeaderTimeout = time.Minute
		_, err, took, dials := bubble(t, o, func(c net.Conn) {
			io.CopyN(io.Discard, c, int64(len(http2.ClientPreface)))
			go io.WriteString(c, settingsFrame(8, 1))
			io.Copy(io.Discard, c)
		})
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() || took != 2*time.Minute || dials != 2 {
			t.Errorf("%v after %v and %d dials", err, took, dials)
		}
	})
}

func TestUnsupportedSaysWhatWouldHelp(t *testing.T) {
	u := httptest.NewServer(http.NotFoundHandler())
	defer u.Close()
	h := acquire(t, NewTransports(TransportsConfig{}), h2cOptions())
	_, err := h.Send(webSocketRequest(t.Context(), u.Listener.Addr().String()), Route{})
	if !IsUnsupported(err) || !strings.Contains(err.Error(), `it does not speak HTTP/2; if it has WebSockets over HTTP/1.1, add "1.1" to the versions`) {
		t.Error(err)
	}
	if IsUnsupported(xconnect.ErrNoSettings) || !IsUnsupported(fmt.Errorf("x: %w", err)) {
		t.Error("IsUnsupported is wrong")
	}
}
