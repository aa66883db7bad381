package match

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

var env = vars.Map{"env.DOMAIN": "x.test", "env.UNSET": "", "env.S": "top", "env.NET": "10.0.0.0/8", "env.UPPER": "/UP", "env.WILD": "*.w.test"}

var table = sync.OnceValues(func() (*module.Table, error) {
	return module.NewTable(Specs(), nil)
})

func buildWith(t testing.TB, name, json string) module.Result {
	t.Helper()
	node, _, err := config.Parse([]byte(json), config.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", json, err)
	}
	tab, err := table()
	if err != nil {
		t.Fatal(err)
	}
	b := module.Builder{Table: tab, Sources: module.Sources{Globals: env}}
	return b.Build(nil, "http.matchers."+name, node, module.Options{})
}

func build(t testing.TB, name, json string) handlers.Matcher {
	t.Helper()
	res := buildWith(t, name, json)
	if len(res.Problems) > 0 {
		t.Fatalf("%s %s: %v", name, json, res.Problems)
	}
	return res.Root.Value().(handlers.Matcher)
}

// request makes a request for a raw request target.
func request(t testing.TB, target string, change ...func(*http.Request)) *http.Request {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	r := &http.Request{Method: "GET", URL: u, RequestURI: target, Host: "a.test", Header: http.Header{}, RemoteAddr: "127.0.0.1:4711",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	r = (&handlers.Exchange{Globals: env}).Begin(r, nil)
	for _, c := range change {
		c(r)
	}
	return r
}

func withHost(host string) func(*http.Request) { return func(r *http.Request) { r.Host = host } }

func withHeader(lines ...string) func(*http.Request) {
	return func(r *http.Request) {
		for _, l := range lines {
			name, value, _ := strings.Cut(l, ": ")
			r.Header.Add(name, value)
		}
	}
}

func withVar(name string, value any) func(*http.Request) {
	return func(r *http.Request) { handlers.Of(r).SetVar(name, value) }
}

func withPeer(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }

func withTLS(complete bool) func(*http.Request) {
	return func(r *http.Request) { r.TLS = &tls.ConnectionState{HandshakeComplete: complete} }
}

func check(t *testing.T, name, json string, r *http.Request, want bool) {
	t.Helper()
	got, err := build(t, name, json).Match(r)
	if err != nil || got != want {
		t.Errorf("%s %s, %s %q: got %v, %v; want %v", name, json, r.Host, r.RequestURI, got, err, want)
	}
}

func TestMethod(t *testing.T) {
	for _, c := range []struct {
		json, method string
		want         bool
	}{
		{`["GET", "HEAD"]`, "HEAD", true}, {`["get"]`, "GET", true}, {`["GET"]`, "get", false}, {`["GET"]`, "POST", false},
		{`[]`, "GET", false}, {`["{http.request.method}"]`, "GET", false}, {`["PROPFIND"]`, "PROPFIND", true},
	} {
		check(t, "method", c.json, request(t, "/", func(r *http.Request) { r.Method = c.method }), c.want)
	}
}

func TestQuery(t *testing.T) {
	for _, c := range []struct {
		json, target string
		want         bool
	}{
		{`{"debug":["1"]}`, "/?debug=1", true}, {`{"debug":["1"]}`, "/?debug=0&debug=1", true}, {`{"debug":["1"]}`, "/?debug=%31", true},
		{`{"debug":["1"]}`, "/", false}, {`{"debug":["1"]}`, "/?Debug=1", false}, {`{"debug":["1"]}`, "/?debug=1;b=2", false}, {`{"debug":["1"]}`, "/?debug=1&%zz", false},
		{`{"debug":["2","1"]}`, "/?debug=1", true},
		{`{"debug":["*"]}`, "/?debug=x", true}, {`{"debug":["*"]}`, "/?other=x", false},
		{`{"debug":[""]}`, "/?debug", true}, {`{"debug":[""]}`, "/?other", false},
		{`{"debug":["1"],"foo":["bar"]}`, "/?debug=1&foo=bar", true}, {`{"debug":["1"],"foo":["bar"]}`, "/?debug=1", false}, {`{"debug":["1"],"foo":["bar"]}`, "/?foo=bar", false},
		{`{"{http.vars.k}":["1"]}`, "/?some=1", true}, {`{"some":["{env.S}"]}`, "/?some=top", true},
		{`{"":null}`, "/?", false}, {`{"k":[]}`, "/?k=1", false}, {`{"k":null}`, "/?k=1", false}, {`{"k":null}`, "/", false},
		{`{"debug":["*x"]}`, "/?debug=ax", false}, {`{"debug":["*x"]}`, "/?debug=*x", true}, {`{"debug":["a b"]}`, "/?debug=a+b", true},
		{`{}`, "/", true}, {`{}`, "/?", true}, {`{}`, "/?a", false}, {`{}`, "/?;", false}, {`{}`, "/?&&", true},
		{`{"":["1"]}`, "/?=1", true}, {`{"a":["*"]}`, "/?a=%", false}, {`{"a":["*"]}`, "/?%a=&a", false}, {`{"a":["b=c"]}`, "/?a=b=c", true},
	} {
		check(t, "query", c.json, request(t, c.target, withVar("k", "some")), c.want)
	}
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{"a=1&b", "a;b", "%zz", "&&=&", "a=%20+b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if strings.Count(raw, "&") > 1000 {
			return
		}
		got := url.Values{}
		ok := eachParam(raw, func(name, value string) { got.Add(name, value) })
		want, err := url.ParseQuery(raw)
		if ok != (err == nil) || (ok && got.Encode() != want.Encode()) {
			t.Fatalf("%q: got %v, %v; want %v, %v", raw, got, ok, want, err)
		}
	})
}

