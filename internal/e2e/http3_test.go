package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// A WebSocket over HTTP/3 (RFC 9220) takes the route that one over HTTP/1.1 takes, and what is no WebSocket is no success to
// its client. It may be silent for longer than a body.
func TestWebSocketOverHTTP3IsRoutedAlike(t *testing.T) {
	source := newStreamSource(t)
	x := newSecured(t, func(x *secured) object {
		doc := x.config(
			object{"match": []any{object{"header": object{"Connection": []string{"*Upgrade*"}, "Upgrade": []string{"websocket"}}, "method": []string{"GET"}, "path": []string{"/streams/*"}}},
				"handle": []any{object{"handler": "reverse_proxy", "upstreams": []any{object{"dial": source.dial()}}}}, "terminal": true},
			object{"match": []any{object{"path": []string{"/body"}}}, "handle": []any{object{"handler": "static_response", "body": "got {http.request.body}"}}, "terminal": true},
			helloRoute("a page", "localhost"))
		server := doc["apps"].(object)["http"].(object)["servers"].(object)["s"].(object)
		server["read_idle_timeout"], server["write_idle_timeout"] = "200ms", "200ms"
		return doc
	})
	x.visitor("HTTP/3.0", x.trust()).expect(x, "localhost", "a page HTTP/3.0")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	config := x.trust()
	config.ServerName, config.NextProtos = "localhost", []string{"h3"}
	conn, err := quic.DialAddr(ctx, x.https, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	client := (&http3.Transport{}).NewClientConn(conn)
	open := func(path, protocol string) (*http3.RequestStream, *http.Response) {
		r, err := http.NewRequestWithContext(ctx, http.MethodConnect, fmt.Sprintf("https://localhost:%d%s", x.port, path), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Proto = protocol
		r.Header["Sec-Websocket-Version"] = []string{"13"}
		s, err := client.OpenRequestStream(ctx)
		if err == nil {
			err = s.SendRequestHeader(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.ReadResponse()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close(); s.CancelRead(0x10c) })
		return s, res
	}
	// stall returns when a body that does not come has been waited for.
	stall := func() {
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("https://localhost:%d/body", x.port), nil)
		r.ContentLength = 5
		s, err := client.OpenRequestStream(ctx)
		if err == nil {
			err = s.SendRequestHeader(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if res, err := s.ReadResponse(); err == nil {
			t.Logf("a body that stalls: %s", res.Status)
		}
		s.CancelWrite(0x10c)
		s.CancelRead(0x10c)
	}
	s, res := open("/streams/ws", "websocket")
	frame := []byte("\x81\x85\x00\x00\x00\x00hello")
	for range 2 {
		if _, err := s.Write(frame); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(s, got); err != nil || res.StatusCode != 200 || string(got) != string(frame) {
			t.Errorf("%s, %q, %v", res.Status, got, err)
		}
		stall()
	}
	// The upstream ends when the client does.
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(s); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
	if _, res := open("/elsewhere", "websocket"); res.StatusCode != http.StatusNotImplemented {
		t.Errorf("a page as an answer to a WebSocket: %s", res.Status)
	}
}

// heldPackets is a socket that lets the first flight of a client of QUIC pass, and nothing of what completes the handshake
// until it is let go. Nothing comes in before a packet of early data has gone out, so that the client cannot send it late.
type heldPackets struct {
	net.PacketConn
	early   chan struct{} // closed when early data has gone out
	once    sync.Once
	release atomic.Bool
}

func (h *heldPackets) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := h.PacketConn.ReadFrom(p)
	<-h.early
	return n, from, err
}

func (h *heldPackets) WriteTo(p []byte, to net.Addr) (int, error) {
	early, late := packetKinds(p)
	if late && !h.release.Load() {
		return len(p), nil // lost
	}
	n, err := h.PacketConn.WriteTo(p, to)
	if early || late {
		h.once.Do(func() { close(h.early) })
	}
	return n, err
}

// packetKinds tells whether a datagram has early data, and whether it has what completes a handshake or comes after it
// (RFC 9000, section 17.2).
func packetKinds(p []byte) (early, late bool) {
	for len(p) > 7 {
		if p[0]&0x80 == 0 { // short header
			return early, true
		}
		kind := p[0] >> 4 & 3
		r := bytes.NewReader(p[5:])
		for range 2 { // connection IDs
			n, _ := r.ReadByte()
			_, _ = r.Seek(int64(n), io.SeekCurrent)
		}
		if kind == 0 {
			n, _ := quicvarint.Read(r)
			_, _ = r.Seek(int64(n), io.SeekCurrent) // token
		}
		n, err := quicvarint.Read(r)
		if err != nil || n > uint64(r.Len()) {
			return early, late
		}
		early, late = early || kind == 1, late || kind == 2
		p = p[len(p)-r.Len()+int(n):]
	}
	return early, late
}

// ticketCache is a cache of sessions that tells when it has one.
type ticketCache struct {
	tls.ClientSessionCache
	put chan struct{}
}

func (c *ticketCache) Put(key string, s *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, s)
	if s != nil {
		select {
		case c.put <- struct{}{}:
		default:
		}
	}
}

// request3 is a request in frames of HTTP/3.
func request3(path string) []byte {
	var block bytes.Buffer
	e := qpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", path}} {
		_ = e.WriteField(qpack.HeaderField{Name: f[0], Value: f[1]}) // into memory
	}
	return append([]byte{1, byte(block.Len())}, block.Bytes()...)
}

