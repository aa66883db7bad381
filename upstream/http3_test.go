package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// quicServer is an upstream that speaks HTTP/3.
type quicServer struct {
	*http3.Server
	addr  string
	conns atomic.Int64 // accepted

	sock net.PacketConn
	over *quic.Transport
	done sync.WaitGroup
}

// serveQUIC starts one. An address says where, else it is anywhere.
func serveQUIC(t *testing.T, at string, config *tls.Config, h http.Handler) *quicServer {
	t.Helper()
	if at == "" {
		at = "127.0.0.1:0"
	}
	sock, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	s := &quicServer{Server: &http3.Server{Handler: h}, addr: sock.LocalAddr().String(), sock: sock, over: &quic.Transport{Conn: sock}}
	s.ConnContext = func(ctx context.Context, _ *quic.Conn) context.Context {
		s.conns.Add(1)
		return ctx
	}
	ln, err := s.over.ListenEarly(http3.ConfigureTLSConfig(config), &quic.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s.done.Go(func() { _ = s.ServeListener(ln) })
	t.Cleanup(s.stop)
	return s
}

// stop ends it, as a process that is told to does.
func (s *quicServer) stop() {
	_ = s.Close()
	s.done.Wait()
	s.crash()
}

// crash ends it, and nobody is told.
func (s *quicServer) crash() {
	_ = s.over.Close()
	_ = s.sock.Close()
}

func http3Options(ca *trusttest.Authority) HTTPOptions {
	o := DefaultHTTPOptions()
	o.HTTP3, o.DialTimeout = true, 20*time.Second
	o.TLS = TLSOptions{Enabled: true, Roots: ca.Pool(), RootsKey: "test"}
	return o
}

// see is a handler that answers with what it saw.
func see(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s host=%s sni=%s length=%d body=%d", r.Proto, r.Method, r.Host, r.TLS.ServerName, r.ContentLength, len(body))
}

func TestHTTP3(t *testing.T) {
	ca := trusttest.New(t)
	s := serveQUIC(t, "", &tls.Config{Certificates: []tls.Certificate{ca.Issue("127.0.0.1")}}, http.HandlerFunc(see))
	c := &Connections{}
	ts := NewTransports(TransportsConfig{Connections: c})
	h, err := ts.Acquire(http3Options(ca))
	if err != nil {
		t.Fatal(err)
	}
	defer ts.Release(h)
	for range 3 {
		r, _ := http.NewRequest("POST", "http://"+s.addr+"/", strings.NewReader("hello"))
		r.Host = "app.test"
		res, err := h.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if want := "HTTP/3.0 POST host=app.test sni= length=5 body=5"; err != nil || string(text) != want || res.ProtoMajor != 3 {
			t.Fatalf("%s %q %v", res.Proto, text, err)
		}
	}
	if n := s.conns.Load(); n != 1 || c.Count(s.addr) != 1 {
		t.Errorf("%d connections, %d counted", n, c.Count(s.addr))
	}
}

// acquire3 is a transport that is released in the end.
func acquire3(t *testing.T, ts *Transports, o HTTPOptions) *HTTP {
	t.Helper()
	h, err := ts.Acquire(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ts.Release(h) })
	return h
}

// world3 is a registry that counts connections, and an authority.
func world3(t *testing.T) (*Transports, *Connections, *trusttest.Authority) {
	c := &Connections{}
	return NewTransports(TransportsConfig{Connections: c}), c, trusttest.New(t)
}

func serverTLS(ca *trusttest.Authority) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{ca.Issue("127.0.0.1", "app.internal", "b.internal")}}
}

