package wire

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Config is Settings with the defaults where a field is zero.
type Config struct {
	ReadTimeout, ReadHeaderTimeout, ReadIdleTimeout, WriteTimeout, WriteIdleTimeout, IdleTimeout time.Duration
	ReadMinRate, WriteMinRate                                                                    int64
	MaxWriteChunk, MaxHeaderBytes                                                                int
	Names                                                                                        []string
}

func NewSettings(c Config) *Settings {
	has := func(n string) bool { return len(c.Names) == 0 || slices.Contains(c.Names, n) }
	return &Settings{
		ReadTimeout:       c.ReadTimeout,
		ReadHeaderTimeout: cmp.Or(c.ReadHeaderTimeout, DefaultReadHeaderTimeout),
		ReadIdleTimeout:   cmp.Or(c.ReadIdleTimeout, DefaultBodyIdleTimeout),
		ReadMinRate:       c.ReadMinRate,
		WriteTimeout:      c.WriteTimeout,
		WriteIdleTimeout:  cmp.Or(c.WriteIdleTimeout, DefaultBodyIdleTimeout),
		WriteMinRate:      c.WriteMinRate,
		IdleTimeout:       cmp.Or(c.IdleTimeout, DefaultIdleTimeout),
		MaxWriteChunk:     c.MaxWriteChunk,
		MaxHeaderBytes:    c.MaxHeaderBytes,
		Protocols:         Protocols{has("h1"), has("h2c") || has("h1") && has("h2")},
	}
}

// host serves pipes and sockets with settings that can be changed.
type host struct {
	*Server
	set atomic.Pointer[Settings]
	log bytes.Buffer
}

func newHost(cfg Config, h http.HandlerFunc) *host {
	t := &host{}
	t.set.Store(NewSettings(cfg))
	t.Server = NewServer(Options{Handler: h, Settings: t.set.Load, ErrorLog: log.New(io.Discard, "", 0), Listener: t})
	return t
}

// pipe returns the client's end of a connection that is served.
func (h *host) pipe() net.Conn {
	client, server := net.Pipe()
	h.Serve(server)
	return client
}

func okHandler(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header()["Date"] = nil
	fmt.Fprintf(w, "%s %s %d", r.Method, r.URL, len(b))
}

// closedAfter waits until the peer closes and returns how long that took and
// what came before.
func closedAfter(c net.Conn) (time.Duration, string) {
	start := time.Now()
	b, _ := io.ReadAll(c)
	return time.Since(start), string(b)
}

func expectClose(t *testing.T, c net.Conn, want time.Duration, within time.Duration) string {
	t.Helper()
	d, body := closedAfter(c)
	if d > want || d < want-within {
		t.Errorf("closed after %v, want %v less at most %v", d, want, within)
	}
	return body
}

func get(t *testing.T, c net.Conn, r *bufio.Reader, path string) *http.Response {
	t.Helper()
	go fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res
}

func TestHeaderTimeout(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want time.Duration
	}{
		{Config{}, time.Minute},
		{Config{ReadHeaderTimeout: 3 * time.Second}, 3 * time.Second},
		{Config{ReadTimeout: 2 * time.Second}, 2 * time.Second},
		{Config{ReadHeaderTimeout: -1, ReadTimeout: 7 * time.Second}, 7 * time.Second},
	} {
		for _, sent := range []string{"", "G", "GET / HTTP/1.1\r\nHo", "PRI * HTTP/2.0\r\n"} {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(c.cfg, okHandler)
				conn := h.pipe()
				if sent != "" {
					io.WriteString(conn, sent)
				}
				if got := expectClose(t, conn, c.want, 0); got != "" {
					t.Errorf("%q: answered %q, want silence", sent, got)
				}
				synctest.Wait()
				if s := h.Stats(); s.Open != 0 {
					t.Errorf("%d connections are counted after they closed", s.Open)
				}
			})
		}
	}
}

func TestIdleTimeoutIsReadForEachRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(Config{}, okHandler)
		conn := h.pipe()
		r := bufio.NewReader(conn)
		get(t, conn, r, "/1")
		time.Sleep(4 * time.Minute) // the default is 5
		h.set.Store(NewSettings(Config{IdleTimeout: 10 * time.Second}))
		get(t, conn, r, "/2")
		expectClose(t, conn, 10*time.Second, 0)

		h.set.Store(NewSettings(Config{IdleTimeout: -1}))
		conn = h.pipe()
		r = bufio.NewReader(conn)
		get(t, conn, r, "/1")
		time.Sleep(1000 * time.Hour)
		get(t, conn, r, "/2")
		io.WriteString(conn, "GE") // a header that stalls is not idle
		expectClose(t, conn, time.Minute, 0)
	})
}

func TestReadDeadlines(t *testing.T) {
	type step struct {
		wait time.Duration
		n    int
	}
	steady := func(n int, s step) (list []step) {
		for range n {
			list = append(list, s)
		}
		return list
	}
	for _, c := range []struct {
		name  string
		cfg   Config
		steps []step
		cut   time.Duration // after the last step; 0: the upload succeeds
	}{
		{"steady and slow", Config{}, steady(20, step{50 * time.Second, 1}), 0},
		{"stalled", Config{ReadIdleTimeout: 5 * time.Second}, steady(3, step{4 * time.Second, 10}), 5 * time.Second},
		{"never read", Config{ReadIdleTimeout: 5 * time.Second}, nil, 5 * time.Second},
		{"below the rate", Config{ReadIdleTimeout: 10 * time.Second, ReadMinRate: 100}, steady(9, step{time.Second, 50}), 10*time.Second - 9*time.Second + 4500*time.Millisecond},
		{"above the rate", Config{ReadIdleTimeout: 10 * time.Second, ReadMinRate: 100}, steady(60, step{time.Second, 150}), 0},
		{"hard limit", Config{ReadTimeout: 9 * time.Second}, steady(8, step{time.Second, 5}), time.Second},
		{"no idle limit", Config{ReadIdleTimeout: -1}, steady(3, step{time.Hour, 5}), 0},
	} {
		for _, framing := range []string{"length", "chunked"} {
			t.Run(c.name+" "+framing, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					failed := make(chan time.Time, 1)
					h := newHost(c.cfg, func(w http.ResponseWriter, r *http.Request) {
						if _, err := io.Copy(io.Discard, r.Body); err != nil {
							if !errors.Is(err, os.ErrDeadlineExceeded) {
								t.Errorf("read failed with %v", err)
							}
							failed <- time.Now()
							panic(http.ErrAbortHandler)
						}
						// Long work after the body has no deadline for reading.
						select {
						case <-time.After(time.Hour):
						case <-r.Context().Done():
							t.Error("cancelled after the body was read")
						}
						w.Write([]byte("ok"))
					})
					conn := h.pipe()
					total := 0
					for _, s := range c.steps {
						total += s.n
					}
					if c.cut > 0 {
						total++
					}
					send := func(n int) {
						b := strings.Repeat("x", n)
						if framing == "chunked" {
							b = fmt.Sprintf("%x\r\n%s\r\n", n, b)
						}
						io.WriteString(conn, b)
					}
					if framing == "chunked" {
						io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
					} else {
						fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", total)
					}
					for _, s := range c.steps {
						time.Sleep(s.wait)
						send(s.n)
					}
					last := time.Now()
					if c.cut == 0 {
						if framing == "chunked" {
							io.WriteString(conn, "0\r\n\r\n")
						}
						res, err := http.ReadResponse(bufio.NewReader(conn), nil)
						if err != nil || res.StatusCode != 200 {
							t.Fatal(res, err)
						}
						conn.Close()
						return
					}
					d := (<-failed).Sub(last)
					if d > c.cut || d < c.cut-c.cut/32-c.cut/64 {
						t.Errorf("cut %v after the last byte, want %v", d, c.cut)
					}
					conn.Close()
				})
			})
		}
	}
}

func TestUnreadBodyIsBounded(t *testing.T) {
	for _, start := range []string{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(Config{ReadIdleTimeout: 5 * time.Second}, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("ok")) })
			conn := h.pipe()
			io.WriteString(conn, start)
			_, got := closedAfter(conn)
			if d := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); d > 6*time.Second {
				t.Errorf("%q held the connection for %v", start, d)
			}
			if !strings.HasPrefix(got, "HTTP/1.1 200") {
				t.Errorf("%q: %q", start, got)
			}
		})
	}
}

