package handlers

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/handlers/vars"
	"go.uber.org/zap"
)

type fakeServer struct{ stop time.Time }

func (fakeServer) Name() string              { return "srv" }
func (fakeServer) LogCredentials() bool      { return false }
func (fakeServer) Logger(string) *zap.Logger { return zap.NewNop() }
func (s fakeServer) ShutdownAt() time.Time   { return s.stop }
func (fakeServer) NamedRoute(string, http.ResponseWriter, *http.Request, Next) (bool, error) {
	return false, nil
}

func begin(r *http.Request) (*Exchange, *http.Request) {
	x := &Exchange{Server: fakeServer{}, Response: NewResponseWriter(httptest.NewRecorder())}
	return x, x.Begin(r, nil)
}

func exampleRequest() *http.Request {
	r := httptest.NewRequest("GET", "/foo/bar.tar.gz?a=1&b=2&a=3&d%20e=f+g&x;y=1&bad=%zz", nil)
	r.Host = "Sub.A.test:8080"
	r.RemoteAddr = "192.0.2.77:4711"
	r.Header = http.Header{
		"X-One": {"1"}, "X-Many": {"1", "2"},
		"Cookie": {`a=1; Session="q uoted"; SESSION=2`, `bad"=x; empty=; semi=a\b; semi=ok`},
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr))
}

// none marks a name that must be unknown.
type none struct{}

func TestRequestPlaceholders(t *testing.T) {
	x, r := begin(exampleRequest())
	// "current" follows rewrites, the original does not.
	r.Method = "POST"
	q := "a=1&b=2&a=3&d%20e=f+g&x;y=1&bad=%zz"
	uri := "/foo/bar.tar.gz?" + q
	tests := []struct {
		name string
		want any
	}{
		{"method", "POST"},
		{"orig_method", "GET"},
		{"scheme", "http"},
		{"proto", "HTTP/1.1"},
		{"proto_name", "HTTP/1.1"},
		{"host", "Sub.A.test"},
		{"port", 8080},
		{"hostport", "Sub.A.test:8080"},
		{"host.labels.0", "test"},
		{"host.labels.1", "a"},
		{"host.labels.2", "sub"},
		{"host.labels.3", ""},
		{"host.labels.-1", none{}},
		{"host.labels.x", none{}},
		{"host.labels", none{}},
		{"hosts", none{}},
		{"local", "127.0.0.1:8443"},
		{"local.host", "127.0.0.1"},
		{"local.port", 8443},
		{"local.x", none{}},
		{"remote", "192.0.2.77:4711"},
		{"remote.host", "192.0.2.77"},
		{"remote.port", 4711},
		{"remote.host/24", "192.0.2.0/24"},
		{"remote.host/24,64", "192.0.2.0/24"},
		{"remote.host/33", ""},
		{"remote.host/x", ""},
		{"remote.host/", ""},
		{"remote.x", none{}},
		{"uri", uri},
		{"uri_escaped", url.QueryEscape(uri)},
		{"uri.path", "/foo/bar.tar.gz"},
		{"uri.path_escaped", "%2Ffoo%2Fbar.tar.gz"},
		{"uri.path.0", "foo"},
		{"uri.path.1", "bar.tar.gz"},
		{"uri.path.2", ""},
		{"uri.path.-1", none{}},
		{"uri.path.x", none{}},
		{"uri.path.dir", "/foo/"},
		{"uri.path.file", "bar.tar.gz"},
		{"uri.path.file.base", "bar.tar"},
		{"uri.path.file.ext", ".gz"},
		{"uri.query", q},
		{"uri.query_escaped", url.QueryEscape(q)},
		{"uri.prefixed_query", "?" + q},
		{"uri.query.a", "1,3"},
		{"uri.query.b", "2"},
		{"uri.query.d e", "f g"},
		{"uri.query.x;y", ""},
		{"uri.query.bad", ""},
		{"uri.query.none", ""},
		{"uri.x", none{}},
		{"header.X-One", "1"},
		{"header.x-one", "1"},
		{"header.x-MANY", "1,2"},
		{"header.None", ""},
		{"header.Host", ""},
		{"header.in valid", ""},
		{"cookie.a", "1"},
		{"cookie.A", "1"},
		{"cookie.session", "q uoted"},
		{"cookie.empty", ""},
		{"cookie.semi", "ok"},
		{"cookie.none", none{}},
		{"cookie.", none{}},
		{"body", ""},
		{"body_base64", ""},
		{"orig_uri", uri},
		{"orig_uri.path", "/foo/bar.tar.gz"},
		{"orig_uri.path.0", "foo"},
		{"orig_uri.path.9", ""},
		{"orig_uri.path.x", none{}},
		{"orig_uri.path.dir", "/foo/"},
		{"orig_uri.path.file", "bar.tar.gz"},
		{"orig_uri.query", q},
		{"orig_uri.prefixed_query", "?" + q},
		{"orig_uri.path.file.base", none{}},
		{"orig_uri.path.file.ext", none{}},
		{"orig_uri.query.a", none{}},
		{"tls.version", none{}},
		{"tls.client.subject", none{}},
		{"", none{}},
		{"METHOD", none{}},
		{"header", none{}},
	}
	for _, tt := range tests {
		checkName(t, x, "http.request."+tt.name, tt.want)
	}
}

