package reverseproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"go.uber.org/zap"
)

const handshake = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
	"Sec-Websocket-Key: k\r\nSec-Websocket-Version: 13\r\n\r\n"

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"

// upgrader answers an upgrade with the given text, then echoes until the client stops. It reports the heads that it sees,
// and when it ends.
func upgrader(t *testing.T, text string) (addr string, heads chan []string, ended chan []byte) {
	heads, ended = make(chan []string, 10), make(chan []byte, 10)
	addr = raw(t, func(c net.Conn, r *bufio.Reader) {
		head, err := readHead(r)
		if err != nil {
			return
		}
		heads <- head
		io.WriteString(c, text)
		var got bytes.Buffer
		io.Copy(io.MultiWriter(c, &got), r)
		ended <- got.Bytes()
	})
	return addr, heads, ended
}

// upgraded performs the handshake and returns the connection after the 101.
func (f *front) upgraded(extra string) (net.Conn, *bufio.Reader, []string) {
	f.t.Helper()
	c, r := f.dial(handshake + extra)
	head, err := readHead(r)
	if err != nil || !strings.Contains(head[0], " 101 ") {
		f.t.Fatalf("handshake: %v %v", head, err)
	}
	return c, r, head
}

func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func TestUpgrade(t *testing.T) {
	up, heads, ended := upgrader(t, switching+"Alt-Svc: x\r\nKeep-Alive: x\r\nProxy-Authenticate: x\r\nServer: up\r\n"+
		"sec-websocket-accept: s\r\n\r\nhello")
	w := newWorld(t)
	done := make(chan string, 1)
	f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"headers":{"response":{"set":{"X-No":["1"]}}}}`, up)).front(func(f *front) {
		f.after = func(x *handlers.Exchange, err error) {
			done <- fmt.Sprint(x.Response.Status(), " ", err, " ", x.Response.Size())
		}
	})
	c, r, head := f.upgraded("ahead")
	slices.Sort(head[1:])
	if i := slices.IndexFunc(head, func(l string) bool { return strings.HasPrefix(l, "Date: ") }); i > 0 {
		head = slices.Delete(head, i, i+1)
	}
	if want := []string{"HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Sec-WebSocket-Accept: s", "Server: up", "Upgrade: websocket"}; !slices.Equal(head, want) {
		t.Errorf("the client got %q, want %q", head, want)
	}
	sent := <-heads
	for _, want := range []string{"GET /chat HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k", "Sec-WebSocket-Version: 13"} {
		if !slices.Contains(sent, want) {
			t.Errorf("the upstream got %q, without %q", sent, want)
		}
	}
	expect(t, r, "helloahead")
	io.WriteString(c, "ping")
	expect(t, r, "ping")
	if l := w.pool.List(); l[0].NumRequests != 1 {
		t.Errorf("while open the pool lists %v", l)
	}
	c.Close()
	if got := string(<-ended); got != "aheadping" {
		t.Errorf("the upstream read %q", got)
	}
	if got := <-done; got != "101 <nil> 14" {
		t.Errorf("the handler ended with %s", got)
	}
	eventually(t, "the count falls", func() bool { return w.pool.List()[0].NumRequests == 0 })
}

// UP-4: an end of one direction closes both connections.
func TestTunnelEndsWithEitherSide(t *testing.T) {
	up := raw(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switching+"\r\nbye")
	})
	_, r, _ := proxy(t, `{"upstreams":[{"dial":%q}],"stream_buffer_size":1}`, up).upgraded("")
	if text, err := io.ReadAll(r); string(text) != "bye" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	up, _, ended := upgrader(t, switching+"\r\n")
	c, r, _ := proxy(t, `{"upstreams":[{"dial":%q}]}`, up).upgraded("")
	c.(*net.TCPConn).CloseWrite()
	<-ended
	if text, err := io.ReadAll(r); len(text) != 0 || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// UP-1.
func TestProtocolComparison(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"websocket", "WebSocket", true}, {"chat", "chats", false}, {"k", "\u212a", false}, {"s", "\u017f", false},
		{"\u212a", "\u212a", false}, {"a\x7f", "a\x7f", false}, {"", "", false}, {"h2c/1", "H2C/1", true}, {"@", "`", false},
	} {
		if got := sameProtocol(tt.a, tt.b); got != tt.same {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}

// quirk 30.
func TestRefusedUpgrades(t *testing.T) {
	for _, offered := range []string{"chat", "", "web\u017focket"} {
		up, _, ended := upgrader(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+offered+"\r\n\r\n")
		f := proxy(t, `{"upstreams":[{"dial":%q}]}`, up)
		_, r := f.dial(handshake)
		if head, _ := readHead(r); !strings.Contains(head[0], " 502 ") {
			t.Errorf("offered %q: %q", offered, head)
		}
		<-ended
	}
}

func TestUpgradeRefusedByTheUpstream(t *testing.T) {
	f := proxy(t, `{"upstreams":[{"dial":%q}]}`, answer(t, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"))
	_, r := f.dial(handshake)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(res.Body); res.StatusCode != 403 || string(text) != "no" {
		t.Errorf("%d %q", res.StatusCode, text)
	}
}

// quirk 18.
func TestResponseBuffersLeaveUpgradesAlone(t *testing.T) {
	up, _, _ := upgrader(t, switching+"\r\n")
	c, r, _ := proxy(t, `{"upstreams":[{"dial":%q}],"response_buffers":-1}`, up).upgraded("")
	io.WriteString(c, "x")
	expect(t, r, "x")
}

// quirk 22.
func TestUpgradeWithH2CTransport(t *testing.T) {
	up, _, _ := upgrader(t, switching+"\r\n")
	c, r, _ := proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":["h2c","1.1"]}}`, up).upgraded("")
	io.WriteString(c, "x")
	expect(t, r, "x")
}

// S16.
func TestStreamTimeout(t *testing.T) {
	up, _, ended := upgrader(t, switching+"\r\n")
	_, r, _ := proxy(t, `{"upstreams":[{"dial":%q}],"stream_timeout":"50ms"}`, up).upgraded("")
	if text, err := io.ReadAll(r); len(text) != 0 || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	<-ended
}

// UP-6.
func TestTunnelObeysReadTimeout(t *testing.T) {
	up, _, ended := upgrader(t, switching+"\r\n")
	_, r, _ := proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","read_timeout":"50ms"}}`, up).upgraded("")
	if text, err := io.ReadAll(r); len(text) != 0 || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	<-ended
}

// S15 as sluice has it: an edit cuts no stream, unless stream_close_delay says when.
func TestEditsAndTunnels(t *testing.T) {
	up, _, ended := upgrader(t, switching+"\r\n")
	w := newWorld(t)
	config := `{"upstreams":[{"dial":"` + up + `"}],"flush_interval":%d%s}`

	g := w.build(nil, fmt.Sprintf(config, 1, ""))
	f := g.front(nil)
	c, r, _ := f.upgraded("")
	next := w.build(g, fmt.Sprintf(config, 2, ""))
	f.handler.Store(next.Handler)
	g.retire(next)
	io.WriteString(c, "still here")
	expect(t, r, "still here")
	c.Close()
	<-ended

	const delayed = `,"stream_close_delay":"1ns"`
	g = w.build(nil, fmt.Sprintf(config, 3, delayed))
	f.handler.Store(g.Handler)
	_, r, _ = f.upgraded("")
	same := w.build(g, fmt.Sprintf(config, 3, delayed))
	if same.Handler != g.Handler {
		t.Fatal("an unchanged handler was built again")
	}
	next = w.build(same, fmt.Sprintf(config, 4, delayed))
	f.handler.Store(next.Handler)
	same.retire(next)
	if text, err := io.ReadAll(r); string(text) != "\x88\x02\x03\xe9" || err != nil {
		t.Errorf("the client got %q, %v", text, err)
	}
	frame := <-ended
	if len(frame) != 8 || frame[0] != 0x88 || frame[1] != 0x82 || frame[6]^frame[2] != 0x03 || frame[7]^frame[3] != 0xe9 {
		t.Errorf("the upstream got % x", frame)
	}
}

// UP-10.
func TestStreamCloseDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := func() (*tunnel, net.Conn) {
			front, client := net.Pipe()
			back, server := net.Pipe()
			t.Cleanup(func() { server.Close() })
			return &tunnel{front: front, back: back}, client
		}
		s := &tunnels{delay: 3 * time.Second}
		a, clientA := ends()
		b, clientB := ends()
		s.add(a)
		s.add(b)
		start := time.Now()
		s.unload()
		b.close()
		s.remove(b)
		clientB.Read(make([]byte, 1))
		if d := time.Since(start); d != 0 {
			t.Errorf("the tunnel that ended by itself took %v", d)
		}
		clientA.Read(make([]byte, 1))
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("closed after %v", d)
		}
		s = &tunnels{delay: time.Hour}
		c, _ := ends()
		s.add(c)
		s.unload()
		s.remove(c)
		if s.timer.Stop() {
			t.Error("the timer runs although nothing is left to close")
		}
		c.close()
	})
}

