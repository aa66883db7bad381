package engine

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// testServer is the server of the exchanges of tests.
type testServer struct {
	log     *zap.Logger
	include func(w http.ResponseWriter, r *http.Request)
}

func (testServer) Name() string                { return "test" }
func (testServer) LogCredentials() bool        { return false }
func (s testServer) Logger(string) *zap.Logger { return s.log }
func (testServer) ShutdownAt() time.Time       { return time.Time{} }
func (testServer) NamedRoute(string, http.ResponseWriter, *http.Request, handlers.Next) (bool, error) {
	return false, nil
}
func (s testServer) Include(w http.ResponseWriter, r *http.Request) { s.include(w, r) }

// bench is an engine with a request and a folder of files.
type bench struct {
	t      testing.TB
	engine *Engine
	root   string
	r      *http.Request
	w      *httptest.ResponseRecorder
	x      *handlers.Exchange
	seen   *observer.ObservedLogs
	server testServer
}

func newBench(t testing.TB, o Options, files map[string]string) *bench {
	t.Helper()
	b := &bench{t: t, engine: New(o), root: filepath.Join(t.TempDir(), "root"), w: httptest.NewRecorder()}
	for name, text := range files {
		file := filepath.Join(b.root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	core, seen := observer.New(zapcore.DebugLevel)
	b.seen, b.server = seen, testServer{log: zap.New(core), include: func(http.ResponseWriter, *http.Request) {}}
	b.request(httptest.NewRequest("GET", "http://a.test:80/p/q?x=1&y=<b>", nil))
	return b
}

func (b *bench) request(r *http.Request) {
	r.Header.Set("Cookie", "c=v; C2=w")
	b.x = &handlers.Exchange{Server: b.server, Response: handlers.NewResponseWriter(b.w), Client: someone{},
		Globals: vars.Map{"env.HOME": "/home/u", "file./etc/passwd": "root"}}
	b.r = b.x.Begin(r, nil)
}

type someone struct{}

func (someone) ClientOf(*http.Request) (string, bool) { return "203.0.113.9", true }

func (b *bench) run(text string) (string, error) {
	var out strings.Builder
	c := NewContext(b.w, b.r, b.root, "test")
	err := b.engine.Execute(&out, "page", text, c, c)
	return out.String(), err
}

func (b *bench) prints(text, want string) {
	b.t.Helper()
	got, err := b.run(text)
	if err != nil || got != want {
		b.t.Errorf("%s\nprints %q, %v\nwant   %q", text, got, err, want)
	}
}

func (b *bench) fails(text, want string) error {
	b.t.Helper()
	got, err := b.run(text)
	if err == nil || !strings.Contains(err.Error(), want) {
		b.t.Errorf("%s\nprints %q, error %v\nwant an error with %q", text, got, err, want)
	}
	return err
}

func TestData(t *testing.T) {
	b := newBench(t, Options{}, nil)
	b.r.Method, b.r.URL.Path = "HEAD", "/now"
	b.r.Header.Set("X", "1")
	for text, want := range map[string]string{
		`{{.Req.Method}} {{.Req.URL.Path}} {{.Req.Header.Get "X"}} {{.Req.Host}}`:       "HEAD /now 1 a.test:80",
		`{{.OriginalReq.Method}} {{.OriginalReq.URL.Path}} {{.OriginalReq.RequestURI}}`: "GET /p/q http://a.test:80/p/q?x=1&y=<b>",
		`{{.OriginalReq.RemoteAddr}} {{.OriginalReq.Header.Get "X"}}`:                   "192.0.2.1:1234 ",
		`{{.Host}} {{.RemoteIP}} {{.ClientIP}}`:                                         "a.test 192.0.2.1 203.0.113.9",
		`[{{.Cookie "c"}}] [{{.Cookie "C"}}] [{{.Cookie "C2"}}]`:                        "[v] [] [w]",
		`[{{.Args}}]`: "[[]]",
		`[{{.RespHeader.Set "A" "1"}}{{.RespHeader.Add "A" "2"}}{{.RespHeader.Del "B"}}]{{.RespHeader.Get "A"}}{{.RespHeader.Values "A"}}`: "[]1[1 2]",
		`{{.Req.URL.Query.Get "y"}}`:   "<b>",
		`{{$m := dict "a" 1}}{{$m.b}}`: "<no value>",
	} {
		b.prints(text, want)
	}
	if got := b.w.Header()["A"]; len(got) != 2 {
		t.Errorf("the header of the response: %v", got)
	}
	for addr, want := range map[string]string{"[fe80::1%eth0]:80": "fe80::1%eth0", "@": "@", "[::1]:9": "::1"} {
		b.r.RemoteAddr = addr
		b.prints(`{{.RemoteIP}}`, want)
	}
	b.r.Host = "b.test"
	b.prints(`{{.Host}}`, "b.test")
	b.fails(`{{.Nope}}`, "Nope")
}

func TestFunctions(t *testing.T) {
	o := Options{Functions: template.FuncMap{"plain": func() func(string) string { return strings.Clone }}}
	b := newBench(t, o, map[string]string{"dir/b.txt": "b", "dir/a.txt": "aaa", "x.txt": "text {{upper \"x\"}}"})
	b.x.SetVar("v", 7)
	for text, want := range map[string]string{
		`{{env "HOME"}}[{{env "NOPE"}}]`:                                                    "/home/u[]",
		`{{placeholder "http.request.method"}}`:                                             "GET",
		`{{ph "http.vars.v"}}[{{ph "nope"}}]`:                                               "7[]",
		`[{{placeholder "file./etc/passwd"}}]`:                                              "[]",
		`{{readFile "x.txt"}}`:                                                              `text {{upper "x"}}`,
		`{{fileExists "dir/a.txt"}} {{fileExists "/dir"}} {{fileExists "nope"}}`:            "true true false",
		`{{(fileStat "dir/a.txt").Size}} {{(fileStat "dir").IsDir}}`:                        "3 true",
		`{{listFiles "dir"}} {{listFiles "/"}}`:                                             "[a.txt b.txt] [dir x.txt]",
		`{{humanize "size" "2048000"}}`:                                                     "2.0 MB",
		`{{humanize "time" "` + time.Now().Add(-73*time.Hour).Format(time.RFC1123Z) + `"}}`: "3 days ago",
		`{{humanize "time:2006-01-02 15:04:05" "` + time.Now().UTC().Add(49*time.Hour).Format("2006-01-02 15:04:05") + `"}}`: "2 days from now",
		`{{pathEscape "a b/c?d%"}}`: "a%20b%2Fc%3Fd%25",
		`{{maybe "nope" 1 2}}`:      "",
		`{{upper "a"}} {{list 1 2 | join "-"}} {{"abc" | trunc 2}} {{default "d" ""}}`:           "A 1-2 ab d",
		`{{and true (eq 1 1) (not false)}} {{printf "%03d" 7}} {{len "abc"}} {{urlquery "a b"}}`: "true 007 3 a+b",
		`{{html "<"}}{{js "'"}}{{$f := plain}}{{call $f "a"}}`:                                   `&lt;\'a`,
	} {
		b.prints(text, want)
	}
	for text, want := range map[string]string{
		`{{readFile "nope"}}`:             "no such file",
		`{{readFile "dir"}}`:              "not a regular file",
		`{{listFiles "x.txt"}}`:           "not a directory",
		`{{listFiles "nope"}}`:            "no such file",
		`{{fileStat "nope"}}`:             "no such file",
		`{{include "nope"}}`:              "no such file",
		`{{import "nope"}}`:               "no such file",
		`{{humanize "size" "big"}}`:       "humanize size",
		`{{humanize "time" "today"}}`:     "humanize time",
		`{{humanize "weight" "1"}}`:       "unknown kind",
		`{{readFile "a` + "\x00" + `b"}}`: "character",
		`{{fail "on purpose"}}`:           "on purpose",
		`{{index (list 1) 5}}`:            "out of range",
		`{{nope}}`:                        "not defined",
		`{{`:                              "unclosed action",
		`{{if}}`:                          "missing value",
		`{{template "nope"}}`:             "nope",
		`{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`: "exceeded maximum template depth",
	} {
		b.fails(text, want)
	}
	if n := b.seen.FilterMessageSnippet("could not be found").Len(); n != 1 {
		t.Errorf("%d warnings about maybe, want one", n)
	}
}

func TestHTTPError(t *testing.T) {
	b := newBench(t, Options{}, map[string]string{"inner": "{{httpError 451}}"})
	for text, want := range map[string]int{`a{{httpError 404}}b`: 404, `{{include "inner"}}`: 451} {
		for _, name := range aboutBody {
			b.w.Header().Set(name, "x")
		}
		b.w.Header().Set("X-Other", "x")
		var own *handlers.Error
		if err := b.fails(text, ""); !errors.As(err, &own) || own.Status != want {
			t.Errorf("%s: %v, want an error with status %d", text, err, want)
		}
		if h := b.w.Header(); len(h) != 1 {
			t.Errorf("the header is still %v", h)
		}
	}
}

func TestPluggedFunctions(t *testing.T) {
	b := newBench(t, Options{Functions: template.FuncMap{
		"shout":  func(s string) string { return s + "!" },
		"sum":    func(first int, more ...int) (int, error) { return first + len(more), nil },
		"broken": func() (string, error) { return "", errors.New("broken") },
		"upper":  func(string) string { return "plugged" },
		"env":    func(string) string { return "plugged" },
	}}, nil)
	b.prints(`{{shout "a"}} {{maybe "shout" "b"}} {{maybe "sum" 1 2 3}} {{maybe "sum" 5}}`, "a! b! 3 5")
	b.prints(`{{upper "a"}} {{env "HOME"}}`, "plugged /home/u")
	b.fails(`{{maybe "broken"}}`, "broken")
	b.fails(`{{maybe "shout"}}`, "wrong number of arguments")
	b.fails(`{{maybe "shout" "a" "b"}}`, "wrong number of arguments")
	b.fails(`{{maybe "shout" 1}}`, "should be a string")
}

func TestDelimiters(t *testing.T) {
	b := newBench(t, Options{Delimiters: [2]string{"[[", "]]"}}, map[string]string{"f": `[[.Args]]{{`})
	b.prints(`[[upper "a"]] {{upper "a"}} [[include "f" 1]]`, `A {{upper "a"}} [1]{{`)
}

func TestInclude(t *testing.T) {
	b := newBench(t, Options{}, map[string]string{
		"args":   `<{{index .Args 0}},{{len .Args}}>`,
		"nest":   `({{include "args" "n"}}{{index .Args 0}})`,
		"defs":   "ignored {{define \"d\"}}[{{.}}]{{end}}{{define \"e\"}}{{template \"d\" \"from e\"}}{{end}}",
		"self":   `{{include "self"}}`,
		"twice":  `{{if lt (index .Args 0) 20}}{{include "twice" (add (index .Args 0) 1)}}{{include "twice" (add (index .Args 0) 1)}}{{end}}`,
		"header": `{{.RespHeader.Set "X" "1"}}`,
		"broken": `{{nope`,
	})
	for range 4 { // with and without the cache
		b.prints(`{{include "args" "a" 2}}{{include "nest" "o"}}{{.Args}}`, "<a,2>(<n,1>o)[]")
		b.prints(`{{import "defs"}}{{template "d" 1}}{{template "e"}}`, "[1][from e]")
		b.prints(`{{import "/defs"}}{{include "args" "a"}}{{template "d" .Host}}`, "<a,1>[a.test]")
		b.prints(`{{include "header"}}`, "")
		b.fails(`{{template "d" 1}}`, `"d"`) // not defined by another request's import
		b.fails(`{{include "broken"}}`, "broken")
		b.fails(`{{import "broken"}}`, "broken")
	}
	b.fails(`{{include "self"}}`, "nested more than 100 deep")
	b.fails(`{{include "twice" 0}}`, "more than 10000 includes")
	b.fails(`{{range until 10001}}{{import "defs"}}{{end}}`, "more than 10000 includes")
}

// TestConfined: no name leads out of the root.
func TestConfined(t *testing.T) {
	b := newBench(t, Options{}, map[string]string{"in/side": "inside"})
	if err := os.WriteFile(filepath.Join(b.root, "../secret"), []byte("SECRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../secret", "/../secret", "in/../../secret", "in/side/../../../secret", "./../secret", "....//secret", "..", "/..", "../root/../secret", filepath.Join(b.root, "../secret"), `..\secret`} {
		for _, f := range []string{"readFile", "include", "import", "fileStat", "listFiles"} {
			if got, err := b.run(fmt.Sprintf("{{%s %q}}", f, name)); strings.Contains(got, "SECRET") || strings.Contains(got, "secret") || (err == nil && f != "listFiles" && f != "fileStat") {
				t.Errorf("%s %s: %q, %v", f, name, got, err)
			}
		}
		if got, _ := b.run(fmt.Sprintf("{{fileExists %q}}", name)); got == "true" && strings.Contains(name, "secret") {
			t.Errorf("%s exists", name)
		}
	}
	b.prints(`{{readFile "../../in/side"}}`, "inside")
	b.prints(`{{listFiles ".."}}`, "[in]")
	// Links are followed, as the server does for files.
	if err := os.Symlink("../secret", filepath.Join(b.root, "link")); err != nil {
		t.Skip(err)
	}
	b.prints(`{{readFile "link"}}`, "SECRET")
}

func TestPipesAreNotRead(t *testing.T) {
	b := newBench(t, Options{}, map[string]string{"x": ""})
	if err := makePipe(filepath.Join(b.root, "pipe")); err != nil {
		t.Skip(err)
	}
	b.fails(`{{readFile "pipe"}}`, "not a regular file")
	b.fails(`{{readFile "/"}}`, "not a regular file")
}

func TestHTTPInclude(t *testing.T) {
	b := newBench(t, Options{}, nil)
	var seen []*http.Request
	answers := map[string]string{"/a": `<{{.Req.URL.Path}} {{upper "a"}}>`, "/deep": `d{{httpInclude "/deep"}}`}
	b.server.include = func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r)
		switch r.URL.Path {
		case "/missing":
			w.WriteHeader(404)
		case "/moved":
			w.WriteHeader(103)
			w.WriteHeader(302)
			_, _ = io.WriteString(w, "moved")
		case "/long":
			part := []byte(strings.Repeat("x", 1<<20))
			for range MaxText>>20 + 1 {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
		case "/deep": // as a site with templates of its own
			inner := *b
			inner.request(r)
			out, err := inner.run(answers["/deep"])
			if err != nil {
				w.WriteHeader(500)
			}
			_, _ = io.WriteString(w, out)
		case "/panic":
			panic(http.ErrAbortHandler)
		default:
			w.Header().Set("X-Inner", "1")
			_, _ = io.WriteString(w, answers[r.URL.Path])
		}
	}
	r := httptest.NewRequest("POST", "http://a.test/p", strings.NewReader("body"))
	for name, value := range map[string]string{"Authorization": "Basic eA==", "Range": "bytes=1-2", "If-None-Match": "x", "Accept-Encoding": "gzip", "Caddy-Templates-Include": "-5"} {
		r.Header.Set(name, value)
	}
	b.request(r)
	b.prints(`{{httpInclude "/a?b=c"}}!`, "</p A>!")
	got := seen[0]
	if got.Method != "GET" || got.Host != "a.test" || got.URL.RawQuery != "b=c" || got.RequestURI != "/a?b=c" || got.RemoteAddr != "127.0.0.1:10000" || got.ContentLength != 0 {
		t.Errorf("the request: %s %s %s from %s", got.Method, got.Host, got.RequestURI, got.RemoteAddr)
	}
	for name, want := range map[string]string{"Authorization": "Basic eA==", "Range": "", "If-None-Match": "", "Accept-Encoding": "identity", "Caddy-Templates-Include": "1", "Cookie": "c=v; C2=w"} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	if b.r.Header.Get("Accept-Encoding") != "gzip" || b.w.Header().Get("X-Inner") != "" {
		t.Error("the outer request or response was changed")
	}
	b.prints(`{{httpInclude "/moved"}}`, "moved")
	b.fails(`{{httpInclude "/missing"}}`, "status 404")
	b.fails(`{{httpInclude "/long"}}`, "more than")
	b.fails(`{{httpInclude ":bad"}}`, "including :bad")
	b.fails(`{{httpInclude "/panic"}}`, "abort")
	seen = nil
	b.fails(`{{httpInclude "/deep"}}`, "status 500")
	if len(seen) != 3 {
		t.Errorf("%d requests within each other, want 3", len(seen))
	}
	b.x.Server = struct{ handlers.Server }{b.server}
	b.fails(`{{httpInclude "/a"}}`, "no longer be asked")
}

func TestBounds(t *testing.T) {
	b := newBench(t, Options{}, map[string]string{"mega": strings.Repeat("x", 1<<20), "line": `{{range until 10}}{{include "mega"}}{{end}}`})
	b.fails(`{{range until 100}}{{readFile "mega"}}{{end}}`, "prints too much")
	b.fails(`{{range until 40}}{{$x := include "line"}}{{end}}`, "prints too much")
	if err := os.Truncate(filepath.Join(b.root, "mega"), MaxText+1); err != nil {
		t.Fatal(err)
	}
	b.fails(`{{readFile "mega"}}`, "larger than")
	b.fails(strings.Repeat("{{if 1}}", maxActions+1), "too many actions")
	b.engine.maxSteps = 20_000
	for range 3 { // with and without the cache
		b.fails(`{{if true}}{{with 1}}{{range 9999999999}}{{end}}{{end}}{{end}}`, "runs for too long")
	}
	b.fails(`{{define "a"}}{{if lt . 40}}{{template "a" (add 1 .)}}{{template "a" (add 1 .)}}{{end}}{{end}}{{template "a" 0}}`, "runs for too long")
	b.fails(`{{define "a"}}{{range 9999999999}}{{continue}}{{end}}{{end}}{{range 9999999999}}{{else}}{{end}}`, "runs for too long")
	b.prints(`{{range 3}}{{.}}{{else}}none{{end}} {{range list}}x{{else}}none{{end}} {{range $i, $e := list "a" "b"}}{{if $i}}, {{end}}{{$e}}{{end}}`, "012 none a, b")
	b.fails(strings.Repeat(" ", MaxText+1), "too long")
}

// TestDeepNesting: what parsers call themselves for does not take the process
// down.
func TestDeepNesting(t *testing.T) {
	b := newBench(t, Options{}, nil)
	for name, text := range map[string]string{
		"actions":     strings.Repeat("{{if 1}}", maxActions/2) + strings.Repeat("{{end}}", maxActions/2),
		"parentheses": "{{" + strings.Repeat("(", 2_000_000) + "1" + strings.Repeat(")", 2_000_000) + "}}",
		"definitions": strings.Repeat(`{{define "a"}}`, 10_000),
	} {
		if _, err := b.run(text); (err == nil) != (name == "actions") {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	for _, c := range []struct {
		f, text string
		fails   bool
	}{
		{"markdown", strings.Repeat(">", 1_000_000) + "x", true},
		{"markdown", strings.Repeat("> ", 500_000) + "x", true},
		{"markdown", strings.Repeat("- ", 500_000) + "x", true},
		{"markdown", strings.Repeat("1. ", 300_000) + "x", true},
		{"markdown", strings.Repeat("> - 1) ", maxBlocks/4) + "x", false},
		{"markdown", strings.Repeat("-", 10_000) + "\n" + strings.Repeat("1", 10_000), false},
		{"markdown", strings.Repeat("[", 20_000), false},
		{"markdown", strings.Repeat("![", 20_000) + strings.Repeat("](a)", 20_000), false},
		{"splitFrontMatter", "---\na: " + strings.Repeat("[", 200_000) + "\n---\n", true},
		{"splitFrontMatter", "---\na: " + strings.Repeat("{a: ", 50_000) + "\n---\n", true},
		{"splitFrontMatter", "+++\na = " + strings.Repeat("[", 200_000) + "\n+++\n", true},
		{"splitFrontMatter", "+++\na = " + strings.Repeat("{a=", 60_000) + "\n+++\n", true},
		{"splitFrontMatter", "+++\n" + strings.Repeat("a.", 120_000) + "a = 1\n+++\n", true},
		{"splitFrontMatter", "+++\n[" + strings.Repeat("a.", 120_000) + "a]\n+++\n", true},
		{"splitFrontMatter", "+++\na = \"" + strings.Repeat("[.", 1000) + "\"\nb = '''\n" + strings.Repeat("[.", 1000) + "'''\n# " + strings.Repeat("[.", 1000) + "\n+++\n", false},
		{"splitFrontMatter", "{\n\"a\":" + strings.Repeat("[", 200_000) + "\n}\n", true},
	} {
		b.x.SetVar("text", c.text)
		start := time.Now()
		_, err := b.run(`{{$x := ` + c.f + ` (placeholder "http.vars.text")}}`)
		t.Logf("%s %.10q: %v", c.f, c.text, time.Since(start))
		if (err != nil) != c.fails {
			t.Errorf("%s %.30q: %.200v, want an error: %v", c.f, c.text, err, c.fails)
		}
	}
}

func TestClientGone(t *testing.T) {
	b := newBench(t, Options{}, nil)
	ctx, cancel := contextOf(b.r)
	b.r = b.r.WithContext(ctx)
	cancel()
	b.fails(`{{range until 1000000}}x{{end}}`, "context canceled")
}

func TestPanicsAreErrors(t *testing.T) {
	b := newBench(t, Options{Functions: template.FuncMap{"explode": func() string { panic("boom") }}}, nil)
	b.fails(`{{explode}}`, "boom")
	c := NewContext(b.w, b.r, b.root, "test")
	if err := b.engine.Execute(panicking{}, "page", "x", c, c); err == nil {
		t.Error("no error for a writer that panics")
	}
	b.prints("fine", "fine")
}

type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("disk on fire") }

// TestCache: the same text for many requests at once, each with its own data.
func TestCache(t *testing.T) {
	b := newBench(t, Options{}, map[string]string{"inc": `{{.Req.Method}}`, "defs": `{{define "x"}}{{.Req.Host}}{{end}}`})
	const text = `{{define "d"}}{{.Req.Host}}{{end}}{{import "defs"}}{{template "d" .}} {{template "x" .}} {{include "inc"}} {{placeholder "http.request.host"}} {{env "HOME"}}`
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 20 {
				own := *b
				host := fmt.Sprintf("h%d-%d", i, j)
				own.request(httptest.NewRequest("PUT", "http://"+host+"/", nil))
				own.prints(text, host+" "+host+" PUT "+host+" /home/u")
				own.prints("plain {{.Host}}", "plain "+host)
			}
		})
	}
	all.Wait()
	if n := b.engine.cache.order.Len(); n != 4 {
		t.Errorf("%d texts are remembered, want two pages and two files", n)
	}
}

