package forwardauth_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/dynamic"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/porttest"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/upstream"
)

// serve runs the site of a Caddyfile, of which PORT is the port, and returns its URL.
func serve(t *testing.T, text string) string {
	t.Helper()
	port := fmt.Sprint(porttest.Free(t, 1)[0])
	doc, err := adapttest.Adapt(t, strings.ReplaceAll(text, "PORT", port))
	if err != nil {
		t.Fatal(err)
	}
	sw := logs.NewSwitch(logs.Process{Stderr: io.Discard})
	pool := upstream.NewPool(nil)
	services := module.Services{}
	module.Provide(services, sw)
	module.Provide(services, pool)
	module.Provide(services, upstream.NewTransports(upstream.TransportsConfig{}))
	module.Provide(services, dynamic.NewCache(pool, dynamic.Options{}))
	module.Provide(services, endpoint.NewSockets(endpoint.SocketsOptions{Log: zap.NewNop()}))
	engine, err := server.New(server.Options{Table: table(t), Services: services, ReadFile: os.ReadFile, Globals: vars.NewGlobal(), Sockets: listen.NewManager(listen.Options{}), Logs: sw})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if _, err := engine.Apply(t.Context(), server.Change{Verb: "load", Edit: config.Edit{Whole: true, Value: doc.Root}}); err != nil {
		t.Fatal(err)
	}
	return "http://127.0.0.1:" + port
}

// ask sends a request; lines are header fields.
func ask(t *testing.T, method, url, body string, lines ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Add(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// FA-1, FA-2, FA-3 and S30, with a server that allows, denies, and says who it is.
func TestForwardAuth(t *testing.T) {
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Asked", fmt.Sprintf("%s %s %s %s %q", r.Method, r.RequestURI, r.Header.Get("X-Forwarded-Method"), r.Header.Get("X-Forwarded-Uri"), body))
		switch r.Header.Get("Authorization") {
		case "alice":
			w.Header().Set("X-User", "alice")
			w.Header().Add("X-Groups", "a")
			w.Header().Add("X-Groups", "b")
			w.WriteHeader(204)
		case "nobody":
			io.WriteString(w, "you may pass")
		case "lost":
			w.Header().Set("Location", "/login")
			w.WriteHeader(302)
		default:
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(401)
			io.WriteString(w, "who are you?")
		}
	}))
	defer auth.Close()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s user=%q groups=%q asked=%q %s", r.Method, r.RequestURI, r.Header["Remote-User"], r.Header["X-Groups"], r.Header["X-Asked"], body)
	}))
	defer app.Close()
	url := serve(t, `{
	admin off
}
http://127.0.0.1:PORT {
	forward_auth /private/* `+auth.Listener.Addr().String()+` {
		uri /verify?from=here
		copy_headers X-User>Remote-User X-Groups X-Asked
	}
	reverse_proxy `+app.Listener.Addr().String()+`
}
`)
	asked := `"GET /verify?from=here POST /private/x?q=1 \"\""`
	for _, tt := range []struct {
		name, method, path, who string
		status                  int
		body                    string
	}{
		{"allowed", "POST", "/private/x?q=1", "alice", 200, `POST /private/x?q=1 user=["alice"] groups=["a,b"] asked=[` + asked + `] the body`},
		{"allowed, but nobody", "POST", "/private/x?q=1", "nobody", 200, `POST /private/x?q=1 user=[] groups=[] asked=[` + asked + `] the body`},
		{"denied", "POST", "/private/x", "", 401, "who are you?"},
		{"sent elsewhere", "POST", "/private/x", "lost", 302, ""},
		{"not asked", "POST", "/public", "", 200, `POST /public user=["forged"] groups=["forged"] asked=[] the body`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, body := ask(t, tt.method, url+tt.path, "the body", "Authorization: "+tt.who, "Remote-User: forged", "X-Groups: forged")
			if res.StatusCode != tt.status || body != tt.body {
				t.Errorf("got %d %s\nwant %d %s", res.StatusCode, body, tt.status, tt.body)
			}
			if tt.status == 401 && res.Header.Get("WWW-Authenticate") != "Basic" || tt.status == 302 && res.Header.Get("Location") != "/login" {
				t.Errorf("fields of the answer are missing: %v", res.Header)
			}
			if tt.status == 200 && res.Header.Get("X-Asked") != "" {
				t.Error("fields of the answer of the other server reached the client")
			}
		})
	}
}

// A server that cannot be asked lets nothing pass.
func TestForwardAuthFailsClosed(t *testing.T) {
	hang := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	}))
	defer hang.Close()
	url := serve(t, `{
	admin off
}
http://127.0.0.1:PORT {
	forward_auth `+hang.Listener.Addr().String()+` {
		uri /verify
	}
	respond "let in"
}
`)
	if res, body := ask(t, "GET", url, ""); res.StatusCode != 502 || body != "" {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
}
