package match

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
)

func TestURLPattern(t *testing.T) {
	secure := func(r *http.Request) { r.TLS = &tls.ConnectionState{HandshakeComplete: true} }
	for _, c := range []struct {
		json, target string
		change       func(*http.Request)
		want         string // "-" for no match, else placeholders
	}{
		{`{}`, "/x?y", nil, ""},
		{`{"pattern": "/b/:id/*"}`, "/b/7/x/y", nil, "pathname.id=7 pathname.0=x/y protocol.0=http hostname.0=a.test"},
		{`{"pattern": "/b/:id"}`, "/b", nil, "-"},
		{`{"pattern": "/files/*"}`, "/files/a/b/c", nil, "pathname.0=a/b/c"},
		{`{"pattern": "/foo"}`, "/FOO", nil, "-"},
		{`{"pattern": "/foo", "ignore_case": true}`, "/FOO", nil, ""},
		{`{"pattern": "/b?q=:v"}`, "/b?q=1", nil, "search.v=1"},
		{`{"pattern": "/b?q=:v"}`, "/b", nil, "-"},
		{`{"pattern": "/:n(\\d+)"}`, "/12", nil, "pathname.n=12"},
		{`{"pattern": "/:n(\\d+)"}`, "/ab", nil, "-"},
		{`{"pattern": "/public/*"}`, "/public/..%2fadmin/x", nil, "-"},
		{`{"pattern": "/public/*"}`, "/public/%2e%2e/admin/x", nil, "-"},
		{`{"pattern": "/public/*"}`, "/public//n//f", nil, "pathname.0=n/f"},
		{`{"pattern": "/public//*"}`, "/public//n//f", nil, "pathname.0=n//f"},
		{`{"pattern": "/public//*"}`, "/public/n", nil, "-"},
		{`{"pattern": "/a%25b"}`, "/a%25b", nil, ""},
		{`{"pattern": "/a b"}`, "/a%20b", nil, ""},
		{`{"pattern": "/search", "base_url": "https://example.com"}`, "/search?q=x", func(r *http.Request) { secure(r); r.Host = "example.com" }, ""},
		{`{"pattern": "/search", "base_url": "https://example.com"}`, "/search", withHost("example.com"), "-"},
		{`{"pattern": "/search", "base_url": "https://example.com"}`, "/search", secure, "-"},
		{`{"pattern": "http://a.test/b"}`, "/b", withHost("A.TEST"), ""},
		{`{"pattern": "http://a.test/b"}`, "/b", withHost("a.test:80"), ""},
		{`{"pattern": "http://a.test/b"}`, "/b", withHost("a.test:8080"), "-"},
		{`{"pattern": "http://a.test:*/b"}`, "/b", withHost("a.test:8080"), "port.0=8080"},
		{`{"pattern": "http://[\\:\\:1]/b"}`, "/b", withHost("[::1]:80"), "hostname.0="},
		{`{"pattern": "https://{:sub.}?a.test/*"}`, "/b", func(r *http.Request) { secure(r); r.Host = "x.a.test:443" }, "hostname.sub=x"},
		{`{"pattern": "/*"}`, "/{env.S}", nil, "pathname.0=%7Benv.S%7D"},
	} {
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		r := request(t, c.target, change)
		ok, err := build(t, "url_pattern", c.json).Match(r)
		if err != nil || ok != (c.want != "-") {
			t.Errorf("%s on %s: %v, %v", c.json, c.target, ok, err)
			continue
		}
		for _, p := range strings.Fields(c.want) {
			name, want, _ := strings.Cut(p, "=")
			if !ok {
				continue
			}
			if v, known := handlers.Of(r).Lookup("http.url_pattern." + name); v != want && (known || want != "") {
				t.Errorf("%s on %s: %s is %v, want %q", c.json, c.target, name, v, want)
			}
		}
		for _, name := range []string{"http.url_pattern.pathname.none", "http.url_pattern.nope.0", "http.url_pattern.pathname", "http.url"} {
			if v, known := handlers.Of(r).Lookup(name); known {
				t.Errorf("%s on %s: %s is %v", c.json, c.target, name, v)
			}
		}
	}
	for json, want := range map[string]string{
		`{"pattern": "/{a"}`:                 "/pattern: compiling the URL pattern: the pathname: expected",
		`{"pattern": "/:"}`:                  "/pattern",
		`{"pattern": "("}`:                   "/pattern",
		`{"pattern": "/x", "base_url": "x"}`: "/base_url",
	} {
		res := buildWith(t, "url_pattern", json)
		if len(res.Problems) != 1 || !strings.HasPrefix(res.Problems[0].String(), want) && res.Problems[0].Pointer != want {
			t.Errorf("%s: %v, want %s", json, res.Problems, want)
		}
	}
	if res := buildWith(t, "url_pattern", `{"pattern": "https://[bad"}`); len(res.Problems) > 0 {
		t.Error(res.Problems)
	}
}

// TestURLPatternLast: of two patterns that matched, the later one's groups count,
// and those that it does not have stay.
func TestURLPatternLast(t *testing.T) {
	r := request(t, "/x/y")
	for _, json := range []string{`{"pattern": "/:a/:b"}`, `{"pattern": "/x/:a"}`, `{"pattern": "/:a"}`} {
		if _, err := build(t, "url_pattern", json).Match(r); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"a": "y", "b": "y"} {
		if v, _ := handlers.Of(r).Lookup("http.url_pattern.pathname." + name); v != want {
			t.Errorf("%s is %v, want %s", name, v, want)
		}
	}
}

func TestURLPatternWords(t *testing.T) {
	table := withExpression(t)
	for text, want := range map[string]string{
		"@m url_pattern /b/:id":                                       `{"url_pattern":{"pattern":"/b/:id"}}`,
		"@m url_pattern /b/:id {\nignore_case\n}":                     `{"url_pattern":{"ignore_case":true,"pattern":"/b/:id"}}`,
		"@m url_pattern /b {\nbase_url https://a.test\n}":             `{"url_pattern":{"base_url":"https://a.test","pattern":"/b"}}`,
		"@m {\nurl_pattern /a {\nignore_case\n}\nurl_pattern /b\n}\n": `{"url_pattern":{"pattern":"/b"}}`,
	} {
		n, _, err := define(t, table, text)
		if err != nil || string(n.AppendJSON(nil)) != want {
			t.Errorf("%s: %v, %v; want %s", text, n, err, want)
		}
	}
	for _, text := range []string{"@m url_pattern", "@m url_pattern /a /b", "@m url_pattern /a {\nnope\n}", "@m url_pattern /a {\nignore_case x\n}"} {
		if _, _, err := define(t, table, text); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

// BenchmarkURLPattern is a match without the values that are kept for later.
func BenchmarkURLPattern(b *testing.B) {
	m := build(b, "url_pattern", `{"pattern": "/b/:id/*"}`)
	r := request(b, "/b/7/x")
	r = r.WithContext(b.Context())
	b.ReportAllocs()
	for b.Loop() {
		if ok, _ := m.Match(r); !ok {
			b.Fatal("no match")
		}
	}
}
