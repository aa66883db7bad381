package logs_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/logs"
	"go.uber.org/zap"
)

// accessOf compiles a server's logs object.
func accessOf(t testing.TB, doc string) (*logs.Access, error) {
	t.Helper()
	spec := module.New("access", "", nil, func(env *module.Env, c *logs.AccessConfig) (*logs.Access, error) {
		return logs.NewAccess(c, env.Expand)
	})
	table, err := module.NewTable([]module.Spec{spec}, nil)
	if err != nil {
		t.Fatal(err)
	}
	node, _, err := config.Parse([]byte(doc), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := &module.Builder{Table: table, Sources: module.Sources{Globals: &vars.Global{Getenv: func(string) string { return "Env.Test" }}}}
	res := b.Build(nil, "access", node, module.Options{})
	if len(res.Problems) > 0 {
		return nil, res.Problems
	}
	return res.Root.Value().(*logs.Access), nil
}

func mustAccess(t testing.TB, doc string) *logs.Access {
	t.Helper()
	a, err := accessOf(t, doc)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAccessEnabled(t *testing.T) {
	const mapped = `{"logger_names":{"a.test":"x","*.B.test":"y","::1":"six"},"skip_hosts":["a.test","skip.test","*.skip.test","*.*.deep.test","{env.X}"]`
	cases := []struct {
		config, host string
		want         bool
	}{
		{`{}`, "any", true},
		{`{}`, "", true},
		{mapped + `}`, "a.test", true}, // mapped and skipped
		{mapped + `}`, "A.Test:8080", true},
		{mapped + `}`, "x.b.test", true},
		{mapped + `}`, "skip.test", false},
		{mapped + `}`, "SKIP.test:1", false},
		{mapped + `}`, "a.skip.test", false},
		{mapped + `}`, "a.b.skip.test", true},
		{mapped + `}`, "a.b.deep.test", false},
		{mapped + `}`, "b.deep.test", true},
		{mapped + `}`, "env.test", false},
		{mapped + `}`, "other", true},
		{mapped + `,"skip_unmapped_hosts":true}`, "other", false},
		{mapped + `,"skip_unmapped_hosts":true}`, "skip.test", false},
		{mapped + `,"skip_unmapped_hosts":true}`, "a.test:80", true},
		{mapped + `,"skip_unmapped_hosts":true}`, "[::1]:80", true},
		{mapped + `,"skip_unmapped_hosts":true}`, "[::1]", true},
		{`{"skip_unmapped_hosts":true,"logger_names":{"*":"x"}}`, "one", true},
		{`{"skip_unmapped_hosts":true,"logger_names":{"*":"x"}}`, "one.two", false},
		{`{"skip_unmapped_hosts":true,"logger_names":{"*.*":"x"}}`, "one.two", true},
	}
	for _, c := range cases {
		equal(t, c.config+" "+c.host, mustAccess(t, c.config).Enabled(c.host), c.want)
	}
	var off *logs.Access
	if off.Enabled("x") || off.Credentials() || off.Trace() || logs.Snap(off, httptest.NewRequest("GET", "/", nil)).Taken() {
		t.Error("a nil Access is not off")
	}
}

func TestAccessNames(t *testing.T) {
	const conf = `{"logger_names":{"a.test":["one","two",""],"*.a.test":"wild","*.*.a.test":["deep"]},"default_logger_name":"dfl"}`
	cases := []struct {
		config, host string
		variable     any
		want         string
	}{
		{conf, "a.test", nil, "http.log.access.one http.log.access.two http.log.access"},
		{conf, "a.test:81", nil, "http.log.access.one http.log.access.two http.log.access"},
		{conf, "A.test", nil, "http.log.access.dfl"}, // case-sensitive
		{conf, "b.a.test", nil, "http.log.access.wild"},
		{conf, "x.y.a.test", nil, "http.log.access.deep"},
		{conf, "zzz", nil, "http.log.access.dfl"},
		{conf, strings.Repeat("a.", 100_000), nil, "http.log.access.dfl"},
		{`{}`, "zzz", nil, "http.log.access"},
		{conf, "a.test", []any{"v", 5.0, ""}, "http.log.access.v http.log.access"},
		{conf, "a.test", []string{"v"}, "http.log.access.v"},
		{conf, "a.test", []any{}, ""},
		{conf, "zzz", "v", "http.log.access.dfl"},
	}
	for _, c := range cases {
		x := &handlers.Exchange{}
		if c.variable != nil {
			x.SetVar("access_logger_names", c.variable)
		}
		equal(t, fmt.Sprint(c.config, c.host[:min(len(c.host), 20)], c.variable), strings.Join(mustAccess(t, c.config).Names(x, c.host), " "), c.want)
	}
}

func TestAccessRefused(t *testing.T) {
	for doc, want := range map[string]string{
		`{"logger_names":{"a.test:80":"x"}}`: "logger name must not have a port: a.test:80",
		`{"logger_names":{"[::1]:80":"x"}}`:  "logger name must not have a port",
		`{"logger_names":{"a":5}}`:           "must be a string or an array of strings",
		`{"logger_names":{"a":null}}`:        "",
		`{"logger_names":{"a":["x",1]}}`:     "/logger_names/a/1: logger names must be",
		`{"skip_hosts":"a"}`:                 "expected an array",
		`{"bogus":1}`:                        "unknown field",
	} {
		if _, err := accessOf(t, doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}

// call is one request through a server that logs.
type call struct {
	request  *http.Request
	x        *handlers.Exchange
	w        *handlers.ResponseWriter
	snapshot logs.Snapshot
}

func begin(a *logs.Access, r *http.Request) *call {
	c := &call{x: &handlers.Exchange{}, w: handlers.NewResponseWriter(httptest.NewRecorder())}
	c.x.Response = c.w
	c.snapshot = logs.Snap(a, r)
	c.request = c.x.Begin(r, nil)
	c.x.SetVar("client_ip", "198.51.100.4")
	return c
}

func get(target string, header ...string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	r.RemoteAddr = "192.0.2.7:50312"
	r.Header = http.Header{}
	for i := 0; i < len(header); i += 2 {
		r.Header[header[i]] = append(r.Header[header[i]], header[i+1])
	}
	return r
}

const noTime = `"encoder":{"format":"json","time_key":""}`

func TestAccessEntry(t *testing.T) {
	w := newWorld(t)
	set := w.use(`{"logs":{"default":{` + noTime + `}}}`)
	a := mustAccess(t, `{"default_logger_name":"site"}`)
	c := begin(a, get("http://app.test/p?q=1", "Cookie", "secret", "Cookie", "too"))
	c.request.Header["Cookie"][0] = "changed"
	c.request.Header.Set("X-Later", "1")
	c.request.Host, c.request.Method = "changed", "PUT"
	c.x.Set("http.auth.user.id", "ann")
	c.x.AddLogField(zap.String("tenant", "t1"))
	c.x.AddLogField(zap.String("uuid", "u"))
	c.w.Header().Set("Set-Cookie", "id=1")
	c.w.WriteHeader(201)
	c.w.Write([]byte("ok"))
	a.Log(set, logs.AccessEntry{Snapshot: c.snapshot, Exchange: c.x, Duration: 1200 * time.Microsecond})
	equal(t, "entry", w.err(), `{"level":"info","logger":"http.log.access.site","msg":"handled request",`+
		`"request":{"remote_ip":"192.0.2.7","remote_port":"50312","client_ip":"198.51.100.4","proto":"HTTP/1.1",`+
		`"method":"GET","host":"app.test","uri":"http://app.test/p?q=1","headers":{"Cookie":["REDACTED"]}},`+
		`"bytes_read":0,"user_id":"ann","duration":0.0012,"size":2,"status":201,`+
		`"resp_headers":{"Set-Cookie":["REDACTED"]},"tenant":"t1","uuid":"u"}`+"\n")
}

// lineOf decodes one entry.
func lineOf(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return m
}

func TestAccessOutcomes(t *testing.T) {
	cases := []struct {
		name                string
		act                 func(*call)
		level, msg, loggers string
		status              float64
	}{
		{"handled", func(c *call) { c.w.WriteHeader(204) }, "info", "handled request", "http.log.access", 204},
		{"server error", func(c *call) { c.w.WriteHeader(502) }, "error", "handled request", "http.log.access", 502},
		{"client error", func(c *call) { c.w.WriteHeader(499) }, "info", "handled request", "http.log.access", 499},
		{"nothing matched", func(c *call) { c.x.SetVar("unhandled", true) }, "info", "NOP", "http.log.access", 0},
		{"written, then at the end", func(c *call) { c.w.WriteHeader(200); c.x.SetVar("unhandled", true) }, "info", "handled request", "http.log.access", 200},
		{"aborted", func(*call) {}, "info", "handled request", "http.log.access", 0},
		{"skipped", func(c *call) { c.x.SetVar("log_skip", true) }, "", "", "", 0},
		{"skipped by text", func(c *call) { c.x.SetVar("log_skip", "true") }, "info", "handled request", "http.log.access", 0},
		{"two names", func(c *call) { c.x.SetVar("access_logger_names", []any{"a", ""}) }, "info", "handled request", "http.log.access.a http.log.access", 0},
		{"no names", func(c *call) { c.x.SetVar("access_logger_names", []any{}) }, "", "", "", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			set := w.use(`{}`)
			a := mustAccess(t, `{}`)
			call := begin(a, get("/"))
			c.act(call)
			a.Log(set, logs.AccessEntry{Snapshot: call.snapshot, Exchange: call.x})
			var loggers []string
			for line := range strings.Lines(w.err()) {
				m := lineOf(t, line)
				loggers = append(loggers, m["logger"].(string))
				equal(t, "level", m["level"].(string), c.level)
				equal(t, "msg", m["msg"].(string), c.msg)
				equal(t, "status", m["status"].(float64), c.status)
			}
			equal(t, "loggers", strings.Join(loggers, " "), c.loggers)
		})
	}
}

func TestRequestObject(t *testing.T) {
	cases := []struct {
		name   string
		config string
		change func(*call, *http.Request)
		field  string
		want   any
	}{
		{"no port", `{}`, func(_ *call, r *http.Request) { r.RemoteAddr = "@" }, "remote_ip", "@"},
		{"no port", `{}`, func(_ *call, r *http.Request) { r.RemoteAddr = "@" }, "remote_port", ""},
		{"IPv6", `{}`, func(_ *call, r *http.Request) { r.RemoteAddr = "[::1]:5" }, "remote_ip", "::1"},
		{"client_ip overwritten", `{}`, func(c *call, _ *http.Request) { c.x.SetVar("client_ip", "x") }, "client_ip", "x"},
		{"client_ip is no string", `{}`, func(c *call, _ *http.Request) { c.x.SetVar("client_ip", 5) }, "client_ip", nil},
		{"transfer encoding", `{}`, func(_ *call, r *http.Request) { r.TransferEncoding = []string{"chunked"} }, "transfer_encoding", []any{"chunked"}},
		{"no transfer encoding", `{}`, func(*call, *http.Request) {}, "transfer_encoding", nil},
		{"no tls", `{}`, func(*call, *http.Request) {}, "tls", nil},
		{"tls", `{}`, func(_ *call, r *http.Request) {
			r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, NegotiatedProtocol: "h2", ServerName: "a.test", DidResume: true}
		}, "tls", map[string]any{"resumed": true, "version": 772.0, "cipher_suite": 4865.0, "proto": "h2", "server_name": "a.test", "ech": false}},
		{"client certificate", `{}`, func(_ *call, r *http.Request) {
			r.TLS = &tls.ConnectionState{ECHAccepted: true, PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: "me"}, SerialNumber: big.NewInt(77)}}}
		}, "tls", map[string]any{"resumed": false, "version": 0.0, "cipher_suite": 0.0, "proto": "", "server_name": "", "ech": true, "client_common_name": "me", "client_serial": "77"}},
		{"redacted", `{}`, secrets, "headers", map[string]any{"cookie": []any{"REDACTED"}, "SET-Cookie": []any{"REDACTED"}, "Authorization": []any{"REDACTED"}, "Proxy-Authorization": []any{"REDACTED"}, "X-Token": []any{"e", "f"}, "Empty": []any{}}},
		{"shown", `{"should_log_credentials":true}`, secrets, "headers", map[string]any{"cookie": []any{"a"}, "SET-Cookie": []any{"b", "b2"}, "Authorization": []any{"c"}, "Proxy-Authorization": []any{"d"}, "X-Token": []any{"e", "f"}, "Empty": []any{}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			set := w.use(`{}`)
			a := mustAccess(t, c.config)
			r := get("/")
			call := begin(nil, r)
			c.change(call, r)
			call.snapshot = logs.Snap(a, r)
			for name, values := range r.Header {
				call.w.Header()[name] = values
			}
			a.Log(set, logs.AccessEntry{Snapshot: call.snapshot, Exchange: call.x})
			m := lineOf(t, w.err())
			if got := m["request"].(map[string]any)[c.field]; !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s:\n got %v\nwant %v", c.field, got, c.want)
			}
			if got := m["resp_headers"]; c.field == "headers" && !reflect.DeepEqual(got, c.want) {
				t.Errorf("resp_headers:\n got %v\nwant %v", got, c.want)
			}
		})
	}
}

