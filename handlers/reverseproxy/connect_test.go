package reverseproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// The key of RFC 6455 section 1.3, and its answer.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

const webSocketHandshake = "GET /chat?x=1 HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-Websocket-Key: " + sampleKey +
	"\r\nSec-Websocket-Version: 13\r\nSec-Websocket-Protocol: chat, superchat\r\nSec-Websocket-Extensions: permessage-deflate\r\n\r\n"

func protocols(http1, h2c bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(http1)
	p.SetUnencryptedHTTP2(h2c)
	return p
}

// frontH2C is a front that speaks HTTP/1.1 and h2c.
func (g *generation) frontH2C() *front {
	return g.front(func(f *front) { f.Config.Protocols = protocols(true, true) })
}

// webSocket is a client's end.
type webSocket struct {
	io.ReadCloser
	io.Writer
	header http.Header
	status int
	end    func() // without a word
}

// openH1 opens a WebSocket over HTTP/1.1.
func (f *front) openH1() *webSocket {
	f.t.Helper()
	c, r := f.dial(webSocketHandshake)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if res.StatusCode != 101 {
		text, _ := io.ReadAll(res.Body)
		f.t.Fatalf("%s %v %q", res.Status, res.Header, text)
	}
	return &webSocket{struct {
		io.Reader
		io.Closer
	}{r, c}, c, res.Header, res.StatusCode, func() { c.Close() }}
}

// connect sends an extended CONNECT over h2c.
func (f *front) connect(protocol string) (*webSocket, error) {
	f.t.Helper()
	client := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, _, addr string, _ *tls.Config) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	body, feed := io.Pipe()
	end := func() { feed.CloseWithError(context.Canceled); cancel() } // the cancel alone waits for the feed
	f.t.Cleanup(func() { end(); client.CloseIdleConnections() })
	r, err := http.NewRequestWithContext(ctx, "CONNECT", f.URL+"/chat?x=1", body)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Host = "site.test"
	r.Header = http.Header{
		protocolField: {protocol}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Protocol": {"chat, superchat"},
		"Sec-Websocket-Extensions": {"permessage-deflate"}, "Origin": {"http://site.test"},
	}
	res, err := client.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	return &webSocket{struct {
		io.Reader
		io.Closer
	}{res.Body, feed}, feed, res.Header, res.StatusCode, end}, nil
}

// openH2 opens a WebSocket over HTTP/2.
func (f *front) openH2() *webSocket {
	f.t.Helper()
	ws, err := f.connect("websocket")
	if err != nil {
		f.t.Fatal(err)
	}
	if ws.status != 200 {
		text, _ := io.ReadAll(ws)
		f.t.Fatalf("%d %v %q", ws.status, ws.header, text)
	}
	return ws
}

// seen is a handshake as an upstream saw it.
type seen struct {
	proto, method, target, host string
	header                      http.Header
}

// webSockets is an upstream that takes WebSockets over HTTP/1.1 and HTTP/2, and gives each to serve.
type webSockets struct {
	*httptest.Server
	addr  string
	seen  chan seen
	ended chan string // what the stream ended with
	conns atomic.Int64
}

// newWebSockets starts one. serve nil echoes.
func newWebSockets(t testing.TB, p *http.Protocols, secure bool, serve func(io.ReadWriter)) *webSockets {
	t.Helper()
	u := &webSockets{seen: make(chan seen, 100), ended: make(chan string, 100)}
	if serve == nil {
		serve = func(s io.ReadWriter) { io.Copy(s, s) }
	}
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.seen <- seen{r.Proto, r.Method, r.RequestURI, r.Host, r.Header.Clone()}
		w.Header().Set("Sec-Websocket-Protocol", "chat")
		w.Header().Set("X-Up", "1")
		var s io.ReadWriter
		if r.ProtoMajor == 2 {
			w.WriteHeader(200)
			s = &echoStream{r.Body, w}
			w.(http.Flusher).Flush()
		} else {
			key, _ := acceptOf(r.Header.Get("Sec-Websocket-Key"))
			w.Header().Set("Sec-Websocket-Accept", key)
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(101)
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				u.ended <- err.Error()
				return
			}
			defer c.Close()
			s = struct {
				io.Reader
				io.Writer
			}{rw.Reader, c}
		}
		var got strings.Builder
		serve(struct {
			io.Reader
			io.Writer
		}{io.TeeReader(s, &got), s})
		u.ended <- got.String()
	}))
	u.Config.Protocols = p
	u.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			u.conns.Add(1)
		}
	}
	if secure {
		u.EnableHTTP2 = true
		u.Config.Protocols = nil
		u.StartTLS()
	} else {
		u.Start()
	}
	t.Cleanup(u.Close)
	u.addr = u.Listener.Addr().String()
	return u
}