// streamWriter is a response writer without hijack, as those of HTTP/2 are.
type streamWriter struct {
	header http.Header
	status chan int
	io.Writer
}

func (w *streamWriter) Header() http.Header    { return w.header }
func (w *streamWriter) WriteHeader(status int) { w.status <- status }
func (w *streamWriter) Flush()                 {}

// UP-13, UP-14.
func TestWebSocketOverHTTP2(t *testing.T) {
	up, heads, ended := upgrader(t, switching+"Sec-WebSocket-Accept: x\r\nX-Up: 1\r\n\r\n")
	g := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, up))
	fromClient, toServer := io.Pipe()
	fromServer, toClient := io.Pipe()
	r := httptest.NewRequest("CONNECT", "/chat?x=1", nil)
	r.Host, r.Body, r.ContentLength = "site.test", fromClient, -1
	r.ProtoMajor, r.ProtoMinor, r.Proto = 2, 0, "HTTP/2.0"
	r.Header[protocolField] = []string{"websocket"}
	r.Header.Set("Sec-Websocket-Version", "13")
	w := &streamWriter{header: http.Header{}, status: make(chan int, 1), Writer: toClient}
	x := &handlers.Exchange{Server: &front{logger: zap.NewNop()}, Response: handlers.NewResponseWriter(w), Globals: vars.Map{}}
	r = x.Begin(r, nil)
	done := make(chan error, 1)
	go func() {
		done <- g.ServeHTTP(x.Response, r, handlers.Next{})
		toClient.Close()
	}()
	if status := <-w.status; status != 200 {
		t.Errorf("status %d", status)
	}
	head := <-heads
	key := field(head, "Sec-WebSocket-Key")
	if head[0] != "GET /chat?x=1 HTTP/1.1" || len(key) != 1 || len(key[0]) != 24 || !slices.Contains(head, "Upgrade: websocket") ||
		!slices.Contains(head, "Sec-WebSocket-Version: 13") || !slices.Contains(head, "Via: 2.0 sluice") {
		t.Errorf("the upstream got %q", head)
	}
	if w.header.Get("X-Up") != "1" || len(w.header["Upgrade"])+len(w.header["Connection"])+len(w.header["Sec-Websocket-Accept"]) != 0 {
		t.Errorf("the client got %v", w.header)
	}
	io.WriteString(toServer, "ping")
	expect(t, fromServer, "ping")
	toServer.Close()
	<-ended
	if err := <-done; err != nil {
		t.Error(err)
	}
}