func TestHeader(t *testing.T) {
	lines := func(l ...string) []string { return l }
	for _, c := range []struct {
		json  string
		lines []string
		want  bool
	}{
		{`{"Field":["foo","bar"]}`, lines("Field: bar"), true}, {`{"Field":["foo","bar"]}`, lines("Field: kapow", "Field: foo"), true},
		{`{"Field":["foo","bar"]}`, lines("Field: kapow"), false}, {`{"Field":["foo","bar"]}`, lines("Other: foo"), false},
		{`{"f1":["foo"],"f2":["bar"]}`, lines("F1: foo", "F2: bar"), true}, {`{"f1":["foo"],"f2":["bar"]}`, lines("F1: foo", "F2: x"), false},
		{`{"f1":["*"]}`, lines("F1: "), true}, {`{"f1":["*"]}`, lines("F1: x"), true}, {`{"f1":["*"]}`, nil, false},
		{`{"F":["foo*"]}`, lines("F: asdf", "F: foobar"), true},
		{`{"F":["*A*"]}`, lines("F: bAb"), true}, {`{"F":["*A*"]}`, lines("F: bab"), false},
		{`{"F":["a*c"]}`, lines("F: a*c"), true}, {`{"F":["a*c"]}`, lines("F: abc"), false},
		{`{"host":["a.test:8080"]}`, nil, true}, {`{"Host":["a.test"]}`, nil, false}, {`{"Host":null}`, nil, false}, {`{"Host":[]}`, nil, true},
		{`{"Gone":null}`, nil, true}, {`{"Gone":null}`, lines("Gone: "), false}, {`{"Gone":null}`, lines("Gone: x"), false},
		{`{"There":[]}`, lines("There: "), true}, {`{"There":[]}`, nil, false},
		{`{"F":["{http.vars.a}*"]}`, lines("F: foobar-baz"), true}, {`{"F":["{http.vars.star}"]}`, lines("F: anything"), true},
		{`{"F":["*x"]}`, lines("F: ax"), true}, {`{"F":["*x"]}`, lines("F: xa"), false}, {`{"F":["x*"]}`, lines("F: ax"), false}, {`{"F":["**"]}`, lines("F: "), true},
		{`{"F":["a"]}`, lines("F: a, b"), false}, {`{"F":[""]}`, lines("F: "), true}, {`{"F":[""]}`, nil, false},
		{`{}`, nil, true}, {`{"Transfer-Encoding":["chunked"]}`, nil, true}, {`{"transfer-encoding":null}`, nil, false},
		{`{"foo":["a"],"Foo":["b"]}`, lines("Foo: a"), false}, {`{"foo":["a"],"Foo":["b"]}`, lines("Foo: a", "Foo: b"), true},
	} {
		r := request(t, "/", withHost("a.test:8080"), withHeader(c.lines...), withVar("a", "foobar"), withVar("star", "*"),
			func(r *http.Request) { r.TransferEncoding = []string{"chunked"} })
		check(t, "header", c.json, r, c.want)
	}
	check(t, "header", `{"Transfer-Encoding":null}`, request(t, "/"), true)
}