func request3(t *testing.T, method, addr string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, "http://"+addr+"/", body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// text3 sends a request and reads the answer.
func text3(t *testing.T, h *HTTP, r *http.Request) string {
	t.Helper()
	res, err := h.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// until3 polls.
func until3(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// Large bodies go both ways at once, byte by byte as they are.
func TestHTTP3LargeBodies(t *testing.T) {
	ts, _, ca := world3(t)
	s := serveQUIC(t, "", serverTLS(ca), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		_, _ = io.Copy(w, r.Body)
	}))
	h := acquire3(t, ts, http3Options(ca))
	sent := make([]byte, 2<<20)
	for i := range sent {
		sent[i] = byte(i * i >> 7)
	}
	for _, known := range []bool{true, false} {
		body, want := io.Reader(bytes.NewReader(sent)), fmt.Sprint(len(sent))
		if !known {
			body, want = io.MultiReader(body), "-1"
		}
		res, err := h.RoundTrip(request3(t, "POST", s.addr, body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !bytes.Equal(got, sent) || res.Header.Get("X-Length") != want {
			t.Errorf("known %v: %d bytes came back, length %s, %v", known, len(got), res.Header.Get("X-Length"), err)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// What is flushed arrives at once, in both directions, and trailers follow both bodies.
func TestHTTP3StreamsAndTrailers(t *testing.T) {
	ts, _, ca := world3(t)
	s := serveQUIC(t, "", serverTLS(ca), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_ = http.NewResponseController(w).Flush()
		one := make([]byte, 1)
		for {
			if _, err := io.ReadFull(r.Body, one); err != nil {
				break
			}
			_, _ = w.Write(bytes.ToUpper(one))
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("X-Sum", r.Trailer.Get("X-End"))
		w.Header().Set(http.TrailerPrefix+"X-More", "unannounced")
	}))
	h := acquire3(t, ts, http3Options(ca))
	from, to := io.Pipe()
	r := request3(t, "POST", s.addr, from)
	r.Trailer = http.Header{"X-End": nil}
	res, err := h.RoundTrip(r) // the header comes before the body is sent
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	one := make([]byte, 1)
	for _, c := range "stream" {
		if _, err := to.Write([]byte(string(c))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(res.Body, one); err != nil || one[0] != byte(c)-32 {
			t.Fatalf("%q for %c: %v", one, c, err)
		}
	}
	r.Trailer["X-End"] = []string{"well"}
	to.Close()
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	if res.Trailer.Get("X-Sum") != "well" || res.Trailer.Get("X-More") != "unannounced" {
		t.Errorf("trailers %v", res.Trailer)
	}
}

// A request that is given up ends at the upstream too, and its connection stays.
func TestHTTP3Cancel(t *testing.T) {
	ts, _, ca := world3(t)
	inside, gone := make(chan struct{}), make(chan struct{}, 2)
	s := serveQUIC(t, "", serverTLS(ca), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			_ = http.NewResponseController(w).Flush()
		}
		if r.URL.Path == "/never" {
			inside <- struct{}{}
		}
		if r.URL.Path != "/" {
			<-r.Context().Done()
			gone <- struct{}{}
		}
	}))
	h := acquire3(t, ts, http3Options(ca))
	for _, path := range []string{"never", "late"} {
		ctx, cancel := context.WithCancel(t.Context())
		r := request3(t, "GET", s.addr, nil).WithContext(ctx)
		r.URL.Path = "/" + path
		if path == "never" {
			go func() {
				<-inside
				cancel()
			}()
			if _, err := h.RoundTrip(r); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", path, err)
			}
		} else {
			res, err := h.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			if _, err := io.ReadAll(res.Body); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", path, err)
			}
			res.Body.Close()
		}
		<-gone
	}
	// A response that is closed early ends there too.
	r := request3(t, "GET", s.addr, nil)
	r.URL.Path = "/late"
	res, err := h.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	<-gone
	text3(t, h, request3(t, "GET", s.addr, nil))
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Who is not there, or has another name, or is no HTTP/3 server.
func TestHTTP3Failures(t *testing.T) {
	ts, c, ca := world3(t)
	s := serveQUIC(t, "", serverTLS(ca), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			w.Header().Set("X-Large", strings.Repeat("x", 5000))
		case "/slow":
			<-r.Context().Done()
		case "/abort":
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	strict := serverTLS(ca)
	strict.ClientAuth = tls.RequireAndVerifyClientCert
	locked := serveQUIC(t, "", strict, http.HandlerFunc(see))
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	timeout := func(o *HTTPOptions) { o.DialTimeout = 50 * time.Millisecond }
	for _, tt := range []struct {
		name, addr, path string
		adjust           func(o *HTTPOptions)
		want             Failure
		text             string
	}{
		{"nobody", dead.LocalAddr().String(), "", func(o *HTTPOptions) { o.DialTimeout = time.Minute }, FailedDial, "connect: connection refused"},
		{"silent", silent.LocalAddr().String(), "", timeout, FailedDial, "did not answer in time"},
		{"no name", "nowhere.invalid:443", "", nil, FailedDial, "nowhere.invalid"},
		{"wrong name", s.addr, "", func(o *HTTPOptions) { o.TLS.ServerName = "other.internal" }, FailedTLS, "not other.internal"},
		{"wrong authority", s.addr, "", func(o *HTTPOptions) { o.TLS.Roots, o.TLS.RootsKey = trusttest.New(t).Pool(), "other" }, FailedTLS, "unknown authority"},
		{"no certificate", locked.addr, "", nil, FailedTLS, "certificate required"},
		{"large header", s.addr, "/large", func(o *HTTPOptions) { o.MaxResponseHeaderSize = 1000 }, FailedOther, "too large"},
		{"late header", s.addr, "/slow", func(o *HTTPOptions) { o.ResponseHeaderTimeout = 20 * time.Millisecond }, FailedTimeout, "timeout awaiting response headers"},
		{"clear text", s.addr, "", func(o *HTTPOptions) { o.TLS = TLSOptions{} }, FailedOther, "HTTP/3 needs TLS"},
		{"excepted", s.addr, "", func(o *HTTPOptions) { _, o.TLS.ExceptPorts, _ = net.SplitHostPort(s.addr) }, FailedOther, "HTTP/3 needs TLS"},
		{"socket", encodeHost("unix", "/run/a.sock"), "", nil, FailedOther, "HTTP/3 needs an address with a port"},
		{"WebSocket", s.addr, "/websocket", nil, FailedOther, "a WebSocket cannot be opened over HTTP/3"},
		{"broken off", s.addr, "/abort", nil, FailedClosed, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := http3Options(ca)
			if tt.adjust != nil {
				tt.adjust(&o)
			}
			h := acquire3(t, ts, o)
			r := request3(t, "POST", "x", strings.NewReader("unread"))
			if r.URL.Host, r.URL.Path = tt.addr, tt.path; tt.path == "/websocket" {
				r.Method, r.Header = "GET", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
			}
			res, err := h.RoundTrip(r)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if got := FailureOf(err); err == nil || got != tt.want || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%s: %v", got, err)
			}
			if rest, _ := io.ReadAll(r.Body); tt.want == FailedDial && string(rest) != "unread" {
				t.Errorf("%q is left of the body", rest)
			}
			if text := fmt.Sprint(err); strings.Contains(text, "hostMark") || strings.Contains(text, "!tcp!") {
				t.Error(text)
			}
		})
	}
	until3(t, "connections are closed", func() bool { return c.Count(s.addr)+c.Count(locked.addr) == 0 })
}

// The name that is sent and verified: that of the options, of the route, none for an address.
func TestHTTP3ServerNames(t *testing.T) {
	ts, c, ca := world3(t)
	s := serveQUIC(t, "", serverTLS(ca), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS.ServerName) }))
	h := acquire3(t, ts, http3Options(ca))
	for _, name := range []string{"app.internal", "b.internal", "app.internal", ""} {
		res, err := h.Send(request3(t, "GET", s.addr, nil), Route{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(text) != name {
			t.Errorf("%q for %q", text, name)
		}
	}
	if n := c.Count(s.addr); n != 3 {
		t.Errorf("%d connections, want one for each name", n)
	}
	var dial *HandshakeError
	if _, err := h.Send(request3(t, "GET", s.addr, nil), Route{ServerName: "c.internal"}); !errors.As(err, &dial) {
		t.Errorf("a name that the certificate has not: %v", err)
	}
}

// An upstream that ends tells so, and is found again when it is back; a request meanwhile is a failed dial.
func TestHTTP3Restart(t *testing.T) {
	ts, c, ca := world3(t)
	config := serverTLS(ca)
	s := serveQUIC(t, "", config, http.HandlerFunc(see))
	h := acquire3(t, ts, http3Options(ca))
	text3(t, h, request3(t, "POST", s.addr, strings.NewReader("a")))
	s.stop()
	// The request may begin before what the upstream said has come; a GET is then sent again.
	if _, err := h.RoundTrip(request3(t, "GET", s.addr, nil)); !IsDialError(err) {
		t.Errorf("of one that is gone: %v", err)
	}
	until3(t, "the connection is forgotten", func() bool { return c.Count(s.addr) == 0 })
	again := serveQUIC(t, s.addr, config, http.HandlerFunc(see))
	text3(t, h, request3(t, "POST", s.addr, strings.NewReader("a")))
	if n := again.conns.Load(); n != 1 || c.Count(s.addr) != 1 {
		t.Errorf("%d connections, %d counted", n, c.Count(s.addr))
	}
	// One that crashes tells nothing. What is sent to it is answered by the system, which ends the connection.
	again.crash()
	if _, err := h.RoundTrip(request3(t, "GET", s.addr, nil)); !IsDialError(err) {
		t.Errorf("of one that has crashed: %v", err)
	}
}

// One that crashes and is back before anything is sent does not know the connection. Only the first request waits for it.
func TestHTTP3CrashUnnoticed(t *testing.T) {
	ts, _, ca := world3(t)
	config := serverTLS(ca)
	s := serveQUIC(t, "", config, http.HandlerFunc(see))
	o := http3Options(ca)
	o.DialTimeout = time.Second
	h := acquire3(t, ts, o)
	text3(t, h, request3(t, "GET", s.addr, nil))
	s.crash()
	serveQUIC(t, s.addr, config, http.HandlerFunc(see))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lost := make(chan error, 1)
	go func() {
		_, err := h.RoundTrip(request3(t, "GET", s.addr, nil).WithContext(ctx))
		lost <- err
	}()
	until3(t, "a request is answered", func() bool {
		try, done := context.WithTimeout(ctx, 500*time.Millisecond)
		defer done()
		res, err := h.RoundTrip(request3(t, "GET", s.addr, nil).WithContext(try))
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
	cancel()
	<-lost
}

// More requests than a connection takes make another one, as far as the options allow.
func TestHTTP3ManyStreams(t *testing.T) {
	const n = 150
	for _, most := range []int{0, 1} {
		ts, c, ca := world3(t)
		inside, open := make(chan struct{}, n), make(chan struct{})
		s := serveQUIC(t, "", serverTLS(ca), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inside <- struct{}{}
			<-open
		}))
		o := http3Options(ca)
		o.MaxConnsPerHost = most
		h := acquire3(t, ts, o)
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				res, err := h.RoundTrip(request3(t, "GET", s.addr, nil))
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
			})
		}
		want, conns := n, int64(2)
		if most == 1 {
			want, conns = 100, 1
		}
		for range want {
			<-inside
		}
		if got := c.Count(s.addr); got != conns {
			t.Errorf("at most %d: %d connections, want %d", most, got, conns)
		}
		close(open)
		wg.Wait()
		if got := c.Count(s.addr); got != conns {
			t.Errorf("at most %d: %d connections afterwards", most, got)
		}
	}
}

