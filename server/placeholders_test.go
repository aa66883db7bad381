package server_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// lookedUp is what a handler finds under a name.
type lookedUp struct {
	Known bool
	Type  string
	Text  string
}

// lookupSpec answers with what it finds under names. With after it looks when
// the handlers behind it are done, and answers then.
func lookupSpec() module.Spec {
	return module.New("http.handlers.lookup", "Looks names up.", nil, func(_ *module.Env, c *struct {
		Names  []string          `json:"names"`
		After  bool              `json:"after"`
		Change bool              `json:"change"`
		Vars   map[string]string `json:"vars"`
	}) (handlers.Handler, error) {
		return handlers.HandlerFunc(func(rw http.ResponseWriter, r *http.Request, next handlers.Next) error {
			x := handlers.Of(r)
			if c.Change {
				r.Method, r.URL.Path, r.URL.RawQuery = "PUT", "/new/path", "q=1"
			}
			for k, v := range c.Vars {
				x.SetVar(k, v)
			}
			if c.After {
				if err := next.ServeHTTP(rw, r); err != nil {
					return err
				}
			}
			out := map[string]lookedUp{}
			for _, name := range c.Names {
				v, known := x.Lookup(name)
				text, alsoKnown, ok := x.LookupString(name)
				if alsoKnown != known || ok && text != vars.ToString(v) && !strings.Contains(name, "duration") && !strings.HasPrefix(name, "time.") {
					return fmt.Errorf("%s: as text %q, %v; as value %v, %v", name, text, alsoKnown, v, known)
				}
				out[name] = lookedUp{known, fmt.Sprintf("%T", v), vars.ToString(v)}
			}
			rw.Header().Set("X-Answer", "a")
			rw.Header().Add("X-Answer", "b")
			return json.NewEncoder(rw).Encode(out)
		}), nil
	})
}

// expectation is what a name stands for: a text, with its type if that is not
// string. unknown is a name that nobody knows.
type expectation struct{ name, kind, text string }

const unknown = "unknown"

// pattern marks a text that is a regular expression.
const pattern = "~"

func (w *world) checkNames(t *testing.T, got map[string]lookedUp, want []expectation) {
	t.Helper()
	for _, e := range want {
		g, asked := got[e.name]
		if e.kind == "" {
			e.kind = "string"
		}
		expr, isPattern := strings.CutPrefix(e.text, pattern)
		switch {
		case !asked:
			t.Errorf("%s was not looked up", e.name)
		case e.kind == unknown && g.Known:
			t.Errorf("{%s} is %q; want it unknown", e.name, g.Text)
		case e.kind == unknown:
		case !g.Known:
			t.Errorf("{%s} is unknown", e.name)
		case g.Type != e.kind:
			t.Errorf("{%s} is a %s, %q; want a %s", e.name, g.Type, g.Text, e.kind)
		case isPattern && !regexp.MustCompile("^(?:"+expr+")$").MatchString(g.Text), !isPattern && g.Text != e.text:
			t.Errorf("{%s} is %q, want %q", e.name, g.Text, e.text)
		}
	}
}

func namesOf(list []expectation) string {
	var names []string
	for _, e := range list {
		names = append(names, e.name)
	}
	text, _ := json.Marshal(names)
	return string(text)
}

// ask sends a request, whose bytes are given, and reads the answer.
func askNames(t *testing.T, network, address, request string) map[string]lookedUp {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil || res.StatusCode != 200 {
		t.Fatalf("%s %s %v", res.Status, body.String(), err)
	}
	out := map[string]lookedUp{}
	if err := json.Unmarshal(body.Bytes(), &out); err != nil {
		t.Fatalf("%s: %v", body.String(), err)
	}
	return out
}

// globalNames is section 8.2.
func globalNames(t *testing.T) []expectation {
	t.Helper()
	t.Setenv("SLUICE_TEST_NAME", "value")
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("two\nlines\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return []expectation{
		{"env.SLUICE_TEST_NAME", "", "value"},
		{"env.SLUICE_NO_SUCH", "", ""},
		{"file." + file, "", "two\nlines"},
		{"file." + file + "x", "<nil>", ""},
		{"system.hostname", "", host},
		{"system.slash", "", "/"},
		{"system.os", "", runtime.GOOS},
		{"system.arch", "", runtime.GOARCH},
		{"system.wd", "", wd},
		{"system.nope", unknown, ""},
		{"time.now", "time.Time", pattern + `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \S+ \S+ m=\S+`},
		{"time.now.http", "", pattern + `\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT`},
		{"time.now.common_log", "", pattern + `\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}`},
		{"time.now.year", "", pattern + `\d{4}`},
		{"time.now.unix", "", pattern + `\d{10}`},
		{"time.now.unix_ms", "", pattern + `\d{13}`},
		{"time.nope", unknown, ""},
		{"event.name", unknown, ""},
		{"nonsense", unknown, ""},
		{"", unknown, ""},
	}
}

