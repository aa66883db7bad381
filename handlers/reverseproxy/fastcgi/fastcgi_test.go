package fastcgi_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/fastcgi"
	"github.com/sluiceproxy/sluice/upstream"
)

// env asks for the variables of a request and returns them.
func (f *front) env(method, target string, pairs ...string) map[string]string {
	f.t.Helper()
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader("0123456789")
	}
	res := f.do(method, target, body, 10, pairs...)
	if res.StatusCode != 200 || res.err != nil {
		f.t.Fatalf("%s %s: %d %v %s", method, target, res.StatusCode, res.err, res.Header.Get("X-Error"))
	}
	env := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(res.body), "\n") {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	return env
}

// FC-1, and what follows of it.
func TestSplit(t *testing.T) {
	tests := []struct{ split, path, script, info string }{
		{`".php"`, "/x/Run.PHP/a", "/x/Run.PHP", "/a"},
		{`".php"`, "/index.php", "/index.php", ""},
		{`".php"`, "/a.php.bak", "/a.php", ".bak"},
		{`".php"`, "/readme.md", "/readme.md", ""},
		{`".php"`, "/ẞẞup.php.jpg.php", "/ẞẞup.php", ".jpg.php"},
		{`".php"`, "/q．php", "/q．php", ""},
		{`".php"`, "/q.ｐhp", "/q.ｐhp", ""},
		{`".php"`, "/q.ⓟhp", "/q.ⓟhp", ""},
		{`".php"`, "/q.𝓅𝒽𝓅", "/q.𝓅𝒽𝓅", ""},
		{`".php"`, "/q.ⓟhp.z.php", "/q.ⓟhp.z.php", ""},
		{`".php"`, "/K.php/K", "/K.php", "/K"},
		{`".php",".phtml"`, "/i.phtml/x.php", "/i.phtml/x.php", ""},
		{`".phtml",".php"`, "/i.phtml/x.php", "/i.phtml", "/x.php"},
		{`".PhP"`, "/a.pHp/b", "/a.pHp", "/b"},
		{``, "/a.php/b", "", "/a.php/b"},
		{`".php"`, "/a.php/../../etc/passwd", "/a.php", "/../../etc/passwd"},
		{`".php"`, "/../../etc/a.php", "/../../etc/a.php", ""},
		{`".php"`, "/a.php/", "/a.php", "/"},
	}
	up := variables(t)
	for _, tt := range tests {
		f := start(t, up, `"root":"/srv/app","split_path":[`+tt.split+`]`, "", func(f *front) {
			f.before = func(r *http.Request, _ *handlers.Exchange) { r.URL.Path = tt.path }
		})
		env := f.env("GET", "/")
		if env["SCRIPT_NAME"] != tt.script || env["PATH_INFO"] != tt.info {
			t.Errorf("%s of %s: %q and %q, want %q and %q", tt.split, tt.path, env["SCRIPT_NAME"], env["PATH_INFO"], tt.script, tt.info)
		}
		if name := env["SCRIPT_FILENAME"]; name != "/srv/app" && !strings.HasPrefix(name, "/srv/app/") || strings.Contains(name, "..") {
			t.Errorf("%s: the file is %q", tt.path, name)
		}
		translated, ok := env["PATH_TRANSLATED"]
		if ok != (tt.info != "") || ok && (!strings.HasPrefix(translated, "/srv/app") || strings.Contains(translated, "..")) {
			t.Errorf("%s: PATH_TRANSLATED is %q", tt.path, translated)
		}
		wantURI := tt.script
		if env["DOCUMENT_URI"] != wantURI || env["DOCUMENT_ROOT"] != "/srv/app" {
			t.Errorf("%s: DOCUMENT_URI %q, DOCUMENT_ROOT %q", tt.path, env["DOCUMENT_URI"], env["DOCUMENT_ROOT"])
		}
	}
}