func secrets(_ *call, r *http.Request) {
	r.Header = http.Header{"cookie": {"a"}, "SET-Cookie": {"b", "b2"}, "Authorization": {"c"}, "Proxy-Authorization": {"d"}, "X-Token": {"e", "f"}, "Empty": {}}
}

func TestErrorEntry(t *testing.T) {
	const request = `"request":{"remote_ip":"192.0.2.7","remote_port":"50312","client_ip":"198.51.100.4","proto":"HTTP/1.1","method":"GET","host":"example.com","uri":"/x","headers":{"Cookie":["REDACTED"]}},"duration":0.5`
	const structured = request + `,"status":%d,"err_id":"abc","err_trace":"f (x.go:1)"}`
	failed := func(status int, err error) error {
		return &handlers.Error{Status: status, Err: err, ID: "abc", Trace: "f (x.go:1)"}
	}
	boom := errors.New("boom")
	cases := []struct {
		name    string
		access  string // "" for none
		err     error
		handled bool
		second  error
		vars    any
		want    string
	}{
		{"502", `{}`, failed(502, boom), false, nil, nil, `{"level":"error","logger":"http.log.error","msg":"boom",` + fmt.Sprintf(structured, 502)},
		{"404", `{}`, failed(404, boom), false, nil, nil, `{"level":"debug","logger":"http.log.error","msg":"boom",` + fmt.Sprintf(structured, 404)},
		{"wrapped", `{}`, fmt.Errorf("around: %w", failed(404, boom)), false, nil, nil, `{"level":"debug","logger":"http.log.error","msg":"boom",` + fmt.Sprintf(structured, 404)},
		{"status only", `{}`, failed(503, nil), false, nil, nil, `{"level":"error","logger":"http.log.error","msg":"Service Unavailable",` + fmt.Sprintf(structured, 503)},
		{"unknown status only", `{}`, failed(599, nil), false, nil, nil, `{"level":"error","logger":"http.log.error","msg":"HTTP 599",` + fmt.Sprintf(structured, 599)},
		{"plain", `{}`, boom, false, nil, nil, `{"level":"error","logger":"http.log.error","msg":"boom",` + request + `,"error":"boom"}`},
		{"handled", `{}`, failed(502, boom), true, nil, nil, `{"level":"debug","logger":"http.log.error","msg":"boom",` + fmt.Sprintf(structured, 502)},
		{"error routes failed", `{}`, failed(404, boom), true, errors.New("again"), nil, `{"level":"error","logger":"http.log.error","msg":"error handling handler error",` + request +
			`,"error":"again","first_error":{"msg":"boom","status":404,"err_id":"abc","err_trace":"f (x.go:1)"}}`},
		{"error routes failed, plain first", `{}`, boom, false, errors.New("again"), nil, `{"level":"error","logger":"http.log.error","msg":"error handling handler error",` + request +
			`,"error":"again","first_error":{"msg":"boom","error":"boom"}}`},
		{"no access log", ``, boom, false, nil, nil, `{"level":"error","logger":"http.log.error","msg":"boom",` + request + `,"error":"boom"}`},
		{"named", `{"default_logger_name":"d"}`, boom, false, nil, nil, `{"level":"error","logger":"http.log.error.d","msg":"boom",` + request + `,"error":"boom"}`},
		{"skipped host", `{"skip_hosts":["example.com"],"logger_names":{"example.org":"x"}}`, boom, false, nil, nil, `{"level":"error","logger":"http.log.error","msg":"boom",` + request + `,"error":"boom"}`},
		{"named by variable", `{}`, boom, false, nil, []any{"v"}, `{"level":"error","logger":"http.log.error.v","msg":"boom",` + request + `,"error":"boom"}`},
		{"no names", `{}`, boom, false, nil, []any{}, `{"level":"error","logger":"http.log.error","msg":"boom",` + request + `,"error":"boom"}`},
		{"no error", `{}`, nil, false, nil, nil, ``},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			set := w.use(`{"logs":{"default":{"level":"DEBUG",` + noTime + `}}}`)
			var a *logs.Access
			if c.access != "" {
				a = mustAccess(t, c.access)
			}
			call := begin(a, get("/x", "Cookie", "c"))
			if c.vars != nil {
				call.x.SetVar("access_logger_names", c.vars)
			}
			logs.LogError(set, a, logs.ErrorEntry{Request: call.request, Snapshot: call.snapshot, Exchange: call.x, Err: c.err, Handled: c.handled, Second: c.second, Duration: time.Second / 2})
			want := c.want
			if want != "" {
				want += "\n"
			}
			equal(t, "entry", w.err(), want)
		})
	}
}