func TestHeaderRegexp(t *testing.T) {
	for _, c := range []struct {
		json  string
		lines []string
		want  bool
	}{
		{`{"f":{"pattern":"^b(.)"}}`, []string{"F: abc", "F: bcd", "F: bxx"}, true}, {`{"f":{"pattern":"^x"}}`, []string{"F: abc"}, false},
		{`{"f":{"pattern":""}}`, nil, false}, {`{"f":{}}`, []string{"F: "}, true}, {`{"f":null}`, nil, false}, {`{}`, nil, true},
		{`{"f":{"pattern":"a"},"g":{"pattern":"b"}}`, []string{"F: a", "G: b"}, true}, {`{"f":{"pattern":"a"},"g":{"pattern":"b"}}`, []string{"F: a", "G: a"}, false},
		{`{"f":{"pattern":"{env.S}"}}`, []string{"F: top"}, false}, {`{"host":{"pattern":":8080$"}}`, nil, true}, {`{"Transfer-Encoding":{"pattern":"^chunked$"}}`, nil, true},
	} {
		r := request(t, "/", withHost("a.test:8080"), withHeader(c.lines...), func(r *http.Request) { r.TransferEncoding = []string{"chunked"} })
		check(t, "header_regexp", c.json, r, c.want)
	}
	r := request(t, "/", withHeader("F: abc", "F: bcd", "F: bxx"))
	check(t, "header_regexp", `{"f":{"pattern":"^b(.)","name":"n"}}`, r, true)
	placeholders(t, r, map[string]any{"http.regexp.0": "bc", "http.regexp.1": "c", "http.regexp.n.0": "bc", "http.regexp.n.1": "c"})
}

// placeholders checks values; nil stands for unknown.
func placeholders(t *testing.T, r *http.Request, want map[string]any) {
	t.Helper()
	for name, value := range want {
		got, known := handlers.Of(r).Lookup(name)
		if got != value || known != (value != nil) {
			t.Errorf("%s: got %v, %v; want %v", name, got, known, value)
		}
	}
}