func TestNULInPath(t *testing.T) {
	f := start(t, variables(t), `"split_path":[".php"]`, "", nil)
	f.get("/a%00.php").want(t, 400, "")
}

// Section 13.3.
func TestVariables(t *testing.T) {
	f := start(t, variables(t), `"root":"/srv/app","split_path":[".php"],"env":{"APP":"{http.request.host}","SERVER_NAME":"mine","HTTP_X_FIXED":"config","HTTP_PROXY":"kept"}`,
		`"rewrite":{"uri":"/in/x.php/info?b=2"}`, func(f *front) {
			f.before = func(_ *http.Request, x *handlers.Exchange) { x.Set("http.auth.user.id", "bob") }
		})
	env := f.env("POST", "/out?a=1", "Host", "app.test:8443", "X-A", "1", "X-A", "2", "Proxy", "evil", "X-Fixed", "client", "X_Under", "u", "X-Under", "hyphen", "User-Agent", "t")
	host, port, _ := net.SplitHostPort(f.Listener.Addr().String())
	for name, want := range map[string]string{
		"AUTH_TYPE": "", "REMOTE_IDENT": "", "CONTENT_LENGTH": "10", "CONTENT_TYPE": "application/x-www-form-urlencoded", "GATEWAY_INTERFACE": "CGI/1.1",
		"PATH_INFO": "/info", "PATH_TRANSLATED": "/srv/app/info", "QUERY_STRING": "b=2", "REMOTE_ADDR": "127.0.0.1", "REMOTE_HOST": "127.0.0.1", "REMOTE_USER": "bob",
		"REQUEST_METHOD": "POST", "REQUEST_SCHEME": "http", "REQUEST_URI": "/out?a=1", "SERVER_NAME": "mine", "SERVER_PORT": "8443", "SERVER_ADDR": host,
		"SERVER_PROTOCOL": "HTTP/1.1", "DOCUMENT_ROOT": "/srv/app", "DOCUMENT_URI": "/in/x.php", "SCRIPT_NAME": "/in/x.php", "SCRIPT_FILENAME": "/srv/app/in/x.php",
		"HTTP_HOST": "app.test:8443", "HTTP_X_A": "1, 2", "HTTP_X_FIXED": "config", "HTTP_PROXY": "kept", "APP": "app.test", "HTTP_USER_AGENT": "t", "HTTP_X_UNDER": "hyphen",
	} {
		if got, ok := env[name]; !ok || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"HTTPS", "SSL_PROTOCOL", "SSL_CIPHER"} {
		if got, ok := env[name]; ok {
			t.Errorf("%s is %q without TLS", name, got)
		}
	}
	if env["REMOTE_PORT"] == "" || env["REMOTE_PORT"] == port || !strings.HasPrefix(env["SERVER_SOFTWARE"], "sluice") {
		t.Errorf("REMOTE_PORT %q, SERVER_SOFTWARE %q", env["REMOTE_PORT"], env["SERVER_SOFTWARE"])
	}
	if env := start(t, variables(t), "", "", nil).env("GET", "/a", "Host", "[::1]"); env["SERVER_NAME"] != "::1" || env["SERVER_PORT"] != "80" || env["CONTENT_TYPE"] != "" || env["CONTENT_LENGTH"] != "0" {
		t.Errorf("%v", env)
	}
	if _, ok := start(t, variables(t), "", "", nil).env("GET", "/a", "Proxy", "evil")["HTTP_PROXY"]; ok {
		t.Error("the header Proxy is exported")
	}
}

func TestVariablesOfTLS(t *testing.T) {
	f := start(t, variables(t), "", "", func(f *front) {
		f.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
		f.StartTLS()
	})
	env := f.env("GET", "/a", "Host", "app.test")
	if env["HTTPS"] != "on" || env["SSL_PROTOCOL"] != "TLSv1.2" || !strings.HasPrefix(env["SSL_CIPHER"], "TLS_ECDHE") || env["SERVER_PORT"] != "443" || env["REQUEST_SCHEME"] != "https" {
		t.Errorf("%v", env)
	}
}