// How long connections without requests are kept, and how many.
func TestHTTP3KeepAlive(t *testing.T) {
	ts, c, ca := world3(t)
	config := serverTLS(ca)
	s, other := serveQUIC(t, "", config, http.HandlerFunc(see)), serveQUIC(t, "", config, http.HandlerFunc(see))
	o := http3Options(ca)
	o.IdleTimeout = 30 * time.Millisecond
	h := acquire3(t, ts, o)
	text3(t, h, request3(t, "GET", s.addr, nil))
	until3(t, "an idle connection is closed", func() bool { return c.Count(s.addr) == 0 })
	text3(t, h, request3(t, "GET", s.addr, nil))

	o = http3Options(ca)
	o.MaxIdleConns = 1
	h = acquire3(t, ts, o)
	text3(t, h, request3(t, "GET", s.addr, nil))
	text3(t, h, request3(t, "GET", other.addr, nil))
	until3(t, "the older one is closed", func() bool { return c.Count(s.addr) == 0 && c.Count(other.addr) == 1 })

	o = http3Options(ca)
	o.KeepAlive, o.MaxConnsPerHost = false, 2
	h = acquire3(t, ts, o)
	before := s.conns.Load()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { text3(t, h, request3(t, "GET", s.addr, nil)) })
	}
	wg.Wait()
	if n := s.conns.Load() - before; n != 8 {
		t.Errorf("%d connections for 8 requests", n)
	}
	until3(t, "they are closed", func() bool { return c.Count(s.addr) == 0 })
}