func TestPathRegexp(t *testing.T) {
	for _, c := range []struct {
		json, target string
		want         bool
		set          map[string]any
	}{
		{`{"pattern":"^/foo"}`, "//foo/", true, nil}, {`{"pattern":"^/foo"}`, "/%2F/foo/", true, nil}, {`{"pattern":"^/bar"}`, "/foo/bar", false, nil},
		{`{"pattern":"^/foo/(.*)/baz$","name":"n"}`, "/foo/bar/baz", true, map[string]any{"http.regexp.n.1": "bar", "http.regexp.1": "bar", "http.regexp.n.0": "/foo/bar/baz"}},
		{`{"pattern":"^/foo/(?P<p>.*)/baz$","name":"n"}`, "/foo/bar/baz", true, map[string]any{"http.regexp.n.p": "bar", "http.regexp.p": "bar", "http.regexp.n.1": "bar"}},
		{`{"pattern":"^/%@.txt"}`, "/%25@.txt", true, nil}, {`{"pattern":"^/%25@.txt"}`, "/%25@.txt", false, nil},
		{`{"pattern":"^.*$"}`, "/a//b/../c/", true, map[string]any{"http.regexp.0": "/a/c/", "http.regexp.1": nil}},
		{`{}`, "/x", true, map[string]any{"http.regexp.0": ""}}, {`{"pattern":"/Foo"}`, "/foo", false, map[string]any{"http.regexp.0": nil}},
		{`{"pattern":"^/(a)?(b)?"}`, "/b", true, map[string]any{"http.regexp.1": "", "http.regexp.2": "b"}},
		{`{"pattern":"x","name":"a b"}`, "/x", true, map[string]any{"http.regexp.a b.0": "x"}},
	} {
		r := request(t, c.target)
		check(t, "path_regexp", c.json, r, c.want)
		placeholders(t, r, c.set)
	}
	// Captures of earlier matches stay where they are not overwritten.
	r := request(t, "/ab")
	check(t, "path_regexp", `{"pattern":"^/(.)(.)"}`, r, true)
	check(t, "path_regexp", `{"pattern":"^(/)"}`, r, true)
	check(t, "path_regexp", `{"pattern":"^(x)"}`, r, false)
	placeholders(t, r, map[string]any{"http.regexp.0": "/", "http.regexp.1": "/", "http.regexp.2": "b"})
}

func TestProtocol(t *testing.T) {
	version := func(major, minor int) func(*http.Request) {
		return func(r *http.Request) { r.ProtoMajor, r.ProtoMinor = major, minor }
	}
	v10, v11, v2, v3 := version(1, 0), version(1, 1), version(2, 0), version(3, 0)
	grpc := func(ct string) func(*http.Request) { return withHeader("Content-Type: " + ct) }
	for _, c := range []struct {
		value  string
		change func(*http.Request)
		want   bool
	}{
		{"http", v11, true}, {"http", withTLS(true), false}, {"https", withTLS(true), true}, {"https", v11, false},
		{"grpc", grpc("application/grpc"), true}, {"grpc", grpc("application/grpc-web"), true}, {"grpc", grpc("text/plain"), false}, {"grpc", v11, false},
		{"http/1.0", v10, true}, {"http/1.0", v11, false}, {"http/1.1", v11, true}, {"http/1.1", v10, false}, {"http/1.1", v2, false},
		{"http/2", v2, true}, {"http/2", v3, false}, {"http/2", v11, false}, {"http/3", v3, true}, {"http/3", v2, false},
		{"http/1.0+", v10, true}, {"http/1.0+", v3, true}, {"http/1.1+", v10, false}, {"http/1.1+", v11, true}, {"http/1.1+", v2, true},
		{"http/2+", v11, false}, {"http/2+", v2, true}, {"http/2+", v3, true}, {"http/3+", v2, false}, {"http/3+", v3, true},
		{"HTTPS", withTLS(true), false}, {"http/1", v11, false}, {"", v11, false},
	} {
		check(t, "protocol", `"`+c.value+`"`, request(t, "/", c.change), c.want)
	}
	if res := buildWith(t, "protocol", `"http/1"`); len(res.Warnings) != 1 {
		t.Errorf("an unknown protocol gives %v", res.Warnings)
	}
}

func TestNot(t *testing.T) {
	for _, c := range []struct {
		json, target, host string
		want               bool
	}{
		{`[{"path":["/foo"]}]`, "/foo", "a.test", false}, {`[{"path":["/foo"]}]`, "/bar", "a.test", true},
		{`[{"path":["/foo"]},{"host":["example.com"]}]`, "/bar", "example.com", false},
		{`[{"path":["/foo"],"host":["example.com"]}]`, "/foo", "example.com", false},
		{`[{"path":["/foo"],"host":["example.com"]}]`, "/bar", "example.com", true},
		{`[]`, "/", "", true}, {`[{}]`, "/", "", false}, {`[{"not":[{"path":["/foo"]}]}]`, "/foo", "", true},
	} {
		check(t, "not", c.json, request(t, c.target, withHost(c.host)), c.want)
	}
	m := build(t, "not", `[{"method":["POST"]},{"remote_ip":{"ranges":["10.0.0.1"]}},{"path":["/x"]}]`)
	if ok, err := m.Match(request(t, "/", withTLS(false))); ok || handlers.StatusOf(err) != http.StatusTooEarly {
		t.Errorf("an error inside: %v, %v", ok, err)
	}
	if _, host := m.(handlers.HostMatcher); host {
		t.Error("not is taken for a host matcher")
	}
}