func TestRoot(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "v2")
	if err := os.Mkdir(real, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "current")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	resolved, err := filepath.EvalSymlinks(real)
	if err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	up := variables(t)
	setRoot := func(f *front) {
		f.before = func(_ *http.Request, x *handlers.Exchange) { x.SetVar("root", link) }
	}
	for _, tt := range []struct {
		transport string
		adjust    func(*front)
		want      string
	}{
		{`"root":"/srv/{http.request.host}"`, nil, "/srv/app.test"},
		{`"root":"/srv/../x/"`, nil, "/x"},
		{``, setRoot, link},
		{`"resolve_root_symlink":true`, setRoot, resolved},
		{``, nil, wd},
		{`"root":"sub"`, nil, filepath.Join(wd, "sub")},
	} {
		if got := start(t, up, tt.transport, "", tt.adjust).env("GET", "/", "Host", "app.test")["DOCUMENT_ROOT"]; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.transport, got, tt.want)
		}
	}
	start(t, up, `"root":"/none/such","resolve_root_symlink":true`, "", nil).get("/").want(t, 502, "")
	f := start(t, up, `"split_path":[".php"],"root":"/srv"`, "", func(f *front) {
		f.before = func(_ *http.Request, x *handlers.Exchange) { x.Set("http.matchers.file.remainder", "/rest") }
	})
	if env := f.env("GET", "/a.php"); env["PATH_INFO"] != "/rest" || env["PATH_TRANSLATED"] != "/srv/rest" {
		t.Errorf("the remainder of the file matcher: %q, %q", env["PATH_INFO"], env["PATH_TRANSLATED"])
	}
}

// FC-7 and FC-8.
func TestMethodsAndLengths(t *testing.T) {
	up := raw(t, func(c *conversation) {
		c.stdout("X-Method: " + c.params["REQUEST_METHOD"] + "\r\nX-Length: " + c.params["CONTENT_LENGTH"] + fmt.Sprintf("\r\nX-Got: %d", len(c.stdin)) + "\r\n\r\n")
		c.end(0)
	})
	long := strings.Repeat("x", 5000)
	tests := []struct {
		method, body string
		length       int64
		handler      string
		status       int
		want         string // method, length, bytes
	}{
		{"GET", "", 0, "", 200, "GET 0 0"},
		{"GET", "ab", 2, "", 200, "GET 2 2"},
		{"HEAD", "", 0, "", 200, "HEAD 0 0"},
		{"OPTIONS", "abc", 3, "", 200, "OPTIONS 0 0"},
		{"POST", long, 5000, "", 200, "POST 5000 5000"},
		{"patch", "abc", 3, "", 200, "PATCH 3 3"},
		{"DELETE", "", 0, "", 200, "DELETE 0 0"},
		{"POST", "abc", -1, "", 200, "POST 3 3"},
		{"POST", long[:4095], -1, "", 200, "POST 4095 4095"},
		{"POST", long[:4096], -1, "", 200, "POST 4096 4096"},
		{"POST", long, -1, "", 200, "POST 5000 5000"},
		{"GET", long, -1, "", 200, "GET 5000 5000"},
		{"OPTIONS", long, -1, "", 200, "OPTIONS 0 0"},
		{"POST", long, -1, "spool 5000", 200, "POST 5000 5000"},
		{"POST", long, -1, "spool 4999", 413, ""},
		{"POST", long, 5000, "spool 100", 200, "POST 5000 5000"},
		{"POST", long[:4095], -1, "spool -1", 200, "POST 4095 4095"},
		{"POST", long[:4096], -1, "spool -1", 411, ""},
		{"POST", long, -1, "spool -1", 411, ""},
		{"GET", long, -1, "spool -1", 411, ""},
		{"POST", long, -1, `"request_buffers":5001`, 200, "POST 5000 5000"},
		{"POST", long, -1, `"request_buffers":-1`, 200, "POST 5000 5000"},
	}
	for _, tt := range tests {
		transport, handler := "", tt.handler
		if size, ok := strings.CutPrefix(handler, "spool "); ok {
			transport, handler = `"body_spool_size":`+size, ""
		}
		f := start(t, up, transport, handler, nil)
		var body io.Reader
		if tt.body != "" {
			body = io.MultiReader(strings.NewReader(tt.body))
		}
		res := f.do(tt.method, "/", body, tt.length)
		got := strings.TrimSpace(res.Header.Get("X-Method") + " " + res.Header.Get("X-Length") + " " + res.Header.Get("X-Got"))
		if res.StatusCode != tt.status || got != tt.want {
			t.Errorf("%s with %d bytes, length %d, %s: %d %q (%s), want %d %q", tt.method, len(tt.body), tt.length, tt.handler, res.StatusCode, got, res.Header.Get("X-Error"), tt.status, tt.want)
		}
	}
}

