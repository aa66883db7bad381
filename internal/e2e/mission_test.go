package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mission is a server that is given one Caddyfile after the other, and what
// stands behind it.
type mission struct {
	home   *home
	site   string // host:port
	socket string
	ups    []*httptest.Server
}

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
	m := &mission{home: newHome(t, ports[0]), site: fmt.Sprintf("example.com:%d", ports[1])}
	launch(t, m.home, m.home.command(filepath.Join(tools, "sluice"), "run"))
	for i := range 3 {
		s := httptest.NewServer(missionUpstream(fmt.Sprint("up", i)))
		t.Cleanup(s.Close)
		m.ups = append(m.ups, s)
	}
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
	pairs := []string{"example.com {", "http://" + m.site + " {", "/run/app.sock", m.socket}
	for i, u := range m.ups {
		pairs = append(pairs, fmt.Sprintf("localhost:300%d", i), strings.TrimPrefix(u.URL, "http://"))
	}
	return strings.NewReplacer(pairs...).Replace(caddyfile)
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

// get asks the site.
func (m *mission) get(t *testing.T, path string, header ...string) (*http.Response, seen) {
	t.Helper()
	_, port, _ := net.SplitHostPort(m.site)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = m.site
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var s seen
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		t.Fatalf("%s: %v", res.Status, err)
	}
	return res, s
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
	_, port, _ := net.SplitHostPort(m.site)
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
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

// missions are the Caddyfiles that the program exists for, as far as they need
// neither TLS nor what does not exist yet. The number is that of the file in the
// collection, which is used where it lies beside the project.
var missions = []struct {
	number, text string
	check        func(t *testing.T, m *mission)
}{
	{"01", "example.com {\nreverse_proxy localhost:3000\n}\n", func(t *testing.T, m *mission) {
		if _, s := m.get(t, "/a?b=c"); s.Name != "up0" || s.URI != "/a?b=c" || s.Host != m.site || s.Header.Get("X-Forwarded-For") != "127.0.0.1" {
			t.Errorf("%+v", s)
		}
	}},
	{"02", "example.com {\nreverse_proxy unix//run/app.sock\n}\n", func(t *testing.T, m *mission) {
		if _, s := m.get(t, "/"); s.Name != "socket" {
			t.Errorf("%+v", s)
		}
	}},
	{"03", "example.com {\nreverse_proxy localhost:3000 localhost:3001 localhost:3002\n}\n", func(t *testing.T, m *mission) {
		if got := m.names(t, 6); distinct(got[:3]) != 3 || strings.Join(got[:3], " ") != strings.Join(got[3:], " ") {
			t.Errorf("not in turn: %v", got)
		}
	}},
	{"04", "example.com {\nreverse_proxy localhost:3000 localhost:3001 localhost:3002 {\nlb_policy round_robin\n}\n}\n", func(t *testing.T, m *mission) {
		if got := m.names(t, 6); distinct(got[:3]) != 3 || strings.Join(got[:3], " ") != strings.Join(got[3:], " ") {
			t.Errorf("not in turn: %v", got)
		}
	}},
	{"06", "example.com {\nreverse_proxy localhost:3000 {\nheader_up Host {upstream_hostport}\nheader_up X-Real-IP {remote_host}\nheader_up X-Forwarded-For {remote_host}\nheader_up X-Forwarded-Proto {scheme}\n}\n}\n",
		func(t *testing.T, m *mission) {
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
	{"07", "example.com {\nreverse_proxy localhost:3000 {\nheader_down -Server\nheader_down -X-Powered-By\n}\n}\n", func(t *testing.T, m *mission) {
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
	{"09", "example.com {\nhandle /api/* {\nuri strip_prefix /api\nreverse_proxy localhost:3000\n}\n}\n", func(t *testing.T, m *mission) {
		if _, s := m.get(t, "/api/users?x=1"); s.URI != "/users?x=1" {
			t.Errorf("URI %s", s.URI)
		}
	}},
	{"10", "example.com {\nreverse_proxy localhost:3000\n}\n", func(t *testing.T, m *mission) { m.echo(t) }},
	{"11", "example.com {\nreverse_proxy localhost:3000 {\nheader_up Connection {>Connection}\nheader_up Upgrade {>Upgrade}\n}\n}\n", func(t *testing.T, m *mission) {
		m.echo(t)
		if _, s := m.get(t, "/"); s.Name != "up0" {
			t.Errorf("%+v", s)
		}
	}},
}

// TestMission loads the Caddyfiles one after the other into one server and uses
// each as its author meant it.
func TestMission(t *testing.T) {
	m := newMission(t)
	for _, c := range missions {
		text := c.text
		if files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "mission", c.number+"_*.caddyfile")); len(files) == 1 {
			b, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		t.Run(c.number, func(t *testing.T) {
			m.load(t, text)
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
