package reverseproxy

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/encode"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// HC-2, HC-4 and REL-2: all upstreams are probed at once when the handler is in use, and never before; a probe has a
// User-Agent, and nothing of the handler's.
func TestFirstRoundOfProbes(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		var mu sync.Mutex
		var agents []string
		for _, name := range []string{"a:1", "b:1", "c:1"} {
			f.set(name, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/up" {
					mu.Lock()
					agents = append(agents, r.Header.Get("User-Agent")+r.Header.Get(forwardedFor)+r.Header.Get("Via"))
					mu.Unlock()
					time.Sleep(2 * time.Second)
				}
			})
		}
		g := w.build(nil, `{"upstreams":[{"dial":"a:1"},{"dial":"b:1"},{"dial":"c:1"}],"health_checks":{"active":{"uri":"/up","interval":"10s","jitter":0}}}`)
		defer g.end()
		after(time.Second) // none has answered yet
		for _, name := range []string{"a:1", "b:1", "c:1"} {
			if n := f.count(name, "/up"); n != 1 {
				t.Errorf("%s was probed %d times", name, n)
			}
		}
		after(2 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(agents)
		if agents = slices.Compact(agents); len(agents) != 1 || !strings.HasPrefix(agents[0], "Go-http-client/") {
			t.Errorf("probes have %q", agents)
		}
	})
}

// caddyserver/caddy #6410: an upstream that counts as down until a probe says otherwise gets no request before; with
// retries, requests wait for it. One that is known keeps what is known of it.
func TestInitiallyDown(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		f.set("a:1", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/up" {
				time.Sleep(900 * time.Millisecond)
			}
			io.WriteString(w, "a")
		})
		config := func(balancing string) string {
			return `{"upstreams":[{"dial":"a:1"}]` + balancing + `,"health_checks":{"active":{"uri":"/up","interval":"10s","jitter":0,"initial":"down"}}}`
		}
		g := w.build(nil, config(""))
		wantText(t, "before the first answer", g.gets(2), "503x2")
		g.end()
		g = w.build(nil, config(`,"load_balancing":{"try_duration":"5s"}`))
		begun := time.Now()
		wantText(t, "waiting for the first answer", g.gets(1), "ax1")
		if waited := time.Since(begun); waited != time.Second {
			t.Errorf("waited %v", waited)
		}
		next := w.build(g, config(`,"load_balancing":{"try_duration":"6s"}`))
		g.retire(next)
		begun = time.Now()
		wantText(t, "after an edit", next.gets(1), "ax1")
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("waited %v after an edit", waited)
		}
		next.end()
	})
}

// caddyserver/caddy #4949: by the share of failures, and not by their number.
func TestFailureRatio(t *testing.T) {
	for _, tt := range []struct {
		bad, of int // of each round
		healthy bool
	}{{1, 10, true}, {4, 10, true}, {6, 10, false}} {
		in(t, func(t *testing.T, w *world, f *fleet) {
			var n atomic.Int64
			f.set("a:1", func(w http.ResponseWriter, _ *http.Request) {
				if int(n.Add(1))%tt.of < tt.bad {
					w.WriteHeader(500)
				}
			})
			g := w.build(nil, `{"upstreams":[{"dial":"a:1"}],"circuit_breaker":{"type":"window","error_rate":0.5,"min_requests":20,"window":"1m"}}`)
			defer g.end()
			g.gets(100)
			if got := g.upstreams[0].Healthy(); got != tt.healthy {
				t.Errorf("%d failures of %d: healthy %v", tt.bad, tt.of, got)
			}
		})
	}
}

// caddyserver/caddy #7870: two checks of one address are told apart wherever they are shown.
func TestChecksAreToldApart(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		f.set("a:1", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/bad" {
				w.WriteHeader(500)
			}
			io.WriteString(w, "a")
		})
		build := func(uri string) *generation {
			return w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":"a:1"}],"health_checks":{"active":{"uri":%q}}}`, uri))
		}
		good, bad := build("/good"), build("/bad")
		defer good.end()
		defer bad.end()
		after(time.Second)
		wantText(t, "who asks for what is good", good.gets(2), "ax2")
		wantText(t, "who asks for what is not", bad.gets(2), "503x2")
		states := map[string]string{}
		for _, v := range w.pool.List()[0].Health {
			states[strings.Fields(v.Rule)[1]] = v.State
		}
		if states["/good"] != "up" || states["/bad"] != "down" || len(states) != 2 {
			t.Errorf("listed: %v", states)
		}
	})
}

// S22: an upstream's response in parts is compressed as one; the flushes of the proxy do not decide for the encoder. The first
// part is above its minimum length, as http-json 5.6 wants.
func TestEncoderAroundTheProxy(t *testing.T) {
	text := strings.Repeat("0123456789abcde\n", 128)
	up := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, text[:64*16])
		w.(http.Flusher).Flush()
		for i := range 64 {
			io.WriteString(w, text[(64+i)*16:(65+i)*16])
			w.(http.Flusher).Flush()
		}
	})
	w := newWorld(t)
	table, err := module.NewTable(slices.Concat(encode.Specs(), testMatchers()), nil)
	if err != nil {
		t.Fatal(err)
	}
	res := (&module.Builder{Table: table, Sources: w.builder.Sources}).Build(nil, "http.handlers.encode", w.parse(`{"encodings":{"gzip":{}}}`), module.Options{})
	if len(res.Problems) > 0 {
		t.Fatal(res.Problems)
	}
	outer := res.Root.Value().(handlers.Handler)
	g := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, up))
	f, client := g.overH2C(func(f *front) {
		f.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			x := &handlers.Exchange{Server: f, Response: handlers.NewResponseWriter(rw), Globals: vars.Map{}}
			r = x.Begin(r, nil)
			next := handlers.NextFunc(func(w http.ResponseWriter, r *http.Request) error { return g.ServeHTTP(w, r, handlers.Next{}) })
			if err := outer.ServeHTTP(x.Response, r, next); err != nil {
				t.Error(err)
			}
		})
	})
	r, _ := http.NewRequest("GET", f.URL, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	got, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if got.ProtoMajor != 2 || got.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%s %v", got.Proto, got.Header)
	}
	z, err := gzip.NewReader(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(z); string(plain) != text || err != nil {
		t.Errorf("%d bytes, %v", len(plain), err)
	}
}