func checkName(t *testing.T, x *Exchange, name string, want any) {
	t.Helper()
	v, known := x.Lookup(name)
	text, textKnown, ok := x.LookupString(name)
	if !ok || textKnown != known || text != vars.ToString(v) {
		t.Errorf("%s: LookupString gives %q %v %v, Lookup %v %v", name, text, textKnown, ok, v, known)
	}
	if _, isNone := want.(none); isNone {
		if known {
			t.Errorf("%s = %#v, want it unknown", name, v)
		}
		return
	}
	if !known || v != want {
		t.Errorf("%s = %#v, %v; want %#v", name, v, known, want)
	}
}

func TestRequestPlaceholdersFollowRewrites(t *testing.T) {
	x, r := begin(exampleRequest())
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/a b/c/d", "", "z=1"
	r.RequestURI = r.URL.RequestURI()
	checkName(t, x, "http.request.uri", "/a%20b/c/d?z=1")
	checkName(t, x, "http.request.uri.path", "/a b/c/d")
	checkName(t, x, "http.request.uri.query.z", "1")
	checkName(t, x, "http.request.orig_uri.path", "/foo/bar.tar.gz")
	r.URL.Path, r.URL.RawQuery = "", ""
	checkName(t, x, "http.request.uri", "/")
	checkName(t, x, "http.request.uri.path.dir", "")
	checkName(t, x, "http.request.uri.path.0", "")
	checkName(t, x, "http.request.uri.prefixed_query", "")
	r.URL.Path = "/a.b/"
	checkName(t, x, "http.request.uri.path.file", "")
	checkName(t, x, "http.request.uri.path.file.base", "")
	checkName(t, x, "http.request.uri.path.file.ext", "")
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/a/b", "/a%2Fb", "q" // request URI left behind
	checkName(t, x, "http.request.uri", "/a%2Fb?q")
	other := r.Clone(r.Context())
	other.Method = "PUT"
	x.SetRequest(other)
	checkName(t, x, "http.request.method", "PUT")
}

func TestRequestPlaceholdersByRequest(t *testing.T) {
	tests := []struct {
		name   string
		change func(*http.Request)
		want   map[string]any
	}{
		{"no port", func(r *http.Request) { r.Host = "A.test" }, map[string]any{"host": "A.test", "port": "", "hostport": "A.test"}},
		{"text port", func(r *http.Request) { r.Host = "a:http" }, map[string]any{"host": "a", "port": "http"}},
		{"IPv6 host", func(r *http.Request) { r.Host = "[::1]:80" }, map[string]any{"host": "::1", "port": 80}},
		{"IPv6 host without port", func(r *http.Request) { r.Host = "[::1]" }, map[string]any{"host": "[::1]", "port": ""}},
		{"IPv6 peer", func(r *http.Request) { r.RemoteAddr = "[2001:db8:1:2::7]:99" }, map[string]any{
			"remote.host": "2001:db8:1:2::7", "remote.host/24,64": "2001:db8:1:2::/64", "remote.host/32": "2001:db8::/32"}},
		{"zone", func(r *http.Request) { r.RemoteAddr = "[fe80::1%eth0]:99" }, map[string]any{"remote.host/24,64": "fe80::/64"}},
		{"unix peer", func(r *http.Request) { r.RemoteAddr = "@" }, map[string]any{
			"remote": "@", "remote.host": "@", "remote.port": "", "remote.host/24": "@"}},
		{"unix listener", func(r *http.Request) {
			a := &net.UnixAddr{Name: "/run/s.sock", Net: "unix"}
			*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, a))
		}, map[string]any{"local": "/run/s.sock", "local.host": "/run/s.sock", "local.port": ""}},
		{"h2", func(r *http.Request) { r.Proto = "HTTP/2.0" }, map[string]any{"proto": "HTTP/2.0", "proto_name": "HTTP/2"}},
		{"h3", func(r *http.Request) { r.Proto = "HTTP/3.0" }, map[string]any{"proto": "HTTP/3.0", "proto_name": "HTTP/3"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := exampleRequest()
			tt.change(r)
			x, _ := begin(r)
			for name, want := range tt.want {
				checkName(t, x, "http.request."+name, want)
			}
		})
	}
}