// response3 reads a response in frames of HTTP/3.
func response3(from io.Reader) (status, body string, err error) {
	r := bufio.NewReader(from)
	for {
		kind, err := quicvarint.Read(r)
		if err == io.EOF {
			return status, body, nil
		}
		n, err2 := quicvarint.Read(r)
		if err = errors.Join(err, err2); err != nil {
			return status, body, err
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return status, body, err
		}
		switch kind {
		case 0:
			body += string(b)
		case 1:
			decode := qpack.NewDecoder().Decode(b)
			for f, err := decode(); err == nil; f, err = decode() {
				if f.Name == ":status" {
					status = f.Value
				}
			}
		}
	}
}

// Early data reaches handlers before the handshake is complete: they are told so, and so are upstreams (RFC 8470).
func TestEarlyData(t *testing.T) {
	t.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true") // heldPackets has none
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/proxy/refused" && r.Header.Get("Early-Data") == "1" {
			w.WriteHeader(http.StatusTooEarly)
		}
		fmt.Fprintf(w, "Early-Data %q", r.Header["Early-Data"])
	}))
	t.Cleanup(upstream.Close)
	x := newSecured(t, func(x *secured) object {
		path := func(p string) []any { return []any{object{"path": []string{p}}} }
		return x.config(
			object{"match": []any{object{"path": []string{"/safe"}, "tls": object{"handshake_complete": false}}}, "terminal": true,
				"handle": []any{object{"handler": "static_response", "status_code": 425}}},
			object{"match": path("/proxy/*"), "terminal": true, "handle": []any{object{"handler": "reverse_proxy", "upstreams": []any{object{"dial": strings.TrimPrefix(upstream.URL, "http://")}}}}},
			object{"match": []any{object{"path": []string{"/address"}, "remote_ip": object{"ranges": []string{"127.0.0.1"}}}}, "terminal": true,
				"handle": []any{object{"handler": "static_response", "body": "by address"}}},
			object{"match": path("/remote"), "terminal": true, "handle": []any{object{"handler": "static_response", "body": "from {http.request.remote.host}"}}},
			helloRoute("hello", "localhost"))
	})
	const server = "/config/apps/http/servers/s"
	x.visitor("HTTP/3.0", x.trust()).expect(x, "localhost", "hello HTTP/3.0")
	config := x.trust()
	config.ServerName, config.NextProtos = "localhost", []string{"h3"}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	target, err := net.ResolveUDPAddr("udp", x.https)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(c *quic.Conn, path string) (status, body string) {
		t.Helper()
		s, err := c.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.SetDeadline(time.Now().Add(patience))
		if _, err = s.Write(request3(path)); err != nil {
			t.Fatal(err)
		}
		_ = s.Close() // fails if the answer has been quicker
		status, body, err = response3(s)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return status, body
	}
	visit := func() { // for a ticket, which is good for one more
		cache := &ticketCache{tls.NewLRUClientSessionCache(1), make(chan struct{}, 1)}
		config.ClientSessionCache = cache
		c, err := quic.DialAddr(ctx, x.https, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseWithError(0, "")
		select {
		case <-cache.put:
		case <-ctx.Done():
			t.Fatal("no ticket has come")
		}
	}
	complete := map[string][2]string{
		"/": {"200", "hello HTTP/3.0"}, "/safe": {"200", "hello HTTP/3.0"}, "/proxy/any": {"200", "Early-Data []"}, "/proxy/refused": {"200", "Early-Data []"},
		"/address": {"200", "by address"}, "/remote": {"200", "from 127.0.0.1"},
	}
	for path, want := range map[string][2]string{
		"/": {"200", "hello HTTP/3.0"}, "/safe": {"425", ""}, "/proxy/any": {"200", `Early-Data ["1"]`}, "/proxy/refused": {"425", `Early-Data ["1"]`},
		"/address": {"425", ""}, "/remote": {"200", "from "},
	} {
		visit()
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held := &heldPackets{PacketConn: pc, early: make(chan struct{})}
		c, err := quic.DialEarly(ctx, held, target, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := ask(c, path); status != want[0] || body != want[1] {
			t.Errorf("%s as early data: %s %q, want %q", path, status, body, want)
		}
		if !c.ConnectionState().Used0RTT {
			t.Errorf("%s: it was no early data", path)
		}
		held.release.Store(true)
		poll(t, "the handshake to be complete", func() error {
			if status, body := ask(c, "/safe"); status != "200" {
				return fmt.Errorf("%s %q", status, body)
			}
			return nil
		})
		if status, body := ask(c, path); [2]string{status, body} != complete[path] {
			t.Errorf("%s after the handshake: %s %q, want %q", path, status, body, complete[path])
		}
		_ = c.CloseWithError(0, "")
		_ = pc.Close()
	}
	// It can be turned off, for tickets from before, too.
	visit()
	x.e.do("POST", server+"/allow_0rtt", false)
	c, err := quic.DialAddrEarly(ctx, x.https, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseWithError(0, "")
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(patience))
	_, err = s.Write(request3("/"))
	if _, _, again := response3(s); !errors.Is(again, quic.Err0RTTRejected) {
		t.Errorf("early data that is refused: %v, %v", err, again)
	}
	next, err := c.NextConnection(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := ask(next, "/"); status != "200" || body != "hello HTTP/3.0" || next.ConnectionState().Used0RTT {
		t.Errorf("without early data: %s %q, %+v", status, body, next.ConnectionState().Used0RTT)
	}
}