// The snapshot serves the error entry and then the access entry.
func TestErrorThenAccess(t *testing.T) {
	w := newWorld(t)
	set := w.use(`{}`)
	a := mustAccess(t, `{}`)
	call := begin(a, get("/x"))
	call.request.Method, call.request.RequestURI = "PUT", "/y"
	err := handlers.NewError(500, errors.New("boom"))
	logs.LogError(set, a, logs.ErrorEntry{Request: call.request, Snapshot: call.snapshot, Exchange: call.x, Err: err})
	call.w.WriteHeader(500)
	a.Log(set, logs.AccessEntry{Snapshot: call.snapshot, Exchange: call.x})
	lines := strings.SplitAfter(w.err(), "\n")
	for i, logger := range []string{"http.log.error", "http.log.access"} {
		m := lineOf(t, lines[i])
		r := m["request"].(map[string]any)
		equal(t, "line", fmt.Sprint(m["logger"], r["method"], r["uri"]), logger+"GET/x")
	}
}

func TestTrace(t *testing.T) {
	w := newWorld(t)
	set := w.use(`{"logs":{"default":{"level":"DEBUG",` + noTime + `}}}`)
	if !mustAccess(t, `{"trace":true}`).Trace() || mustAccess(t, `{}`).Trace() {
		t.Error("Trace does not say what the config says")
	}
	node, _, _ := config.Parse([]byte(`{"handler":"static_response","body":"<x>"}`), config.Limits{})
	logs.LogTrace(set, "static_response", node)
	equal(t, "entry", w.err(), `{"level":"debug","logger":"http.log.trace","msg":"static_response","module":{"body":"\u003cx\u003e","handler":"static_response"}}`+"\n")
}

