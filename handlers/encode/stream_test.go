package encode

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

// TestFlush: what was written before a flush can be decoded, before anything
// else is written.
func TestFlush(t *testing.T) {
	for _, token := range []string{"gzip", "zstd", "br", ""} {
		for _, kind := range []string{"text/event-stream", "text/plain"} {
			step := make(chan string)
			s := serve(t, `"minimum_length": 1, "encodings": {"gzip": {}, "zstd": {}, "br": {}}`, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
				w.Header().Set("Content-Type", kind)
				w.WriteHeader(200)
				w.(http.Flusher).Flush()
				for piece := range step {
					if _, err := io.WriteString(w, piece); err != nil {
						return err
					}
					if err := http.NewResponseController(w).Flush(); err != nil {
						return err
					}
				}
				return nil
			})
			// An event stream is there before its first event; others when they begin.
			early := kind == "text/event-stream" || token == ""
			if !early {
				go func() { step <- "data: 0\n" }()
			}
			r, _ := http.NewRequest("GET", s.URL, nil)
			r.Header["Accept-Encoding"] = []string{token}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			res, err := client.RoundTrip(r.WithContext(ctx))
			if err != nil {
				t.Fatal(token, kind, err)
			}
			if got := res.Header.Get("Content-Encoding"); got != token {
				t.Fatalf("Content-Encoding %q, want %q", got, token)
			}
			if early {
				go func() { step <- "data: 0\n" }()
			}
			lines := bufio.NewReader(decoder(t, token, res.Body))
			for i := range 5 {
				if line, err := lines.ReadString('\n'); line != fmt.Sprintf("data: %d\n", i) || err != nil {
					t.Fatalf("%s %s: line %d is %q, %v", token, kind, i, line, err)
				}
				step <- fmt.Sprintf("data: %d\n", i+1)
			}
			close(step)
			if rest, err := io.ReadAll(lines); string(rest) != "data: 5\n" || err != nil {
				t.Errorf("%s %s: the rest is %q, %v", token, kind, rest, err)
			}
			res.Body.Close()
			cancel()
			s.Close()
		}
	}
}

// TestFlushIsHeldBack: a flush of a header that is held back does not count as one, and
// one too late is refused.
func TestFlushIsHeldBack(t *testing.T) {
	var held, sent bool
	var kept http.ResponseWriter
	s := site(t, gz, func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		kept = w
		w.Header().Set("Content-Type", "text/plain")
		_ = http.NewResponseController(w).Flush()
		held = handlers.Of(r).Response.Status() == 0
		w.WriteHeader(201)
		_ = http.NewResponseController(w).Flush()
		held = held && handlers.Of(r).Response.Status() == 0
		_, _ = io.WriteString(w, text(1000))
		sent = handlers.Of(r).Response.Status() == 201
		return nil
	})
	res := s.Get("/", "Accept-Encoding: gzip")
	if !held || !sent || res.Code != 201 {
		t.Errorf("held back: %v, sent: %v, status %d", held, sent, res.Code)
	}
	n := res.Body.Len()
	_, err1 := kept.Write([]byte("late"))
	_, err2 := io.WriteString(kept, "late")
	_, err3 := kept.(io.ReaderFrom).ReadFrom(strings.NewReader("late"))
	err4 := http.NewResponseController(kept).Flush()
	kept.WriteHeader(500)
	if err1 == nil || err2 == nil || err3 == nil || err4 == nil || res.Body.Len() != n {
		t.Errorf("late writes: %v, %v, %v, %v", err1, err2, err3, err4)
	}
}

// TestHeaderIsNotHeldBack: a header that says enough is not held back.
func TestHeaderIsNotHeldBack(t *testing.T) {
	for _, header := range [][]string{
		{"Content-Type: image/png"},
		{"Content-Type: text/plain", "Content-Encoding: br"},
		{"Content-Type: text/plain", "Content-Length: 3"},
		{"Content-Type: text/plain", "Content-Length: 3000"},
	} {
		sent := 0
		site(t, gz, func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
			_ = answer(202, header)(w, r, next)
			sent = handlers.Of(r).Response.Status()
			return nil
		}).Get("/", "Accept-Encoding: gzip")
		if sent != 202 {
			t.Errorf("%v: status %d", header, sent)
		}
	}
}

