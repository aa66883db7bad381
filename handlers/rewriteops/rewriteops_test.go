package rewriteops

import (
	"bufio"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/schema"
)

// request makes a request as the server would, with an exchange as its scope.
func request(t testing.TB, target string) (*http.Request, *handlers.Exchange) {
	t.Helper()
	r, err := http.ReadRequest(bufioReader("GET " + target + " HTTP/1.1\r\nHost: a.test\r\nX: ok?k={env.S}\r\nM: put\r\nP: Pre\r\nDollar: $1\r\n\r\n"))
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	x := &handlers.Exchange{}
	r = x.Begin(r, nil)
	x.Set("http.matchers.file.relative", "/%3F.html")
	return r, x
}

func compile(t testing.TB, cfg Config) *Compiled {
	t.Helper()
	c, err := Compile(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type rewrite struct {
	cfg          Config
	target, want string
}

func (tt rewrite) run(t *testing.T) {
	t.Helper()
	r, x := request(t, tt.target)
	changed := compile(t, tt.cfg).Apply(r, x)
	got := r.URL.RequestURI()
	if got != tt.want {
		t.Errorf("%+v on %s: got %s (path %q), want %s", tt.cfg, tt.target, got, r.URL.Path, tt.want)
	}
	if changed && r.RequestURI != got {
		t.Errorf("%+v on %s: request URI is %s", tt.cfg, tt.target, r.RequestURI)
	}
	if got != tt.target && !changed {
		t.Errorf("%+v on %s: the change is not reported", tt.cfg, tt.target)
	}
}

func TestURI(t *testing.T) {
	for _, tt := range []struct{ uri, target, want string }{
		{"/foo", "/bar?a=1", "/foo?a=1"},
		{"foo", "/x", "foo"},
		{"?", "/x?a=1", "/x"},
		{"?", "/x?", "/x"},
		{"{http.request.uri.path}?", "/foo/bar?a=b", "/foo/bar"},
		{"/?c=d", "/foo?a=b", "/?c=d"},
		{"?c=d", "/foo", "/foo?c=d"},
		{"?a=b&{http.request.uri.query}", "/", "/?a=b"},
		{"/i?{http.request.uri.query}&c=d", "/?a=b", "/i?a=b&c=d"},
		{"/i?c=d&{http.request.uri.query}", "/?a=b", "/i?c=d&a=b"},
		{"/i?p={http.request.uri.path}", "/foo/bar", "/i?p=%2Ffoo%2Fbar"},
		{"?qs={http.request.uri.query}", "/foo?a=b&c=d", "/foo?qs=a%3Db%26c%3Dd"},
		{"{http.request.uri}", "/bar%3Fbaz?c=d", "/bar%3Fbaz?c=d"},
		{"/foo{http.request.uri}", "/bar?a=b", "/foo/bar?a=b"},
		{"/foo{http.request.uri}?c=d", "/bar?a=b", "/foo/bar?c=d"},
		{"/foo{http.request.uri}?{http.request.uri.query}&c=d", "/bar?a=b", "/foo/bar?a=b&c=d"},
		{"/pre{http.request.uri}", "/a%2Fb", "/pre/a/b"},
		{"/foo{http.request.uri.path}", "/a%2Fb", "/foo/a/b"},
		{"/n#f", "/old?x=1", "/n?x=1"},
		{"/bar#?", "/foo", "/bar"},
		{"/s/{http.request.header.X}?", "/", "/s/ok?k=%7Benv.S%7D"},
		{"/s/{http.request.header.X}", "/?q=1", "/s/ok?q=1"},
		{"/s/{http.request.header.X}?c=d", "/?q=1", "/s/ok?c=d"},
		{"/a b?c=d e", "/", "/a%20b?c=d e"},
		{"/a%zzb", "/", "/a%25zzb"},
		{"{http.matchers.file.relative}", "/", "/%253F.html"},
		{"?a={nope}", "/", "/?a="},
		{"?{nope}&a=1&&b", "/", "/?a=1&b"},
		{"?a=1&{nope}=2", "/", "/?a=1&=2"},
		{"?a=b=c", "/", "/?a=b=c"},
		{"?{http.request.header.X}=1", "/", "/?ok%3Fk%3D%7Benv.S%7D=1"},
		{"#f", "/x?a=1", "/x?a=1"},
		{"/{nope}", "/x", "/"},
	} {
		rewrite{Config{URI: tt.uri}, tt.target, tt.want}.run(t)
	}
}

func TestFragmentAndPath(t *testing.T) {
	for uri, want := range map[string][3]string{
		"/n#f":                            {"/n", "x=1", "f"},
		"/bar#?":                          {"/bar", "x=1", "?"},
		"#{http.request.method}":          {"/old", "x=1", "GET"},
		"/a b?c=d e":                      {"/a b", "c=d e", ""},
		"/a%zzb":                          {"/a%zzb", "x=1", ""},
		"/foo{http.request.uri.path}#a#b": {"/foo/old", "x=1", "a#b"},
	} {
		r, x := request(t, "/old?x=1")
		compile(t, Config{URI: uri}).Apply(r, x)
		if got := [3]string{r.URL.Path, r.URL.RawQuery, r.URL.Fragment}; got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}

func TestMethod(t *testing.T) {
	for method, want := range map[string]string{
		"post": "POST", "{http.request.header.M}": "PUT", "{nope}": "GET", "": "GET", "GET": "GET",
	} {
		r, x := request(t, "/")
		if changed := compile(t, Config{Method: method}).Apply(r, x); r.Method != want || changed != (want != "GET") {
			t.Errorf("%q: %s, changed %v", method, r.Method, changed)
		}
	}
}

func TestStripPathPrefix(t *testing.T) {
	for _, tt := range []struct{ prefix, target, want, path string }{
		{"/api", "/api/x", "/x", "/x"},
		{"api", "/api/x", "/x", "/x"},
		{"/api", "/API/x", "/x", "/x"},
		{"/API", "/api/x", "/x", "/x"},
		{"/api", "//api//x", "/x", "/x"},
		{"/api", "/a%70i/x", "/x", "/x"},
		{"/api", "/apix", "x", "x"},
		{"/api", "/api", "/", ""},
		{"/api", "/api?q", "/?q", ""},
		{"/api", "/api%2Fx", "%2Fx", "/x"},
		{"/prefix", "/prefix/foo%2Fbar", "/foo%2Fbar", "/foo/bar"},
		{"//prefix", "//prefix/x", "/x", "/x"},
		{"//prefix", "/prefix/x", "/prefix/x", "/prefix/x"},
		{"/a%2Fb/c", "/a%2Fb/c/d", "/d", "/d"},
		{"/a%2Fb/c", "/a%2fb/c/d", "/d", "/d"},
		{"/a%2Fb/c", "/a/b/c/d", "/a/b/c/d", "/a/b/c/d"},
		{"/a/b/c", "/a%2Fb/c/d", "/d", "/d"},
		{"/aaaaaa", "/%61%61", "/%61%61", "/aa"},
		{"/nope", "//x/./y/../z?q", "/x/z?q", "/x/z"}, // cleaned all the same
		{"/{http.request.header.P}", "/pre/x", "/x", "/x"},
		{"{nope}", "/x//y", "/x//y", "/x//y"},
		{"/é", "/%C3%A9/x", "/x", "/x"},
	} {
		rewrite{Config{StripPathPrefix: tt.prefix}, tt.target, tt.want}.run(t)
		r, x := request(t, tt.target)
		if compile(t, Config{StripPathPrefix: tt.prefix}).Apply(r, x); r.URL.Path != tt.path {
			t.Errorf("%s off %s: path %q, want %q", tt.prefix, tt.target, r.URL.Path, tt.path)
		}
	}
	for _, path := range []string{"/a%", "/a%4", "/a%zz", ""} {
		if got := stripPrefix(path, "/ab"); got != path {
			t.Errorf("stripPrefix(%q) = %q", path, got)
		}
	}
}

func TestStripPathSuffix(t *testing.T) {
	for _, tt := range []struct{ suffix, target, want string }{
		{".html", "/x.html", "/x"},
		{".html", "/x.HTML", "/x"},
		{".html", "/x%2Ehtml", "/x%2Ehtml"},
		{"suffix", "/foo/bar/suffix", "/foo/bar/"},
		{"%2fsuffix", "/foo%2Fbar%2fsuffix", "/foo%2Fbar"},
		{"%2FSUFFIX", "/foo%2Fbar%2fsuffix", "/foo%2Fbar"},
		{"/b", "/a%2Fb", "/a%2Fb"},
		{"/b", "/a//b", "/a"},
		{"//b", "/a//b", "/a"},
		{"/x", "/x", "/"},
		{"longer than the path", "/x", "/x"},
		{"{nope}", "/x//y", "/x//y"},
	} {
		rewrite{Config{StripPathSuffix: tt.suffix}, tt.target, tt.want}.run(t)
	}
}

func TestURISubstring(t *testing.T) {
	for _, tt := range []struct {
		list         []Substring
		target, want string
	}{
		{[]Substring{{Find: "//", Replace: "-"}}, "/a//b/c", "/a-b/c"},
		{[]Substring{{Find: "", Replace: "-"}}, "/a//b", "/a//b"},
		{[]Substring{{Find: "{nope}", Replace: "-"}}, "/a//b", "/a//b"},
		{[]Substring{{Find: "a", Replace: "b"}}, "/a//a?a=A", "/b/b?b=A"},
		{[]Substring{{Find: "a", Replace: "b", Limit: 1}}, "/aa?aa", "/ba?ba"},
		{[]Substring{{Find: "a", Replace: "b", Limit: -1}}, "/aa?aa", "/bb?bb"},
		{[]Substring{{Find: "%2F", Replace: "/"}}, "/a%2Fb", "/a/b"},
		{[]Substring{{Find: "/a", Replace: ""}}, "/a", "/"},
		{[]Substring{{Find: "a", Replace: "b"}, {Find: "b", Replace: "c"}}, "/a?a", "/c?c"},
		{[]Substring{{Find: "{http.request.method}", Replace: "{http.request.header.P}"}}, "/GET", "/Pre"},
		{[]Substring{{Find: "b", Replace: "?"}}, "/abc", "/a%3Fc"},
		{[]Substring{{Find: "b", Replace: "%zz"}}, "/abc", "/a%25zzc"},
	} {
		rewrite{Config{URISubstring: tt.list}, tt.target, tt.want}.run(t)
	}
}

func TestPathRegexp(t *testing.T) {
	for _, tt := range []struct {
		list         []Regexp
		target, want string
	}{
		{[]Regexp{{Find: "/{2,}", Replace: "/"}}, "/a//b///c?q=//", "/a/b/c?q=//"},
		{[]Regexp{{Find: "(a)(b)", Replace: "$2$1"}}, "/ab//../x", "/ba//../x"}, // not cleaned
		{[]Regexp{{Find: "(?P<n>a)b", Replace: "<${n}>"}}, "/ab", "/%3C$%3E"},   // ${n} is a placeholder
		{[]Regexp{{Find: "b", Replace: "{http.request.method}"}}, "/ab", "/aGET"},
		{[]Regexp{{Find: "%2F", Replace: "-"}}, "/a%2Fb", "/a-b"},
		{[]Regexp{{Find: "^/a$", Replace: ""}}, "/a", "/"},
		{[]Regexp{{Find: "a", Replace: "b"}, {Find: "b", Replace: "c"}}, "/a", "/c"},
	} {
		rewrite{Config{PathRegexp: tt.list}, tt.target, tt.want}.run(t)
	}
}

func TestQuery(t *testing.T) {
	for _, tt := range []struct {
		q            Query
		target, want string
	}{
		{Query{}, "/?b=2&a=1&c=%20&x;y=1", "/?a=1&b=2&c=+"},
		{Query{}, "/?b=2&b=1", "/?b=2&b=1"},
		{Query{Rename: []KeyValue{{"a", "b"}}}, "/?a=1&a=2&b=3", "/?b=1&b=2"},
		{Query{Rename: []KeyValue{{"", "b"}, {"a", ""}, {"a", "a"}, {"none", "b"}}}, "/?a=1&b=3", "/?a=1&b=3"},
		{Query{Set: []KeyValue{{"a", "9"}, {"n", "{http.request.method}"}}}, "/?a=1&a=2", "/?a=9&n=GET"},
		{Query{Add: []KeyValue{{"a", "9"}, {"n", "1"}}}, "/?a=1", "/?a=1&a=9&n=1"},
		{Query{Delete: []string{"a", "{http.request.uri.query.b}"}}, "/?a=1&b=c&c=2", "/?b=c"},
		{Query{Replace: []QueryReplacement{{Key: "a", Search: "1", Replace: "x"}}}, "/?a=11&b=1", "/?a=xx&b=1"},
		{Query{Replace: []QueryReplacement{{Key: "*", Search: "1", Replace: "{nope}"}}}, "/?a=1&b=1", "/?a=%7Bnope%7D&b=%7Bnope%7D"},
		{Query{Replace: []QueryReplacement{{Key: "a", Search: "zz", SearchRegexp: "(1+)", Replace: "<$1>"}}}, "/?a=011", "/?a=0%3C11%3E"},
		{Query{Replace: []QueryReplacement{{Key: "none", Search: "1"}}}, "/?a=1", "/?a=1"},
		// rename, set, add, replace, delete
		{Query{
			Delete: []string{"d"}, Replace: []QueryReplacement{{Key: "b", Search: "2", Replace: "3"}}, Add: []KeyValue{{"b", "2"}, {"d", "1"}},
			Set: []KeyValue{{"b", "2"}}, Rename: []KeyValue{{"a", "b"}},
		}, "/?a=1", "/?b=3&b=3"},
	} {
		rewrite{Config{Query: &tt.q}, tt.target, tt.want}.run(t)
	}
}

func TestOrderOfOperations(t *testing.T) {
	rewrite{Config{
		Method: "put", URI: "/p{http.request.uri.path}s?m={http.request.method}", StripPathPrefix: "/p", StripPathSuffix: "s",
		URISubstring: []Substring{{Find: "a", Replace: "b"}}, PathRegexp: []Regexp{{Find: "b", Replace: "c"}},
		Query: &Query{Add: []KeyValue{{"p", "{http.request.uri.path}"}}},
	}, "/a", "/c?m=PUT&p=%2Fc"}.run(t)
}

func TestApplyNothing(t *testing.T) {
	r, x := request(t, "/a%2Fb//c?q")
	for _, c := range []*Compiled{nil, compile(t, Config{})} {
		if c.Apply(r, x) || r.URL.RequestURI() != "/a%2Fb//c?q" {
			t.Error("an empty config changed something")
		}
	}
	if c, err := Compile(nil); c != nil || err != nil {
		t.Errorf("Compile(nil) = %v, %v", c, err)
	}
	if compile(t, Config{URI: "/a%2Fb//c", Method: "GET"}).Apply(r, x) {
		// The escape is lost, so this is a change, and right.
		if r.RequestURI != "/a/b//c?q" {
			t.Error(r.RequestURI)
		}
	} else {
		t.Error("a change was not reported")
	}
}

func TestCompileProblems(t *testing.T) {
	_, err := Compile(&Config{
		PathRegexp: []Regexp{{Find: "a"}, {Find: ""}, {Find: "("}},
		Query:      &Query{Replace: []QueryReplacement{{SearchRegexp: "["}}},
	})
	var ps schema.Problems
	if !errors.As(err, &ps) {
		t.Fatalf("err = %v", err)
	}
	var got []string
	for _, p := range ps {
		got = append(got, p.Pointer)
	}
	if want := "/path_regexp/1/find /path_regexp/2/find /query/replace/0/search_regexp"; strings.Join(got, " ") != want {
		t.Errorf("problems at %v, want %s", got, want)
	}
}

func TestInsertedDollarIsAGroup(t *testing.T) {
	rewrite{Config{PathRegexp: []Regexp{{Find: "(b)", Replace: "[{http.request.header.Dollar}]"}}}, "/ab", "/a[b]"}.run(t)
}

func BenchmarkStripPrefix(b *testing.B) {
	c := compile(b, Config{StripPathPrefix: "/api"})
	r := httptest.NewRequest("GET", "/api/users", nil)
	_, x := request(b, "/")
	b.ReportAllocs()
	for b.Loop() {
		r.URL.Path = "/api/users"
		c.Apply(r, x)
	}
}

func bufioReader(s string) *bufio.Reader { return bufio.NewReader(strings.NewReader(s)) }