func TestWriteDeadlines(t *testing.T) {
	const size = 1 << 20
	for _, c := range []struct {
		name  string
		cfg   Config
		pause time.Duration // between reads of 10 KB
		reads int           // then the client stops
		cut   time.Duration // after it stopped
	}{
		{"stalled", Config{WriteIdleTimeout: 5 * time.Second, MaxWriteChunk: 10000}, 4 * time.Second, 10, 5 * time.Second},
		{"default", Config{}, 0, 0, time.Minute},
		{"hard limit", Config{WriteTimeout: 9 * time.Second, MaxWriteChunk: 10000}, time.Second, 8, time.Second},
		{"below the rate", Config{WriteIdleTimeout: 10 * time.Second, WriteMinRate: 20000, MaxWriteChunk: 10000}, time.Second, 9, 10*time.Second - 9*time.Second + 4500*time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failed := make(chan time.Time, 1)
				h := newHost(c.cfg, func(w http.ResponseWriter, r *http.Request) {
					if _, err := w.Write(make([]byte, size)); err == nil {
						t.Error("the write succeeded")
					}
					failed <- time.Now()
				})
				conn := h.pipe()
				io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				buf := make([]byte, 10000)
				for range c.reads {
					time.Sleep(c.pause)
					if _, err := io.ReadFull(conn, buf); err != nil {
						t.Fatal(err)
					}
				}
				last := time.Now()
				d := (<-failed).Sub(last)
				if d > c.cut+600*time.Millisecond || d < c.cut-c.cut/16-600*time.Millisecond {
					t.Errorf("cut %v after the client stopped, want %v", d, c.cut)
				}
				conn.Close()
			})
		})
	}
}

// A pause between writes does not count, and a handler's own deadline wins.
func TestPausesAndOwnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(Config{WriteIdleTimeout: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			for range 3 {
				time.Sleep(time.Hour)
				fmt.Fprint(w, "tick")
				rc.Flush()
			}
			rc.SetWriteDeadline(time.Now().Add(30 * time.Second))
			start := time.Now()
			_, err := w.Write(make([]byte, 100000))
			if d := time.Since(start); err == nil || d != 30*time.Second {
				t.Errorf("the handler's deadline held %v, %v", d, err)
			}
		})
		conn := h.pipe()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(res.Body, make([]byte, 12))
		time.Sleep(time.Minute)
		conn.Close()
	})
}

func TestChunkedWrites(t *testing.T) {
	rec := &recorder{}
	c := &conn{raw: rec, id: &Conn{}}
	c.set.Store(NewSettings(Config{MaxWriteChunk: 1000}))
	c.Write(make([]byte, 2500))
	if fmt.Sprint(rec.sizes) != "[1000 1000 500]" {
		t.Errorf("written in %v", rec.sizes)
	}
	rec.sizes = nil
	n, err := c.ReadFrom(strings.NewReader(strings.Repeat("x", 1500)))
	if n != 1500 || err != nil || fmt.Sprint(rec.sizes) != "[1000 500]" {
		t.Errorf("copied %d, %v in %v", n, err, rec.sizes)
	}
}

type recorder struct {
	net.Conn
	sizes []int
}

func (r *recorder) Write(p []byte) (int, error) {
	r.sizes = append(r.sizes, len(p))
	return len(p), nil
}
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

// raw sends bytes and returns all that comes back.
func raw(t *testing.T, h *host, text string) string {
	t.Helper()
	conn := h.pipe()
	defer conn.Close()
	go io.WriteString(conn, text)
	conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	b, _ := io.ReadAll(conn)
	return string(b)
}

func statuses(s string) (list string) {
	for _, line := range strings.Split(s, "\r\n") {
		if i := strings.Index(line, "HTTP/1.1 "); i >= 0 {
			list += line[i+9:i+12] + " "
		}
	}
	return strings.TrimSpace(list)
}

