package fileserver

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/errorhandler"
	"github.com/sluiceproxy/sluice/handlers/rewrite"
	"github.com/sluiceproxy/sluice/handlers/setvars"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/internal/fsys"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

// stamp is when every file of a test was changed.
var stamp = time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)

// folder makes a directory with files; a name that ends in a slash is a
// directory, and content "-> x" a symbolic link.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			must(t, os.MkdirAll(p, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			must(t, os.Symlink(to, p))
			continue
		}
		must(t, os.WriteFile(p, []byte(content), 0o644))
		must(t, os.Chtimes(p, stamp, stamp))
	}
	must(t, filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chtimes(p, stamp, stamp)
		}
		return err
	}))
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type obj = map[string]any

func specs() []module.Spec {
	return append(Specs(), staticresponse.Spec(), rewrite.Spec(), setvars.Spec(), errorhandler.Spec(), handlertest.FuncSpec("registered", useRegistered))
}

// registry is what the handler "registered" makes known.
type holder struct {
	handlers.Server
	registry fsys.Registry
}

func (h holder) FileSystems() fsys.Registry { return h.registry }

var registered = fsys.Registry{}

func useRegistered(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	x := handlers.Of(r)
	x.Server = holder{x.Server, registered}
	return next.ServeHTTP(w, r)
}

// fileServer is the handler over a folder, with more fields.
func fileServer(root string, more obj) obj {
	h := obj{"handler": "file_server", "root": root}
	maps.Copy(h, more)
	return h
}

// doc is a site of handlers, each in a route of its own.
func doc(t testing.TB, hs ...obj) string {
	t.Helper()
	var routes []any
	for _, h := range hs {
		routes = append(routes, obj{"handle": []any{h}})
	}
	text, err := json.Marshal(obj{"routes": routes})
	must(t, err)
	return string(text)
}

// client asks a server over a real socket.
type client struct {
	t    testing.TB
	addr string
	site *handlertest.Site
}

func serve(t testing.TB, hs ...obj) *client {
	t.Helper()
	return serveDoc(t, doc(t, hs...))
}

func serveDoc(t testing.TB, text string) *client {
	t.Helper()
	site := handlertest.New(t, text, specs()...)
	s := httptest.NewServer(site)
	t.Cleanup(s.Close)
	return &client{t, s.Listener.Addr().String(), site}
}

// answer is a response with its body.
type answer struct {
	*http.Response
	body string
}

func (a answer) get(name string) string { return strings.Join(a.Header[name], " | ") }

// do sends a request exactly as it is written: the target is not looked at.
func (c *client) do(method, target string, lines ...string) answer {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	must(c.t, err)
	defer conn.Close()
	must(c.t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	text := method + " " + target + " HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n"
	for _, l := range lines {
		text += l + "\r\n"
	}
	_, err = io.WriteString(conn, text+"\r\n")
	must(c.t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	must(c.t, err)
	body, err := io.ReadAll(res.Body)
	must(c.t, err)
	return answer{res, string(body)}
}

func (c *client) get(target string, lines ...string) answer {
	c.t.Helper()
	return c.do("GET", target, lines...)
}

// expect compares what a table says: fields that are absent are "".
func expect(t *testing.T, a answer, status int, body string, fields map[string]string) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("status %d, want %d", a.StatusCode, status)
	}
	if body != "*" && a.body != body {
		t.Errorf("body %q, want %q", a.body, body)
	}
	for name, want := range fields {
		if got := a.get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
