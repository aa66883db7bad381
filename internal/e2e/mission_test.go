package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	missions "github.com/sluiceproxy/sluice/internal/mission"
)

// mission is a server that is given one Caddyfile after the other, and what
// stands behind it.
type mission struct {
	home   *home
	site   string // host:port
	www    string // in the place of /var/www/html and /srv
	socket string
	ups    []*backend
	places map[string]string // what stands in the place of a text, before all else
	file   string            // the Caddyfile of the mission, as its author wrote it
}

// backend is an upstream that does as it is told.
type backend struct {
	*httptest.Server
	told atomic.Pointer[http.HandlerFunc]
}

func newBackend(t *testing.T, name string) *backend {
	t.Helper()
	b := &backend{}
	usual := missionUpstream(name)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := b.told.Load(); f != nil {
			(*f)(w, r)
			return
		}
		usual.ServeHTTP(w, r)
	}))
	t.Cleanup(b.Close)
	return b
}

// does makes the upstream answer in another way, with nil in its usual one again.
func (b *backend) does(f http.HandlerFunc) {
	if f == nil {
		b.told.Store(nil)
		return
	}
	b.told.Store(&f)
}

// address is host:port.
func (b *backend) address() string { return b.Listener.Addr().String() }

// seen is what an upstream says about a request.
type seen struct {
	Name, URI, Host string
	Header          http.Header
}

// missionUpstream answers with what it has seen, and echoes lines once a connection is
// upgraded.
func missionUpstream(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Name: %s\r\n\r\n", name)
			rw.Flush()
			_, _ = io.Copy(conn, rw)
			return
		}
		w.Header().Set("X-Powered-By", name)
		w.Header().Set("Server", name)
		_ = json.NewEncoder(w).Encode(seen{name, r.RequestURI, r.Host, r.Header})
	})
}

func newMission(t *testing.T) *mission {
	t.Helper()
	ports := freePorts(t, 2)
	m := &mission{home: newHome(t, ports[0]), site: fmt.Sprintf("example.com:%d", ports[1]), places: map[string]string{}}
	launch(t, m.home, m.home.command(filepath.Join(tools, "sluice"), "run"))
	for i := range 3 {
		m.ups = append(m.ups, newBackend(t, fmt.Sprint("up", i)))
	}
	m.www = filepath.Join(m.home.dir, "www")
	m.home.write(t, "www/index.html", "<p>index</p>\n")
	m.home.write(t, "www/app.js", "app()\n")
	m.home.write(t, "www/docs/index.html", "<p>docs</p>\n")
	m.home.write(t, "specific.html", "<p>specific</p>\n")
	m.socket = filepath.Join(t.TempDir(), "app.sock")
	l, err := net.Listen("unix", m.socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: missionUpstream("socket")}}
	s.Start()
	t.Cleanup(s.Close)
	return m
}

// text puts the addresses of the test into a Caddyfile.
func (m *mission) text(caddyfile string) string {
	var pairs []string
	for from, to := range m.places {
		pairs = append(pairs, from, to)
	}
	pairs = append(pairs, "example.com {", "http://"+m.site+" {", "/run/app.sock", m.socket, "/var/www/html", m.www, "/srv", m.www)
	for i, u := range m.ups {
		pairs = append(pairs, fmt.Sprintf("localhost:300%d", i), u.address())
	}
	for _, name := range []string{"localhost:8080", "localhost:9000"} {
		pairs = append(pairs, name, m.ups[0].address())
	}
	return strings.NewReplacer(pairs...).Replace(caddyfile)
}