// TestStrict sends what request smuggling is made of. "want" are the statuses
// of the answers; a second request is smuggled into each attempt that would be
// answered too if the first was misread.
func TestStrict(t *testing.T) {
	const post, next = "POST /a HTTP/1.1\r\nHost: x\r\n", "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for _, c := range []struct{ name, in, want string }{
		{"plain", post + "Content-Length: 3\r\n\r\nabc" + next, "200 200"},
		{"chunked", post + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + next, "200 200"},
		{"chunked in capitals, extension, trailer", post + "Transfer-Encoding: Chunked\r\nTrailer: X\r\n\r\n3;a=b\r\nabc\r\n00A \r\n0123456789\r\n0\r\nX: y\r\n\r\n" + next, "200 200"},
		{"equal lengths", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + next, "200 200"},
		{"different lengths", post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc" + next, "400"},
		{"list of lengths", post + "Content-Length: 3, 3\r\n\r\nabc" + next, "400"},
		{"length +3", post + "Content-Length: +3\r\n\r\nabc" + next, "400"},
		{"length 0x3", post + "Content-Length: 0x3\r\n\r\nabc" + next, "400"},
		{"empty length", post + "Content-Length:\r\n\r\n" + next, "400"},
		{"negative length", post + "Content-Length: -1\r\n\r\n" + next, "400"},
		{"huge length", post + "Content-Length: 99999999999999999999\r\n\r\n" + next, "400"},
		{"length and chunked", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, "400"},
		{"chunked and length", post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + next, "400"},
		{"chunked twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, "400"},
		{"unknown coding", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + next, "501"},
		{"xchunked", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + next, "501"},
		{"chunked in HTTP/1.0", "POST /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, "400"},
		{"space before colon", post + "Content-Length : 3\r\n\r\nabc" + next, "400"},
		{"tab before colon", post + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + next, "400"},
		{"vertical tab in a coding", post + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" + next, "400"},
		{"folded header", post + "X: a\r\n Content-Length: 3\r\n\r\nabc" + next, "400"},
		{"folded first header", "POST /a HTTP/1.1\r\n X: a\r\nHost: x\r\n\r\n" + next, "400"},
		{"folded coding", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + next, "400"},
		{"bare LF in a header", post + "X: a\nContent-Length: 3\r\n\r\nabc" + next, "400"},
		{"bare LF at the end", post + "\n" + next, "400"},
		{"bare LF after the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n" + next, "400"},
		{"bare CR in a header", post + "X: a\rContent-Length: 3\r\n\r\nabc" + next, "400"},
		{"NUL in a header", post + "X: a\x00b\r\n\r\n" + next, "400"},
		{"no colon", post + "Content-Length\r\n\r\n" + next, "400"},
		{"no name", post + ": 3\r\n\r\n" + next, "400"},
		{"two hosts", post + "Host: y\r\n\r\n" + next, "400"},
		{"no host", "GET / HTTP/1.1\r\n\r\n" + next, "400"},
		{"HTTP/2.0 in the line", "GET / HTTP/2.0\r\nHost: x\r\n\r\n" + next, "505"},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n" + next, "400"},
		{"empty lines first", "\r\n\r\n" + next, "400"},
		{"empty line after a POST", post + "Content-Length: 3\r\n\r\nabc\r\n" + next, "200 200"},
		{"bad line in the second", post + "Content-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: x\r\nA: b\n\r\n\r\n", "200 400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(Config{}, okHandler)
			if got := raw(t, h, c.in); statuses(got) != c.want {
				t.Errorf("answers %q, want %q:\n%s", statuses(got), c.want, got)
			}
			// The same, byte by byte.
			if got := rawSlow(h, c.in); statuses(got) != c.want {
				t.Errorf("byte by byte: answers %q, want %q:\n%s", statuses(got), c.want, got)
			}
		})
	}
	// In a body the handler gets an error and the connection is closed.
	for _, chunks := range []string{
		"g\r\n", "-1\r\n", " 3\r\nabc\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n", "\r\n",
		"3;a\nb\r\nabc\r\n0\r\n\r\n", "ffffffffffffffffff\r\n", "+3\r\nabc\r\n0\r\n\r\n", "3_0\r\n", "0\r\nX: y\n\r\n", "0\r\n X: y\r\n\r\n", "0\r\n\n", "3" + strings.Repeat(" ", 9000),
	} {
		h := newHost(Config{}, okHandler)
		if got := raw(t, h, post+"Transfer-Encoding: chunked\r\n\r\n"+chunks+next); statuses(got) != "" && statuses(got) != "400" {
			t.Errorf("%q was answered: %s", chunks, got)
		}
	}
}

func rawSlow(h *host, text string) string {
	conn := h.pipe()
	defer conn.Close()
	go func() {
		for i := range len(text) {
			if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
				return
			}
		}
	}()
	conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	b, _ := io.ReadAll(conn)
	return string(b)
}

func TestHeaderLimit(t *testing.T) {
	for _, c := range []struct {
		limit, size int
		want        string
	}{{0, 16384, "200"}, {0, 16384 + 4000, "200"}, {0, 16384 + 4200, "431"}, {1000, 4900, "200"}, {1000, 5200, "431"}, {-1, 16384, "200"}} {
		h := newHost(Config{MaxHeaderBytes: c.limit}, okHandler)
		req := "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: "
		req += strings.Repeat("a", c.size-len(req)-4) + "\r\n\r\n"
		got := raw(t, h, req)
		if statuses(got) != c.want {
			t.Errorf("limit %d, %d bytes: %q, want %q", c.limit, c.size, statuses(got), c.want)
		}
		if c.want == "431" && !strings.Contains(got, "Connection: close") {
			t.Errorf("431 keeps the connection: %q", got)
		}
	}
}

func TestPreface(t *testing.T) {
	const h1 = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for _, c := range []struct {
		protos string
		h1, h2 bool
	}{{"", true, true}, {"h1", true, false}, {"h2c", false, true}, {"h1 h2", true, true}, {"h1 h2c", true, true}, {"h2 h2c", false, true}, {"h1 h3 nonsense", true, false}, {"h2", false, false}} {
		cfg := Config{Names: strings.Fields(c.protos)}
		h := newHost(cfg, okHandler)
		if got := raw(t, h, h1); (statuses(got) == "200") != c.h1 || !c.h1 && got != "" {
			t.Errorf("%q: HTTP/1 client got %q", c.protos, got)
		}
		if got := raw(t, h, "PROPFIND / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); (statuses(got) == "200") != c.h1 {
			t.Errorf("%q: PROPFIND got %q", c.protos, got)
		}
		conn := h.pipe()
		go io.WriteString(conn, preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00") // and SETTINGS
		conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		b := make([]byte, 9)
		n, err := io.ReadFull(conn, b)
		if c.h2 && (err != nil || b[3] != 4) || !c.h2 && (n != 0 || err != io.EOF) {
			t.Errorf("%q: HTTP/2 client got %q, %v", c.protos, b[:n], err)
		}
		conn.Close()
	}
}

// TestPrefaceTiming: an only-h2c listener closes at the first differing byte,
// an only-h1 listener when the preface is complete.
func TestPrefaceTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newHost(Config{Names: []string{"h2c"}}, okHandler).pipe()
		io.WriteString(conn, "PRI")
		synctest.Wait()
		io.WriteString(conn, "X")
		expectClose(t, conn, 0, 0)

		h := newHost(Config{Names: []string{"h1"}}, okHandler)
		conn = h.pipe()
		io.WriteString(conn, preface[:len(preface)-1])
		synctest.Wait()
		if h.Stats().Open != 1 {
			t.Error("closed before the preface was complete")
		}
		io.WriteString(conn, preface[len(preface)-1:])
		if got := expectClose(t, conn, 0, 0); got != "" {
			t.Errorf("answered %q", got)
		}
	})
}

