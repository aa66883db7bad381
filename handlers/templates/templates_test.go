package templates

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/errorhandler"
	"github.com/sluiceproxy/sluice/handlers/setvars"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/handlers/templates/engine"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

// site runs templates with more fields before f.
func site(t testing.TB, more string, f handlers.HandlerFunc) *handlertest.Site {
	t.Helper()
	return handlertest.New(t, `{"routes": [{"handle": [{"handler": "templates"`+more+`}, {"handler": "f"}]}]}`, append(functionSpecs(), Spec(), handlertest.FuncSpec("f", f))...)
}

type functions template.FuncMap

func (f functions) TemplateFunctions() template.FuncMap { return template.FuncMap(f) }

func functionSpecs() []module.Spec {
	return []module.Spec{module.New(functionsNamespace+".shouting", "For tests.", nil, func(*module.Env, *struct{}) (Functions, error) {
		return functions{"shout": func(s string) string { return s + "!" }}, nil
	})}
}

// answer writes a header, lines "Name: value", and a body.
func answer(status int, kind, body string, lines ...string) handlers.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		for _, l := range lines {
			name, value, _ := strings.Cut(l, ": ")
			w.Header().Set(name, value)
		}
		if status != 0 {
			w.WriteHeader(status)
		}
		_, err := io.WriteString(w, body)
		return err
	}
}

const page = `{{.Host}} {{upper "x"}}`

func TestWhatIsExecuted(t *testing.T) {
	const done = "example.com X"
	for _, c := range []struct {
		name, more string
		status     int
		kind, want string
	}{
		{"html", "", 200, "text/html", done},
		{"with parameters", "", 200, "text/html; charset=utf-8", done},
		{"plain", "", 200, "text/plain", done},
		{"markdown", "", 200, "text/markdown", done},
		{"the status is kept", "", 418, "text/html", done},
		{"no status", "", 0, "text/html", done},
		{"another type", "", 200, "application/json", page},
		{"case counts", "", 200, "Text/HTML", page},
		{"no type", "", 200, "", page},
		{"types of the config", `, "mime_types": ["json", "x/y"]`, 200, "application/json", done},
		{"only types of the config", `, "mime_types": ["json"]`, 200, "text/html", page},
		{"no types", `, "mime_types": []`, 200, "text/html", page},
		{"other delimiters", `, "delimiters": ["<<", ">>"]`, 200, "text/html", page},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := site(t, c.more, answer(c.status, c.kind, page, "Content-Length: 23", "ETag: \"e\"", "Last-Modified: x", "Accept-Ranges: bytes", "X-Other: o")).Get("/")
			if want := max(c.status, 200); rec.Code != want || rec.Body.String() != c.want {
				t.Errorf("%d %q, want %d %q", rec.Code, rec.Body, want, c.want)
			}
			h := rec.Header()
			length, tag := "23", `"e"`
			if c.want == done || strings.Contains(c.more, "delimiters") {
				length, tag = fmt.Sprint(len(c.want)), ""
			}
			if h.Get("Content-Length") != length || h.Get("Etag") != tag || (h.Get("Last-Modified") == "") != (tag == "") || (h.Get("Accept-Ranges") == "") != (tag == "") || h.Get("X-Other") != "o" {
				t.Errorf("header %v", h)
			}
		})
	}
}

func TestWhatIsLeftAlone(t *testing.T) {
	for name, f := range map[string]handlers.HandlerFunc{
		"compressed":   answer(200, "text/html", page, "Content-Encoding: gzip"),
		"not modified": answer(304, "text/html", ""),
		"no content":   answer(204, "text/html", ""),
	} {
		rec := site(t, "", f).Get("/")
		if strings.Contains(rec.Body.String(), "X") || rec.Header().Get("Content-Length") != "" {
			t.Errorf("%s: %q %v", name, rec.Body, rec.Header())
		}
	}
	rec := site(t, "", func(http.ResponseWriter, *http.Request, handlers.Next) error { return nil }).Get("/")
	if rec.Body.Len() > 0 || len(rec.Header()) > 0 {
		t.Errorf("nothing at all: %q %v", rec.Body, rec.Header())
	}
	rec = site(t, "", answer(200, "text/html", page, "Content-Encoding: identity")).Get("/")
	if rec.Body.String() != "example.com X" {
		t.Errorf("the coding identity: %q", rec.Body)
	}
}