// A release lets what runs finish, and leaves nothing behind: no connection, no socket, no goroutine.
func TestHTTP3Release(t *testing.T) {
	ts, c, ca := world3(t)
	open := make(chan struct{}) // takes one value for each slow request
	s := serveQUIC(t, "", serverTLS(ca), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/slow" {
			<-open
		}
		fmt.Fprint(w, "whole")
	}))
	sockets := openSockets(t)
	goroutines := runtime.NumGoroutine()
	for range 3 {
		h, err := ts.Acquire(http3Options(ca))
		if err != nil {
			t.Fatal(err)
		}
		slow := request3(t, "GET", s.addr, nil)
		slow.URL.Path = "/slow"
		res, err := h.RoundTrip(slow)
		if err != nil {
			t.Fatal(err)
		}
		ts.Release(h)
		if text := text3(t, h, request3(t, "GET", s.addr, nil)); text != "whole" { // by who still holds it
			t.Error(text)
		}
		if n := c.Count(s.addr); n != 1 {
			t.Errorf("%d connections while a request runs", n)
		}
		open <- struct{}{}
		if text, err := io.ReadAll(res.Body); string(text) != "whole" || err != nil {
			t.Errorf("%q %v", text, err)
		}
		res.Body.Close()
		until3(t, "the connection is closed", func() bool { return c.Count(s.addr) == 0 })
		text3(t, h, request3(t, "GET", s.addr, nil))
		until3(t, "that of a late request too", func() bool { return c.Count(s.addr) == 0 })
	}
	until3(t, "all sockets are closed", func() bool { return openSockets(t) <= sockets })
	until3(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// openSockets counts the sockets of the process.
func openSockets(t *testing.T) (n int) {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("there is no /proc")
	}
	for _, f := range list {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// What an upstream has certainly not begun is sent again, what it may have begun is not.
func TestHTTP3Rejected(t *testing.T) {
	ts, _, ca := world3(t)
	var seen atomic.Int64
	s := serveQUIC(t, "", serverTLS(ca), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen.Add(1)%2 == 1 {
			code := quic.StreamErrorCode(http3.ErrCodeRequestRejected)
			if r.URL.Path == "/broken" {
				code = quic.StreamErrorCode(http3.ErrCodeInternalError)
			}
			str, _ := w.(http3.HTTPStreamer).HTTPStream()
			str.CancelRead(code)
			str.CancelWrite(code)
			return
		}
		see(w, r)
	}))
	h := acquire3(t, ts, http3Options(ca))
	send := func(path string, body io.Reader, again bool) error {
		seen.Store(0)
		r := request3(t, "POST", s.addr, body)
		r.URL.Path = path
		if !again {
			r.GetBody = nil
		}
		res, err := h.RoundTrip(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if text, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(text), "body=") {
			t.Errorf("%s: %q %v", path, text, err)
		}
		return nil
	}
	if err := send("/", nil, false); err != nil {
		t.Errorf("without a body: %v", err)
	}
	if err := send("/", strings.NewReader("body"), true); err != nil {
		t.Errorf("with a body that is there again: %v", err)
	}
	if err := send("/broken", nil, false); FailureOf(err) != FailedClosed {
		t.Errorf("broken: %v", err)
	}
}

