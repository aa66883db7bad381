package headers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/errorhandler"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

// site runs the handlers, then f.
func site(t testing.TB, list string, f handlers.HandlerFunc) *handlertest.Site {
	t.Helper()
	return handlertest.New(t, `{"routes": [{"handle": [`+list+`, {"handler": "f"}]}]}`, Spec(), handlertest.FuncSpec("f", f))
}

func answer(status int, lines ...string) handlers.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		for _, l := range lines {
			name, value, _ := strings.Cut(l, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		return nil
	}
}

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

func TestRequest(t *testing.T) {
	for _, tt := range []struct{ ops, want string }{
		{`"add": {"A": ["1", "2"]}`, "host=example.com A=[0 1 2] B=[0]"},
		{`"set": {"B": ["x", "y"]}`, "host=example.com A=[0] B=[x,y]"},
		{`"set": {"Host": ["{http.request.method}.test"]}`, "host=GET.test A=[0] B=[0]"},
		{`"add": {"A": ["1"]}, "delete": ["*"]`, "host= A=[1] B=[]"},
		{`"replace": {"*": [{"search": "0", "replace": "1"}]}`, "host=example.com A=[1] B=[1]"},
	} {
		var got string
		s := site(t, `{"handler": "headers", "request": {`+tt.ops+`}}`, func(_ http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			got = fmt.Sprintf("host=%s A=%v B=%v", r.Host, r.Header["A"], r.Header["B"])
			return nil
		})
		if s.Get("/", "A: 0", "B: 0"); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.ops, got, tt.want)
		}
	}
}

func TestResponse(t *testing.T) {
	const pre = `{"handler": "headers", "response": {"set": {"Server": ["sluice"]}}}, `
	for _, tt := range []struct {
		name, cfg string
		f         handlers.HandlerFunc
		want      http.Header
	}{
		{"immediate", `"set": {"X-{http.request.method}": ["{nope}"]}`, answer(200), http.Header{"X-Get": {"{nope}"}}},
		{"immediate is overwritten", `"set": {"X": ["1"]}`, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			w.Header().Set("X", "2")
			return nil
		}, http.Header{"X": {"2"}}},
		{"pre-set field", `"delete": ["Server"]`, answer(200), http.Header{"Server": nil}},
		{"immediate misses later fields", `"delete": ["X"]`, answer(200, "X: 1"), http.Header{"X": {"1"}}},
		{"deferred", `"delete": ["X"], "deferred": true`, answer(200, "X: 1"), http.Header{"X": nil}},
		{"deferred has the last word", `"set": {"X": ["2"]}, "deferred": true`, answer(200, "X: 1"), http.Header{"X": {"2"}}},
		{"deferred, nothing written", `"set": {"X": ["2"]}, "deferred": true`, func(http.ResponseWriter, *http.Request, handlers.Next) error { return nil }, http.Header{"X": {"2"}}},
		{"require absent field", `"set": {"X": ["1"]}, "require": {"headers": {"Y": null}}`, answer(200), http.Header{"X": {"1"}}},
		{"require absent field, present", `"set": {"X": ["1"]}, "require": {"headers": {"Y": null}}`, answer(200, "Y: 1"), http.Header{"X": nil}},
		{"require status", `"set": {"X": ["1"]}, "require": {"status_code": [4]}`, answer(404), http.Header{"X": {"1"}}},
		{"require other status", `"set": {"X": ["1"]}, "require": {"status_code": [4]}`, answer(500), http.Header{"X": nil}},
		{"require anything", `"set": {"X": ["2"]}, "require": {}`, answer(500, "X: 1"), http.Header{"X": {"2"}}},
		{"require without ops", `"require": {"status_code": [4]}`, answer(404, "X: 1"), http.Header{"X": {"1"}}},
		{"implicit 200", `"set": {"X": ["1"]}, "require": {"status_code": [200]}`, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			_, err := w.Write([]byte("x"))
			return err
		}, http.Header{"X": {"1"}}},
		{"placeholders when written", `"set": {"X": ["{http.response.header.Y}"]}, "deferred": true`, answer(200, "Y: late"), http.Header{"X": {"late"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := site(t, pre+`{"handler": "headers", "response": {`+tt.cfg+`}}`, tt.f).Get("/")
			got := rec.Result().Header
			for name, want := range tt.want {
				if !reflect.DeepEqual(got[name], want) {
					t.Errorf("%s: %q, want %q", name, got[name], want)
				}
			}
		})
	}
}