// TestFailures: 500, a log line, and nothing of the page.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name   string
		f      handlers.HandlerFunc
		status int
		error  string
	}{
		{"it cannot be parsed", answer(200, "text/html", "before {{if}} after"), 500, "missing value"},
		{"it cannot be executed", answer(200, "text/html", "before {{fail \"on purpose\"}} after"), 500, "on purpose"},
		{"it fails at the end", answer(200, "text/html", strings.Repeat("x", 100_000)+"{{readFile \"nope\"}}"), 500, "no such file"},
		{"httpError", answer(200, "text/html", "before {{httpError 404}} after"), 404, ""},
		{"the handler fails", func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
			_ = answer(200, "text/html", page, "Content-Length: 23")(w, r, next)
			return handlers.NewError(502, errors.New("upstream"))
		}, 502, "upstream"},
		{"a range", answer(206, "text/html", "{{ha", "Content-Range: bytes 0-3/23"), 416, "range"},
		{"too long", func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			w.Header().Set("Content-Type", "text/html")
			part := bytes.Repeat([]byte("x"), 1<<20)
			for {
				if _, err := w.Write(part); err != nil {
					return err
				}
			}
		}, 500, "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := site(t, "", c.f)
			var seen error
			s.Errors = func(first, _ error) { seen = first }
			rec := s.Get("/")
			if rec.Code != c.status || rec.Body.Len() > 0 || handlers.StatusOf(seen) != c.status || !strings.Contains(fmt.Sprint(seen), c.error) {
				t.Errorf("%d %.50q, error %v; want %d and nothing of the page, %q", rec.Code, rec.Body, seen, c.status, c.error)
			}
			for _, name := range []string{"Content-Length", "Content-Type", "Etag", "Content-Range"} {
				if v := rec.Header().Get(name); v != "" {
					t.Errorf("%s is still %s", name, v)
				}
			}
		})
	}
}

func TestErrorRoutesAnswer(t *testing.T) {
	rec := handlertest.New(t, `{"routes": [{"handle": [{"handler": "templates"}, {"handler": "static_response", "body": "{{httpError 451}}"}]}],
		"errors": {"routes": [{"handle": [{"handler": "templates"}, {"handler": "static_response", "status_code": "{http.error.status_code}", "body": "{{placeholder \"http.error.status_code\"}} page"}]}]}}`,
		Spec(), staticresponse.Spec()).Get("/")
	if rec.Code != 451 || rec.Body.String() != "451 page" || rec.Header().Get("Content-Length") != "8" {
		t.Errorf("%d %q %v", rec.Code, rec.Body, rec.Header())
	}
	rec = handlertest.New(t, `{"routes": [{"handle": [{"handler": "templates"}, {"handler": "error", "status_code": 403}]}]}`, Spec(), errorhandler.Spec()).Get("/")
	if rec.Code != 403 {
		t.Errorf("an error passes: %d", rec.Code)
	}
}

// TestFixture is that of section 10.4 of the reference.
func TestFixture(t *testing.T) {
	s := handlertest.New(t, `{"routes": [{"handle": [{"handler": "templates", "mime_types": ["text/plain"]},
		{"handler": "static_response", "body": "host={{.Host}} q={{placeholder \"http.request.uri.query.q\"}} {{upper \"ok\"}}"}]}]}`, Spec(), staticresponse.Spec())
	for range 3 {
		if rec := s.Get("http://a.test/tpl?q=7"); rec.Body.String() != "host=a.test q=7 OK" || rec.Code != 200 {
			t.Errorf("%d %q", rec.Code, rec.Body)
		}
	}
	if rec := s.Get("/tpl?q={{.Host}}"); rec.Body.String() != "host=example.com q={{.Host}} OK" {
		t.Errorf("what is printed is not executed: %q", rec.Body)
	}
}

func TestHead(t *testing.T) {
	rec := site(t, "", answer(200, "text/html", "", "Content-Length: 999")).Do("HEAD", "/")
	if h := rec.Header(); rec.Code != 200 || h.Get("Content-Length") != "" {
		t.Errorf("without a body: %d %v", rec.Code, h)
	}
	rec = site(t, "", answer(200, "text/html", page)).Do("HEAD", "/")
	if h := rec.Header(); rec.Code != 200 || h.Get("Content-Length") != "13" {
		t.Errorf("with a body that is not sent: %d %v", rec.Code, h)
	}
}

func TestRoot(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"root/f": "in root", "other/f": "in other", "f": "above"} {
		_ = os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, c := range []struct{ before, more, want string }{
		{"", "", "above"},
		{`{"handler": "vars", "root": "` + dir + `/root"}, `, "", "in root"},
		{`{"handler": "vars", "root": "root"}, `, "", "in root"},
		{`{"handler": "vars", "root": "root", "which": "other"}, `, `, "file_root": "` + dir + `/{http.vars.which}"`, "in other"},
		{"", `, "file_root": "{http.vars.unset}"`, "above"},
		{"", `, "file_root": "root/{http.vars.unset}"`, "in root"},
	} {
		rec := handlertest.New(t, `{"routes": [{"handle": [`+c.before+`{"handler": "templates"`+c.more+`}, {"handler": "f"}]}]}`,
			Spec(), setvars.Spec(), handlertest.FuncSpec("f", answer(200, "text/html", `{{readFile "../f"}}`))).Get("/")
		if rec.Body.String() != c.want {
			t.Errorf("%s%s: %q, want %q", c.before, c.more, rec.Body, c.want)
		}
	}
}