// FC-10: the records, the lengths of names and values, and bodies of all sizes.
func TestRecords(t *testing.T) {
	long, longer := strings.Repeat("v", 128), strings.Repeat("w", 100_000)
	sizes := []int{1, 7, 8, 32752, 32753, 65535, 65536, 1 << 20}
	seen := make(chan *conversation, len(sizes))
	up := raw(t, func(c *conversation) {
		c.stdout("Content-Type: text/plain\r\n\r\n")
		c.stdout(string(c.stdin))
		c.end(0)
		seen <- c
	})
	f := start(t, up, `"env":{"A":"`+long+`","`+long+`":"b","LONGER":"`+longer+`","E":""}`, "", nil)
	for _, size := range sizes {
		body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		f.do("POST", "/", bytes.NewReader(body), int64(size)).want(t, 200, string(body))
		c := <-seen
		if !bytes.Equal(c.begin, []byte{0, 1, 0, 0, 0, 0, 0, 0}) {
			t.Errorf("the request begins with %v", c.begin)
		}
		if c.params["A"] != long || c.params[long] != "b" || c.params["LONGER"] != longer || c.params["E"] != "" {
			t.Error("variables have not come as they were sent")
		}
		if c.counts[1] != 1 || c.counts[4] < 3 {
			t.Errorf("records: %v", c.counts)
		}
	}
}

