package mission

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/websocket"
)

// echo is a backend for WebSockets. It says what it has seen of the handshake, before the client says anything, and then
// answers each message with the same, until that is "bye". Other requests it answers as all backends do.
type echo struct {
	plain *backend
	open  atomic.Int64 // WebSockets
}

func echoing(t *testing.T, name string, l net.Listener) *echo {
	t.Helper()
	e := &echo{plain: &backend{name: name}}
	socket := websocket.Server{Handler: func(conn *websocket.Conn) {
		e.open.Add(1)
		defer e.open.Add(-1)
		r := conn.Request()
		if err := websocket.JSON.Send(conn, seen{name, r.Method, r.RequestURI, r.Host, r.Proto, "", r.Header}); err != nil {
			return
		}
		for {
			var message []byte
			if err := bytesOrText.Receive(conn, &message); err != nil || string(message) == "bye" {
				return
			}
			if err := bytesOrText.Send(conn, message); err != nil {
				return
			}
		}
	}}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			socket.ServeHTTP(w, r)
			return
		}
		e.plain.usual(w, r)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return e
}

// bytesOrText sends what is no UTF-8 as bytes, and all else as text.
var bytesOrText = websocket.Codec{
	Marshal: func(v any) ([]byte, byte, error) {
		b := v.([]byte)
		if bytes.IndexByte(b, 0xff) >= 0 {
			return b, websocket.BinaryFrame, nil
		}
		return b, websocket.TextFrame, nil
	},
	Unmarshal: func(b []byte, kind byte, v any) error {
		if binary := bytes.IndexByte(b, 0xff) >= 0; binary != (kind == websocket.BinaryFrame) {
			return fmt.Errorf("a message of kind %d with %.20q", kind, b)
		}
		*v.(*[]byte) = b
		return nil
	},
}

// carrier is what a WebSocket of HTTP/1.1 runs over. Where that is a stream of a later protocol its handshake is already
// done, and the one of HTTP/1.1 does not leave the client.
type carrier struct {
	io.ReadWriteCloser
	stream     bool
	connection string    // how the handshake spells Connection
	begin      io.Reader // the answer to a handshake that did not leave
}

