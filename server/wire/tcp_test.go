package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// listenTCP serves a real listener until the test ends.
func (h *host) listenTCP(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.Serve(c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		h.Close()
	})
	return l.Addr().String()
}

// TestFile sends a file whole and in part through ReadFrom, in small chunks.
func TestFile(t *testing.T) {
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHost(Config{MaxWriteChunk: 10000}, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) })
	addr := h.listenTCP(t)
	for _, c := range []struct {
		rng      string
		from, to int
	}{{"", 0, len(data)}, {"bytes=100-2000099", 100, 2000100}} {
		req, _ := http.NewRequest("GET", "http://"+addr, nil)
		if c.rng != "" {
			req.Header.Set("Range", c.rng)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil || sha256.Sum256(b) != sha256.Sum256(data[c.from:c.to]) {
			t.Errorf("%q: %d bytes, %v", c.rng, len(b), err)
		}
	}
}

// TestMany runs requests of all kinds at once, with edits and cuts between.
func TestMany(t *testing.T) {
	before := runtime.NumGoroutine()
	h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/unread":
		case "/early":
			w.Write([]byte("early"))
			io.Copy(io.Discard, r.Body)
			return
		default:
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
			return
		}
		w.Write([]byte("ok"))
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.Serve(c)
		}
	}()
	var failed atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range 8 {
		wg.Go(func() {
			tr := &http.Transport{}
			if i%2 == 1 {
				tr.Protocols = new(http.Protocols)
				tr.Protocols.SetUnencryptedHTTP2(true)
			}
			defer tr.CloseIdleConnections()
			client := &http.Client{Transport: tr, Timeout: 20 * time.Second}
			for k := range 150 {
				size := rand.IntN(200000)
				path := []string{"/", "/unread", "/early"}[k%3]
				var body io.Reader = bytes.NewReader(make([]byte, size))
				if k%2 == 0 {
					body = struct{ io.Reader }{body} // chunked
				}
				if k%5 == 0 {
					body = nil
				}
				ctx, cancel := context.WithCancel(context.Background())
				if k%17 == 16 {
					time.AfterFunc(time.Duration(rand.IntN(3))*time.Millisecond, cancel)
				}
				req, _ := http.NewRequestWithContext(ctx, "POST", "http://"+l.Addr().String()+path, body)
				res, err := client.Do(req)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				// A server that answers without reading may close.
				if err != nil && ctx.Err() == nil && path == "/" {
					failed.Add(1)
					t.Error(err)
				}
				cancel()
			}
		})
	}
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				h.set.Store(NewSettings(Config{MaxHeaderBytes: 10000 + n%7, IdleTimeout: time.Minute + time.Duration(n%5)}))
			}
		}
	}()
	wg.Wait()
	close(stop)
	h.mu.Lock()
	if n := len(h.cores); n > 30 {
		t.Errorf("%d cores are kept", n)
	}
	h.mu.Unlock()
	l.Close()
	if err := h.Drain(context.Background(), 10*time.Second); err != nil {
		t.Error(err)
	}
	if s := h.Stats(); s.Open != 0 || s.Hijacked != 0 || s.Accepted == 0 {
		t.Errorf("%+v", s)
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines more than before:\n%s", runtime.NumGoroutine()-before, buf[:runtime.Stack(buf, true)])
		}
	}
}

// The handler's context ends when the client goes away, and not before.
func TestClientGoesAway(t *testing.T) {
	for _, body := range []string{"", "Content-Length: 3\r\n\r\nabc"} {
		gone := make(chan struct{})
		begun := make(chan struct{})
		h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			close(begun)
			<-r.Context().Done()
			close(gone)
		})
		conn, err := net.Dial("tcp", h.listenTCP(t))
		if err != nil {
			t.Fatal(err)
		}
		if body == "" {
			body = "\r\n"
		}
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+body)
		<-begun
		select {
		case <-gone:
			t.Error("cancelled while the client waits")
		default:
		}
		conn.Close()
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			t.Error("not cancelled")
		}
	}
}

func bench(b *testing.B, addr string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	req := []byte("GET /a HTTP/1.1\r\nHost: example.com\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		conn.Write(req)
		for n := 0; !strings.Contains(string(buf[:n]), "\r\n\r\nok"); {
			m, err := conn.Read(buf[n:])
			if err != nil {
				b.Fatal(err)
			}
			n += m
		}
	}
}

func answerOK(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }

// BenchmarkWire and BenchmarkNetHTTP are one small keep-alive request, client
// included.
func BenchmarkWire(b *testing.B) { bench(b, newHost(Config{}, answerOK).listenTCP(b)) }

// BenchmarkNetHTTP is what net/http alone takes.
func BenchmarkNetHTTP(b *testing.B) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(answerOK))
	s.Config.ReadHeaderTimeout, s.Config.IdleTimeout = time.Minute, time.Minute
	s.Start()
	defer s.Close()
	bench(b, s.Listener.Addr().String())
}

// BenchmarkGuard is the judging of one request header.
func BenchmarkGuard(b *testing.B) {
	req := []byte("GET /a/b/c?d=e HTTP/1.1\r\nHost: example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,application/xhtml+xml\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: a=b; c=d\r\n\r\n")
	var g guard
	b.ReportAllocs()
	for b.Loop() {
		if n, err := g.scan(req); n != len(req) || err != nil {
			b.Fatal(n, err)
		}
	}
}

// FuzzGuard: what the guard passes does not depend on how it is cut, and never
// panics.
func FuzzGuard(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n"), uint8(3))
	f.Add([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\nGET"), uint8(5))
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		run := func(size int) (passed int, err error) {
			var g guard
			for rest := in; len(rest) > 0; {
				piece := rest[:min(size, len(rest))]
				n, err := g.scan(piece)
				passed += n
				rest = rest[n:]
				if err != nil {
					return passed, err
				}
				if g.held {
					return passed, nil
				}
			}
			return passed, nil
		}
		a, errA := run(len(in) + 1)
		b, errB := run(int(cut) + 1)
		// Cut, the beginning of a bad line may have gone by.
		if (errA == nil) != (errB == nil) || errA == nil && a != b || b < a {
			t.Errorf("%q: whole %d %v, in pieces of %d: %d %v", in, a, errA, cut+1, b, errB)
		}
	})
}
