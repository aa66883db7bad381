package timeouts

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/handlertest"
	"github.com/sluiceproxy/sluice/server/wire"
)

func site(t testing.TB, cfg string, f handlers.HandlerFunc) *handlertest.Site {
	t.Helper()
	return handlertest.New(t, `{"routes": [{"handle": [{"handler": "timeouts"`+cfg+`}, {"handler": "f"}]}]}`, Spec(), handlertest.FuncSpec("f", f))
}

// dial serves one connection with the handler, with the idle time-out of a server
// for both directions, and returns the client's end.
func dial(h http.Handler, idle time.Duration) net.Conn {
	set := &wire.Settings{
		ReadHeaderTimeout: time.Minute, IdleTimeout: time.Hour, ReadIdleTimeout: idle, WriteIdleTimeout: idle,
		Protocols: wire.Protocols{HTTP1: true, UnencryptedHTTP2: true},
	}
	s := wire.NewServer(wire.Options{Handler: h, Settings: func() *wire.Settings { return set }, ErrorLog: log.New(io.Discard, "", 0)})
	client, server := net.Pipe()
	s.Serve(server)
	return client
}

// pass lets time pass, within a bubble.
func pass(d time.Duration) { <-time.After(d) }

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

func TestProblems(t *testing.T) {
	for _, c := range []string{`"read_timeout": "5s"`, `"write_timeout": "5s"`, `"max_write_chunk": "16KiB"`, `"read_idle_timeout": 5`} {
		if ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "timeouts", `+c+`}]}]}`, Spec()); len(ps) != 1 {
			t.Errorf("%s: %v", c, ps)
		}
	}
	s := handlertest.New(t, `{"routes": [{"handle": [{"handler": "timeouts", "read_min_rate": 1, "write_min_rate": 1}]}]}`, Spec())
	if w := s.Warnings(); len(w) != 2 {
		t.Errorf("warnings: %v", w)
	}
}

// upload tells how a body was read that is sent in pieces with a pause before
// each.
func upload(t *testing.T, cfg string, idle time.Duration, h2 bool, pieces int, size int, pause time.Duration) (n int, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		conn := dial(site(t, cfg, func(_ http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			defer close(done)
			start := time.Now()
			var b []byte
			b, err = io.ReadAll(r.Body)
			n, took = len(b), time.Since(start)
			if _, again := r.Body.Read(make([]byte, 1)); again == nil {
				t.Error("a read after the end succeeded")
			}
			return nil
		}), idle)
		defer conn.Close()
		body, send := io.Pipe()
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			for range pieces {
				pass(pause)
				if _, err := send.Write([]byte(strings.Repeat("x", size))); err != nil {
					return
				}
			}
			pass(pause)
			send.Close()
		})
		r, rerr := http.NewRequest("POST", "http://x/", body)
		if rerr != nil {
			t.Fatal(rerr)
		}
		res, rerr := roundTrip(conn, r, h2)
		if rerr == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		body.Close()
		<-done
	})
	return n, took, err
}

// roundTrip sends a request on a connection.
func roundTrip(conn net.Conn, r *http.Request, h2 bool) (*http.Response, error) {
	if h2 {
		tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) { return conn, nil }}
		return tr.RoundTrip(r)
	}
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }, DisableKeepAlives: true}
	return tr.RoundTrip(r)
}

func TestUpload(t *testing.T) {
	const half = `, "read_timeout": 500000000`
	for _, c := range []struct {
		name   string
		cfg    string
		server time.Duration
		pieces int
		size   int
		pause  time.Duration
		n      int
		took   time.Duration
		cut    bool
	}{
		{"a stall", half, time.Minute, 2, 10, 10 * time.Second, 0, 500 * time.Millisecond, true},
		{"a stall, and a server without a limit", half, -1, 2, 10, 10 * time.Second, 0, 500 * time.Millisecond, true},
		{"a stall, and a server with a shorter limit", half, 200 * time.Millisecond, 2, 10, 10 * time.Second, 0, 200 * time.Millisecond, true},
		{"slow and steady", half, time.Minute, 50, 1, 400 * time.Millisecond, 50, 51 * 400 * time.Millisecond, false},
		{"slow and steady, with a rate that it keeps", half + `, "read_min_rate": 10`, time.Minute, 50, 4, 400 * time.Millisecond, 200, 51 * 400 * time.Millisecond, false},
		// 4 bytes each 400 ms are 10 bytes a second, where 20 are due: the deadline is
		// at 500 ms + n/20 s, and after the first piece that is before the second.
		{"slow and steady, with a rate that it misses", half + `, "read_min_rate": 20`, time.Minute, 50, 4, 400 * time.Millisecond, 4, 700 * time.Millisecond, true},
		{"only a rate", `, "read_min_rate": 1000`, time.Minute, 3, 1, 20 * time.Second, 3, 80 * time.Second, false},
		{"negative", `, "read_timeout": -1`, time.Minute, 3, 1, 20 * time.Second, 3, 80 * time.Second, false},
		{"of the other direction", `, "write_timeout": 500000000`, time.Minute, 3, 1, 20 * time.Second, 3, 80 * time.Second, false},
	} {
		for _, h2 := range []bool{false, true} {
			n, took, err := upload(t, c.cfg, c.server, h2, c.pieces, c.size, c.pause)
			late := took - c.took
			if n != c.n || late < 0 || late > 10*time.Millisecond || (err != nil) != c.cut || (c.cut && !errors.Is(err, os.ErrDeadlineExceeded)) {
				t.Errorf("%s, HTTP/2 %v: read %d bytes in %v, %v; want %d, %v, cut %v", c.name, h2, n, took, err, c.n, c.took, c.cut)
			}
		}
	}
}

// download tells how a response of the size was written to a client that reads
// pieces, each after a pause, and then nothing any more.
func download(t *testing.T, cfg string, idle time.Duration, size, pieces, piece int, pause time.Duration) (took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		conn := dial(site(t, cfg, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			defer close(done)
			start := time.Now()
			_, err = w.Write(make([]byte, size))
			took = time.Since(start)
			return nil
		}), idle)
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		buf := make([]byte, piece)
		for range pieces {
			pass(pause)
			if _, err := io.ReadFull(conn, buf); err != nil {
				break
			}
		}
		<-done
	})
	return took, err
}

func TestDownload(t *testing.T) {
	const two = `, "write_timeout": 2000000000, "max_write_chunk": 1000`
	for _, c := range []struct {
		name          string
		cfg           string
		server        time.Duration
		pieces, piece int
		pause         time.Duration
		took          time.Duration
		cut           bool
	}{
		{"nobody reads", two, time.Minute, 0, 0, 0, 2 * time.Second, true},
		{"nobody reads, and a server without a limit", two, -1, 0, 0, 0, 2 * time.Second, true},
		{"nobody reads, and a server with a shorter limit", two, time.Second, 0, 0, 0, time.Second, true},
		{"slow and steady", two, time.Minute, 200, 1000, 100 * time.Millisecond, 10 * time.Second, false},
		// 100,000 bytes at 10,000 a second, where 20,000 are due.
		{"slow and steady, with a rate that it misses", two + `, "write_min_rate": 20000`, time.Minute, 200, 1000, 100 * time.Millisecond, 4 * time.Second, true},
		{"slow and steady, with a rate that it keeps", two + `, "write_min_rate": 9000`, time.Minute, 200, 1000, 100 * time.Millisecond, 10 * time.Second, false},
		{"only a rate", `, "write_min_rate": 20000`, time.Minute, 200, 1000, 100 * time.Millisecond, 10 * time.Second, false},
		{"of the other direction", `, "read_timeout": 500000000`, time.Minute, 0, 0, 0, time.Minute, true},
	} {
		took, err := download(t, c.cfg, c.server, 100_000, c.pieces, c.piece, c.pause)
		// What the server buffers makes it earlier.
		if early := c.took - took; early < -500*time.Millisecond || early > 1200*time.Millisecond || (err != nil) != c.cut {
			t.Errorf("%s: took %v, %v; want %v, cut %v", c.name, took, err, c.took, c.cut)
		}
	}
}

// TestDownloadHTTP2: the client opens no window.
func TestDownloadHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type outcome struct {
			took time.Duration
			err  error
		}
		written := make(chan outcome, 1)
		conn := dial(site(t, `, "write_timeout": 2000000000`, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			start := time.Now()
			_, err := w.Write(make([]byte, 1<<20))
			written <- outcome{time.Since(start), err}
			return nil
		}), time.Minute)
		defer conn.Close()
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		framer := http2.NewFramer(conn, nil)
		_, _ = io.WriteString(conn, http2.ClientPreface)
		_ = framer.WriteSettings()
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true, BlockFragment: []byte("\x82\x86\x84\x41\x01x")})
		if o := <-written; o.err == nil || o.took < 2*time.Second || o.took > 2100*time.Millisecond {
			t.Errorf("cut after %v, %v", o.took, o.err)
		}
	})
}

// TestPauses: only transfers count, and the next request begins anew.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := dial(site(t, `, "read_timeout": 1000000000, "write_timeout": 1000000000`, func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			pass(10 * time.Second)
			if _, err := io.ReadAll(r.Body); err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Length", "9000")
			for range 3 {
				pass(10 * time.Second)
				if _, err := w.Write(make([]byte, 3000)); err != nil {
					t.Error(err)
				}
			}
			return nil
		}), time.Minute)
		defer conn.Close()
		br := bufio.NewReader(conn)
		for range 3 {
			go fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, res.Body); n != 9000 || err != nil {
				t.Fatal(n, err)
			}
			pass(10 * time.Second)
		}
	})
}

// TestLastPiece: what the server holds back when the handlers are done is
// limited, too, even where the server has no limit.
func TestLastPiece(t *testing.T) {
	for _, size := range []int{3000, 5000, 9000} {
		synctest.Test(t, func(t *testing.T) {
			conn := dial(site(t, `, "write_timeout": 1000000000`, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
				w.Header().Set("Content-Length", fmt.Sprint(size))
				_, _ = io.WriteString(w, strings.Repeat("x", size))
				return nil
			}), -1)
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			pass(10 * time.Second)
			b, err := io.ReadAll(conn) // closed in the meantime
			if len(b) >= size {
				t.Errorf("%d: got %d bytes, %v", size, len(b), err)
			}
			conn.Close()
		})
	}
}

// TestErrorRoute: an answer that does not come from behind the handler has the
// limits of the server only.
func TestErrorRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := func(http.ResponseWriter, *http.Request, handlers.Next) error {
			return handlers.NewError(404, handlertest.ErrHandler)
		}
		page := func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			_, err := w.Write(make([]byte, 10_000))
			if err != nil {
				t.Error(err)
			}
			return err
		}
		conn := dial(handlertest.New(t, `{"routes": [{"handle": [{"handler": "timeouts", "write_timeout": 1000000000}, {"handler": "fails"}]}], "errors": {"routes": [{"handle": [{"handler": "page"}]}]}}`,
			Spec(), handlertest.FuncSpec("fails", fails), handlertest.FuncSpec("page", page)), time.Minute)
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		pass(10 * time.Second)
		if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			t.Error(err)
		} else if n, err := io.Copy(io.Discard, res.Body); n != 10_000 || err != nil {
			t.Error(n, err)
		}
	})
}

func TestWriter(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	big := strings.Repeat("0123456789", 20_000)
	if err := os.WriteFile(name, []byte(big), 0o600); err != nil {
		t.Fatal(err)
	}
	for kind, send := range map[string]func(w http.ResponseWriter) (int64, error){
		"write": func(w http.ResponseWriter) (int64, error) { n, err := w.Write([]byte(big)); return int64(n), err },
		"text":  func(w http.ResponseWriter) (int64, error) { n, err := io.WriteString(w, big); return int64(n), err },
		"file": func(w http.ResponseWriter) (int64, error) {
			f, err := os.Open(name)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			return w.(io.ReaderFrom).ReadFrom(f)
		},
		"part of a file": func(w http.ResponseWriter) (int64, error) {
			f, err := os.Open(name)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			n, err := io.CopyN(w, f, 150_000)
			m, err2 := io.CopyN(w, f, 50_000)
			return n + m, errors.Join(err, err2)
		},
		"reader": func(w http.ResponseWriter) (int64, error) { return io.Copy(w, io.MultiReader(strings.NewReader(big))) },
		"nothing first": func(w http.ResponseWriter) (int64, error) {
			_, err := w.Write(nil)
			n, err2 := io.WriteString(w, big)
			return int64(n), errors.Join(err, err2)
		},
	} {
		s := httptest.NewServer(site(t, `, "write_timeout": 10000000000, "max_write_chunk": 30001`, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			w.Header().Set("X-Kind", kind)
			w.WriteHeader(202)
			n, err := send(w)
			if n != int64(len(big)) {
				t.Errorf("%s: wrote %d, %v", kind, n, err)
			}
			return errors.Join(err, http.NewResponseController(w).Flush())
		}))
		res, err := http.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(b) != big || err != nil || res.StatusCode != 202 || res.Header.Get("X-Kind") != kind {
			t.Errorf("%s: %d bytes, %v, status %d", kind, len(b), err, res.StatusCode)
		}
		s.Close()
	}
}

func TestHijack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := dial(site(t, `, "read_timeout": 1000000000, "write_timeout": 1000000000`, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			if err := w.(http.Pusher).Push("/", nil); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("push: %v", err)
			}
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return err
			}
			defer c.Close()
			b := make([]byte, 4)
			_, err = io.ReadFull(rw, b)
			pass(5 * time.Second)
			fmt.Fprintf(c, "%s %v", b, err)
			return nil
		}), time.Minute)
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		pass(10 * time.Second)
		fmt.Fprint(conn, "ping")
		if b, _ := io.ReadAll(conn); string(b) != "ping <nil>" {
			t.Errorf("%q", b)
		}
	})
}

// TestNoDeadlines: what cannot be limited is not.
func TestNoDeadlines(t *testing.T) {
	h, err := compile(nil, &Config{ReadTimeout: 1, WriteTimeout: 1})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		body, send := io.Pipe()
		go func() {
			pass(time.Second)
			send.Close()
		}()
		rec := httptest.NewRecorder()
		err := h.ServeHTTP(rec, httptest.NewRequest("POST", "/", body), handlers.NextFunc(func(w http.ResponseWriter, r *http.Request) error {
			_, err := io.ReadAll(r.Body)
			_, err2 := io.WriteString(w, "done")
			return errors.Join(err, err2)
		}))
		if err != nil || rec.Body.String() != "done" || !h.(*handler).told.Load() {
			t.Error(err, rec.Body, h.(*handler).told.Load())
		}
	})
}