// benchSet is a Set whose output costs nothing.
func benchSet(b testing.TB, level string) *logs.Set {
	w := &world{t: &testing.T{}, sw: logs.NewSwitch(logs.Process{})}
	return w.use(`{"logs":{"default":{"level":"` + level + `"}}}`)
}

func TestAllocations(t *testing.T) {
	a := mustAccess(t, `{"logger_names":{"example.com":"x"}}`)
	for _, c := range []struct {
		level string
		max   float64
	}{{"FATAL", 0}, {"INFO", 1}} {
		set := benchSet(t, c.level)
		call := begin(a, get("/x", "User-Agent", "test", "Accept", "*/*", "Cookie", "c"))
		call.x.SetVar("client_ip", any("1.2.3.4"))
		call.w.WriteHeader(200)
		one := func() {
			a.Log(set, logs.AccessEntry{Snapshot: logs.Snap(a, call.request), Exchange: call.x, Duration: time.Second})
		}
		for range 100 {
			one()
		}
		if n := testing.AllocsPerRun(1000, one); n > c.max && !raceEnabled {
			t.Errorf("an access entry at level %s allocates %v times, want at most %v", c.level, n, c.max)
		}
		if n := testing.AllocsPerRun(100, func() { set.Logger("http.handlers.reverse_proxy").Debug("no") }); n > 0 {
			t.Errorf("a disabled entry allocates %v times", n)
		}
	}
}

func benchmarkAccess(b *testing.B, level string) {
	set := benchSet(b, level)
	a := mustAccess(b, `{"logger_names":{"example.com":"x"}}`)
	call := begin(a, get("/x", "User-Agent", "curl/8.0.0", "Accept", "*/*", "Cookie", "c", "Accept-Encoding", "gzip, br", "X-Forwarded-For", "1.2.3.4"))
	call.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	call.w.WriteHeader(200)
	b.ReportAllocs()
	for b.Loop() {
		a.Log(set, logs.AccessEntry{Snapshot: logs.Snap(a, call.request), Exchange: call.x, Duration: 160 * time.Microsecond})
	}
}

func BenchmarkAccessEntry(b *testing.B)         { benchmarkAccess(b, "INFO") }
func BenchmarkAccessEntryDisabled(b *testing.B) { benchmarkAccess(b, "FATAL") }
func BenchmarkDebugDisabled(b *testing.B) {
	set := benchSet(b, "INFO")
	b.ReportAllocs()
	for b.Loop() {
		if ce := set.Logger("http.handlers.reverse_proxy").Check(zap.DebugLevel, "no"); ce != nil {
			ce.Write(zap.Int("n", 1))
		}
	}
}
