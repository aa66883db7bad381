package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// feedAll gives a message to a framer in pieces of a size and returns how much belongs to it.
func feedAll(f *framer, text string, size int) (int, error) {
	f.begin(f.noBody)
	n := 0
	for n < len(text) && f.state != frameDone {
		m, err := f.feed([]byte(text[n:min(n+size, len(text))]))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func TestFramer(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name, text string
		head       bool
		after      string // what follows the message
		state      frameState
		doubtful   bool
	}{
		{name: "length", text: ok + "Content-Length: 5\r\n\r\nhello", after: "more"},
		{name: "length twice", text: ok + "Content-Length: 5\r\ncontent-length:5 \r\n\r\nhello", after: "more"},
		{name: "no body", text: ok + "Content-Length: 0\r\n\r\n", after: "more"},
		{name: "bare LF", text: "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", after: "more"},
		{name: "head", text: ok + "Content-Length: 5\r\n\r\n", head: true, after: "hello"},
		{name: "204", text: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", after: "hello"},
		{name: "304", text: "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", after: "0\r\n\r\n"},
		{name: "no reason", text: "HTTP/1.1 204\r\n\r\n", after: "x"},
		{name: "informational", text: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nx", after: "y"},
		{name: "chunked", text: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0a ;ext=1\r\n0123456789\r\n0\r\n\r\n", after: "more"},
		{name: "trailers", text: ok + "transfer-encoding:\tCHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n", after: "more"},
		{name: "both", text: ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", after: "more", doubtful: true},
		{name: "folded elsewhere", text: ok + "X-A: 1\r\n Content-Length: 9\r\nContent-Length: 2\r\n\r\nhi", after: "more"},
		{name: "long line", text: ok + "X-A: " + strings.Repeat("a", 3000) + "\r\nContent-Length: 2\r\n\r\nhi", after: "more"},
		{name: "similar names", text: ok + "Content-Lengthy: 9\r\nTransfer-Encodin: x\r\nContent-Length: 2\r\n\r\nhi", after: "more"},
		{name: "until close", text: ok + "\r\nall the rest", state: frameUntilClose},
		{name: "HTTP/1.0", text: "HTTP/1.0 200 OK\r\n\r\nall the rest", state: frameUntilClose},
		{name: "tunnel", text: "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 3\r\n\r\nanything", state: frameTunnel},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 2, 3, 7, 1 << 20} {
			f := &framer{response: true, noBody: tt.head}
			n, err := feedAll(f, tt.text+tt.after, size)
			if err != nil || n != len(tt.text) || f.state != tt.state || f.doubtful != tt.doubtful {
				t.Errorf("%s in pieces of %d: %d of %d, state %d, doubtful %v, %v", tt.name, size, n, len(tt.text), f.state, f.doubtful, err)
			}
		}
	}
}

func TestFramerRefuses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, text := range []string{
		"garbage\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 20 OK\r\n", "HTTP/11 200 OK\r\n", "\r\n",
		ok + "Content-Length: 5\r\nContent-Length: 6\r\n", ok + "Content-Length: +5\r\n", ok + "Content-Length: 5, 5\r\n", ok + "Content-Length:\r\n",
		ok + "Content-Length: -1\r\n", ok + "Content-Length: 99999999999999999999\r\n", ok + "Content-Length:\r\n 5\r\n", ok + "Content-Length: 5\r\n\t6\r\n",
		ok + "Transfer-Encoding: gzip, chunked\r\n", ok + "Transfer-Encoding: xchunked\r\n", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		ok + "Transfer-Encoding:\r\n chunked\r\n", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", ok + "Content-Length: " + strings.Repeat("0", 400) + "5\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\nx\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n5\nhello", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n1234567890abcdef0\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n5 5\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n0x5\r\n",
	} {
		for _, size := range []int{1, 5, 1 << 20} {
			f := &framer{response: true}
			if n, err := feedAll(f, text, size); err == nil {
				t.Errorf("%q in pieces of %d is taken: %d, state %d", text, size, n, f.state)
			}
		}
	}
}

// The framer of requests finds the end of whatever net/http writes.
func TestFramerOfRequests(t *testing.T) {
	for i, r := range []*http.Request{
		request("GET", "/", nil, 0), request("HEAD", "/", nil, 0), request("POST", "/", strings.NewReader("0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), -1),
		request("POST", "/", strings.NewReader("body"), 4), request("PUT", "/"+strings.Repeat("long/", 2000), strings.NewReader(strings.Repeat("b", 9000)), -1),
		request("OPTIONS", "*", nil, 0),
	} {
		var text bytes.Buffer
		if err := r.Write(&text); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 4096, 1 << 20} {
			f := &framer{}
			n, err := feedAll(f, text.String()+"GET / HTTP/1.1\r\n\r\n", size)
			if err != nil || n != text.Len() || f.state != frameDone || (f.method == "HEAD") != (r.Method == "HEAD") {
				t.Errorf("request %d in pieces of %d: %d of %d, %v", i, size, n, text.Len(), err)
			}
		}
	}
}

func request(method, target string, body io.Reader, length int64) *http.Request {
	if body != nil {
		body = io.MultiReader(body)
	}
	r, err := http.NewRequest(method, "http://a.test/", body)
	if err != nil {
		panic(err)
	}
	r.URL.Opaque = target
	r.ContentLength = length
	return r
}

// FuzzFramer compares with net/http: where the one takes a whole response, the other finds the same end.
func FuzzFramer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\r\na\r\n0\r\nX: y\r\n\r\nrest",
		"HTTP/1.1 200 OK\r\nX: 1\r\n Content-Length: 2\r\nContent-Length: 1\r\n\r\nab", "HTTP/1.1 304 \r\n\r\nx", "HTTP/1.0 200 OK\r\n\r\nrest",
		"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nab", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nab",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		in := bytes.NewReader(text)
		br := bufio.NewReaderSize(in, 16)
		res, err := http.ReadResponse(br, &http.Request{Method: "GET"})
		if err != nil || res.StatusCode < 200 {
			return
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return
		}
		used := len(text) - in.Len() - br.Buffered()
		fr := &framer{response: true}
		n, err := feedAll(fr, string(text), int(size)+1)
		switch {
		case err != nil: // stricter
		case fr.state == frameUntilClose && n == len(text):
		case fr.state == frameDone && n == used:
		default:
			t.Errorf("net/http took %d of %d, the framer %d, state %d: %q", used, len(text), n, fr.state, text)
		}
	})
}

// repeating is an upstream that answers the requests of a connection with texts, one each.
func repeating(t *testing.T, answers ...string) net.Listener {
	t.Helper()
	ln := listen(t, "tcp", "127.0.0.1:0")
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for _, a := range answers {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					if _, err := io.WriteString(c, a); err != nil {
						return
					}
				}
				io.Copy(io.Discard, r) // stay, as one that wants to be asked again
			}()
		}
	}()
	return ln
}