func TestInformational(t *testing.T) {
	s := serve(t, gz, func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(103)
		w.WriteHeader(103)
		w.Header().Set("Content-Type", "text/css")
		w.WriteHeader(203)
		w.WriteHeader(500) // the first final one counts
		_, err := io.WriteString(w, text(2000))
		return err
	})
	hints := 0
	r, _ := http.NewRequest("GET", s.URL, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	r = r.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == 103 && h.Get("Link") != "" && h.Get("Content-Encoding") == "" {
			hints++
		}
		return nil
	}}))
	res, err := client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if hints != 2 || res.StatusCode != 203 || decoded(t, "gzip", b) != text(2000) {
		t.Errorf("%d hints, status %d", hints, res.StatusCode)
	}
}

func TestHijack(t *testing.T) {
	s := serve(t, gz, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			fmt.Fprintf(rw, "write: %v", err)
		}
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		_, err = io.Copy(conn, io.LimitReader(rw, 4))
		return err
	})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nping")
	b, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 101") || !strings.HasSuffix(string(b), "\r\n\r\nping") || strings.Contains(string(b), "gzip") {
		t.Errorf("%q, %v", b, err)
	}
}

func TestConnect(t *testing.T) {
	var early int
	st := site(t, gz+`, `+every, func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		w.WriteHeader(200)
		early = handlers.Of(r).Response.Status()
		_, err := io.WriteString(w, text(2000))
		return err
	})
	res := st.Do("CONNECT", "/", "Accept-Encoding: gzip")
	if early != 200 || res.Header().Get("Content-Encoding") != "" || res.Body.String() != text(2000) {
		t.Errorf("status %d, header %v", early, res.Header())
	}
}

// counting is a writer below that counts how it is copied to.
type counting struct {
	http.ResponseWriter
	copies []string
}

func (c *counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counting) ReadFrom(r io.Reader) (int64, error) {
	c.copies = append(c.copies, fmt.Sprintf("%T", r))
	return io.Copy(c.ResponseWriter, r)
}

func TestReadFrom(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	big := text(100_000)
	if err := os.WriteFile(name, []byte(big), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, cfg string
		header    []string
		status    int
		encoded   bool
		direct    bool // the file itself reaches the writer below
	}{
		{"512 bytes are looked at", gz, []string{"Content-Type: text/plain"}, 0, false, true},
		{"which may be enough", gz + `, "minimum_length": 511`, []string{"Content-Type: text/plain"}, 0, true, false},
		{"a length is enough", gz, []string{"Content-Type: text/plain", "Content-Length: 100000"}, 200, true, false},
		{"a length is enough without a status", gz, []string{"Content-Type: text/plain", "Content-Length: 100000"}, 0, true, false},
		{"another type", gz, []string{"Content-Type: image/png", "Content-Length: 100000"}, 200, false, true},
		{"another type without a status", gz, []string{"Content-Type: image/png", "Content-Length: 100000"}, 0, false, true},
		{"no type", gz, []string{"Content-Length: 100000"}, 0, true, false},
	} {
		var under *counting
		list := `{"routes": [{"handle": [{"handler": "under"}, {"handler": "encode", ` + c.cfg + `}, {"handler": "f"}]}]}`
		f := func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
			if err := answer(c.status, c.header)(w, r, next); err != nil {
				return err
			}
			file, err := os.Open(name)
			if err != nil {
				return err
			}
			defer file.Close()
			if n, err := w.(io.ReaderFrom).ReadFrom(file); n != int64(len(big)) || err != nil {
				t.Errorf("%s: copied %d, %v", c.name, n, err)
			}
			return nil
		}
		s := handlertest.New(t, list, append(Specs(), handlertest.FuncSpec("f", f), handlertest.FuncSpec("under", func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
			under = &counting{ResponseWriter: w}
			return next.ServeHTTP(under, r)
		}))...)
		res := s.Get("/", "Accept-Encoding: gzip")
		encoding := res.Header().Get("Content-Encoding")
		if (encoding != "") != c.encoded || decoded(t, encoding, res.Body.Bytes()) != big {
			t.Errorf("%s: encoding %q", c.name, encoding)
		}
		if direct := len(under.copies) == 1 && under.copies[0] == "*os.File"; direct != c.direct {
			t.Errorf("%s: copied from %v", c.name, under.copies)
		}
	}
}

// slow gives its pieces one at a time, and then an error.
type slow struct {
	pieces []string
	err    error
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, s.err
	}
	n := copy(p, s.pieces[0])
	s.pieces = s.pieces[1:]
	return n, nil
}