func TestCacheIsBounded(t *testing.T) {
	e := New(Options{})
	for i := range 5 * maxEntries {
		for range 3 {
			e.cache.put("n", fmt.Sprint(i), nil)
		}
	}
	big := strings.Repeat("x", maxCachedText)
	for i := range 20 {
		for range 2 {
			e.cache.put("n", big[:len(big)-i], nil)
		}
	}
	e.cache.put("n", big+"x", nil)
	size := 0
	for k := range e.cache.entries {
		size += len(k.text)
	}
	if c := &e.cache; c.order.Len() != len(c.entries) || len(c.entries) > maxEntries || c.size > maxCached || c.size != size {
		t.Errorf("%d entries, %d in order, %d bytes, counted %d", len(c.entries), c.order.Len(), size, c.size)
	}
	for i := range 10 * maxSeen {
		e.cache.put("once", fmt.Sprint(i), nil)
	}
	if len(e.cache.seen) > maxSeen {
		t.Errorf("%d texts seen once are counted", len(e.cache.seen))
	}
	if e.cache.get("once", "5") != nil {
		t.Error("a text that came once is remembered")
	}
}

// TestAllFunctions: the list of the reference is there.
func TestAllFunctions(t *testing.T) {
	e := New(Options{})
	for _, name := range strings.Fields(sprigNames + ` include readFile import httpInclude env placeholder ph fileExists fileStat listFiles markdown
		splitFrontMatter stripHTML humanize httpError pathEscape maybe and or not len index slice print printf println html js urlquery call eq ne lt le gt ge`) {
		if err := e.check("", ""); err != nil {
			t.Fatal(err)
		}
		if _, err := e.program("p", "{{if false}}{{"+name+" 1}}{{end}}"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(sprig.TxtFuncMap()); n < 200 {
		t.Errorf("only %d functions of Sprig", n)
	}
}

const sprigNames = `hello ago date date_in_zone dateInZone date_modify dateModify must_date_modify mustDateModify duration durationRound htmlDate htmlDateInZone toDate mustToDate now unixEpoch abbrev abbrevboth trunc trim trimall trimAll trimSuffix trimPrefix upper lower title untitle substr repeat nospace initials randAlphaNum randAlpha randAscii randNumeric swapcase shuffle snakecase camelcase kebabcase wrap wrapWith contains hasPrefix hasSuffix quote squote cat indent nindent replace plural sha1sum sha256sum sha512sum adler32sum toString toStrings atoi int int64 float64 toDecimal seq until untilStep split splitList splitn join sortAlpha add1 add sub div mod mul randInt add1f addf subf divf mulf biggest max min maxf minf ceil floor round default empty coalesce all any compact mustCompact ternary fromJson toJson toPrettyJson toRawJson mustFromJson mustToJson mustToPrettyJson mustToRawJson deepCopy mustDeepCopy deepEqual typeOf typeIs typeIsLike kindOf kindIs env expandenv getHostByName base dir clean ext isAbs osBase osDir osClean osExt osIsAbs b64enc b64dec b32enc b32dec tuple list dict get set unset hasKey pluck keys values pick omit merge mergeOverwrite mustMerge mustMergeOverwrite dig push mustPush append mustAppend prepend mustPrepend first mustFirst rest mustRest last mustLast initial mustInitial reverse mustReverse uniq mustUniq without mustWithout has mustHas slice mustSlice concat chunk mustChunk bcrypt htpasswd genPrivateKey derivePassword buildCustomCert genCA genCAWithKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey encryptAES decryptAES randBytes uuidv4 semver semverCompare fail regexMatch mustRegexMatch regexFind mustRegexFind regexFindAll mustRegexFindAll regexReplaceAll mustRegexReplaceAll regexReplaceAllLiteral mustRegexReplaceAllLiteral regexSplit mustRegexSplit regexQuoteMeta urlParse urlJoin`