// What an upstream sends beyond a response is never the response to another request, however many of them wait for the
// connection.
func TestNoResponseNobodyAskedFor(t *testing.T) {
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"empty":   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"204":     "HTTP/1.1 204 No Content\r\n\r\n",
		"304":     "HTTP/1.1 304 Not Modified\r\nContent-Length: 70\r\n\r\n",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"both":    "HTTP/1.1 200 OK\r\nContent-Length: 52\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ln := repeating(t, answer+poison, answer, answer)
			ts := NewTransports(TransportsConfig{})
			o := DefaultHTTPOptions()
			o.MaxConnsPerHost = 2
			h := acquireHTTP(t, ts, o)
			defer ts.Release(h)
			results := make(chan string)
			const requests = 200
			for range 20 {
				go func() {
					for range requests / 20 {
						results <- fetch(t, h, ln.Addr().String())
					}
				}()
			}
			good := 0
			for range requests {
				switch got := <-results; got {
				case "ok", "":
					good++
				case "poison":
					t.Fatal("a request got what was sent beyond another response")
				default:
					t.Fatal(got)
				}
			}
			if good != requests {
				t.Errorf("%d of %d", good, requests)
			}
		})
	}
}

func fetch(t *testing.T, h *HTTP, dial string) string {
	res, err := get(t, h, dial)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// A HEAD has no body, whatever its response says, and the connection is used again.
func TestGuardKeepsGoodConnections(t *testing.T) {
	var conns int
	ts := NewTransports(TransportsConfig{Dial: countDials(&conns)})
	h := acquireHTTP(t, ts, DefaultHTTPOptions())
	defer ts.Release(h)
	ln := repeating(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb")
	a, err := ParseDial(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for i, method := range []string{"HEAD", "POST", "GET", "PUT"} {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.URLHost+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := h.RoundTrip(r)
		if got, want := body(t, res, err), []string{"", "a", "", "b"}[i]; got != want {
			t.Errorf("%s: %q, want %q", method, got, want)
		}
	}
	if conns != 1 {
		t.Errorf("%d connections", conns)
	}
}

// A connection on which something comes while it is idle is not used again.
func TestUnsolicitedBytesEndAConnection(t *testing.T) {
	here, there := net.Pipe()
	g := newGuard(here)
	go io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	buf := make([]byte, 100)
	if n, err := g.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes that nobody asked for, %v", n, err)
	}
	if _, err := g.Write([]byte("GET / HTTP/1.1\r\n\r\n")); !errors.Is(err, errGuardDead) {
		t.Errorf("a request was sent: %v", err)
	}
}

func TestWaysAreEncodedWhole(t *testing.T) {
	for _, w := range []way{
		{network: "tcp", address: "10.20.0.1:8080"}, {network: "tcp6", address: "[2001:db8::5]:80"}, {network: "unix", address: "/run/a:b!c.sock"},
		{network: "tcp", address: "a:1", serverName: "b.test"}, {network: "tcp", address: "a:1", client: "2001:db8::7"},
		{network: "tcp4", address: "a:1", serverName: "!:", client: "x", proxy: "http://u:p@h:1", mode: modeAbsolute + modeHTTP1},
	} {
		text := w.encode()
		got, err := decodeWay(text)
		if err != nil || got != w {
			t.Errorf("%+v became %q and then %+v, %v", w, text, got, err)
		}
	}
	if _, err := decodeWay("!tcp!zz:0"); err == nil {
		t.Error("nonsense was decoded")
	}
}

func BenchmarkGuard(b *testing.B) {
	const req = "GET /index.html HTTP/1.1\r\nHost: app.internal\r\nUser-Agent: bench\r\nAccept: */*\r\nX-Forwarded-For: 10.0.0.1\r\nVia: 1.1 sluice\r\n\r\n"
	res := "HTTP/1.1 200 OK\r\nServer: app\r\nDate: Mon, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 1000\r\nCache-Control: no-cache\r\nETag: \"abc\"\r\n\r\n" + strings.Repeat("x", 1000)
	g := newGuard(nullConn{})
	p := []byte(res)
	for b.Loop() {
		if err := g.follow([]byte(req)); err != nil {
			b.Fatal(err)
		}
		g.mu.Lock()
		n, err := g.accept(p, nil)
		g.mu.Unlock()
		if n != len(p) || err != nil {
			b.Fatal(n, err)
		}
	}
}

type nullConn struct{ net.Conn }

func countDials(n *int) DialFunc {
	return func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
		*n++
		return d.DialContext(ctx, network, address)
	}
}