func h2Client(h *host) *http.Transport {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return &http.Transport{Protocols: p, DialContext: func(context.Context, string, string) (net.Conn, error) { return h.pipe(), nil }}
}

func TestHTTP2(t *testing.T) {
	var seen *Conn
	h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) {
		seen = FromContext(r.Context())
		if r.ProtoMajor != 2 || r.TLS != nil {
			t.Errorf("%s, TLS %v", r.Proto, r.TLS)
		}
		okHandler(w, r)
	})
	tr := h2Client(h)
	for i := range 3 {
		res, err := (&http.Client{Transport: tr}).Post("http://x/p", "", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		if string(b) != "POST /p 5" {
			t.Errorf("%q", b)
		}
		if seen.Requests() != uint64(i+1) || seen.Listener() != any(h) {
			t.Errorf("connection %+v", seen)
		}
	}
	if s := h.Stats(); s.Open != 1 || s.Accepted != 1 {
		t.Errorf("%+v", s)
	}
	for end := time.Now().Add(5 * time.Second); h.Stats().Open != 0; time.Sleep(time.Millisecond) {
		tr.CloseIdleConnections() // the last stream may not have been let go of
		if time.Now().After(end) {
			t.Fatalf("%+v after closing", h.Stats())
		}
	}
}

func TestHTTP2Deadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		readCut := make(chan time.Duration, 1)
		writeCut := make(chan time.Duration, 1)
		h := newHost(Config{ReadIdleTimeout: 5 * time.Second, WriteIdleTimeout: 7 * time.Second, IdleTimeout: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			switch r.URL.Path {
			case "/read":
				_, err := io.Copy(io.Discard, r.Body)
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("read: %v", err)
				}
				readCut <- time.Since(start)
			case "/pauses":
				for range 3 {
					time.Sleep(10 * time.Minute)
					fmt.Fprint(w, "tick")
					w.(http.Flusher).Flush()
				}
			case "/write":
				for {
					if _, err := w.Write(make([]byte, 1<<20)); err != nil {
						writeCut <- time.Since(start)
						return
					}
				}
			}
		})
		tr := h2Client(h)
		defer h.Close()
		defer tr.CloseIdleConnections()
		client := &http.Client{Transport: tr}
		res, err := client.Get("http://x/pauses")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); string(b) != "tickticktick" || err != nil {
			t.Errorf("%q %v", b, err)
		}
		pr, pw := io.Pipe()
		go func() {
			for range 3 {
				io.WriteString(pw, "x")
				time.Sleep(4 * time.Second)
			}
		}()
		if res, err := client.Post("http://x/read", "", pr); err == nil {
			res.Body.Close()
		}
		pw.Close()
		if d := <-readCut; d != 13*time.Second {
			t.Errorf("the stalled upload was cut after %v, want 13s", d)
		}
		res, err = client.Get("http://x/write")
		if err != nil {
			t.Fatal(err)
		}
		if d := <-writeCut; d > 7*time.Second || d < 6*time.Second {
			t.Errorf("the stalled download was cut after %v, want 7s", d)
		}
		res.Body.Close()
	})
}