// requestNames is section 8.3 for the example of its head, after a handler has
// changed the request. Local and remote addresses are those given.
func requestNames(local string) []expectation {
	host, port, _ := net.SplitHostPort(local)
	list := []expectation{
		{"method", "", "PUT"}, {"scheme", "", "http"}, {"proto", "", "HTTP/1.1"}, {"proto_name", "", "HTTP/1.1"},
		{"host", "", "Sub.A.test"}, {"port", "int", "8080"}, {"hostport", "", "Sub.A.test:8080"},
		{"host.labels.0", "", "test"}, {"host.labels.1", "", "a"}, {"host.labels.2", "", "sub"}, {"host.labels.3", "", ""}, {"host.labels.-1", unknown, ""}, {"host.labels.x", unknown, ""},
		{"local", "", local}, {"local.host", "", host}, {"local.port", "int", port},
		{"remote", "", pattern + `127\.0\.0\.1:\d+`}, {"remote.host", "", "127.0.0.1"}, {"remote.port", "int", pattern + `\d+`},
		{"remote.host/8", "", "127.0.0.0/8"}, {"remote.host/8,64", "", "127.0.0.0/8"}, {"remote.host/33", "", ""}, {"remote.host/x", "", ""},
		{"uri", "", "/new/path?q=1"}, {"uri_escaped", "", "%2Fnew%2Fpath%3Fq%3D1"},
		{"uri.path", "", "/new/path"}, {"uri.path_escaped", "", "%2Fnew%2Fpath"}, {"uri.path.0", "", "new"}, {"uri.path.1", "", "path"}, {"uri.path.2", "", ""},
		{"uri.path.-1", unknown, ""}, {"uri.path.x", unknown, ""}, {"uri.path.dir", "", "/new/"}, {"uri.path.file", "", "path"}, {"uri.path.file.base", "", "path"}, {"uri.path.file.ext", "", ""},
		{"uri.query", "", "q=1"}, {"uri.query_escaped", "", "q%3D1"}, {"uri.prefixed_query", "", "?q=1"}, {"uri.query.q", "", "1"}, {"uri.query.none", "", ""},
		{"header.X-Many", "", "1,2"}, {"header.x-MANY", "", "1,2"}, {"header.None", "", ""}, {"header.Host", "", ""},
		{"cookie.Session", "", "s"}, {"cookie.SESSION", "", "s"}, {"cookie.none", unknown, ""},
		{"body", "", "hello"}, {"body_base64", "", "aGVsbG8="},
		{"uuid", "", pattern + `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`},
		{"duration", "time.Duration", pattern + `[0-9.]+(ns|µs|ms|s)`}, {"duration_ms", "float64", pattern + `[0-9.e-]+`},
		{"orig_method", "", "POST"}, {"orig_uri", "", "/foo/bar.tar.gz?a=1&b=2&a=3"},
		{"orig_uri.path", "", "/foo/bar.tar.gz"}, {"orig_uri.path.0", "", "foo"}, {"orig_uri.path.9", "", ""}, {"orig_uri.path.dir", "", "/foo/"}, {"orig_uri.path.file", "", "bar.tar.gz"},
		{"orig_uri.query", "", "a=1&b=2&a=3"}, {"orig_uri.prefixed_query", "", "?a=1&b=2&a=3"},
		{"orig_uri.path.file.base", unknown, ""}, {"orig_uri.path.file.ext", unknown, ""}, {"orig_uri.query.a", unknown, ""}, {"nonsense", unknown, ""},
	}
	for _, name := range []string{"version", "cipher_suite", "resumed", "ech", "proto", "proto_mutual", "server_name", "client.fingerprint", "client.public_key",
		"client.public_key_sha256", "client.issuer", "client.subject", "client.serial", "client.certificate_pem", "client.certificate_der_base64",
		"client.san.dns_names", "client.san.dns_names.0", "client.san.emails", "client.san.ips", "client.san.uris"} {
		list = append(list, expectation{"tls." + name, unknown, ""})
	}
	for i := range list {
		list[i].name = "http.request." + list[i].name
	}
	return list
}

// otherNames is sections 8.4 and 8.6.
func otherNames() []expectation {
	return []expectation{
		{"http.response.header.Server", "", "sluice"}, {"http.response.header.server", "", "sluice"}, {"http.response.header.None", "", ""},
		{"http.vars.own", "", "mine"}, {"http.vars.none", "<nil>", ""},
		{"http.shutting_down", "bool", "false"}, {"http.time_until_shutdown", "<nil>", ""},
		{"http.response.status", unknown, ""}, {"http.response.size", unknown, ""}, {"http.response.duration", unknown, ""}, {"http.response.duration_ms", unknown, ""},
		{"http.vars.client_ip", "", "127.0.0.1"}, {"http.vars.trusted_proxy", "bool", "false"}, {"http.vars.start_time", "time.Time", pattern + `\d{4}-.*`},
		{"http.vars.trace_id", "<nil>", ""}, {"http.vars.span_id", "<nil>", ""}, {"http.vars.unhandled", "<nil>", ""},
		{"http.error.status_code", unknown, ""}, {"http.regexp.0", unknown, ""}, {"http.matchers.file.type", unknown, ""}, {"http.auth.user.id", unknown, ""},
		{"http.reverse_proxy.status_code", unknown, ""}, {"http.intercept.status_code", unknown, ""}, {"http.nonsense", unknown, ""},
	}
}

