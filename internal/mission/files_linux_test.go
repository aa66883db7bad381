package mission

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// checkPaths: /api/* to the backend, all else from files.
func checkPaths(t *testing.T, s *site) {
	newBackend(t, "api", "localhost:8080")
	write(t, "/var/www", map[string]string{
		"html/index.html": "<p>index</p>\n", "html/app.js": "app()\n", "html/docs/index.html": "<p>docs</p>\n", "html/api/users": "never\n", "secret": "secret\n",
	})
	s.up(t)
	for _, proto := range protocols {
		for _, uri := range []string{"/api/users?x=1", "/api/", "/api/a/b"} {
			if _, v := s.seen(t, proto, uri); v.Name != "api" || v.URI != uri || v.Host != host {
				t.Errorf("%s over %s: %+v", uri, proto, v)
			}
		}
	}
	s.pages(t, [][3]string{
		{"/", "200", "<p>index</p>"}, {"/app.js", "200", "app()"}, {"/docs/", "200", "<p>docs</p>"}, {"/docs", "308", "/docs/"},
		{"/none", "404", ""}, {"/apis", "404", ""}, {"/../secret", "404", ""}, {"/%2e%2e/secret", "404", ""},
	})
	r := s.get(t, "/app.js")
	if kind := r.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/javascript") || r.Header.Get("Last-Modified") == "" {
		t.Errorf("%v", r.Header)
	}
	if again := s.get(t, "/app.js", "If-None-Match: "+r.Header.Get("Etag")); again.StatusCode != http.StatusNotModified || again.text != "" {
		t.Errorf("what the client has already: %s %q", again.Status, again.text)
	}
	if part := s.get(t, "/app.js", "Range: bytes=1-2"); part.StatusCode != http.StatusPartialContent || part.text != "pp" {
		t.Errorf("a part: %s %q", part.Status, part.text)
	}
	if head := s.do(t, "HTTP/3.0", s.request(t, "HEAD", "/app.js", nil)); head.StatusCode != 200 || head.ContentLength != 6 || head.text != "" {
		t.Errorf("HEAD: %s, %d bytes, %q", head.Status, head.ContentLength, head.text)
	}
	if post := s.do(t, "HTTP/2.0", s.request(t, "POST", "/app.js", nil)); post.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", post.Status)
	}
}

const maintenance = "<p>we will be back</p>\n"

// page wants the maintenance page with a status.
func (s *site) page(t *testing.T, proto, method string, code int, header ...string) {
	t.Helper()
	want := maintenance
	if method == http.MethodHead {
		want = ""
	}
	r := s.do(t, proto, s.request(t, method, "/some/path?x=1", nil, header...))
	if r.StatusCode != code || r.text != want || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%s over %s %v: %d %q %s, want %d and the page", method, proto, header, r.StatusCode, r.text, r.Header.Get("Content-Type"), code)
	}
}

// checkFallback: nobody is there, so the page comes, with 502 from the request that finds it out, and 503 while the backend
// rests. It is back at once, and is asked when its 5 seconds are over.
func checkFallback(t *testing.T, s *site) {
	const file = "/var/www/maintenance/maintenance.html"
	write(t, "/var/www/maintenance", map[string]string{"maintenance.html": maintenance})
	b := newBackend(t, "up", "localhost:3000")
	s.up(t)
	for _, proto := range protocols { // what a backend answers is not replaced, whatever it says
		for _, code := range []int{200, 404, 500, 502, 503} {
			b.does(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(code)
				_, _ = io.WriteString(w, "its own")
			})
			if r := s.do(t, proto, s.request(t, "GET", "/", nil)); r.StatusCode != code || r.text != "its own" {
				t.Errorf("%s: %d %q, want %d of the backend", proto, r.StatusCode, r.text, code)
			}
		}
	}
	b.does(nil)
	b.stop()
	begun := time.Now()
	s.page(t, "HTTP/2.0", "GET", http.StatusBadGateway)
	b.again(t, "localhost:3000")
	for _, proto := range protocols {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			s.page(t, proto, method, http.StatusServiceUnavailable)
		}
		s.page(t, proto, "GET", http.StatusServiceUnavailable, `If-None-Match: "that of another page"`)
	}
	must(t, os.Remove(file))
	if r := s.get(t, "/"); r.StatusCode != http.StatusServiceUnavailable || r.text != "" {
		t.Errorf("without the page, while it rests: %d %q", r.StatusCode, r.text)
	}
	if took := time.Since(begun); took > 4500*time.Millisecond {
		t.Logf("all this took %v, so that what follows shows nothing of the 5 seconds", took)
	}
	s.becomes(t, http.StatusOK)
	if took := time.Since(begun); took < 5*time.Second || took > 15*time.Second {
		t.Errorf("it rested %v, want 5s", took)
	}
	// Nobody is there, and no page.
	b.stop()
	for range 2 { // by an error of 502, and then of 503
		if r := s.get(t, "/"); r.StatusCode != http.StatusServiceUnavailable || r.text != "" {
			t.Errorf("without the page: %d %q, want 503", r.StatusCode, r.text)
		}
	}
	write(t, "/var/www/maintenance", map[string]string{"maintenance.html": maintenance})
	s.page(t, "HTTP/1.1", "GET", http.StatusServiceUnavailable)
	// The status is 502 for the first over any protocol, and for any method.
	for i, method := range []string{"POST", "HEAD"} {
		within(t, patience, "the rest to be over", func() error {
			r := s.do(t, protocols[2*i], s.request(t, method, "/", nil))
			if r.StatusCode == http.StatusBadGateway {
				return nil
			}
			return errStatus(r.StatusCode)
		})
	}
}