// FC-11.
func TestResponses(t *testing.T) {
	tests := []struct {
		name, stdout string
		status       int
		body         string
		header       string // "Name: value" that has to be there
		cut          bool
	}{
		{name: "plain", stdout: "Content-Type: text/x\r\n\r\nhello", status: 200, body: "hello", header: "Content-Type: text/x"},
		{name: "LF", stdout: "Content-Type: text/x\n\nhello", status: 200, body: "hello", header: "Content-Type: text/x"},
		{name: "status", stdout: "Status: 404 Not Here\r\n\r\nno", status: 404, body: "no", header: "Status: 404 Not Here"},
		{name: "status without a reason", stdout: "Status: 503\r\n\r\n", status: 503},
		{name: "location", stdout: "Location: /x\r\n\r\n", status: 200, header: "Location: /x"},
		{name: "redirect", stdout: "Status: 302 Found\r\nLocation: /x\r\n\r\n", status: 302, header: "Location: /x"},
		{name: "length", stdout: "Content-Length: 5\r\n\r\nhello", status: 200, body: "hello", header: "Content-Length: 5"},
		{name: "longer than the length", stdout: "Content-Length: 5\r\n\r\nhello, and more", status: 200, body: "hello"},
		{name: "shorter than the length", stdout: "Content-Length: 50\r\n\r\nhello", status: 200, cut: true},
		{name: "equal lengths", stdout: "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", status: 200, body: "ab"},
		{name: "conflicting lengths", stdout: "Content-Length: 2\r\nContent-Length: 3\r\n\r\nab", status: 502},
		{name: "bad length", stdout: "Content-Length: x\r\n\r\nab", status: 502},
		{name: "chunked", stdout: "Transfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status: 200, body: "hello"},
		{name: "bad chunk", stdout: "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello", status: 200, cut: true},
		{name: "status that is none", stdout: "Status: fine\r\n\r\n", status: 502},
		{name: "status out of range", stdout: "Status: 100 Continue\r\n\r\n", status: 502},
		{name: "switching", stdout: "Status: 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", status: 502},
		{name: "no header", stdout: "hello", status: 502},
		{name: "not a header", stdout: "hello\r\n\r\n", status: 502},
		{name: "nothing", stdout: "", status: 502},
		{name: "oversized", stdout: "X: " + strings.Repeat("x", 2<<20) + "\r\n\r\n", status: 502},
		{name: "204 with a body", stdout: "Status: 204 No Content\r\nContent-Length: 5\r\n\r\nhello", status: 204},
		{name: "304 with a body", stdout: "Status: 304 Not Modified\r\n\r\nhello", status: 304},
		{name: "large", stdout: "X: y\r\n\r\n" + strings.Repeat("0123456789", 100_000), status: 200, body: strings.Repeat("0123456789", 100_000)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up := raw(t, func(c *conversation) {
				c.stdout(tt.stdout)
				c.end(0)
			})
			handler := ""
			if tt.cut {
				handler = `"flush_interval":-1` // so that the client sees the header
			}
			res := start(t, up, "", handler, nil).get("/")
			if tt.cut {
				if res.err == nil {
					t.Errorf("the response ended as if complete: %d %q", res.StatusCode, res.body)
				}
				return
			}
			res.want(t, tt.status, tt.body)
			if name, value, ok := strings.Cut(tt.header, ": "); ok && res.Header.Get(name) != value {
				t.Errorf("%s is %q", name, res.Header.Get(name))
			}
			if via := res.Header.Get("Via"); tt.status != 502 && !strings.HasPrefix(via, "0.0 ") {
				t.Errorf("Via is %q", via)
			}
		})
	}
	up := raw(t, func(c *conversation) {
		c.stdout("Content-Length: 5\r\n\r\nhello") // as if it were no HEAD
		c.end(0)
	})
	res := start(t, up, "", "", nil).do("HEAD", "/", nil, 0)
	if res.want(t, 200, ""); res.Header.Get("Content-Length") != "5" {
		t.Errorf("a HEAD has the length %q", res.Header.Get("Content-Length"))
	}
}

// Faults of the protocol, and of the connection.
func TestFaults(t *testing.T) {
	tests := []struct {
		name   string
		serve  func(c *conversation)
		status int
		cut    bool
	}{
		{"closes at once", func(*conversation) {}, 502, false},
		{"closes in the header", func(c *conversation) { c.stdout("X: y\r\n") }, 502, false},
		{"closes in the body", func(c *conversation) { c.stdout("X: y\r\n\r\nhello") }, 200, true},
		{"closes after the body", func(c *conversation) { c.stdout("X: y\r\n\r\nhello"); c.send(6, "") }, 200, true},
		{"closes within a record", func(c *conversation) { c.Write([]byte{1, 6, 0, 1, 0, 100, 0, 0, 'X'}) }, 502, false},
		{"another version", func(c *conversation) { c.Write([]byte{2, 6, 0, 1, 0, 0, 0, 0}) }, 502, false},
		{"speaks HTTP", func(c *conversation) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, 502, false},
		{"overloaded", func(c *conversation) { c.end(2) }, 502, false},
		{"unknown role", func(c *conversation) { c.end(3) }, 502, false},
		{"short end", func(c *conversation) { c.send(3, "x") }, 502, false},
		{"unknown records", func(c *conversation) { c.send(11, "what"); c.stdout("X: y\r\n\r\n"); c.send(99, ""); c.end(0) }, 200, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := start(t, raw(t, tt.serve), "", `"flush_interval":-1`, nil).get("/")
			if res.StatusCode != tt.status || (res.err != nil) != tt.cut {
				t.Errorf("%d %q %v (%s), want %d, cut %v", res.StatusCode, res.body, res.err, res.Header.Get("X-Error"), tt.status, tt.cut)
			}
		})
	}
}