func (c *carrier) Write(p []byte) (int, error) {
	text := string(p)
	if !strings.HasPrefix(text, "GET ") {
		return c.ReadWriteCloser.Write(p)
	}
	if !c.stream {
		_, err := c.ReadWriteCloser.Write([]byte(strings.Replace(text, "Connection: Upgrade", "Connection: "+c.connection, 1)))
		return len(p), err
	}
	_, rest, _ := strings.Cut(text, "Sec-WebSocket-Key: ")
	key, _, _ := strings.Cut(rest, "\r\n")
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	c.begin = strings.NewReader("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
	return len(p), nil
}

func (c *carrier) Read(p []byte) (int, error) {
	if c.begin != nil {
		if n, err := c.begin.Read(p); err == nil {
			return n, nil
		}
		c.begin = nil
	}
	return c.ReadWriteCloser.Read(p)
}

// stream is the two ways of a stream.
type stream struct {
	io.Reader
	io.Writer
	end func()
}

func (s *stream) Close() error {
	s.end()
	return nil
}

// carry opens what a WebSocket runs over.
func (s *site) carry(t *testing.T, proto, uri, connection string) io.ReadWriteCloser {
	t.Helper()
	if proto == "HTTP/1.1" {
		return &carrier{ReadWriteCloser: s.dial(t), connection: connection}
	}
	req := s.request(t, http.MethodConnect, uri, nil)
	req.Header["Sec-Websocket-Version"] = []string{"13"}
	var conn *stream
	var res *http.Response
	if proto == "HTTP/2.0" {
		tr := &http2.Transport{TLSClientConfig: s.alpn("h2")}
		t.Cleanup(tr.CloseIdleConnections)
		body, send := io.Pipe()
		req.Body = body
		req.Header[":protocol"] = []string{"websocket"}
		var err error
		res, err = tr.RoundTrip(req)
		must(t, err)
		conn = &stream{res.Body, send, func() { _ = send.Close(); _ = res.Body.Close() }}
	} else {
		quicConn, err := quic.DialAddr(t.Context(), host+":443", s.alpn("h3"), nil)
		must(t, err)
		t.Cleanup(func() { _ = quicConn.CloseWithError(0, "") })
		req.Proto = "websocket"
		both, err := (&http3.Transport{}).NewClientConn(quicConn).OpenRequestStream(t.Context())
		must(t, err)
		must(t, both.SendRequestHeader(req))
		res, err = both.ReadResponse()
		must(t, err)
		conn = &stream{both, both, func() { _ = both.Close(); both.CancelRead(0x10c) }}
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s over %s: %s", uri, proto, res.Status)
	}
	return &carrier{ReadWriteCloser: conn, stream: true}
}

// open opens a WebSocket, and returns what the backend has seen of it.
func (s *site) open(t *testing.T, proto, uri, connection string) (*websocket.Conn, seen) {
	t.Helper()
	cfg, err := websocket.NewConfig("wss://"+host+uri, origin)
	must(t, err)
	conn, err := websocket.NewClient(cfg, s.carry(t, proto, uri, connection))
	if err != nil {
		t.Fatalf("a WebSocket at %s over %s: %v", uri, proto, err)
	}
	cut := time.AfterFunc(patience, func() { _ = conn.Close() })
	t.Cleanup(func() { cut.Stop(); _ = conn.Close() })
	var v seen
	if err := websocket.JSON.Receive(conn, &v); err != nil {
		t.Fatalf("%s over %s: the backend should speak first: %v", uri, proto, err)
	}
	return conn, v
}

// dialogue holds a conversation with a backend, which the backend ends.
func (s *site) dialogue(t *testing.T, proto, name, uri, connection string) seen {
	t.Helper()
	conn, v := s.open(t, proto, uri, connection)
	if v.Name != name || v.URI != uri || v.Host != host || v.Method != http.MethodGet {
		t.Errorf("%s: %+v", proto, v)
	}
	say := func(messages ...[]byte) {
		t.Helper()
		var sending sync.WaitGroup
		sending.Go(func() {
			for _, m := range messages {
				if err := bytesOrText.Send(conn, m); err != nil {
					t.Errorf("%s: %v", proto, err)
				}
			}
		})
		for _, m := range messages {
			var got []byte
			if err := bytesOrText.Receive(conn, &got); err != nil || !bytes.Equal(got, m) {
				t.Fatalf("%s: %.40q, %v; want %.40q", proto, got, err, m)
			}
		}
		sending.Wait()
	}
	say([]byte("to"))
	say([]byte("and fro"))
	say(bytes.Repeat([]byte("long "), 200_000))
	say(bytes.Repeat([]byte{0, 1, 0xff}, 1000))
	var many [][]byte
	for i := range 200 {
		many = append(many, fmt.Append(nil, "message ", i))
	}
	say(many...)
	must(t, bytesOrText.Send(conn, []byte("bye")))
	var got []byte
	if err := bytesOrText.Receive(conn, &got); err != io.EOF {
		t.Errorf("%s: after the end: %q, %v", proto, got, err)
	}
	return v
}

// sockets uses WebSockets at a site that sends all to one backend.
func (s *site) sockets(t *testing.T, e *echo) {
	for _, proto := range protocols {
		for _, connection := range []string{"Upgrade", "keep-alive, Upgrade"} {
			v := s.dialogue(t, proto, "ws", "/chat?room=1", connection)
			if up, conn := v.Header.Get("Upgrade"), v.Header.Get("Connection"); !strings.EqualFold(up, "websocket") || !strings.Contains(strings.ToLower(conn), "upgrade") {
				t.Errorf("%s: the backend sees Upgrade: %q, Connection: %q", proto, up, conn)
			}
		}
		// Ordinary requests, while WebSockets are open.
		var all []*websocket.Conn
		for range 10 {
			conn, _ := s.open(t, proto, "/chat", "Upgrade")
			all = append(all, conn)
		}
		if n := e.open.Load(); n != 10 {
			t.Errorf("%s: %d WebSockets are open at the backend, want 10", proto, n)
		}
		for _, other := range protocols {
			if _, v := s.seen(t, other, "/page"); v.Name != "ws" || v.URI != "/page" || v.Header.Get("Upgrade") != "" {
				t.Errorf("%s: %+v", other, v)
			}
		}
		for _, conn := range all { // the client ends it
			_ = conn.Close()
		}
		poll(t, "the backend to learn that its clients are gone", func() error {
			if n := e.open.Load(); n > 0 {
				return fmt.Errorf("%d are open", n)
			}
			return nil
		})
	}
}

func checkWebSocket(t *testing.T, s *site) {
	l, err := net.Listen("tcp", "localhost:3000")
	must(t, err)
	e := echoing(t, "ws", l)
	s.up(t)
	s.sockets(t, e)
}

// checkWebSocketExplicit: the fields that the file names are those of the request, and a request without them is none the
// worse for that.
func checkWebSocketExplicit(t *testing.T, s *site) {
	checkWebSocket(t, s)
}