// TestEveryPlaceholder walks the whole list of sections 8.2 to 8.4 and 8.6 with
// the example request of the reference on a real socket.
func TestEveryPlaceholder(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	local := fmt.Sprintf("127.0.0.1:%d", port)
	all := append(append(globalNames(t), requestNames(local)...), otherNames()...)
	w.mustLoad(site(port, fmt.Sprintf(`{"match":[{"path":["/foo/*"]}],"handle":[{"handler":"lookup","change":true,"vars":{"own":"mine"},"names":%s}]},
		{"match":[{"path":["/end"]}],"handle":[{"handler":"lookup","after":true,"names":["http.vars.unhandled","http.response.header.Server"]}]},
		{"match":[{"path":["/unset"]}],"handle":[{"handler":"lookup","names":["http.vars.uuid"]}]},
		{"match":[{"path":["/uuid"]}],"handle":[{"handler":"lookup","names":["http.request.uuid","http.vars.uuid"]}]}`, namesOf(all))))
	got := askNames(t, "tcp", local, "POST /foo/bar.tar.gz?a=1&b=2&a=3 HTTP/1.1\r\nHost: Sub.A.test:8080\r\nX-Many: 1\r\nX-Many: 2\r\nCookie: session=s; a=b\r\nContent-Length: 5\r\n\r\nhello")
	w.checkNames(t, got, all)
	if len(all) < 130 {
		t.Errorf("only %d names", len(all))
	}

	got = askNames(t, "tcp", local, "GET /end HTTP/1.1\r\nHost: a\r\n\r\n")
	w.checkNames(t, got, []expectation{{"http.vars.unhandled", "bool", "true"}, {"http.response.header.Server", "", "sluice"}})
	got = askNames(t, "tcp", local, "GET /unset HTTP/1.1\r\nHost: a\r\n\r\n")
	w.checkNames(t, got, []expectation{{"http.vars.uuid", "<nil>", ""}})
	got = askNames(t, "tcp", local, "GET /uuid HTTP/1.1\r\nHost: a\r\n\r\n")
	if a, b := got["http.request.uuid"], got["http.vars.uuid"]; a != b || len(a.Text) != 36 {
		t.Errorf("uuid %v, as a variable %v", a, b)
	}
}

// TestPlaceholdersOfConnections: other protocols and sockets.
func TestPlaceholdersOfConnections(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	path := filepath.Join(t.TempDir(), "s")
	names := []string{"proto", "proto_name", "scheme", "local", "local.host", "local.port", "remote", "remote.host", "remote.port", "remote.host/24", "host", "port", "hostport"}
	var list []expectation
	for _, n := range names {
		list = append(list, expectation{name: "http.request." + n})
	}
	w.mustLoad(fmt.Sprintf(`{"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%d","[::1]:%d","unix/%s"],"automatic_https":{"disable":true},"routes":[{"handle":[{"handler":"lookup","names":%s}]}]}}}}}`,
		port, port, path, namesOf(list)))
	check := func(got map[string]lookedUp, want map[string]string) {
		t.Helper()
		for name, text := range want {
			if g := got["http.request."+name]; !g.Known || g.Text != text {
				t.Errorf("{http.request.%s} is %+v, want %q", name, g, text)
			}
		}
	}
	check(askNames(t, "unix", path, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), map[string]string{
		"remote": "@", "remote.host": "@", "remote.port": "", "remote.host/24": "@", "local": path, "local.host": path, "local.port": "", "host": "a", "port": "", "hostport": "a"})
	six := "[::1]:" + strconv.Itoa(port)
	check(askNames(t, "tcp", six, "GET / HTTP/1.0\r\nHost: [::1]:80\r\n\r\n"), map[string]string{
		"proto": "HTTP/1.0", "proto_name": "HTTP/1.0", "remote.host": "::1", "remote.host/24": "::/24", "local": six, "local.host": "::1", "host": "::1", "port": "80", "hostport": "[::1]:80"})
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: p}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Get("http://127.0.0.1:" + strconv.Itoa(port) + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := map[string]lookedUp{}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	check(got, map[string]string{"proto": "HTTP/2.0", "proto_name": "HTTP/2", "scheme": "http", "remote.host": "127.0.0.1"})
}