// FC-9: timeouts; and a connection that cannot be made is a failure to connect (quirk 3).
func TestTimeouts(t *testing.T) {
	silent := raw(t, func(c *conversation) { io.Copy(io.Discard, c.Conn) })
	start(t, silent, `"read_timeout":"50ms"`, "", nil).get("/").want(t, 504, "")
	slow := raw(t, func(c *conversation) { // progress does not help
		c.stdout("X: y\r\n\r\n")
		for range 1000 {
			c.stdout("x")
			<-time.After(5 * time.Millisecond)
			if _, err := c.Write(nil); err != nil {
				return
			}
		}
	})
	if res := start(t, slow, `"read_timeout":"100ms"`, `"flush_interval":-1`, nil).get("/"); res.StatusCode != 200 || res.err == nil {
		t.Errorf("a response that takes longer than its time: %d %v", res.StatusCode, res.err)
	}
	full := rawEarly(t, func(c *conversation) { <-t.Context().Done() })
	start(t, full, `"write_timeout":"50ms"`, "", nil).do("POST", "/", bytes.NewReader(make([]byte, 64<<20)), 64<<20).want(t, 504, "")

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	f := start(t, ln.Addr().String(), "", "", nil)
	f.get("/").want(t, 502, "")
	ok := raw(t, func(c *conversation) { c.stdout(fmt.Sprintf("X: y\r\n\r\n%d", len(c.stdin))); c.end(0) })
	f = start(t, ok, "", fmt.Sprintf(`"upstreams":[{"dial":%q},{"dial":%q}],"load_balancing":{"retries":1}`, ok, ln.Addr().String()), nil)
	f.do("POST", "/", strings.NewReader("body"), 4).want(t, 200, "4") // the second upstream is tried first
}

// FC-12.
func TestCaptureStderr(t *testing.T) {
	up := raw(t, func(c *conversation) {
		c.stderr("PHP Warning: one\n")
		c.stdout("Status: " + c.params["QUERY_STRING"] + "\r\nContent-Length: 2\r\n\r\nok")
		c.stderr("two\n")
		c.stderr(strings.Repeat("x", 60000))
		c.stderr(strings.Repeat("y", 60000))
		c.end(0)
	})
	for _, tt := range []struct {
		query, level string
		method       string
	}{{"200", "warn", "GET"}, {"404", "error", "GET"}, {"500", "error", "GET"}, {"204", "warn", "GET"}, {"200", "warn", "HEAD"}} {
		f := start(t, up, `"capture_stderr":true,"env":{"DB_PASSWORD":"s3cret"}`, "", nil)
		f.do(tt.method, "/?"+tt.query, nil, 0, "Authorization", "s3cret", "Cookie", "s3cret", "X-Open", "shown")
		var entries []string
		eventually(t, "a log line", func() bool {
			entries = nil
			for _, e := range f.logs.FilterMessage("stderr").All() {
				text := fmt.Sprint(e.ContextMap())
				if strings.Contains(text, "s3cret") || !strings.Contains(text, "shown") || !strings.Contains(text, "SERVER_SOFTWARE") {
					t.Errorf("the line shows what it should not, or not what it should: %.3000s", text)
				}
				body := e.ContextMap()["body"].(string)
				if !strings.HasPrefix(body, "PHP Warning: one\ntwo\nxxx") || len(body) > 64<<10 {
					t.Errorf("the line is %.40q, %d bytes", body, len(body))
				}
				entries = append(entries, e.Level.String())
			}
			return len(entries) > 0
		})
		if len(entries) != 1 || entries[0] != tt.level {
			t.Errorf("%s %s: levels %v, want %s", tt.method, tt.query, entries, tt.level)
		}
	}
	f := start(t, up, "", "", nil)
	f.get("/?500").want(t, 500, "ok")
	if n := f.logs.FilterMessage("stderr").Len(); n != 0 {
		t.Errorf("%d lines that nobody asked for", n)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// An upload that breaks off reaches the application as broken, and a client that leaves takes its request along.
func TestClientLeaves(t *testing.T) {
	got := make(chan *conversation, 1)
	up := raw(t, func(c *conversation) { got <- c })
	f := start(t, up, "", `"request_buffers":1`, nil)
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 50000))
	conn.(*net.TCPConn).CloseWrite()
	if c := <-got; c.broken == nil {
		t.Errorf("%d bytes were taken for the whole", len(c.stdin))
	}
	conn.Close()

	gone := make(chan error, 1)
	up = raw(t, func(c *conversation) {
		c.stdout("X: y\r\n\r\nhello")
		_, err := io.Copy(io.Discard, c.Conn)
		gone <- err
	})
	f = start(t, up, "", `"flush_interval":-1`, nil)
	conn, err = net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	conn.Read(make([]byte, 100))
	conn.Close()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the application was not told")
	}
}