func TestVars(t *testing.T) {
	set := func(r *http.Request) {
		x := handlers.Of(r)
		for name, v := range map[string]any{"n": 3, "foo": "bar", "secret": "{env.S}", "top": "top", "yes": true, "client_ip": "127.0.0.1", "nil": nil} {
			x.SetVar(name, v)
		}
	}
	for _, c := range []struct {
		json string
		want bool
	}{
		{`{"n":["3"]}`, true}, {`{"n":["4"],"foo":["bar"]}`, true}, {`{"n":["4"],"foo":["baz"]}`, false},
		{`{"{http.request.method}":["GET","HEAD"]}`, true}, {`{"{http.request.method}":["POST"]}`, false},
		{`{"top":["{env.S}"]}`, true}, {`{"secret":["top"]}`, false}, {`{"secret":["\\{env.S\\}"]}`, true},
		{`{"client_ip":["127.0.0.1"]}`, true}, {`{}`, true}, {`{"undefined":[""]}`, true}, {`{"undefined":["x"]}`, false}, {`{"nil":[""]}`, true},
		{`{"yes":["true"]}`, true}, {`{"foo":[]}`, false}, {`{"foo":null}`, false}, {`{"{unknown}":[""]}`, true}, {`{"{env.S}":["top"]}`, true}, {`{"{{env.S}":["top"]}`, false},
	} {
		check(t, "vars", c.json, request(t, "/", set), c.want)
	}
}

func TestVarsRegexp(t *testing.T) {
	for _, c := range []struct {
		json string
		want bool
		set  map[string]any
	}{
		{`{}`, false, nil}, {`{"foo":{"pattern":"^b(.)","name":"n"}}`, true, map[string]any{"http.regexp.n.1": "a", "http.regexp.1": "a"}},
		{`{"foo":{"pattern":"x"},"n":{"pattern":"^[0-9]$"}}`, true, map[string]any{"http.regexp.0": "3"}}, {`{"foo":{"pattern":"x"}}`, false, nil},
		{`{"undefined":{"pattern":"^$"}}`, true, nil}, {`{"{http.request.uri.path}":{"pattern":"^/p"}}`, true, nil}, {`{"foo":{"pattern":"{env.S}"}}`, false, nil},
		{`{"a":{"pattern":"(1)"},"b":{"pattern":"(2)"}}`, true, map[string]any{"http.regexp.1": "1"}},
	} {
		r := request(t, "/p", withVar("foo", "bar"), withVar("n", 3), withVar("a", "1"), withVar("b", "2"))
		check(t, "vars_regexp", c.json, r, c.want)
		placeholders(t, r, c.set)
	}
}