// acceptOf is written anew here, to compare with.
func acceptOf(key string) (string, bool) {
	if key == sampleKey {
		return sampleAccept, true
	}
	return "unknown", false
}

type echoStream struct {
	io.Reader
	w http.ResponseWriter
}

func (s *echoStream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.w.(http.Flusher).Flush()
	return n, err
}

// Frames of RFC 6455: a masked text, a masked close, and what a server answers with.
const (
	maskedHello = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
	maskedClose = "\x88\x82\x01\x02\x03\x04\x02\xea"
	plainHello  = "\x81\x05Hello"
	plainClose  = "\x88\x02\x03\xe8"
)

// polite serves one WebSocket to its close.
func polite(s io.ReadWriter) {
	buf := make([]byte, len(maskedHello))
	if _, err := io.ReadFull(s, buf); err != nil {
		return
	}
	io.WriteString(s, plainHello)
	if _, err := io.ReadFull(s, buf[:len(maskedClose)]); err != nil {
		return
	}
	io.WriteString(s, plainClose)
}

// UP-12 to UP-15, quirk 22: every pair of versions, from the handshake to the close frames.
func TestWebSocketsBetweenVersions(t *testing.T) {
	for _, tt := range []struct {
		name      string
		h2        bool // the client
		transport string
		upstream  *http.Protocols // nil is TLS with HTTP/2
		proto     string          // that the upstream is to see
	}{
		{"1 to 1", false, `"protocol":"http"`, protocols(true, true), "HTTP/1.1"},
		{"2 to 1", true, `"protocol":"http"`, protocols(true, true), "HTTP/1.1"},
		{"1 to h2c", false, `"protocol":"http","versions":["h2c"]`, protocols(false, true), "HTTP/2.0"},
		{"2 to h2c", true, `"protocol":"http","versions":["h2c"]`, protocols(false, true), "HTTP/2.0"},
		{"2 to h2c with 1.1 at hand", true, `"protocol":"http","versions":["1.1","h2c"]`, protocols(true, true), "HTTP/2.0"},
		{"1 to TLS", false, `"protocol":"http","tls":{"insecure_skip_verify":true}`, nil, "HTTP/1.1"},
		{"1 to TLS with 2 only", false, `"protocol":"http","versions":["2"],"tls":{"insecure_skip_verify":true}`, nil, "HTTP/2.0"},
		{"2 to TLS with 2 only", true, `"protocol":"http","versions":["2"],"tls":{"insecure_skip_verify":true}`, nil, "HTTP/2.0"},
		{"2 to TLS with 1.1 only", true, `"protocol":"http","versions":["1.1"],"tls":{"insecure_skip_verify":true}`, nil, "HTTP/1.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := newWebSockets(t, tt.upstream, tt.upstream == nil, polite)
			w := newWorld(t)
			f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{%s},"headers":{"request":{"set":{"Host":["site.test"]}}}}`, up.addr, tt.transport)).frontH2C()
			var ws *webSocket
			if tt.h2 {
				ws = f.openH2()
			} else {
				ws = f.openH1()
			}
			checkHandshake(t, <-up.seen, tt.proto)
			h := ws.header
			if h.Get("Sec-Websocket-Protocol") != "chat" || h.Get("X-Up") != "1" {
				t.Errorf("the client got %v", h)
			}
			if accept := h.Get("Sec-Websocket-Accept"); !tt.h2 && accept != sampleAccept || tt.h2 && (accept != "" || h["Upgrade"] != nil || h["Connection"] != nil) {
				t.Errorf("the client got %v", h)
			}
			io.WriteString(ws, maskedHello)
			expect(t, ws, plainHello)
			if l := w.pool.List(); l[0].NumRequests != 1 {
				t.Errorf("while open the pool lists %v", l)
			}
			io.WriteString(ws, maskedClose)
			if text, err := io.ReadAll(ws); string(text) != plainClose || err != nil {
				t.Errorf("the client read %q to the end, %v", text, err)
			}
			if got := <-up.ended; got != maskedHello+maskedClose {
				t.Errorf("the upstream read %q", got)
			}
			eventually(t, "the count falls", func() bool { return w.pool.List()[0].NumRequests == 0 })
		})
	}
}

func checkHandshake(t *testing.T, got seen, proto string) {
	t.Helper()
	method := "GET"
	if proto == "HTTP/2.0" {
		method = "CONNECT"
	}
	h := got.header
	if got.proto != proto || got.method != method || got.target != "/chat?x=1" || got.host != "site.test" || h.Get("Sec-Websocket-Version") != "13" ||
		h.Get("Sec-Websocket-Protocol") != "chat, superchat" || h.Get("Sec-Websocket-Extensions") != "permessage-deflate" ||
		h.Get("X-Forwarded-For") != "127.0.0.1" || (h.Get("Sec-Websocket-Key") == "") != (proto == "HTTP/2.0") ||
		proto == "HTTP/2.0" && h.Get(protocolField) != "websocket" || proto == "HTTP/1.1" && h.Get("Upgrade") != "websocket" {
		t.Errorf("the upstream got %+v", got)
	}
}

// pairs opens one WebSocket per pair of versions to an upstream that echoes.
func pairs(t *testing.T, test func(t *testing.T, w *world, f *front, up *webSockets, ws *webSocket)) {
	for _, tt := range []struct {
		name     string
		h2, onH2 bool
	}{{"2 to 1", true, false}, {"1 to 2", false, true}, {"2 to 2", true, true}} {
		t.Run(tt.name, func(t *testing.T) {
			up := newWebSockets(t, protocols(true, true), false, nil)
			transport := ""
			if tt.onH2 {
				transport = `,"transport":{"protocol":"http","versions":["h2c"]}`
			}
			w := newWorld(t)
			f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"stream_close_delay":"1ns"%s}`, up.addr, transport)).frontH2C()
			var ws *webSocket
			if tt.h2 {
				ws = f.openH2()
			} else {
				ws = f.openH1()
			}
			io.WriteString(ws, "ping")
			expect(t, ws, "ping")
			test(t, w, f, up, ws)
		})
	}
}

