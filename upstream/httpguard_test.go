package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

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