// edit loads the Caddyfile of the mission with other words in the place of some: pairs of both.
func (m *mission) edit(t *testing.T, pairs ...string) {
	t.Helper()
	text := m.file
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(text, pairs[i]) != 1 {
			t.Fatalf("%q is not in the file once:\n%s", pairs[i], text)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	m.load(t, text)
}

// wants compares a member of the handler reverse_proxy in the running configuration with what it should be.
func (m *mission) wants(t *testing.T, member, want string) {
	t.Helper()
	res, err := http.Get("http://" + m.home.admin + "/config/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var doc any
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(proxyIn(doc)[member])
	var parsed any
	if err := json.Unmarshal([]byte(want), &parsed); err != nil {
		t.Fatal(err)
	}
	if want, _ := json.Marshal(parsed); string(got) != string(want) {
		t.Errorf("%s is %s, want %s", member, got, want)
	}
}

// proxyIn returns the first handler reverse_proxy below a part of a document, or nil.
func proxyIn(part any) map[string]any {
	switch part := part.(type) {
	case []any:
		for _, e := range part {
			if h := proxyIn(e); h != nil {
				return h
			}
		}
	case map[string]any:
		if part["handler"] == "reverse_proxy" {
			return part
		}
		for _, e := range part {
			if h := proxyIn(e); h != nil {
				return h
			}
		}
	}
	return nil
}

func (m *mission) load(t *testing.T, caddyfile string) {
	t.Helper()
	res, err := http.Post("http://"+m.home.admin+"/load", "text/caddyfile", strings.NewReader(m.text(caddyfile)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Fatalf("loading: %s\n%s\n%s", res.Status, body, m.text(caddyfile))
	}
}

// front is where the site can be reached.
func (m *mission) front() string {
	_, port, _ := net.SplitHostPort(m.site)
	return "127.0.0.1:" + port
}

// ask sends a request to the site; it may be used by any goroutine.
func (m *mission) ask(t *testing.T, method, path string, body io.Reader, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+m.front()+path, body)
	if err != nil {
		return nil, err
	}
	req.Host = m.site
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return client.Do(req)
}

// status asks the site for no more than the status.
func (m *mission) status(t *testing.T) int {
	t.Helper()
	res, _ := m.fetch(t, "/")
	return res.StatusCode
}

// fetch asks the site for a file or whatever comes.
func (m *mission) fetch(t *testing.T, path string, header ...string) (*http.Response, string) {
	t.Helper()
	res, err := m.ask(t, http.MethodGet, path, nil, header...)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// get asks the site for what an upstream answers.
func (m *mission) get(t *testing.T, path string, header ...string) (*http.Response, seen) {
	t.Helper()
	res, body := m.fetch(t, path, header...)
	var s seen
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%s: %v in %s", res.Status, err, body)
	}
	return res, s
}

// pages asks for files and redirects: each path, the status, and the body or the
// address of the redirect.
func (m *mission) pages(t *testing.T, want [][3]string) {
	t.Helper()
	for _, w := range want {
		res, got := m.fetch(t, w[0])
		if res.StatusCode/100 == 3 {
			got = res.Header.Get("Location")
		}
		if fmt.Sprint(res.StatusCode) != w[1] || strings.TrimSpace(got) != w[2] {
			t.Errorf("%s: %d %q, want %s %q", w[0], res.StatusCode, got, w[1], w[2])
		}
	}
}

// names are who answered n requests, each with another header X-N.
func (m *mission) names(t *testing.T, n int, header ...string) []string {
	t.Helper()
	var out []string
	for i := range n {
		_, s := m.get(t, fmt.Sprint("/", i), append([]string{fmt.Sprint("X-N: ", i)}, header...)...)
		out = append(out, s.Name)
	}
	return out
}

// echo opens a WebSocket and sends a line through it.
func (m *mission) echo(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("tcp", m.front())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", m.site)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("no WebSocket: %v %v", res, err)
	}
	fmt.Fprint(conn, "to and fro\n")
	if line, err := r.ReadString('\n'); line != "to and fro\n" {
		t.Fatalf("echo %q, %v", line, err)
	}
}

func distinct(list []string) int {
	m := map[string]bool{}
	for _, e := range list {
		m[e] = true
	}
	return len(m)
}

// missionTests are the Caddyfiles that the program exists for, over clear text, with other addresses and with shorter times.
// Package mission has them as they are, on machines of their own, where the system can make those; 16 can only be there.
var missionTests = []struct {
	number string
	check  func(t *testing.T, m *mission)
}{
	{"01", func(t *testing.T, m *mission) {
		if _, s := m.get(t, "/a?b=c"); s.Name != "up0" || s.URI != "/a?b=c" || s.Host != m.site || s.Header.Get("X-Forwarded-For") != "127.0.0.1" {
			t.Errorf("%+v", s)
		}
	}},
	{"02", func(t *testing.T, m *mission) {
		if _, s := m.get(t, "/"); s.Name != "socket" {
			t.Errorf("%+v", s)
		}
	}},
	{"03", func(t *testing.T, m *mission) {
		if got := m.names(t, 6); distinct(got[:3]) != 3 || strings.Join(got[:3], " ") != strings.Join(got[3:], " ") {
			t.Errorf("not in turn: %v", got)
		}
	}},
	{"04", func(t *testing.T, m *mission) {
		if got := m.names(t, 6); distinct(got[:3]) != 3 || strings.Join(got[:3], " ") != strings.Join(got[3:], " ") {
			t.Errorf("not in turn: %v", got)
		}
	}},
	{"05", checkHealth},
	{"06", func(t *testing.T, m *mission) {
		_, s := m.get(t, "/", "X-Real-IP: 192.0.2.1")
		if want := strings.TrimPrefix(m.ups[0].URL, "http://"); s.Host != want {
			t.Errorf("host %s, want %s", s.Host, want)
		}
		for name, want := range map[string]string{"X-Real-Ip": "127.0.0.1", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"} {
			if got := s.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %v, want %s", name, got, want)
			}
		}
	}},
	{"07", func(t *testing.T, m *mission) {
		res, _ := m.get(t, "/")
		if v := res.Header.Values("X-Powered-By"); v != nil {
			t.Errorf("X-Powered-By: %v", v)
		}
		for _, v := range res.Header.Values("Server") {
			if v == "up0" {
				t.Error("the upstream's Server is still there")
			}
		}
	}},
	{"08", func(t *testing.T, m *mission) {
		if _, s := m.get(t, "/api/users?x=1"); s.URI != "/api/users?x=1" {
			t.Errorf("URI %s", s.URI)
		}
		m.pages(t, [][3]string{
			{"/", "200", "<p>index</p>"}, {"/app.js", "200", "app()"}, {"/docs/", "200", "<p>docs</p>"}, {"/docs", "308", "/docs/"},
			{"/none", "404", ""}, {"/api", "404", ""}, {"/../specific.html", "404", ""},
		})
	}},
	{"09", func(t *testing.T, m *mission) {
		if _, s := m.get(t, "/api/users?x=1"); s.URI != "/users?x=1" {
			t.Errorf("URI %s", s.URI)
		}
	}},
	{"10", func(t *testing.T, m *mission) { m.echo(t) }},
	{"11", func(t *testing.T, m *mission) {
		m.echo(t)
		if _, s := m.get(t, "/"); s.Name != "up0" {
			t.Errorf("%+v", s)
		}
	}},
	{"12", checkGRPC},
	{"13", checkTransport},
	{"14", checkFlushNow},
	{"15", checkFlushPeriodic},
	{"17", checkErrors},
	{"18", checkFallback},
	{"19", checkBackends},
	{"20", func(t *testing.T, m *mission) {
		m.pages(t, [][3]string{
			{"/specific.html", "302", "https://anothersite.com/specific.html"},
			{"/a?b=c", "302", "https://anothersite.com/a?b=c"},
		})
	}},
	{"21", func(t *testing.T, m *mission) {
		m.pages(t, [][3]string{
			{"/specific.html", "200", "<p>specific</p>"},
			{"/a?b=c", "302", "https://anothersite.com/a?b=c"},
		})
	}},
	{"22", func(t *testing.T, m *mission) {
		for _, uri := range []string{"/api/users?x=1", "/api", "/apis/../api/x"} {
			if _, s := m.get(t, uri); s.URI != uri {
				t.Errorf("URI %s, want %s untouched", s.URI, uri)
			}
		}
		m.pages(t, [][3]string{{"/", "200", "<p>index</p>"}, {"/app.js", "200", "app()"}, {"/some/page?x=1", "200", "<p>index</p>"}, {"/missing.js", "200", "<p>index</p>"}})
	}},
}