// A part of a request body is never taken for the whole.
func TestHTTP3ShortBody(t *testing.T) {
	ts, _, ca := world3(t)
	var whole atomic.Int64
	s := serveQUIC(t, "", serverTLS(ca), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err == nil {
			whole.Add(1)
		}
	}))
	h := acquire3(t, ts, http3Options(ca))
	r := request3(t, "POST", s.addr, io.NopCloser(strings.NewReader("half")))
	r.ContentLength = 8
	if _, err := h.RoundTrip(r); err == nil || !strings.Contains(err.Error(), "reading the request body: unexpected EOF") {
		t.Errorf("%v", err)
	}
	r = request3(t, "POST", s.addr, io.NopCloser(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("the client left")))))
	if _, err := h.RoundTrip(r); err == nil || !strings.Contains(err.Error(), "the client left") {
		t.Errorf("%v", err)
	}
	text3(t, h, request3(t, "POST", s.addr, strings.NewReader("whole")))
	if n := whole.Load(); n != 1 {
		t.Errorf("the upstream took %d of 3 bodies for whole", n)
	}
}

// An answer before the body was read, and answers without a body.
func TestHTTP3EarlyAndEmptyAnswers(t *testing.T) {
	ts, c, ca := world3(t)
	s := serveQUIC(t, "", serverTLS(ca), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		switch {
		case r.URL.Path == "/early":
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case r.URL.Path == "/none":
			w.Header().Del("Content-Length")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		fmt.Fprint(w, "large")
	}))
	h := acquire3(t, ts, http3Options(ca))
	from, to := io.Pipe()
	go func() {
		for _, err := to.Write(make([]byte, 64<<10)); err == nil; _, err = to.Write(make([]byte, 64<<10)) {
		}
	}()
	r := request3(t, "POST", s.addr, from)
	r.URL.Path = "/early"
	res, err := h.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if res.Body.Close(); res.StatusCode != 413 || string(text) != "large" || err != nil {
		t.Errorf("%d %q %v", res.StatusCode, text, err)
	}
	from.Close()
	for method, path := range map[string]string{"HEAD": "/", "DELETE": "/none"} {
		r := request3(t, method, s.addr, nil)
		r.URL.Path = path
		res, err := h.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(res.Body); len(text) != 0 || err != nil || method == "HEAD" && res.ContentLength != 5 {
			t.Errorf("%s: %q %v, length %d", method, text, err, res.ContentLength)
		}
	}
	if n := c.Count(s.addr); n != 1 {
		t.Errorf("%d connections", n)
	}
	if _, err := h.RoundTrip(request3(t, http3.MethodGet0RTT, s.addr, nil)); err == nil {
		t.Error("a method was changed")
	}
}
