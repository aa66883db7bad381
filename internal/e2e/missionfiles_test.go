package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

const maintenance = "<p>we will be back</p>\n"

// maintained makes the folder of the maintenance page, and returns the path of the page.
func (m *mission) maintained(t *testing.T) string {
	t.Helper()
	m.home.write(t, "maintenance/maintenance.html", maintenance)
	m.places["/var/www/maintenance"] = filepath.Join(m.home.dir, "maintenance")
	return filepath.Join(m.home.dir, "maintenance", "maintenance.html")
}

// nobody gives the mission an upstream where nobody listens, and returns its address.
func (m *mission) nobody(t *testing.T) string {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	m.places["localhost:3000"] = address
	return address
}

// page checks that the maintenance page comes with a status.
func (m *mission) page(t *testing.T, method string, code int, header ...string) {
	t.Helper()
	res, err := m.ask(t, method, "/some/path?x=1", nil, header...)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	want := maintenance
	if method == http.MethodHead {
		want = ""
	}
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != code || string(got) != want || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%s %v: %d %q %s, want %d and the page", method, header, res.StatusCode, got, res.Header.Get("Content-Type"), code)
	}
}

func checkFallback(t *testing.T, m *mission) {
	file := m.maintained(t)
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
		m.nobody(t)
		m.load(t, m.file)
		m.page(t, method, http.StatusBadGateway)
		m.page(t, method, http.StatusServiceUnavailable) // it rests
		m.page(t, method, http.StatusServiceUnavailable, `If-None-Match: "that of another page"`)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	m.nobody(t)
	m.load(t, m.file)
	for range 2 { // by an error of 502, and then of 503
		if res, body := m.fetch(t, "/"); res.StatusCode != http.StatusServiceUnavailable || body != "" {
			t.Errorf("without the page: %d %q, want 503", res.StatusCode, body)
		}
	}
	// An upstream that answers is not replaced, whatever it says.
	m.maintained(t)
	b := m.only(t)
	m.load(t, m.file)
	for _, code := range []int{200, 404, 500, 502, 503} {
		b.does(answer(code))
		if res, body := m.fetch(t, "/"); res.StatusCode != code || body != "" {
			t.Errorf("%d %q, want %d of the upstream", res.StatusCode, body, code)
		}
	}
}

// waitFallback: the upstream is back at once, and is asked again when the time is over that the file says. Mission 13 has
// as long to wait.
func waitFallback(t *testing.T, m *mission) {
	defer beginTransport(t)()
	m.maintained(t)
	address := m.nobody(t)
	m.load(t, m.file)
	begun := time.Now()
	m.page(t, http.MethodGet, http.StatusBadGateway)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: missionUpstream("back")}}
	s.Start()
	t.Cleanup(s.Close)
	m.page(t, http.MethodGet, http.StatusServiceUnavailable)
	m.serves(t)
	if took := time.Since(begun); took < 5*time.Second || took > 15*time.Second {
		t.Errorf("it rested %v, want 5s", took)
	}
	if _, s := m.get(t, "/"); s.Name != "back" {
		t.Errorf("%+v", s)
	}
}

func checkBackends(t *testing.T, m *mission) {
	ws := httptest.NewServer(websocket.Handler(func(conn *websocket.Conn) {
		for {
			var text string
			if err := websocket.Message.Receive(conn, &text); err != nil {
				return
			}
			if err := websocket.Message.Send(conn, conn.Request().RequestURI+" "+text); err != nil {
				return
			}
		}
	}))
	t.Cleanup(ws.Close)
	m.home.write(t, "assets/static/app.js", "static()\n")
	m.home.write(t, "assets/app.js", "root()\n")
	m.home.write(t, "assets/static/docs/index.html", "<p>static</p>\n")
	m.places["/var/www/static"] = filepath.Join(m.home.dir, "assets")
	m.places["api-server:8080"] = m.ups[0].address()
	m.places["ws-server:3000"] = ws.Listener.Addr().String()
	m.places["web-server:3001"] = m.ups[2].address()
	m.load(t, m.file)
	for path, want := range map[string]string{
		"/api/users?x=1": "up0", "/api/": "up0", "/API/users": "up0", // paths are matched in any case
		"/": "up2", "/api": "up2", "/apis": "up2", "/staticfile": "up2", "/page?x=1": "up2", "/static/../app.js": "up2",
	} {
		if _, s := m.get(t, path); s.Name != want || s.URI != path {
			t.Errorf("%s: %s of %s, want it untouched at %s", path, s.URI, s.Name, want)
		}
	}
	m.pages(t, [][3]string{
		{"/static/app.js", "200", "static()"}, {"/static/docs/", "200", "<p>static</p>"}, {"/static/docs", "308", "/static/docs/"},
		{"/static/none", "404", ""},
	})
	for _, connection := range []string{"Upgrade", "keep-alive, Upgrade"} {
		if name := m.dialogue(t, "/ws/room?x=1", connection); name != "" {
			t.Errorf("%s: the connection is answered by %s", connection, name)
		}
	}
	// The API is written first, so it gets its connections itself. Nothing else about them makes the matcher hit.
	if _, s := m.get(t, "/api/live", "Connection: Upgrade", "Upgrade: other"); s.Name != "up0" {
		t.Errorf("an upgrade below /api/ goes to %s", s.Name)
	}
	if _, s := m.get(t, "/ws/room", "Upgrade: websocket", "Connection: keep-alive"); s.Name != "up2" {
		t.Errorf("what is no upgrade goes to %s", s.Name)
	}
}

// dialogue holds a conversation over a WebSocket. It returns who answered if that was somebody else.
func (m *mission) dialogue(t *testing.T, path, connection string) string {
	t.Helper()
	cfg, err := websocket.NewConfig("ws://"+m.site+path, "http://"+m.site)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.Dial("tcp", m.front())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(patience))
	conn, err := websocket.NewClient(cfg, &spelled{raw, connection})
	if err != nil {
		return err.Error()
	}
	for _, text := range []string{"to", "and fro", strings.Repeat("long ", 20_000)} {
		var got string
		if err := websocket.Message.Send(conn, text); err != nil {
			t.Fatal(err)
		}
		if err := websocket.Message.Receive(conn, &got); err != nil || got != path+" "+text {
			t.Fatalf("%.40q, %v; want %.40q", got, err, path+" "+text)
		}
	}
	return ""
}

// spelled is a connection whose handshake says Connection in other words.
type spelled struct {
	net.Conn
	connection string
}

func (s *spelled) Write(p []byte) (int, error) {
	if text := string(p); strings.HasPrefix(text, "GET ") {
		_, err := s.Conn.Write([]byte(strings.Replace(text, "Connection: Upgrade", "Connection: "+s.connection, 1)))
		return len(p), err
	}
	return s.Conn.Write(p)
}