// UP-5: a client that vanishes takes the upstream's end with it.
func TestWebSocketsEndWithTheClient(t *testing.T) {
	pairs(t, func(t *testing.T, w *world, f *front, up *webSockets, ws *webSocket) {
		ws.end()
		if got := <-up.ended; got != "ping" {
			t.Errorf("the upstream read %q", got)
		}
		eventually(t, "the count falls", func() bool { return w.pool.List()[0].NumRequests == 0 })
	})
}

// UP-4: the client ends its direction only. What it wrote before arrives, and both ends are closed.
func TestWebSocketsEndWithOneDirection(t *testing.T) {
	pairs(t, func(t *testing.T, w *world, f *front, up *webSockets, ws *webSocket) {
		io.WriteString(ws, "last words")
		ws.Close()
		if got := <-up.ended; got != "pinglast words" {
			t.Errorf("the upstream read %q", got)
		}
		eventually(t, "the count falls", func() bool { return w.pool.List()[0].NumRequests == 0 })
	})
}

// S15 across versions: both ends are told when their handler goes.
func TestWebSocketsOfAHandlerThatGoes(t *testing.T) {
	pairs(t, func(t *testing.T, w *world, f *front, up *webSockets, ws *webSocket) {
		g := f.handler.Load()
		g.tunnels.unload()
		if text, _ := io.ReadAll(ws); string(text) != "\x88\x02\x03\xe9" {
			t.Errorf("the client got %q", text)
		}
		frame := strings.TrimPrefix(<-up.ended, "ping")
		if len(frame) != 8 || frame[0] != 0x88 || frame[1] != 0x82 || frame[6]^frame[2] != 0x03 || frame[7]^frame[3] != 0xe9 {
			t.Errorf("the upstream got % x", frame)
		}
	})
}