func TestHijack(t *testing.T) {
	h := newHost(Config{IdleTimeout: time.Second, ReadIdleTimeout: time.Second, WriteIdleTimeout: time.Second}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			okHandler(w, r)
			return
		}
		c, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		go func() {
			io.Copy(c, buf)
			c.Close()
		}()
	})
	// Bytes that come early and look like nothing HTTP are passed on.
	const up = "Host: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
	conn := h.pipe()
	go io.WriteString(conn, "GET /up HTTP/1.1\r\n"+up+"a\nb\n c\r\n")
	r := bufio.NewReader(conn)
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	b := make([]byte, 8)
	if _, err := io.ReadFull(r, b); err != nil || string(b) != "a\nb\n c\r\n" {
		t.Fatalf("%q %v", b, err)
	}
	if s := h.Stats(); s.Open != 0 || s.Hijacked != 1 {
		t.Errorf("%+v", s)
	}
	if err := h.Drain(context.Background(), 0); err != nil {
		t.Errorf("a drain waits for a hijacked connection: %v", err)
	}
	if _, err := conn.Write([]byte("still")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(r, b[:5]); err != nil || string(b[:5]) != "still" {
		t.Errorf("%q %v", b, err)
	}
	h.Close()
	if _, err := r.ReadByte(); err == nil {
		t.Error("Close leaves a hijacked connection")
	}
	if s := h.Stats(); s.Open != 0 || s.Hijacked != 0 {
		t.Errorf("%+v", s)
	}

	// Without a hijack the next request is judged as ever.
	h = newHost(Config{}, okHandler)
	if got := raw(t, h, "GET /no HTTP/1.1\r\n"+up+"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); statuses(got) != "200 200" {
		t.Errorf("after an upgrade that was declined: %s", got)
	}
	if got := raw(t, h, "GET /no HTTP/1.1\r\n"+up+"GET /b HTTP/1.1\r\nHost: x\r\nA: b\n\r\n"); statuses(got) != "200 400" {
		t.Errorf("after an upgrade that was declined: %s", got)
	}
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-release
			}
			fmt.Fprint(w, "ok")
		})
		idle, slow, fresh, silent := h.pipe(), h.pipe(), h.pipe(), h.pipe()
		get(t, idle, bufio.NewReader(idle), "/")
		io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
		io.WriteString(fresh, "GET /fresh HTTP/1.1\r\nHo")
		synctest.Wait()
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- h.Drain(context.Background(), 0) }()
		synctest.Wait()
		expectClose(t, idle, 0, 0)
		// A request that had begun is answered, so is one on a connection that
		// is handed over late.
		late := h.pipe()
		for _, c := range []net.Conn{fresh, late} {
			if c == fresh {
				io.WriteString(c, "st: x\r\n\r\n")
			} else {
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			}
			got := expectClose(t, c, 0, 0)
			// The first has no Host: any answer will do.
			if !strings.HasPrefix(got, "HTTP/1.1 ") || !strings.Contains(got, "Connection: close") {
				t.Errorf("%q", got)
			}
		}
		expectClose(t, silent, drainFirstByte, 0)
		time.Sleep(time.Hour)
		select {
		case err := <-done:
			t.Fatal("drained with an active request:", err)
		default:
		}
		close(release)
		if got := expectClose(t, slow, 0, 0); !strings.Contains(got, "Connection: close") || !strings.HasSuffix(got, "ok") {
			t.Errorf("%q", got)
		}
		if err := <-done; err != nil || time.Since(start) != time.Hour+drainFirstByte {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		refused := h.pipe()
		expectClose(t, refused, 0, 0)
	})
}

func TestDrainGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		a, b := h.pipe(), h.pipe()
		for _, c := range []net.Conn{a, b} {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		synctest.Wait()
		start := time.Now()
		err := h.Drain(context.Background(), 3*time.Second)
		if err == nil || !strings.Contains(err.Error(), "cut 2 connections") || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		expectClose(t, a, 0, 0)
		expectClose(t, b, 0, 0)
	})
}

// TestDrainHTTP2 sees the GOAWAY of an idle and of an active connection.
func TestDrainHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) { <-release })
		var wg sync.WaitGroup
		goaways := make(chan bool, 2)
		for i := range 2 {
			conn := h.pipe()
			wg.Go(func() {
				fr := http2.NewFramer(conn, conn)
				io.WriteString(conn, preface)
				fr.WriteSettings()
				went := false
				for {
					f, err := fr.ReadFrame()
					if err != nil {
						break
					}
					switch f := f.(type) {
					case *http2.SettingsFrame:
						if f.IsAck() {
							break
						}
						go func() {
							fr.WriteSettingsAck()
							if i == 1 {
								var b bytes.Buffer
								e := hpack.NewEncoder(&b)
								for _, p := range [][2]string{{":method", "GET"}, {":path", "/"}, {":scheme", "http"}, {":authority", "x"}} {
									e.WriteField(hpack.HeaderField{Name: p[0], Value: p[1]})
								}
								fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(), EndStream: true, EndHeaders: true})
							}
						}()
					case *http2.GoAwayFrame:
						if !went {
							goaways <- true
						}
						went = true
					}
				}
				if !went {
					t.Errorf("connection %d was closed without GOAWAY", i)
				}
			})
		}
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- h.Drain(context.Background(), 0) }()
		<-goaways
		<-goaways
		time.Sleep(time.Minute)
		if n := h.Stats().Open; n != 1 {
			t.Errorf("%d connections are open while one has a stream", n)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

func TestContext(t *testing.T) {
	if FromContext(context.Background()) != nil {
		t.Error("a connection out of nothing")
	}
	var id *Conn
	h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) { id = FromContext(r.Context()) })
	conn := h.pipe()
	get(t, conn, bufio.NewReader(conn), "/")
	if id.Listener() != any(h) || id.LocalAddr().String() != "pipe" || id.RemoteAddr().String() != "pipe" || id.Requests() != 1 || id.Accepted().IsZero() {
		t.Errorf("%+v", id)
	}
	conn.Close()
}