// An application may answer before it has read the body.
func TestEarlyAnswer(t *testing.T) {
	up := rawEarly(t, func(c *conversation) {
		for {
			if kind, content, err := c.record(); err != nil || kind == 4 && len(content) == 0 {
				break
			}
		}
		c.stdout("Status: 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
		c.end(0)
		io.Copy(io.Discard, c.r)
	})
	f := start(t, up, "", "", nil)
	res := f.do("POST", "/", bytes.NewReader(make([]byte, 300_000)), 300_000)
	if res.StatusCode != 413 || res.body != "big" {
		t.Errorf("%d %q %v (%s)", res.StatusCode, res.body, res.err, res.Header.Get("X-Error"))
	}
}

// FLUSH-7: a response of unknown length is flushed only where that is asked for.
func TestFlushing(t *testing.T) {
	for _, interval := range []string{`"flush_interval":-1`, ``, `event`} {
		release := make(chan bool)
		up := raw(t, func(c *conversation) {
			kind := "text/plain"
			if interval == "event" {
				kind = "text/event-stream"
			}
			c.stdout("Content-Type: " + kind + "\r\n\r\nfirst")
			<-release
			c.stdout("second")
			c.end(0)
		})
		handler := interval
		if interval == "event" {
			handler = ""
		}
		f := start(t, up, "", handler, nil)
		conn, err := net.Dial("tcp", f.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if interval == "" {
			conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d bytes were flushed, %v", n, err)
			}
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			close(release)
		}
		text := make([]byte, 0, 4096)
		for !bytes.Contains(text, []byte("first")) {
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, err := conn.Read(text[len(text):cap(text)])
			if err != nil {
				t.Fatalf("%s: %q, %v", interval, text, err)
			}
			text = text[:len(text)+n]
		}
		if interval != "" {
			close(release)
		}
		rest, _ := io.ReadAll(conn)
		if !strings.Contains(string(text)+string(rest), "second") {
			t.Errorf("%q %q", text, rest)
		}
	}
}

// The same with Go's own implementation of the other side.
func TestGoResponder(t *testing.T) {
	up := responder(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Method", r.Method+" "+r.URL.RequestURI()+" "+r.Host)
		w.WriteHeader(201)
		io.Copy(w, r.Body)
	})
	f := start(t, up, `"split_path":[".php"]`, "", nil)
	big := strings.Repeat("0123456789", 200_000)
	res := f.do("PUT", "/a.php?x=1", strings.NewReader(big), int64(len(big)), "Host", "app.test")
	res.want(t, 201, big)
	if got := res.Header.Get("X-Method"); got != "PUT /a.php?x=1 app.test" {
		t.Errorf("%q", got)
	}
	f.get("/").want(t, 201, "")
}