func TestPluggedFunctions(t *testing.T) {
	rec := site(t, `, "match": {"shouting": {}}`, answer(200, "text/html", `{{shout "a"}}{{maybe "shout" "b"}}`)).Get("/")
	if rec.Body.String() != "a!b!" {
		t.Errorf("%q", rec.Body)
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct{ cfg, at string }{
		{`"delimiters": ["{{"]`, "/delimiters"},
		{`"delimiters": []`, "/delimiters"},
		{`"delimiters": ["a", "b", "c"]`, "/delimiters"},
		{`"match": {"nope": {}}`, "/match/nope"},
		{`"mime": ["x"]`, "/mime"},
		{`"file_root": "` + strings.Repeat("{", 200) + `"`, "/file_root"},
	} {
		ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "templates", `+c.cfg+`}]}]}`, append(functionSpecs(), Spec())...)
		if len(ps) != 1 || ps[0].Pointer != "/routes/0/handle/0"+c.at {
			t.Errorf("%s: problems %v, want one at %s", c.cfg, ps, c.at)
		}
	}
}

// TestInclude: the server is asked through what the exchange has for it.
func TestInclude(t *testing.T) {
	var s *handlertest.Site
	s = site(t, "", func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
		if r.URL.Path == "/inner" {
			return answer(200, "text/html", `inner {{.Req.URL.Path}} from {{.RemoteIP}}`)(w, r, next)
		}
		x := handlers.Of(r)
		x.Server = including{x.Server, s}
		return answer(200, "text/html", `{{httpInclude "/inner"}}; {{.Req.URL.Path}}`)(w, r, next)
	})
	if rec := s.Get("/outer"); rec.Body.String() != "inner /inner from 127.0.0.1; /outer" {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
}

type including struct {
	handlers.Server
	site http.Handler
}

func (s including) Include(w http.ResponseWriter, r *http.Request) { s.site.ServeHTTP(w, r) }

var _ engine.Includer = including{}

// TestWriter is about the abilities of the writer below.
func TestWriter(t *testing.T) {
	server := httptest.NewServer(site(t, "", func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		c := http.NewResponseController(w)
		switch r.URL.Path {
		case "/hijack":
			conn, rw, err := c.Hijack()
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\nraw")
			return errors.Join(err, rw.Flush())
		case "/held":
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(103)
			_, _ = io.WriteString(w, "{{.Ho")
			err := c.Flush()
			w.WriteHeader(500) // ignored
			_, err2 := io.Copy(w, strings.NewReader("st}}"))
			return errors.Join(err, err2, c.EnableFullDuplex())
		case "/passed":
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, "{{")
			err := c.Flush()
			_, err2 := io.Copy(w, strings.NewReader("}}"))
			return errors.Join(err, err2)
		case "/push":
			if err := w.(http.Pusher).Push("/x", nil); !errors.Is(err, http.ErrNotSupported) {
				return fmt.Errorf("push: %w", err)
			}
			return c.Flush()
		}
		return nil
	}))
	defer server.Close()
	for path, want := range map[string]string{"/held": "127.0.0.1", "/passed": "{{}}", "/push": ""} {
		res, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != 200 || string(body) != want || err != nil {
			t.Errorf("%s: %d %q %v, want %q", path, res.StatusCode, body, err, want)
		}
	}
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /hijack HTTP/1.1\r\nHost: a\r\n\r\n")
	if got, err := io.ReadAll(bufio.NewReader(conn)); string(got) != "HTTP/1.1 101 Switching Protocols\r\n\r\nraw" {
		t.Errorf("after the hijack: %q, %v", got, err)
	}
}

// TestLateWrite: a handler's goroutine that outlives its request writes nowhere.
func TestLateWrite(t *testing.T) {
	var kept http.ResponseWriter
	site(t, "", func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		kept = w
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(200)
		return nil
	}).Get("/")
	if _, err := kept.Write([]byte("late")); err == nil {
		t.Error("no error")
	}
}

func BenchmarkHandler(b *testing.B) {
	s := site(b, "", answer(200, "text/html", page+strings.Repeat("<p>text</p>", 100)))
	r := httptest.NewRequest("GET", "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
}
