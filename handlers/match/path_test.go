package match

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/urlpath"
)

// TestPath is the table of section 4.2.
func TestPath(t *testing.T) {
	for _, c := range []struct{ entry, yes, no string }{ // paths separated by spaces
		{"/", "/", "/x"},
		{"/foo", "/foo /FOO //foo", "/foo/bar /foo/"},
		{"/foo/bar/", "/foo/bar/", "/foo/bar"},
		{"/foo*", "/FOOOO /foo/x //foo/bar /%2F/foo", "/fo"},
		{"/a/*", "/a/ /a/b/c //a//b /a/./ /b/../a/c", "/a /ab /a/. /a/../b /a/%2e%2e/b"},
		{"*.php", "/index.PHP /x/y.php", "/x/y.phpx"},
		{"/*.php", "/y.php", "/x/y.php"},
		{"/foo/*/baz", "/foo/bar/baz", "/foo/bar/x/baz"},
		{"/foo/*/baz/bam", "", "/foo/bar/bam"},
		{"*/admin/*", "/x/admin/y /admin/y", "/administrator"},
		{"*sub*", "/foo/substring.txt", "/foo/subst/../x"},
		{"/a**", "/abc", "/a/b"},
		{"**", "/ /x/y", ""},
		{"/a?c", "/abc /a%3Fc", "/a/c /ac"},
		{"/[ab]", "/a /B", "/%5Bab%5D /c"},
		{"/[^x]z", "/az", "/xz"},
		{"/[a-c]", "/b", "/d"},
		{"//foo", "//foo", "/foo"},
		{"/foo//*", "/foo//bar /foo/%2Fbar", "/foo/bar"},
		{"/foo/%2F*", "/foo/%2Fbar", "/foo//bar"},
		{"/foo/*//bar", "/foo///bar", "/foo//bar"},
		{"/foo/%*//bar", "/foo///bar /foo//%2Fbar", "/foo/bar"},
		{"/foo%2fbar/baz", "/foo%2Fbar/baz", "/foo/bar/baz"},
		{"/foo/bar/baz", "/foo%2fbar/baz", ""},
		{"/foo%2fbar", "/foo%2fbar /FOO%2Fbar", "/foo%2fbarbaz"},
		{"/foo%2f", "/foo%2f", "/foo%2fx"},
		{"/admin%2fpa*el", "/ADMIN%2fPaXXel", "/ADMIN%2fPaXX"},
		{"/%25@.txt", "/%25@.txt /%25%40.txt", ""},
		{"/%25%40.txt", "/%25%40.txt", "/%25@.txt"},
		{"/bands/*/*", "", "/bands/AC%2FDC/T.N.T"},
		{"/bands/%*/%*", "/bands/AC%2FDC/T.N.T", "/bands/AC/DC/T.N.T"},
		{"/bands/%*", "/bands/AC%2FDC", "/bands/AC/DC"},
		{"/a/../b", "", "/b /a/../b"},
		{"foo", "", "/foo /"},
		{"", "", "/foo /"},
		// More of the rules.
		{"*", "/ /x/y", ""},
		{"/[", "", "/[ /x"},
		{`/\*x`, "/*x", "/ax"},
		{`/\*`, "", "/*"}, // one star at the end makes it a prefix
		{`/a\`, "", `/a`},
		{"/É*", "/%C3%A9t%C3%A9 /%C3%89", "/e"},
		{"/%61%2f", "/a%2fx/../%61%2F", "/a%2f"},
		{"/%2fx", "", "/x"},
		{"/x%2f%41", "/x%2F%41 /x%2f%41", "/x%2fa"},
		{"/b%2fa", "/%42%2f%41", ""},
		{"/a//*", "/a//b", "/a/b /a//../b"},
		{"*//x", "/a//x", "/a/x"},
		{"*//x*", "/a//xy", "/a/xy"},
		{"*.p?p", "/x.php", "/x.ph"}, // one star at the start: the rest is literal
		{"/{env.NOTHING}x", "/x", "/y"},
		{"{env.UPPER}", "", "/up /UP"},
		{"/{env.S}/*", "/top/x/y", "/x"},
		{"{http.vars.star}", "/any/thing", ""},
		{"{http.vars.double}", "/a//b", "/a/b"},
		{`/\{x\}`, "/%7Bx%7D", ""},
	} {
		if c.entry == "*.p?p" {
			c.yes, c.no = "/x.p%3Fp", "/x.php"
		}
		json := fmt.Sprintf("[%q]", c.entry)
		set := func(r *http.Request) {
			handlers.Of(r).SetVar("star", "*")
			handlers.Of(r).SetVar("double", "/a//b")
		}
		for _, target := range strings.Fields(c.yes) {
			check(t, "path", json, request(t, target, set), true)
		}
		for _, target := range strings.Fields(c.no) {
			check(t, "path", json, request(t, target, set), false)
		}
	}
	check(t, "path", `[]`, request(t, "/"), false)
	check(t, "path", `["/x","*"]`, request(t, "/anything"), true)
	check(t, "path", `["/x","/y"]`, request(t, "/y?/x"), true)
	check(t, "path", `["/y"]`, request(t, "/x?/y"), false)
	if res := buildWith(t, "path", `["/100%","/%*a","/%2f"]`); len(res.Warnings) != 1 || res.Warnings[0].Pointer != "/0" {
		t.Errorf("warnings: %v", res.Warnings)
	}
}

// covers reports whether the index would try the matcher for the path.
func covers(patterns []handlers.PathPattern, complete bool, path string) bool {
	for _, p := range patterns {
		if p.Text == path || (p.Prefix && strings.HasPrefix(path, p.Text)) {
			return true
		}
	}
	return !complete
}

// TestPathsAreComplete makes random patterns and paths: what matches must be
// found through the patterns given to the index.
func TestPathsAreComplete(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	text := func(parts []string, n int) string {
		s := "/"
		for range rnd.IntN(n) {
			s += parts[rnd.IntN(len(parts))]
		}
		return s
	}
	entryParts := []string{"a", "b", "B", "/", "/", "*", "?", "[ab]", "%2f", "%*", "..", ".", "{env.S}", `\*`, "{http.vars.v}"}
	pathParts := []string{"a", "b", "A", "/", "/", "%2F", ".", "..", "%41", "top", "*", "%3f"}
	matched, completed := 0, 0
	for range 4000 {
		var entries []string
		for range 1 + rnd.IntN(3) {
			e := text(entryParts[:3+rnd.IntN(len(entryParts)-2)], 7)
			if rnd.IntN(6) == 0 {
				e = "*" + e
			}
			if rnd.IntN(4) == 0 {
				e += "*"
			}
			entries = append(entries, fmt.Sprintf("%q", e))
		}
		m := build(t, "path", "["+strings.Join(entries, ",")+"]").(*pathMatcher)
		patterns, complete := m.Paths()
		if complete {
			completed++
		}
		for range 40 {
			r := request(t, text(pathParts, 7), withVar("v", text(entryParts, 5)))
			ok, err := m.Match(r)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				continue
			}
			matched++
			if path := strings.ToLower(urlpath.Clean(r.URL.Path, true)); !covers(patterns, complete, path) {
				t.Fatalf("%v matches %q, indexed as %q, which none of %v covers", entries, r.RequestURI, path, patterns)
			}
		}
	}
	if matched < 1000 || completed < 1000 {
		t.Errorf("only %d matches, %d complete", matched, completed)
	}
}

func TestPaths(t *testing.T) {
	exact := func(s string) handlers.PathPattern { return handlers.PathPattern{Text: s} }
	prefix := func(s string) handlers.PathPattern { return handlers.PathPattern{Text: s, Prefix: true} }
	for _, c := range []struct {
		json     string
		want     []handlers.PathPattern
		complete bool
	}{
		{`["/A","/b/*"]`, []handlers.PathPattern{exact("/a"), prefix("/b/")}, true},
		{`["/x/*/y","/z[ab]"]`, []handlers.PathPattern{prefix("/x/"), prefix("/z")}, true},
		{`["/["]`, nil, true}, {`[]`, nil, true}, {`["*"]`, nil, false}, {`["/a","*"]`, nil, false}, {`["*.php"]`, nil, false}, {`["*x*"]`, nil, false},
		{`["//a"]`, nil, false}, {`["/%2f"]`, nil, false}, {`["/{env.S}"]`, nil, false}, {`["/a","/b//*"]`, []handlers.PathPattern{exact("/a")}, false},
	} {
		got, complete := build(t, "path", c.json).(handlers.PathMatcher).Paths()
		if complete != c.complete || (c.complete && fmt.Sprint(got) != fmt.Sprint(c.want)) {
			t.Errorf("%s: got %v, %v", c.json, got, complete)
		}
	}
}

func TestWindowsPath(t *testing.T) {
	for _, c := range []struct {
		in, want string
		escaped  bool
	}{
		{`/a\b`, "/a/b", false}, {`\..\x`, "/../x", false}, {"/admin. ./x.php. ", "/admin/x.php", false}, {"/./../a.", "/./../a", false},
		{"/a%5Cb%5cc", "/a/b/c", true}, {"/x.php%2E%20.", "/x.php", true}, {"/a%5cb", "/a%5cb", false}, {"/", "/", true},
	} {
		if got := windowsPath(c.in, c.escaped); got != c.want {
			t.Errorf("%q, %v: got %q, want %q", c.in, c.escaped, got, c.want)
		}
	}
}

func FuzzPath(f *testing.F) {
	f.Add("/a%2fb*", "/a%2Fbc")
	f.Add("/%*//x", "/%2f//x")
	f.Fuzz(func(t *testing.T, entry, path string) {
		p := parsePath(strings.ToLower(entry))
		r := &http.Request{URL: request(t, "/").URL}
		r.URL.Path, r.URL.RawPath = path, path
		c := candidate{url: r.URL}
		p.match(&c)
		if len(inTermsOf(entry, path)) > len(path) {
			t.Fatal("the path grew")
		}
	})
}

func BenchmarkPath(b *testing.B) {
	for _, json := range []string{`["/api/v1/users/*"]`, `["/api/v1/users/1/profile"]`, `["*.php"]`, `["/api/*/users"]`, `["/api%2fv1/*"]`} {
		m, r := build(b, "path", json), request(b, "/api/v1/users/1/profile")
		b.Run(json, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = m.Match(r)
			}
		})
	}
}