// FC-13: active checks have no client.
func TestRequestOfNoClient(t *testing.T) {
	table := builder(t)
	node, _, err := config.Parse([]byte(`{"root":"/srv","split_path":[".php"]}`), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	res := table.Build(nil, fastcgi.Spec().ID, node, module.Options{})
	tr := res.Root.Value().(upstream.Transport)
	a, err := upstream.ParseDial(variables(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+a.URLHost+"/ping.php?x", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || !strings.Contains(string(text), "REQUEST_URI=/ping.php?x\n") || !strings.Contains(string(text), "SCRIPT_FILENAME=/srv/ping.php\n") {
		t.Errorf("%s, %v", text, err)
	}
	same := table.Build(nil, fastcgi.Spec().ID, node, module.Options{}).Root.Value().(upstream.Identified)
	if tr.(upstream.Identified).Identity() != same.Identity() {
		t.Error("transports of one meaning are not one")
	}
}

func TestProblems(t *testing.T) {
	b := builder(t)
	for text, want := range map[string]string{
		`{"split_path":[".php",".phé"]}`: "/split_path/1", `{"split_path":[""]}`: "/split_path/0", `{"env":{"A=B":"x"}}`: "/env/A=B", `{"dial_timeout":-1}`: "/dial_timeout", `{"x":1}`: "/x",
	} {
		node, _, err := config.Parse([]byte(text), config.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		ps := b.Build(nil, fastcgi.Spec().ID, node, module.Options{}).Problems
		if len(ps) != 1 || ps[0].Pointer != want {
			t.Errorf("%s: %v", text, ps)
		}
	}
	for _, e := range fastcgi.Spec().Examples {
		node, _, err := config.Parse([]byte(strings.Replace(e.JSON, `"protocol":"fastcgi",`, "", 1)), config.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if ps := b.Build(nil, fastcgi.Spec().ID, node, module.Options{}).Problems; len(ps) > 0 {
			t.Errorf("%s: %v", e.JSON, ps)
		}
	}
}

func TestWords(t *testing.T) {
	read := func(text string) (string, error) {
		h, err := adapttest.Handler(t, "reverse_proxy a:1 {\ntransport fastcgi"+text+"\n}")
		return string(h.Get("transport").AppendJSON(nil)), err
	}
	for text, want := range map[string]string{
		"":                          `{"protocol":"fastcgi"}`,
		" {\nbody_spool_size -1\n}": `{"protocol":"fastcgi","body_spool_size":-1}`,
		" {\nroot /srv\nsplit .php .phtml\nenv A b\nenv B {host}\nresolve_root_symlink\ndial_timeout 1s\nread_timeout 2s\nwrite_timeout 3s\nbody_spool_size 1MiB\ncapture_stderr\n}": `{"protocol":"fastcgi","root":"/srv",` +
			`"split_path":[".php",".phtml"],"env":{"A":"b","B":"{http.request.host}"},"resolve_root_symlink":true,"dial_timeout":1000000000,"read_timeout":2000000000,"write_timeout":3000000000,"body_spool_size":1048576,"capture_stderr":true}`,
	} {
		got, err := read(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		adapttest.Same(t, got, want)
	}
	for _, text := range []string{" x", " {\nroot\n}", " {\nenv A\n}", " {\nsplit\n}", " {\ntls\n}", " {\ndial_timeout soon\n}", " {\nbody_spool_size much\n}"} {
		if got, err := read(text); err == nil {
			t.Errorf("%s is taken: %s", text, got)
		}
	}
}