// More bytes than any window or buffer holds, both ways at once.
func TestWebSocketsCarryMuch(t *testing.T) {
	const size = 3 << 20
	pairs(t, func(t *testing.T, w *world, f *front, up *webSockets, ws *webSocket) {
		sent := make(chan error, 1)
		go func() {
			_, err := io.CopyN(ws, &pattern{}, size)
			sent <- err
		}()
		got, want := make([]byte, 64<<10), make([]byte, 64<<10)
		var check pattern
		for n := 0; n < size; n += len(got) {
			if _, err := io.ReadFull(ws, got); err != nil {
				t.Fatal(err)
			}
			check.Read(want)
			if !slices.Equal(got, want) {
				t.Fatalf("the echo differs after %d bytes", n)
			}
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// pattern is bytes that are all different places.
type pattern struct{ at uint32 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		p.at = p.at*1664525 + 1013904223
		b[i] = byte(p.at >> 24)
	}
	return len(b), nil
}

// WebSockets to one upstream share a connection, and a connection that was lost is replaced.
func TestWebSocketsShareAConnection(t *testing.T) {
	up := newWebSockets(t, protocols(false, true), false, nil)
	f := proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":["h2c"]}}`, up.addr)
	a, b := f.openH1(), f.openH1()
	for _, ws := range []*webSocket{a, b, b, a} {
		io.WriteString(ws, "ping")
		expect(t, ws, "ping")
	}
	if n := up.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	up.CloseClientConnections()
	for _, ws := range []*webSocket{a, b} {
		if text, _ := io.ReadAll(ws); len(text) != 0 {
			t.Errorf("read %q", text)
		}
	}
	c := f.openH1()
	io.WriteString(c, "ping")
	expect(t, c, "ping")
	if n := up.conns.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// plain2 is an upstream whose HTTP/2 has no extended CONNECT. On connections that begin otherwise it speaks HTTP/1.1 and
// echoes; it counts those that begin with HTTP/2.
func plain2(t *testing.T) (addr string, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	return raw(t, func(c net.Conn, r *bufio.Reader) {
		if begin, err := r.Peek(3); err != nil || string(begin) == "PRI" {
			asked.Add(1)
			http2.NewFramer(c, nil).WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 10})
			io.Copy(io.Discard, r)
			return
		}
		if _, err := readHead(r); err == nil {
			io.WriteString(c, switching+"\r\n")
			io.Copy(c, r)
		}
	}), asked
}

// quirk 22: what an upstream cannot do over HTTP/2 is done over HTTP/1.1, if that is among the versions.
func TestWebSocketsFallBackToHTTP1(t *testing.T) {
	old, asked := plain2(t)
	only1, _, _ := upgrader(t, switching+"\r\n")
	for _, addr := range []string{old, only1} {
		f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":["h2c","1.1"]}}`, addr)).frontH2C()
		for _, ws := range []*webSocket{f.openH1(), f.openH2()} {
			io.WriteString(ws, "ping")
			expect(t, ws, "ping")
			ws.end()
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the upstream was asked %d times in a row whether it has extended CONNECT", n)
	}
	secure := newWebSockets(t, protocols(true, false), false, nil)
	secure.Close()
	tlsOnly1 := httptest.NewUnstartedServer(secure.Config.Handler)
	tlsOnly1.StartTLS()
	defer tlsOnly1.Close()
	f := proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":["2"],"tls":{"insecure_skip_verify":true}}}`, tlsOnly1.Listener.Addr().String())
	ws := f.openH1()
	io.WriteString(ws, "ping")
	expect(t, ws, "ping")
}

// quirk 22: where nothing helps, the error says what would.
func TestWebSocketsThatCannotBeOpened(t *testing.T) {
	old, _ := plain2(t)
	only1, _, _ := upgrader(t, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	for _, addr := range []string{old, only1} {
		f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":["h2c"]}}`, addr)).frontH2C()
		_, r := f.dial(webSocketHandshake)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text := res.Header.Get("X-Error"); res.StatusCode != 502 || !strings.Contains(text, `add "1.1" to the versions of the transport`) || !strings.Contains(text, addr) {
			t.Errorf("%d %q", res.StatusCode, text)
		}
		if ws, err := f.connect("websocket"); err != nil || ws.status != 502 {
			t.Errorf("over HTTP/2: %+v, %v", ws, err)
		}
	}
}

// A handshake without a key that can be answered, and an upstream that wants none of it.
func TestWebSocketHandshakesThatAreRefused(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		w.WriteHeader(403)
		io.WriteString(w, "no")
	})
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = protocols(false, true)
	s.Start()
	t.Cleanup(s.Close)
	f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":["h2c"]}}`, s.Listener.Addr())).frontH2C()
	for range 2 {
		ws, err := f.connect("websocket")
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(ws); ws.status != 403 || string(text) != "no" || err != nil || ws.header.Get("X-Proto") != "HTTP/2.0" {
			t.Errorf("%d %v %q %v", ws.status, ws.header, text, err)
		}
	}
	for _, key := range []string{"", "Sec-WebSocket-Key: short\r\n", "Sec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Key: " + sampleKey + "\r\n"} {
		_, r := f.dial("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + key + "\r\n")
		if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 400 {
			t.Errorf("key %q: %v %v", key, res, err)
		}
	}
}

// Other upgrades have no counterpart in HTTP/2, and an offer may be ignored (RFC 9110 section 7.8).
func TestOffersToUpgradeOverH2C(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q", r.Proto, r.Header["Upgrade"])
	}))
	s.Config.Protocols = protocols(true, true)
	s.Start()
	t.Cleanup(s.Close)
	for _, tt := range []struct{ versions, offer, want string }{
		{`["h2c"]`, "irc", `HTTP/2.0 []`}, {`["h2c"]`, "h2c", `HTTP/2.0 []`}, {`["h2c"]`, "websocket, irc", `HTTP/2.0 []`},
		{`["h2c","1.1"]`, "irc", `HTTP/1.1 ["irc"]`},
	} {
		f := proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":%s}}`, s.Listener.Addr().String(), tt.versions)
		_, r := f.dial("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: " + tt.offer + "\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(res.Body); string(text) != tt.want {
			t.Errorf("%s with %s: %q, want %q", tt.versions, tt.offer, text, tt.want)
		}
	}
}

// UP-14: only websocket is translated. What no upstream could be sent is no upstream's fault.
func TestOtherExtendedConnects(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"health_checks":{"passive":{"fail_duration":"1m","max_fails":1}}}`, up)).frontH2C()
	for _, protocol := range []string{"connect-udp", "webtransport", "WebSocket"} {
		if ws, err := f.connect(protocol); err != nil || ws.status != 501 {
			t.Errorf("%s: %+v, %v", protocol, ws, err)
		}
	}
	f.get("/").want(t, 200, "ok")
}

// RFC 8441 section 4 has :protocol in a CONNECT only. net/http passes it on all the same.
func TestProtocolOfAnotherMethod(t *testing.T) {
	g := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, dead(t)))
	r := httptest.NewRequest("GET", "/", nil)
	r.Header[protocolField] = []string{"websocket"}
	w := httptest.NewRecorder()
	f := &front{t: t}
	f.handler.Store(g.Handler)
	core := g.frontH2C()
	f.logger = core.logger
	f.ServeHTTP(w, r)
	if w.Code != 400 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
