package admin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

func addr(t testing.TB, text string) netaddr.Addr {
	t.Helper()
	a, err := netaddr.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDefaultOrigins(t *testing.T) {
	for _, c := range []struct {
		listen string
		want   string
		host   bool
	}{
		{"localhost:2019", "//localhost:2019 //[::1]:2019 //127.0.0.1:2019", true},
		{"127.0.0.5:2019", "//localhost:2019 //[::1]:2019 //127.0.0.1:2019", true},
		{"[::1]:2019", "//localhost:2019 //[::1]:2019 //127.0.0.1:2019", true},
		{"10.0.0.1:2019", "//10.0.0.1:2019", true},
		{"[2001:db8::1]:80", "//[2001:db8::1]:80", true},
		{"admin.test:80", "//admin.test:80", true},
		{":2019", "//:2019", false},
		{"0.0.0.0:2019", "//0.0.0.0:2019", false},
		{"[::]:2019", "//[::]:2019", false},
		{"unix//run/s.sock", "", false},
		{"fd/3", "", false},
	} {
		g, err := NewGuard(GuardOptions{Address: addr(t, c.listen)})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(g.Origins(), " "); got != c.want || g.ChecksHost() != c.host {
			t.Errorf("%s: origins %q, host check %v; want %q, %v", c.listen, got, g.ChecksHost(), c.want, c.host)
		}
	}
}

func TestOriginsThatAreNone(t *testing.T) {
	for _, text := range []string{"", "http://", "a/b", "http://a/b", "http://u@a", "http://a?q", "://x", "a b"} {
		if g, err := NewGuard(GuardOptions{Origins: []string{text}}); err == nil {
			t.Errorf("%q is taken as %v", text, g.Origins())
		}
		if CheckOrigin(text) == nil {
			t.Errorf("%q passes as an origin", text)
		}
	}
	for _, text := range []string{"a", "a:80", "[::1]:80", "https://a", "http://a:80/"} {
		if err := CheckOrigin(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLockedGuard(t *testing.T) {
	f := newFixture(t, "{}")
	h := f.api.Handler(LockedGuard())
	for _, host := range []string{"", "localhost:2019", "x"} {
		for _, path := range []string{"/config/", "/healthz", "/readyz", "/nope"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = host
			r.Header.Set("Authorization", "Bearer ")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "host not allowed") {
				t.Errorf("%s of host %q: %d %s", path, host, w.Code, w.Body)
			}
		}
	}
	if !LockedGuard().ChecksHost() || len(LockedGuard().Origins()) > 0 {
		t.Error("the locked guard allows an origin")
	}
}

// TestChecks is section 4: what is refused, with which words, and in which order.
func TestChecks(t *testing.T) {
	local := GuardOptions{Address: addr(t, "localhost:2019")}
	enforced := local
	enforced.EnforceOrigin = true
	open := GuardOptions{Address: addr(t, ":2019")}
	unix := GuardOptions{Address: addr(t, "unix//run/s.sock")}
	custom := GuardOptions{Address: addr(t, ":2019"), Origins: []string{"https://panel.test", "plain.test:80"}}
	none := GuardOptions{Address: addr(t, "localhost:2019"), Origins: []string{}}
	const home = "Host: localhost:2019"
	for _, c := range []struct {
		name   string
		guard  GuardOptions
		header string // separated by |
		status int
		error  string
		allow  string
	}{
		{"plain", local, home, 200, "", ""},
		{"loopback", local, "Host: 127.0.0.1:2019", 200, "", ""},
		{"ipv6", local, "Host: [::1]:2019", 200, "", ""},
		{"no port", local, "Host: localhost", 403, "host not allowed: localhost", ""},
		{"other case", local, "Host: LOCALHOST:2019", 403, "host not allowed: LOCALHOST:2019", ""},
		{"other host", local, "Host: evil.test", 403, "host not allowed: evil.test", ""},
		{"websocket first", local, "Host: evil.test|Upgrade: websocket|Origin: null", 400, "WebSocket connections aren't allowed.", ""},
		{"websocket case", local, home + "|Upgrade: WebSocket", 200, "", ""},
		{"websocket among others", local, home + "|Upgrade: h2c, websocket", 400, "WebSocket connections aren't allowed.", ""},
		{"no-cors before null", local, home + "|Sec-Fetch-Mode: no-cors|Origin: null", 400, "Disabling same-origin restrictions is not allowed.", ""},
		{"null before host", local, "Host: evil.test|Origin: null", 400, "Buggy browser is sending null Origin header.", ""},
		{"host before origin", local, "Host: evil.test|Origin: http://evil.test", 403, "host not allowed: evil.test", ""},
		{"foreign origin", local, home + "|Origin: http://evil.test", 403, "client is not allowed to access from origin 'http://evil.test'", ""},
		{"own origin", local, home + "|Origin: http://localhost:2019", 200, "", "http://localhost:2019"},
		{"own origin, other scheme", local, home + "|Origin: https://localhost:2019", 200, "", "https://localhost:2019"},
		{"own name, no port", local, home + "|Origin: http://localhost", 403, "client is not allowed to access from origin 'http://localhost'", ""},
		{"path of the origin", local, home + "|Origin: http://localhost:2019/a?b#c", 200, "", "http://localhost:2019"},
		{"empty origin", local, home + "|Origin: ", 403, "client is not allowed to access from origin ''", ""},
		{"empty origin and referer", local, home + "|Origin: |Referer: http://localhost:2019/x", 200, "", "http://localhost:2019"},
		{"unparsable origin", local, home + "|Origin: http://[::1", 403, "required Origin header is missing or invalid", ""},
		{"no host", local, home + "|Origin: localhost", 403, "client is not allowed to access from origin ''", ""},
		{"referer alone", local, home + "|Referer: http://evil.test/", 200, "", ""},
		{"cors mode", local, home + "|Sec-Fetch-Mode: cors", 403, "client is not allowed to access from origin ''", ""},
		{"navigation", local, home + "|Sec-Fetch-Mode: navigate|Referer: http://localhost:2019/x", 200, "", "http://localhost:2019"},
		{"navigation from elsewhere", local, home + "|Sec-Fetch-Mode: navigate|Referer: http://evil.test/x", 403, "client is not allowed to access from origin 'http://evil.test'", ""},
		{"enforced", enforced, home, 403, "client is not allowed to access from origin ''", ""},
		{"enforced, given", enforced, home + "|Origin: http://127.0.0.1:2019", 200, "", "http://127.0.0.1:2019"},
		{"open", open, "Host: anything", 200, "", ""},
		{"open, origin", open, "Host: x|Origin: http://x", 403, "client is not allowed to access from origin 'http://x'", ""},
		{"unix", unix, "Host: anything", 200, "", ""},
		{"unix, origin", unix, "Host: x|Origin: http://localhost:2019", 403, "client is not allowed to access from origin 'http://localhost:2019'", ""},
		{"scheme right", custom, "Host: x|Origin: https://panel.test", 200, "", "https://panel.test"},
		{"scheme wrong", custom, "Host: x|Origin: http://panel.test", 403, "client is not allowed to access from origin 'http://panel.test'", ""},
		{"any scheme", custom, "Host: x|Origin: ftp://plain.test:80", 200, "", "ftp://plain.test:80"},
		{"none allowed", none, home, 403, "host not allowed: localhost:2019", ""},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			f := newFixture(t, "{}", func(_ *Deps, g *GuardOptions) { *g = c.guard })
			r := f.do("GET", "/config/", nil, strings.Split(c.header, "|")...)
			if c.status == 200 {
				f.want(r, 200, "{}")
			} else {
				f.want(r, c.status, c.error)
			}
			if got := r.header.Get("Access-Control-Allow-Origin"); got != c.allow {
				t.Errorf("allows origin %q, want %q", got, c.allow)
			}
		})
	}
}

func TestChecksComeBeforeRouting(t *testing.T) {
	f := newFixture(t, "{}")
	for _, path := range []string{"/nope", "/config", "/a//b", "/healthz", "/metrics"} {
		f.want(f.do("GET", path, nil, "Host: evil.test"), 403, "host not allowed: evil.test")
	}
}

func TestPreflight(t *testing.T) {
	f := newFixture(t, "{}")
	r := f.do("OPTIONS", "/config/", nil, "Origin: http://"+f.host)
	f.want(r, 405, "method OPTIONS not allowed")
	for name, want := range map[string]string{
		"Access-Control-Allow-Methods":     "OPTIONS, GET, POST, PUT, PATCH, DELETE",
		"Access-Control-Allow-Headers":     "Content-Type, Content-Length, Cache-Control",
		"Access-Control-Allow-Credentials": "true",
		"Allow":                            "",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestTokens(t *testing.T) {
	const secret, other = "correct-horse-battery", "another-token-entirely"
	f := newFixture(t, `{"x":1}`, func(d *Deps, g *GuardOptions) {
		g.Tokens = []Token{NewToken("ci", secret), NewToken("", other)}
		d.Ready = func() (bool, []string) { return false, []string{"port taken"} }
	})
	for _, c := range []struct {
		method, path, auth string
		status             int
		challenge          string
	}{
		{"GET", "/config/", "", 401, `Bearer realm="sluice admin"`},
		{"GET", "/nope", "", 401, `Bearer realm="sluice admin"`},
		{"GET", "/config", "", 401, `Bearer realm="sluice admin"`},
		{"GET", "/metrics", "Basic abc", 401, `Bearer realm="sluice admin"`},
		{"GET", "/config/", "Bearer", 401, `Bearer realm="sluice admin", error="invalid_token"`},
		{"GET", "/config/", "Bearer wrong", 401, `Bearer realm="sluice admin", error="invalid_token"`},
		{"GET", "/config/", "Bearer " + secret + "x", 401, `Bearer realm="sluice admin", error="invalid_token"`},
		{"GET", "/config/", "Bearer " + secret, 200, ""},
		{"GET", "/config/", "bearer  " + other, 200, ""},
		{"GET", "/healthz", "", 200, ""},
		{"GET", "/readyz", "", 503, ""},
		{"POST", "/healthz", "", 401, `Bearer realm="sluice admin"`},
		{"GET", "/healthz", "Bearer wrong", 401, `Bearer realm="sluice admin", error="invalid_token"`},
		{"GET", "/healthz/", "", 401, `Bearer realm="sluice admin"`},
	} {
		var header []string
		if c.auth != "" {
			header = append(header, "Authorization: "+c.auth)
		}
		r := f.do(c.method, c.path, nil, header...)
		if r.status != c.status || r.header.Get("WWW-Authenticate") != c.challenge {
			t.Errorf("%s %s with %q: %d %q, want %d %q", c.method, c.path, c.auth, r.status, r.header.Get("WWW-Authenticate"), c.status, c.challenge)
		}
	}
	if r := f.do("GET", "/readyz", nil); strings.Contains(r.body, "port taken") {
		t.Errorf("the reasons are shown without a token: %s", r.body)
	}
	if r := f.do("GET", "/readyz", nil, "Authorization: Bearer "+secret); !strings.Contains(r.body, "port taken") {
		t.Errorf("the reasons are not shown: %s", r.body)
	}
	f.want(f.do("PUT", "/config/x2", "1", "Authorization: Bearer "+secret), 400, `loading new config: /x2 (line 1, column 1): unknown field "x2"`)
	if c := f.engine.changes(); len(c) != 1 || !strings.HasPrefix(c[0].Origin, "ci@127.0.0.1:") {
		t.Errorf("origin %v", c)
	}
	for _, e := range f.logs.All() {
		text, err := json.Marshal(e.ContextMap())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), secret) || strings.Contains(string(text), other) {
			t.Fatalf("a token is logged: %s", text)
		}
	}
}

func TestRequestLog(t *testing.T) {
	f := newFixture(t, "{}")
	f.do("GET", "/config/?a=b", nil, "Authorization: Bearer s3cret", "Cookie: s3cret", "Proxy-Authorization: s3cret", "X-Plain: seen")
	f.do("GET", "/metrics", nil)
	f.do("GET", "/id/x", nil)
	all := f.logs.All()
	if len(all) != 4 {
		t.Fatalf("%d log entries, want 4", len(all))
	}
	first := all[0].ContextMap()
	h := first["headers"].(map[string]any)
	for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
		if got := h[name].([]any); len(got) != 1 || got[0] != "REDACTED" {
			t.Errorf("%s is logged as %v", name, got)
		}
	}
	if h["X-Plain"].([]any)[0] != "seen" || first["uri"] != "/config/?a=b" || first["method"] != "GET" || first["remote_ip"] != "127.0.0.1" || first["host"] != f.host {
		t.Errorf("entry %v", first)
	}
	if all[0].Message != "received request" || all[0].Level.String() != "info" || all[1].Level.String() != "debug" {
		t.Errorf("levels %v %v", all[0], all[1])
	}
	last := all[3]
	if last.Message != "request error" || last.Level.String() != "error" || last.ContextMap()["status_code"] != int64(http.StatusNotFound) || last.ContextMap()["error"] != "unknown object ID 'x'" {
		t.Errorf("entry %v", last)
	}
}