// errStatus is a status that is not the one that is waited for.
type errStatus int

func (e errStatus) Error() string { return http.StatusText(int(e)) }

// checkBackends: the requests are those of their matchers.
func checkBackends(t *testing.T, s *site) {
	newBackend(t, "api", "127.0.0.2:8080")
	newBackend(t, "web", "127.0.0.4:3001")
	l, err := net.Listen("tcp", "127.0.0.3:3000")
	must(t, err)
	echoing(t, "ws", l)
	write(t, "/var/www", map[string]string{
		"static/static/app.js": "static()\n", "static/app.js": "root()\n", "static/static/docs/index.html": "<p>static</p>\n",
	})
	s.up(t)
	for _, proto := range protocols {
		for uri, want := range map[string]string{
			"/api/users?x=1": "api", "/api/": "api", "/API/users": "api", // paths are matched in any case
			"/": "web", "/api": "web", "/apis": "web", "/staticfile": "web", "/page?x=1": "web",
		} {
			if _, v := s.seen(t, proto, uri); v.Name != want || v.URI != uri || v.Host != host {
				t.Errorf("%s over %s: %s of %s for %s, want it untouched at %s", uri, proto, v.URI, v.Name, v.Host, want)
			}
		}
	}
	s.pages(t, [][3]string{
		{"/static/app.js", "200", "static()"}, {"/static/docs/", "200", "<p>static</p>"}, {"/static/docs", "308", "/static/docs/"},
		{"/static/none", "404", ""},
	})
	for _, connection := range []string{"Upgrade", "keep-alive, Upgrade"} {
		s.dialogue(t, "HTTP/1.1", "ws", "/ws/room?x=1", connection)
		s.dialogue(t, "HTTP/1.1", "ws", "/static/room", connection) // @ws is written before @static
	}
	for _, proto := range protocols[1:] {
		s.dialogue(t, proto, "ws", "/ws/room?x=1", "")
	}
	// The API is written first, so it gets its connections itself. Nothing else about them makes the matcher hit.
	if _, v := s.seen(t, "HTTP/1.1", "/api/live", "Connection: Upgrade", "Upgrade: other"); v.Name != "api" {
		t.Errorf("an upgrade below /api/ goes to %s", v.Name)
	}
	if _, v := s.seen(t, "HTTP/1.1", "/ws/room", "Upgrade: websocket", "Connection: keep-alive"); v.Name != "web" {
		t.Errorf("what is no upgrade goes to %s", v.Name)
	}
}

// specific is where the server runs, which is where files are without a root.
func specific(t *testing.T) {
	t.Helper()
	write(t, "/"+home, map[string]string{"specific.html": "<p>specific</p>\n", "other.html": "<p>other</p>\n"})
}

// checkSorted: the redirect is before the file.
func checkSorted(t *testing.T, s *site) {
	specific(t)
	s.up(t)
	s.pages(t, [][3]string{
		{"/specific.html", "302", "https://anothersite.com/specific.html"},
		{"/other.html", "302", "https://anothersite.com/other.html"},
		{"/a?b=c&d=%20", "302", "https://anothersite.com/a?b=c&d=%20"},
	})
}

// checkWritten: the file is before the redirect.
func checkWritten(t *testing.T, s *site) {
	specific(t)
	s.up(t)
	s.pages(t, [][3]string{
		{"/specific.html", "200", "<p>specific</p>"}, {"/specific.html?x=1", "200", "<p>specific</p>"},
		{"/other.html", "302", "https://anothersite.com/other.html"},
		{"/a?b=c&d=%20", "302", "https://anothersite.com/a?b=c&d=%20"},
	})
}

// checkSPA: /api* untouched to the backend, all else the application.
func checkSPA(t *testing.T, s *site) {
	newBackend(t, "api", "localhost:9000")
	write(t, "/srv", map[string]string{"index.html": "<p>index</p>\n", "app.js": "app()\n", "docs/page.html": "<p>page</p>\n"})
	s.up(t)
	for _, proto := range protocols {
		for _, uri := range []string{"/api/users?x=1", "/api", "/apis/x", "/api/a%20b"} {
			if _, v := s.seen(t, proto, uri); v.Name != "api" || v.URI != uri || v.Host != host {
				t.Errorf("%s over %s: %+v", uri, proto, v)
			}
		}
	}
	s.pages(t, [][3]string{
		{"/", "200", "<p>index</p>"}, {"/app.js", "200", "app()"}, {"/docs/page.html", "200", "<p>page</p>"},
		{"/some/page?x=1", "200", "<p>index</p>"}, {"/missing.js", "200", "<p>index</p>"}, {"/docs/none", "200", "<p>index</p>"},
	})
	if v := s.do(t, "HTTP/2.0", s.request(t, "POST", "/api/users", strings.NewReader("new"))).seen(t); v.Method != "POST" || v.Body != "new" {
		t.Errorf("%+v", v)
	}
}