func TestReadFromErrors(t *testing.T) {
	for _, c := range []struct {
		src     slow
		encoded bool
		want    error
	}{
		{slow{nil, io.EOF}, false, nil},
		{slow{nil, io.ErrUnexpectedEOF}, false, io.ErrUnexpectedEOF},
		{slow{[]string{"", "ab", "cd"}, io.EOF}, true, nil},
		{slow{[]string{"ab", "cd"}, io.ErrUnexpectedEOF}, true, io.ErrUnexpectedEOF},
		{slow{[]string{"a", "bcd"}, io.ErrUnexpectedEOF}, false, io.ErrUnexpectedEOF},
	} {
		want := strings.Join(c.src.pieces, "")
		var got error
		res := site(t, gz+`, "minimum_length": 1`, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			w.Header().Set("Content-Type", "text/plain")
			_, got = io.Copy(w, &c.src)
			return nil
		}).Get("/", "Accept-Encoding: gzip")
		encoding := res.Header().Get("Content-Encoding")
		if got != c.want || (encoding != "") != c.encoded || decoded(t, encoding, res.Body.Bytes()) != want || res.Code != 200 {
			t.Errorf("%q: error %v, encoding %q", want, got, encoding)
		}
	}
}

// TestController: deadlines and full duplex are those of the writer below.
func TestController(t *testing.T) {
	s := serve(t, gz, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		c := http.NewResponseController(w)
		return errors.Join(c.EnableFullDuplex(), c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{}), answer(0, []string{"Content-Type: text/plain"}, text(2000))(w, nil, handlers.Next{}))
	})
	if res, b := fetch(t, "GET", s.URL, "Accept-Encoding: gzip"); res.StatusCode != 200 || decoded(t, "gzip", b) != text(2000) {
		t.Errorf("status %d", res.StatusCode)
	}
	if err := (&writer{under: httptest.NewRecorder()}).Push("/", nil); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("push: %v", err)
	}
}

// TestPanic: a response that is cut off is not completed.
func TestPanic(t *testing.T) {
	s := serve(t, gz, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, text(2000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	r, _ := http.NewRequest("GET", s.URL, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(decoder(t, "gzip", res.Body)); err == nil || string(b) != text(2000) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// TestConcurrent: responses that share encoders do not mix.
func TestConcurrent(t *testing.T) {
	s := serve(t, `"encodings": {"gzip": {}, "zstd": {}, "br": {}}`, func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		w.Header().Set("Content-Type", "text/plain")
		_, err := io.WriteString(w, strings.Repeat(r.URL.Path+"\n", 500))
		return err
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			token := []string{"gzip", "zstd", "br"}[i%3]
			for k := range 20 {
				path := fmt.Sprintf("/%d/%d", i, k)
				_, b := fetch(t, "GET", s.URL+path, "Accept-Encoding: "+token)
				if decoded(t, token, b) != strings.Repeat(path+"\n", 500) {
					t.Errorf("%s: another body", path)
				}
			}
		})
	}
	wg.Wait()
}

// TestMemory is a bound for what one response in progress holds on to, at the
// levels that are the default.
func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs memory, too")
	}
	for _, token := range []string{"gzip", "zstd", "br"} {
		const responses = 4
		piece := []byte(text(256 << 10))
		measure := func() int64 {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		var kept [responses]*writer
		before := measure()
		for i := range kept {
			kept[i] = &writer{under: discard{http.Header{"Content-Type": {"text/plain"}}}, handler: &handler{match: defaultMatcher, minimum: 512}, encoding: encodingOf(t, token), declared: -1}
			for range 4 {
				if _, err := kept[i].Write(piece); err != nil {
					t.Fatal(err)
				}
			}
			if kept[i].stream == nil {
				t.Fatal("not encoded")
			}
		}
		each := (measure() - before) / responses
		t.Logf("%s: %d KiB for each response", token, each>>10)
		if each > 4<<20 {
			t.Errorf("%s: %d bytes for each response", token, each)
		}
		runtime.KeepAlive(&kept)
	}
}

// discard is a response that goes nowhere.
type discard struct{ h http.Header }

func (d discard) Header() http.Header       { return d.h }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func encodingOf(t testing.TB, token string) *Encoding {
	t.Helper()
	var e *Encoding
	var err error
	switch token {
	case "gzip":
		e, err = compileGzip(nil, &Gzip{})
	case "zstd":
		e, err = compileZstd(nil, &Zstd{})
	default:
		e, err = compileBrotli(nil, &Brotli{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}
