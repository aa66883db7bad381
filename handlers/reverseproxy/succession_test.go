package reverseproxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"

	"go.uber.org/zap"
)

// waiting is a handler whose upstream a:1 is not there, and which goes on trying.
func waiting(upstream, more string) string {
	return fmt.Sprintf(`{"upstreams":[{"dial":%q}],"load_balancing":{"try_duration":"10s","try_interval":"1s"}%s}`, upstream, more)
}

// LB-9 and caddyserver/caddy #4442: an edit does not fail a request that waits for its next attempt, nor hasten it. The
// attempt goes to the new upstreams.
func TestRequestWaitsAcrossAnEdit(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		f.set("b:1", says("b"))
		g := w.build(nil, waiting("a:1", ""))
		ended := make(chan string, 1)
		go func() { ended <- g.gets(1) }()
		after(2500 * time.Millisecond)
		next := w.build(g, waiting("b:1", ""))
		synctest.Wait()
		if len(ended) > 0 {
			t.Errorf("the edit ended the wait: %s", <-ended)
		}
		after(time.Second)
		wantText(t, "the one that waited", <-ended, "bx1")
		wantText(t, "a request after the edit", next.gets(1), "bx1")
		g.retire(next) // the engine does so when no request has the old one any more
		next.end()
	})
}

// send sends one request through a handler, as a client whose header has the lines.
func (g *generation) send(method, body string, lines ...string) *sent {
	s := &sent{sink: &sink{header: http.Header{}}, done: make(chan error, 1)}
	r, _ := http.NewRequest(method, "http://site.test/path", strings.NewReader(body))
	r.RequestURI, r.RemoteAddr, r.ContentLength = "/path", "192.0.2.9:4711", int64(len(body))
	if body == "" {
		r.Body = http.NoBody
	}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Add(name, value)
	}
	x := &handlers.Exchange{Server: &front{logger: zap.NewNop()}, Response: handlers.NewResponseWriter(s), Globals: vars.Map(nil)}
	r = x.Begin(r, nil)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				s.done <- fmt.Errorf("panicked: %v", v)
			}
		}()
		s.done <- g.ServeHTTP(x.Response, r, handlers.Next{})
	}()
	return s
}

type sent struct {
	*sink
	body strings.Builder
	done chan error
}

func (s *sent) Write(p []byte) (int, error) { return s.body.Write(p) }

// shows answers with what has come.
func shows(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s%s old=%s new=%s client=%s for=%s %d %s", r.Method, r.Host, r.RequestURI,
		r.Header["X-Old"], r.Header["X-New"], r.Header["X-Client"], r.Header[forwardedFor], r.ContentLength, body)
}

// What the edited handler sends is made from the client's request, and nothing is left of what the one before it had
// made: header operations, Host and rewrite. The body goes along, read or not.
func TestSuccessorMakesTheRequestAnew(t *testing.T) {
	const (
		older = `,"headers":{"request":{"set":{"X-Old":["1"],"Host":["old.test"]},"delete":["X-Client"]}},"rewrite":{"uri":"/old{http.request.uri}"}`
		newer = `,"headers":{"request":{"set":{"X-New":["1"]},"add":{"X-Client":["2"]}}},"rewrite":{"uri":"/new{http.request.uri}"}`
	)
	for _, tt := range []struct{ name, before, after, method, body, want string }{
		{"from nothing to nothing", "", "", "GET", "", "GET site.test/path old=[] new=[] client=[1] for=[192.0.2.9] 0 "},
		{"from something to nothing", older, "", "GET", "", "GET site.test/path old=[] new=[] client=[1] for=[192.0.2.9] 0 "},
		{"from nothing to something", "", newer, "GET", "", "GET site.test/new/path old=[] new=[1] client=[1 2] for=[192.0.2.9] 0 "},
		{"from one to another", older, newer, "GET", "", "GET site.test/new/path old=[] new=[1] client=[1 2] for=[192.0.2.9] 0 "},
		{"an upload", "", newer, "POST", "hello", "POST site.test/new/path old=[] new=[1] client=[1 2] for=[192.0.2.9] 5 hello"},
		{"a buffered upload", `,"request_buffers":100`, "", "POST", "hello", "POST site.test/path old=[] new=[] client=[1] for=[192.0.2.9] 5 hello"},
		{"a half buffered upload", `,"request_buffers":2`, `,"request_buffers":100`, "POST", "hello", "POST site.test/path old=[] new=[] client=[1] for=[192.0.2.9] 5 hello"},
		// The body was left out for the sake of the method, or would be.
		{"a method that is rewritten no more", `,"rewrite":{"method":"GET"}`, "", "POST", "hello", ""},
		{"a method that is rewritten", "", `,"rewrite":{"method":"GET"}`, "POST", "hello", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world, f *fleet) {
				f.set("b:1", shows)
				g := w.build(nil, waiting("a:1", tt.before))
				s := g.send(tt.method, tt.body, "X-Client: 1")
				after(1500 * time.Millisecond)
				next := w.build(g, waiting("b:1", tt.after))
				after(10 * time.Second)
				err := <-s.done
				if (err == nil) != (tt.want != "") || s.body.String() != tt.want {
					t.Errorf("%q, %v; want %q", s.body.String(), err, tt.want)
				}
				g.retire(next)
				next.end()
			})
		})
	}
}

// The budget is that of the edited handler, counted from the beginning.
func TestSuccessorsBudget(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		g := w.build(nil, waiting("a:1", ""))
		begun := time.Now()
		s := g.send("GET", "")
		after(1500 * time.Millisecond)
		next := w.build(g, `{"upstreams":[{"dial":"b:1"}],"load_balancing":{"try_duration":"4s","try_interval":"1500ms"}}`)
		if err := <-s.done; err == nil || !strings.Contains(err.Error(), "b:1") {
			t.Errorf("%v", err)
		}
		if waited := time.Since(begun); waited != 5*time.Second { // at 0, 1, 2 by the first, then 3.5 and 5
			t.Errorf("waited %v", waited)
		}
		g.retire(next)
		next.end()
	})
}

// Several edits while one request waits; the last one counts. A transport that has to know lengths is another matter.
func TestSuccessionOfSeveral(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		f.set("d:1", says("d"))
		g := []*generation{w.build(nil, waiting("a:1", ""))}
		ended := make(chan string, 1)
		go func() { ended <- g[0].gets(1) }()
		after(500 * time.Millisecond)
		for i, up := range []string{"b:1", "c:1", "d:1"} {
			g = append(g, w.build(g[i], waiting(up, "")))
		}
		after(time.Second)
		wantText(t, "the one that waited", <-ended, "dx1")
		p := &proxying{h: g[0].Handler}
		other := *g[3].Handler
		if !p.fits(&other) {
			t.Error("what is alike does not fit")
		}
		if other.traits.NeedsLength = true; p.fits(&other) {
			t.Error("a transport that has to know lengths takes over")
		}
		for i := range 3 {
			g[i].retire(g[i+1])
		}
		g[3].end()
	})
}