// TestRefused holds what section 9.2 says of matchers, and where it is found.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, json, pointer string }{
		{"host", `["a.test","b.test","A.TEST"]`, "/2"}, {"host", `["bücher.test","xn--bcher-kva.test"]`, "/1"}, {"host", `"a.test"`, ""}, {"host", `[1]`, "/0"},
		{"path", `"/x"`, ""}, {"path", `["/x", 1]`, "/1"}, {"path", `{"a":1}`, ""},
		{"path_regexp", `{"pattern":"("}`, "/pattern"}, {"path_regexp", `{"pattern":"x","name":"--"}`, "/name"}, {"path_regexp", `{"patern":"x"}`, "/patern"}, {"path_regexp", `"x"`, ""},
		{"header_regexp", `{"ok":{},"a/b":{"pattern":"["}}`, "/a~1b/pattern"}, {"vars_regexp", `{"v":{"name":"-","pattern":"x"}}`, "/v/name"},
		{"header", `{"F":"x"}`, "/F"}, {"query", `{"k":"x"}`, "/k"}, {"vars", `{"k":[1]}`, "/k/0"}, {"protocol", `["http"]`, ""}, {"method", `[null, 1]`, "/1"},
		{"remote_ip", `{"ranges":["10.0.0.1","private_ranges"]}`, "/ranges/1"}, {"client_ip", `{"ranges":["forwarded"]}`, "/ranges/0"}, {"remote_ip", `{"ranges":["{env.UNSET}"]}`, "/ranges/0"},
		{"remote_ip", `{"ranges":["10.0.0.0/33"]}`, "/ranges/0"}, {"remote_ip", `{"ranges":["fe80::1%"]}`, "/ranges/0"}, {"remote_ip", `{"ranges":["fe80::%eth0/10"]}`, "/ranges/0"}, {"remote_ip", `["10.0.0.1"]`, ""},
		{"not", `{"path":["/x"]}`, ""}, {"not", `[{"path":null}]`, "/0/path"}, {"not", `[{"pth":["/x"]}]`, "/0/pth"}, {"not", `[{"path_regexp":{"pattern":"("}}]`, "/0/path_regexp/pattern"},
		{"query", `{"a":["` + strings.Repeat("{", 101) + `"]}`, "/a/0"},
	} {
		res := buildWith(t, c.name, c.json)
		if len(res.Problems) == 0 || res.Problems[0].Pointer != c.pointer {
			t.Errorf("%s %s: %v, want a problem at %q", c.name, c.json, res.Problems, c.pointer)
		}
	}
	res := buildWith(t, "host", `["a","b","a","b"]`)
	if len(res.Problems) != 2 || !strings.Contains(res.Problems[0].Message, "index 0") || !strings.Contains(res.Problems[0].Message, "index 2") {
		t.Errorf("duplicates: %v", res.Problems)
	}
}

func TestOutsideOfServer(t *testing.T) {
	for name, json := range map[string]string{
		"host": `["a.test"]`, "path": `["{env.S}", "/p"]`, "path_regexp": `{"pattern":"/(p)"}`, "query": `{"a":["{env.S}","1"]}`,
		"header": `{"F":["{env.S}", "1"]}`, "vars": `{"x":[""]}`, "vars_regexp": `{"x":{"pattern":"^$"}}`, "remote_ip": `{"ranges":["127.0.0.1"]}`,
	} {
		r := &http.Request{Method: "GET", Host: "a.test", URL: &url.URL{Path: "/p", RawQuery: "a=1"}, Header: http.Header{"F": {"1"}}, RemoteAddr: "127.0.0.1:1"}
		check(t, name, json, r, true)
	}
	check(t, "client_ip", `{"ranges":["127.0.0.1"]}`, &http.Request{RemoteAddr: "127.0.0.1:1"}, false)
}

func TestExamples(t *testing.T) {
	for _, s := range Specs() {
		if s.Summary == "" || len(s.Examples) == 0 {
			t.Errorf("%s has no summary or no example", s.ID)
		}
		for _, e := range s.Examples {
			build(t, strings.TrimPrefix(s.ID, "http.matchers."), e.JSON)
		}
	}
}

func TestEarlyData(t *testing.T) {
	for _, name := range []string{"remote_ip", "client_ip"} {
		m := build(t, name, `{"ranges":["127.0.0.0/8"]}`)
		ok, err := m.Match(request(t, "/", withTLS(false), withVar("client_ip", "127.0.0.1")))
		var he *handlers.Error
		if ok || !errors.As(err, &he) || he.Status != http.StatusTooEarly {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
		if ok, err := m.Match(request(t, "/", withTLS(true), withVar("client_ip", "127.0.0.1"))); !ok || err != nil {
			t.Errorf("%s after the handshake: %v, %v", name, ok, err)
		}
	}
}