// given takes the Caddyfile of a mission.
func (m *mission) given(t *testing.T, number string) {
	t.Helper()
	m.file = missions.Read(t, number).Text
}

// TestMission loads the Caddyfiles one after the other into one server and uses
// each as its author meant it.
func TestMission(t *testing.T) {
	t.Parallel()
	m := newMission(t)
	for _, c := range missionTests {
		t.Run(c.number, func(t *testing.T) {
			m.given(t, c.number)
			m.load(t, m.file)
			c.check(t, m)
		})
		clear(m.places)
	}
}

// TestMissionInTime waits as long as the files say, where that is not too long. The
// missions pass their time together.
func TestMissionInTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		number string
		check  func(t *testing.T, m *mission)
	}{
		{"05", waitHealth},
		{"17", waitErrors},
		{"18", waitFallback}, // and 13
	} {
		t.Run(c.number, func(t *testing.T) {
			t.Parallel()
			m := newMission(t)
			m.given(t, c.number)
			c.check(t, m)
		})
	}
}

// TestMissionPolicies puts other policies in the place of round_robin.
func TestMissionPolicies(t *testing.T) {
	m := newMission(t)
	for _, tt := range []struct {
		policy string
		header string
		want   int // how many different upstreams answer nine requests
	}{
		{"first", "", 1}, {"ip_hash", "", 1}, {"least_conn", "", 0}, {"uri_hash", "", 3}, {"header X-N", "", 3}, {"header X-Same", "X-Same: yes", 1},
	} {
		t.Run(tt.policy, func(t *testing.T) {
			m.load(t, "example.com {\nreverse_proxy localhost:3000 localhost:3001 localhost:3002 {\nlb_policy "+tt.policy+"\n}\n}\n")
			var header []string
			if tt.header != "" {
				header = []string{tt.header}
			}
			got := m.names(t, 30, header...)
			if n := distinct(got); tt.want > 0 && n != tt.want {
				t.Errorf("%d different upstreams, want %d: %v", n, tt.want, got)
			}
		})
	}
	t.Run("cookie", func(t *testing.T) {
		m.load(t, "example.com {\nreverse_proxy localhost:3000 localhost:3001 localhost:3002 {\nlb_policy cookie\n}\n}\n")
		res, first := m.get(t, "/")
		if len(res.Cookies()) != 1 {
			t.Fatalf("cookies %v", res.Cookies())
		}
		cookie := res.Cookies()[0]
		for _, name := range m.names(t, 9, "Cookie: "+cookie.Name+"="+cookie.Value) {
			if name != first.Name {
				t.Fatalf("%s, though the cookie is of %s", name, first.Name)
			}
		}
	})
}

// TestListenerClashNamesTheLine: what is found when sockets are opened names the
// line of the Caddyfile as well.
func TestListenerClashNamesTheLine(t *testing.T) {
	m := newMission(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	text := "{\n\tgrace_period 1s\n}\n\nhttp://other.example:" + port + " {\n\tbind 127.0.0.1\n\trespond hi\n}\n"
	res, err := http.Post("http://"+m.home.admin+"/load", "text/caddyfile", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "(Caddyfile:5)") || !strings.Contains(string(body), port) {
		t.Errorf("%s %s", res.Status, body)
	}
}