func TestOutermostHasTheLastWord(t *testing.T) {
	rec := site(t, `{"handler": "headers", "response": {"set": {"X": ["outer"]}, "deferred": true}},
		{"handler": "headers", "response": {"set": {"X": ["inner"], "Y": ["inner"]}, "deferred": true}}`, answer(200)).Get("/")
	if h := rec.Header(); h.Get("X") != "outer" || h.Get("Y") != "inner" {
		t.Errorf("header = %v", h)
	}
}

func TestErrorsLoseDeferred(t *testing.T) {
	doc := `{"routes": [{"handle": [
			{"handler": "headers", "response": {"set": {"A": ["1"]}}},
			{"handler": "headers", "response": {"set": {"D": ["1"]}, "deferred": true}},
			{"handler": "error", "status_code": 418}]}],
		"errors": {"routes": [{"handle": [{"handler": "static_response", "body": "x"}]}]}}`
	rec := handlertest.New(t, doc, Spec(), errorhandler.Spec(), staticresponse.Spec()).Get("/")
	if h := rec.Header(); rec.Code != 418 || h.Get("A") != "1" || h.Get("D") != "" {
		t.Errorf("%d %v: immediate operations stay, deferred ones are lost", rec.Code, h)
	}
}

func TestProblems(t *testing.T) {
	ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "headers",
		"request": {"replace": {"A": [{"search": "a", "search_regexp": "b"}]}},
		"response": {"replace": {"B": [{"search_regexp": "("}]}}}]}]}`, Spec())
	var got []string
	for _, p := range ps {
		got = append(got, p.Pointer)
	}
	want := []string{"/routes/0/handle/0/request/replace/A/0/search_regexp", "/routes/0/handle/0/response/replace/B/0/search_regexp"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("problems at %v, want %v", got, want)
	}
	for _, cfg := range []string{`"request": {"adds": {}}`, `"response": {"deferred": 1}`, `"response": {"require": {"status": [2]}}`, `"request": {"deferred": true}`} {
		if ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "headers", `+cfg+`}]}]}`, Spec()); len(ps) != 1 {
			t.Errorf("%s: problems %v, want one", cfg, ps)
		}
	}
}

const wrapped = `{"handler": "headers", "response": {"add": {"X": ["1"]}, "deferred": true}},
	{"handler": "headers", "response": {"add": {"X": ["2"]}, "deferred": true}}`

func TestInformational(t *testing.T) {
	server := httptest.NewServer(site(t, wrapped, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		w.Header().Set("Link", "a")
		w.WriteHeader(103)
		w.WriteHeader(103)
		w.Header().Del("Link")
		w.WriteHeader(202)
		w.WriteHeader(404) // ignored
		return nil
	}))
	defer server.Close()
	var seen []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		seen = append(seen, fmt.Sprint(code, h["X"], h["Link"]))
		return nil
	}}
	req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", server.URL, nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if want := []string{"103 [2 1] [a]", "103 [2 1] [a]"}; !reflect.DeepEqual(seen, want) {
		t.Errorf("informational: %q, want %q", seen, want)
	}
	if res.StatusCode != 202 || !reflect.DeepEqual(res.Header["X"], []string{"2", "1"}) || res.Header["Link"] != nil {
		t.Errorf("final: %d %v", res.StatusCode, res.Header)
	}
}