func TestOtherPlaceholders(t *testing.T) {
	x, _ := begin(exampleRequest())
	x.Globals = vars.Map{"env.X": "x", "time.now.year": "2026", "shadowed": "global", "nil": nil}
	x.Set("shadowed", "set")
	x.Set("http.regexp.1", "capture")
	x.Set("http.request.method", "SET")
	x.Set("empty", "")
	x.SetVar("s", "text")
	x.SetVar("n", 7)
	x.SetVar("null", nil)
	x.Start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	x.Response.Header()["Set-Cookie"] = []string{"a", "b"}
	for name, want := range map[string]any{
		"env.X": "x", "time.now.year": "2026", "shadowed": "global", "nil": nil,
		"http.regexp.1": "capture", "http.regexp.2": none{}, "http.request.method": "SET", "empty": "",
		"http.vars.s": "text", "http.vars.n": 7, "http.vars.null": nil, "http.vars.unset": nil, "http.vars.": nil,
		"http.vars.start_time":            x.Start,
		"http.response.header.set-cookie": "a,b",
		"http.response.header.None":       "",
		"http.response.status":            none{},
		"http.shutting_down":              false,
		"http.time_until_shutdown":        nil,
		"http":                            none{}, "http.": none{}, "": none{}, "request.method": none{}, "http.x": none{},
	} {
		checkName(t, x, name, want)
	}
	x.Unset("http.regexp.1")
	checkName(t, x, "http.regexp.1", none{})
	x.SetVar("start_time", "mine")
	checkName(t, x, "http.vars.start_time", "mine")
	x.Response, x.Server, x.Globals = nil, nil, nil
	checkName(t, x, "http.response.header.X", "")
	checkName(t, x, "http.shutting_down", false)
	checkName(t, x, "env.X", none{})
}

func TestTimePlaceholders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := begin(exampleRequest())
		x.Start = time.Now()
		x.Server = fakeServer{time.Now().Add(10 * time.Second)}
		time.Sleep(1500 * time.Microsecond)
		checkName(t, x, "http.request.duration", 1500*time.Microsecond)
		checkName(t, x, "http.request.duration_ms", 1.5)
		checkName(t, x, "http.shutting_down", true)
		checkName(t, x, "http.time_until_shutdown", 10*time.Second-1500*time.Microsecond)
	})
}

func TestUUIDPlaceholder(t *testing.T) {
	x, _ := begin(exampleRequest())
	checkName(t, x, "http.vars.uuid", nil)
	v, _ := x.Lookup("http.request.uuid")
	id, _ := v.(string)
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("uuid = %q", id)
	}
	checkName(t, x, "http.request.uuid", id)
	checkName(t, x, "http.vars.uuid", id)
	if f := x.LogFields(); len(f) != 1 || f[0].Key != "uuid" || f[0].String != id {
		t.Errorf("log fields = %v, want one uuid", f)
	}
	y, _ := begin(exampleRequest())
	if other, _ := y.Lookup("http.request.uuid"); other == v {
		t.Error("two requests have one uuid")
	}
}

func TestBodyPlaceholder(t *testing.T) {
	r := httptest.NewRequest("POST", "/", strings.NewReader("some body"))
	x, r := begin(r)
	checkName(t, x, "http.request.body", "some body")
	checkName(t, x, "http.request.body_base64", base64.StdEncoding.EncodeToString([]byte("some body")))
	for range 2 { // the second reading finds the end, the placeholder all
		got, err := io.ReadAll(r.Body)
		if err != nil || (string(got) != "some body" && len(got) != 0) {
			t.Errorf("body reads %q, %v", got, err)
		}
		checkName(t, x, "http.request.body", "some body")
	}
}

type closeRecorder struct {
	io.Reader
	closed bool
}