// TestAbilities checks that what the server's writer can do works through the
// wrapper: ways of writing, flush, deadlines, full duplex, hijack.
func TestAbilities(t *testing.T) {
	const first = "first,"
	gate := make(chan struct{})
	server := httptest.NewServer(site(t, wrapped, func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		c := http.NewResponseController(w)
		switch r.URL.Path {
		case "/flush":
			if _, err := io.WriteString(w, first); err != nil {
				return err
			}
			if err := c.Flush(); err != nil {
				return err
			}
			<-gate
			_, err := w.Write([]byte("second"))
			return err
		case "/flushfirst":
			w.(http.Flusher).Flush()
			<-gate
			return nil
		case "/readfrom":
			_, err := io.Copy(w, strings.NewReader(strings.Repeat("z", 70_000)))
			return err
		case "/control":
			return errors.Join(c.SetWriteDeadline(time.Now().Add(time.Minute)), c.SetReadDeadline(time.Time{}), c.EnableFullDuplex())
		case "/push":
			if err := w.(http.Pusher).Push("/x", nil); !errors.Is(err, http.ErrNotSupported) {
				return fmt.Errorf("push over HTTP/1.1: %w", err)
			}
			return nil
		}
		conn, rw, err := c.Hijack()
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\nraw")
		return errors.Join(err, rw.Flush())
	}))
	defer server.Close()

	for _, path := range []string{"/readfrom", "/control", "/push"} {
		res, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != 200 || !reflect.DeepEqual(res.Header["X"], []string{"2", "1"}) || (path == "/readfrom") != (len(body) == 70_000) {
			t.Errorf("%s: %d, %v, %d bytes", path, res.StatusCode, res.Header["X"], len(body))
		}
	}
	for path, want := range map[string]string{"/flush": first, "/flushfirst": ""} {
		res, err := http.Get(server.URL + path) // returns only if the header was flushed
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		_, err = io.ReadFull(res.Body, got)
		if err != nil || string(got) != want || !reflect.DeepEqual(res.Header["X"], []string{"2", "1"}) {
			t.Errorf("%s: %q, %v, %v", path, got, err, res.Header["X"])
		}
		gate <- struct{}{}
		_ = res.Body.Close()
	}
	hijack(t, server.Listener.Addr().String())
}

func hijack(t *testing.T, addr string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /hijack HTTP/1.1\r\nHost: a\r\n\r\n")
	got, err := io.ReadAll(bufio.NewReader(conn))
	if want := "HTTP/1.1 101 Switching Protocols\r\n\r\nraw"; string(got) != want {
		t.Errorf("after the hijack: %q, %v", got, err)
	}
}

// TestReadFromReachesTheServer checks that a body is not copied by the wrapper
// itself.
func TestReadFromReachesTheServer(t *testing.T) {
	s := site(t, wrapped, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		_, err := w.(io.ReaderFrom).ReadFrom(struct{ io.Reader }{strings.NewReader("body")})
		return err
	})
	under := &readerFrom{ResponseRecorder: httptest.NewRecorder()}
	s.ServeHTTP(under, httptest.NewRequest("GET", "/", nil))
	if !under.used || under.Body.String() != "body" {
		t.Errorf("body = %q, copied by the writer below: %v", under.Body, under.used)
	}
}

type readerFrom struct {
	*httptest.ResponseRecorder
	used bool
}

func (w *readerFrom) ReadFrom(r io.Reader) (int64, error) {
	w.used = true
	return io.Copy(w.ResponseRecorder, r)
}

func TestWriterIsPooled(t *testing.T) {
	s := site(t, wrapped, func(http.ResponseWriter, *http.Request, handlers.Next) error { return nil })
	plain := site(t, `{"handler": "headers", "response": {"add": {"X": ["1"]}}}, {"handler": "headers", "response": {"add": {"X": ["2"]}}}`,
		func(http.ResponseWriter, *http.Request, handlers.Next) error { return nil })
	measure := func(s *handlertest.Site) float64 {
		r := httptest.NewRequest("GET", "/", nil)
		w := &headerOnly{http.Header{}}
		return testing.AllocsPerRun(200, func() {
			clear(w.h)
			s.ServeHTTP(w, r)
		})
	}
	if deferred, immediate := measure(s), measure(plain); deferred > immediate+0.5 && !raceEnabled {
		t.Errorf("deferred operations cost %v allocations, immediate ones %v", deferred, immediate)
	}
}

type headerOnly struct{ h http.Header }

func (w *headerOnly) Header() http.Header         { return w.h }
func (w *headerOnly) Write(p []byte) (int, error) { return len(p), nil }
func (w *headerOnly) WriteHeader(int)             {}