func (c *closeRecorder) Close() error { c.closed = true; return nil }

func TestBodyPlaceholderLimits(t *testing.T) {
	big := bytes.Repeat([]byte("x"), maxBufferedBody+5)
	broken := errors.New("broken")
	tests := []struct {
		name string
		body io.Reader
		size int
		err  error
		want any
	}{
		{"at the limit", bytes.NewReader(big[:maxBufferedBody]), maxBufferedBody, nil, string(big[:maxBufferedBody])},
		{"over the limit", bytes.NewReader(big), len(big), nil, nil},
		{"broken", io.MultiReader(strings.NewReader("abc"), failingReader{broken}), 3, broken, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &closeRecorder{Reader: tt.body}
			r := httptest.NewRequest("POST", "/", nil)
			r.Body = c
			x, r := begin(r)
			for range 2 {
				if v, known := x.Lookup("http.request.body"); !known || v != tt.want {
					t.Fatalf("the value is not as it should be (nil: %v)", v == nil)
				}
			}
			got, err := io.ReadAll(r.Body)
			if len(got) != tt.size || err != tt.err {
				t.Errorf("read %d bytes, %v; want %d, %v", len(got), err, tt.size, tt.err)
			}
			if _ = r.Body.Close(); !c.closed {
				t.Error("Close did not reach the body")
			}
		})
	}
}

func TestLookupAllocates(t *testing.T) {
	x, r := begin(exampleRequest())
	r.RequestURI = r.URL.RequestURI()
	x.SetVar("v", "text")
	x.Set("http.regexp.1", "capture")
	for _, name := range []string{
		"http.request.method", "http.request.uri", "http.request.uri.path", "http.request.host", "http.request.port",
		"http.request.header.x-one", "http.request.remote.host", "http.request.uri.query.b", "http.request.cookie.A",
		"http.request.host.labels.0", "http.request.uri.path.1", "http.vars.v", "http.regexp.1",
	} {
		if n := testing.AllocsPerRun(100, func() { x.LookupString(name) }); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	text := vars.Parse("{http.request.header.x-one}")
	if n := testing.AllocsPerRun(100, func() { text.Expand(x, vars.All, "") }); n != 0 {
		t.Errorf("expanding one placeholder allocates %v times", n)
	}
}

func TestSplitHostPort(t *testing.T) {
	for _, s := range []string{
		"", ":", "a", "a:", "a:1", ":1", "a:b:c", "::1", "[::1]", "[::1]:", "[::1]:80", "[::1]x:80", "[::1:80", "::1]:80",
		"[a]b]:1", "a[b]:1", "a:[1]", "[]:1", "@", "[[::1]]:1", "[fe80::1%eth0]:9", "a]:1", "a:1]",
	} {
		host, port, err := net.SplitHostPort(s)
		h, p, ok := splitHostPort(s)
		if ok != (err == nil) || h != host || p != port {
			t.Errorf("%q: got %q %q %v, net gives %q %q %v", s, h, p, ok, host, port, err)
		}
	}
}

func FuzzHeaderValues(f *testing.F) {
	for _, s := range []string{"x-one", "X_ONE", "a b", "é", strings.Repeat("x", 70), "", "-a-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		h := http.Header{http.CanonicalHeaderKey(name): {"v"}}
		if v := headerValues(h, name); len(v) != 1 {
			t.Errorf("%q is not found as %v", name, h)
		}
	})
}

func FuzzQueryText(f *testing.F) {
	f.Add("a=1&b=2&a=3", "a")
	f.Add("a;b=1&%61=2&a+b=%20&&=x&c", "a")
	f.Add("a=%zz&%zz=1", "")
	f.Fuzz(func(t *testing.T, query, key string) {
		values, _ := url.ParseQuery(query)
		if got, want := queryText(query, key), strings.Join(values[key], ","); got != want && strings.Count(query, "&") < 1000 {
			t.Errorf("%q of %q = %q, want %q", key, query, got, want)
		}
	})
}

type fixedClient struct{}

func (fixedClient) ClientOf(*http.Request) (string, bool) { return "198.51.100.1", true }

func TestClientIPVariable(t *testing.T) {
	x, _ := begin(exampleRequest())
	x.Client = fixedClient{}
	checkName(t, x, "http.vars.client_ip", "198.51.100.1")
	checkName(t, x, "http.vars.trusted_proxy", true)
	x.SetVar("client_ip", "mine")
	checkName(t, x, "http.vars.client_ip", "mine")
}
