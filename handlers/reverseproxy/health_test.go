package reverseproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// fleet is upstreams in memory, for tests in a bubble. Who is not there refuses connections.
type fleet struct {
	mu      sync.Mutex
	servers map[string]http.HandlerFunc
	asked   map[string][]string // by address: paths
	open    map[net.Conn]bool
}

func newFleet() *fleet {
	return &fleet{servers: map[string]http.HandlerFunc{}, asked: map[string][]string{}, open: map[net.Conn]bool{}}
}

// set makes an upstream answer with h; nil takes it away, its connections too.
func (f *fleet) set(address string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.servers[address] = h
	if h == nil {
		f.hangUp()
	}
}

func (f *fleet) hangUp() {
	for c := range f.open {
		c.Close()
	}
}

func (f *fleet) dial(_ context.Context, _ *net.Dialer, _, address string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.servers[address] == nil {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	near, far := net.Pipe()
	f.open[far] = true
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		h := f.servers[address]
		f.asked[address] = append(f.asked[address], r.URL.Path)
		f.mu.Unlock()
		if h == nil {
			panic(http.ErrAbortHandler)
		}
		h(w, r)
	})}
	go s.Serve(&oneConn{conn: far, closed: make(chan struct{})})
	return near, nil
}

// count returns how often an upstream was asked for the path.
func (f *fleet) count(address, path string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.asked[address] {
		if p == path {
			n++
		}
	}
	return n
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   net.Conn
	once   sync.Once
	taken  bool
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if !l.taken {
		l.taken = true
		return &telling{Conn: l.conn, l: l}, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}
func (l *oneConn) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

// telling ends its listener with itself.
type telling struct {
	net.Conn
	l *oneConn
}

func (c *telling) Close() error {
	c.l.Close()
	return c.Conn.Close()
}

// in runs a test in a bubble, with a world whose upstreams are a fleet. What is left running in the end fails it.
func in(t *testing.T, test func(t *testing.T, w *world, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		w := newWorldOver(t, f.dial)
		test(t, w, f)
		f.hangUp()
		synctest.Wait()
		if l := w.pool.List(); len(l) != 0 || w.transports.Len() != 0 {
			t.Errorf("left behind: %+v, %d transports", l, w.transports.Len())
		}
	})
}

// end releases all that the handler holds.
func (g *generation) end() {
	all := g.result.Root.All()
	for i := len(all) - 1; i >= 0; i-- {
		owned := all[i].Owned()
		for k := len(owned) - 1; k >= 0; k-- {
			owned[k].Close()
		}
	}
}

// ask sends a request through the handler. The error is part of the body.
func (g *generation) ask(r *http.Request) (status int, body string) {
	rec := httptest.NewRecorder()
	x := &handlers.Exchange{Server: &front{logger: zap.NewNop()}, Response: handlers.NewResponseWriter(rec), Globals: vars.Map(nil)}
	if err := g.ServeHTTP(x.Response, x.Begin(r, nil), handlers.Next{}); err != nil {
		return handlers.StatusOf(err), err.Error()
	}
	return rec.Code, rec.Body.String()
}

func (g *generation) get(path string) (int, string) {
	return g.ask(httptest.NewRequest("GET", path, nil))
}

// gets sends n requests, one after the other, and counts the bodies, or the statuses that are not 200.
func (g *generation) gets(n int) string {
	var list []string
	for range n {
		list = append(list, g.one())
	}
	return count(list)
}

// getsAtOnce is gets with n clients.
func (g *generation) getsAtOnce(n int) string {
	list := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { list[i] = g.one() })
	}
	wg.Wait()
	return count(list)
}

func (g *generation) one() string {
	status, body := g.get("/")
	if status != 200 {
		return fmt.Sprint(status)
	}
	return body
}

func count(list []string) string {
	seen := map[string]int{}
	for _, s := range list {
		seen[s]++
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		out = append(out, fmt.Sprint(k, "x", seen[k]))
	}
	return strings.Join(out, " ")
}

// after lets time pass, and what happens in it.
func after(d time.Duration) {
	time.Sleep(d) // in a bubble
	synctest.Wait()
}

// says answers with a text, and is well.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// Mission 05: /healthz is asked every 10 s with a limit of 5 s; an unhealthy backend leaves the rotation and comes back.
func TestActiveHealthMission(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		f.set("a:3000", says("a"))
		f.set("b:3001", says("b"))
		g := w.build(nil, `{"upstreams":[{"dial":"a:3000"},{"dial":"b:3001"}],"load_balancing":{"selection_policy":{"policy":"round_robin"}},
			"health_checks":{"active":{"uri":"/healthz","interval":"10s","timeout":"5s"}}}`)
		defer g.end()
		after(61 * time.Second)
		if a, b := f.count("a:3000", "/healthz"), f.count("b:3001", "/healthz"); a < 6 || a > 8 || b < 6 || b > 8 {
			t.Errorf("asked %d and %d times in 61 s", a, b)
		}
		wantText(t, "both are well", g.gets(8), "ax4 bx4")

		f.set("b:3001", func(w http.ResponseWriter, r *http.Request) { // it hangs, for checks and for all else
			if r.URL.Path == "/healthz" {
				<-r.Context().Done()
			}
			io.WriteString(w, "b")
		})
		after(17 * time.Second) // 11 s at most to the next check, which takes 5 s
		wantText(t, "one hangs", g.gets(8), "ax8")
		f.set("a:3000", nil)
		after(17 * time.Second)
		wantText(t, "both are down", g.gets(3), "503x3")
		f.set("b:3001", says("b"))
		after(12 * time.Second)
		wantText(t, "one is back", g.gets(8), "bx8")
		f.set("a:3000", says("a"))
		after(12 * time.Second)
		wantText(t, "both are back", g.gets(8), "ax4 bx4")
	})
}

// Mission 17: three 5xx or slow answers and a backend rests for 10 s.
func TestPassiveHealthMission(t *testing.T) {
	const passive = `{"upstreams":[{"dial":"a:3000"}],"health_checks":{"passive":{
		"fail_duration":"10s","max_fails":3,"unhealthy_status":[5],"unhealthy_latency":"5s"}}}`
	for name, bad := range map[string]http.HandlerFunc{
		"502x3": nil,
		"500x3": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"ax3": func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Second)
			io.WriteString(w, "a")
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world, f *fleet) {
				f.set("a:3000", bad)
				g := w.build(nil, passive)
				defer g.end()
				wantText(t, "failing", g.getsAtOnce(3), name)
				f.set("a:3000", says("well"))
				wantText(t, "resting", g.gets(2), "503x2")
				after(10 * time.Second)
				wantText(t, "back", g.gets(2), "wellx2")
			})
		})
	}
}

// S8, S9, and HC-14: each entry that fits is a strike. What is known survives edits, the handler's own too.
func TestPassiveStrikes(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		config := func(i int) string {
			return fmt.Sprintf(`{"flush_interval":%d,"upstreams":[{"dial":"a:1"}],"health_checks":{"passive":{"fail_duration":"60s","max_fails":2}}}`, i)
		}
		g := w.build(nil, config(0))
		wantText(t, "S8", g.gets(3), "502x2 503x1")
		for i := range 100 {
			next := w.build(g, config(i+1))
			g.retire(next)
			g = next
			wantText(t, "after an edit", g.gets(1), "503x1")
		}
		after(61 * time.Second)
		wantText(t, "the time is over", g.gets(1), "502x1")
		g.end()

		f.set("b:1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
		g = w.build(nil, `{"upstreams":[{"dial":"b:1"}],"health_checks":{"passive":{"fail_duration":"50ms","max_fails":2,"unhealthy_status":[5,503,404]}}}`)
		defer g.end()
		status, _ := g.get("/")
		if n := g.upstreams[0].Host.Fails(); status != 503 || n != 2 {
			t.Errorf("%d, %d fails", status, n)
		}
		if _, body := g.get("/"); !strings.Contains(body, errNoUpstream.Error()) {
			t.Errorf("it was chosen: %q", body)
		}
		after(150 * time.Millisecond)
		if n := f.count("b:1", "/"); n != 1 {
			t.Errorf("asked %d times", n)
		}
		g.get("/")
		if n := f.count("b:1", "/"); n != 2 {
			t.Errorf("S9: it did not come back, asked %d times", n)
		}
	})
}

// HC-12, HC-13, HC-16: who judges, and by what.
func TestHandlersJudgeByTheirOwnSettings(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		build := func(passive string) *generation {
			return w.build(nil, `{"upstreams":[{"dial":"a:1"}]`+passive+`}`)
		}
		blind := build(``)
		counting := build(`,"health_checks":{"passive":{"fail_duration":"10s","max_fails":3}}`)
		strict := build(`,"health_checks":{"passive":{}}`)
		for _, g := range []*generation{blind, counting, strict} {
			defer g.end()
		}
		wantText(t, "nobody counts", blind.gets(5)+" "+strict.gets(5), "502x5 502x5")
		wantText(t, "one counts", counting.gets(1), "502x1")
		wantText(t, "the other judges", strict.gets(1), "503x1")
		wantText(t, "by its own settings", counting.gets(3), "502x2 503x1")
		wantText(t, "one ignores it", blind.gets(1), "502x1")
		after(10 * time.Second)
		wantText(t, "all forget", strict.gets(1), "502x1")
	})
}

// LIFE-3: what is the client's doing is not the upstream's.
func TestWhatIsNoStrike(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		f.set("a:1", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		g := w.build(nil, `{"upstreams":[{"dial":"a:1"}],"health_checks":{"passive":{"fail_duration":"1h"}},"circuit_breaker":{"type":"window","min_requests":1}}`)
		defer g.end()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if status, _ := g.ask(httptest.NewRequestWithContext(ctx, "GET", "/", nil)); status != 499 {
			t.Errorf("S11: %d", status)
		}
		body := io.MultiReader(strings.NewReader("some"), failing{})
		if status, _ := g.ask(httptest.NewRequest("POST", "/", body)); status != 502 {
			t.Errorf("a request that breaks off: %d", status)
		}
		u := g.upstreams[0]
		if u.Host.Fails() != 0 || !u.Available() {
			t.Errorf("%d fails, available %t", u.Host.Fails(), u.Available())
		}
		f.set("a:1", nil)
		g.get("/")
		if u.Host.Fails() != 1 || u.Available() {
			t.Errorf("refused: %d fails, available %t", u.Host.Fails(), u.Available())
		}
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("malformed chunk") }

// HOST-4 and S10, and the limit of an upstream wins.
func TestUnhealthyRequestCount(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		g := w.build(nil, `{"upstreams":[{"dial":"a:1"},{"dial":"b:1","max_requests":7}],"health_checks":{"passive":{"unhealthy_request_count":1}}}`)
		defer g.end()
		if a, b := g.upstreams[0].MaxRequests, g.upstreams[1].MaxRequests; a != 1 || b != 7 {
			t.Fatalf("limits %d and %d", a, b)
		}
		g.upstreams[0].Host.Begin(0)
		if g.upstreams[0].Available() || !g.upstreams[0].Healthy() {
			t.Error("a full upstream is available, or not healthy")
		}
		g.upstreams[0].Host.End()
	})
}

// A dead upstream stays known as dead across 100 edits, its neighbours too: none of them makes a request to it.
func TestDeadUpstreamStaysKnownAcrossEdits(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		for _, name := range []string{"a", "b"} {
			f.set(name+":1", says(name))
		}
		f.set("dead:1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
		config := func(i int) string {
			list := []string{`{"dial":"a:1"}`, `{"dial":"b:1"}`, `{"dial":"dead:1"}`}
			rotated := append(slices.Clone(list[i%3:]), list[:i%3]...)
			more := ""
			if i%2 == 1 {
				more = fmt.Sprintf(`,{"dial":"extra%d:1"}`, i)
				f.set(fmt.Sprintf("extra%d:1", i), says("extra"))
			}
			return fmt.Sprintf(`{"flush_interval":%d,"upstreams":[%s%s],"health_checks":{"active":{"uri":"/up","interval":"10s","jitter":0}}}`, i, strings.Join(rotated, ","), more)
		}
		g := w.build(nil, config(0))
		synctest.Wait()
		for i := range 100 {
			next := w.build(g, config(i+1))
			g.retire(next)
			g = next
			for _, u := range g.upstreams {
				if u.Available() != (u.Dial != "dead:1") {
					t.Fatalf("edit %d: %s available: %t", i, u.Dial, u.Available())
				}
			}
			g.gets(4)
			after(time.Second)
		}
		if n := f.count("dead:1", "/"); n != 0 {
			t.Errorf("%d requests to a dead upstream", n)
		}
		for _, name := range []string{"a:1", "b:1", "dead:1"} {
			if n := f.count(name, "/up"); n != 11 {
				t.Errorf("%s was asked %d times in 100 s, want 11", name, n)
			}
		}
		g.end()
	})
}

// 1,000 routes to one host make one probe a period, and an edit that is rejected makes none.
func TestThousandRoutesProbeOnce(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		f.set("a:1", says("a"))
		const check = `"upstreams":[{"dial":"a:1"}],"health_checks":{"active":{"uri":"/up","interval":"10s","jitter":0}}}`
		rejected := w.builder.Build(nil, "http.handlers.reverse_proxy", w.parse(`{`+check), module.Options{})
		for _, b := range rejected.New {
			for _, r := range b.Owned() {
				r.Prepare()
			}
		}
		after(time.Minute)
		(&generation{w: w, result: rejected}).end()
		if n := f.count("a:1", "/up"); n != 0 {
			t.Errorf("%d probes of a config that was never in effect", n)
		}
		var all []*generation
		for i := range 1000 {
			all = append(all, w.build(nil, fmt.Sprintf(`{"flush_interval":%d,`, i)+check))
		}
		after(100*time.Second + time.Millisecond)
		if n := f.count("a:1", "/up"); n != 11 {
			t.Errorf("%d probes in 10 periods", n)
		}
		for _, g := range all {
			g.end()
		}
	})
}

// HC-17, and the floor that departs from it.
func TestMinHealthy(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		for _, name := range []string{"a", "b", "c"} {
			f.set(name+":1", func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/up" {
					w.WriteHeader(500)
				}
				io.WriteString(w, name)
			})
		}
		build := func(floor int) *generation {
			return w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":"a:1"},{"dial":"b:1"},{"dial":"c:1"}],
				"load_balancing":{"selection_policy":{"policy":"round_robin"}},
				"health_checks":{"active":{"uri":"/up","interval":"10s"},"min_healthy":%d}}`, floor))
		}
		none, two := build(0), build(2)
		defer none.end()
		defer two.end()
		synctest.Wait()
		wantText(t, "no floor", none.gets(3), "503x3")
		wantText(t, "none is healthy", two.gets(6), "ax2 bx2 cx2")
		f.set("a:1", says("a"))
		after(12 * time.Second)
		wantText(t, "no floor, one is healthy", none.gets(3), "ax3")
		wantText(t, "one is healthy", two.gets(6), "ax2 bx2 cx2")
		f.set("b:1", says("b"))
		after(12 * time.Second)
		wantText(t, "two are healthy", two.gets(6), "ax3 bx3")
	})
}

// S24 and S25.
func TestProbeElsewhere(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		f.set("a:1", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/up" {
				w.WriteHeader(503)
			}
			io.WriteString(w, "a")
		})
		f.set("a:9000", says("fine"))
		f.set("/run/a.sock", says("socket"))
		for _, tt := range []struct{ upstream, active, want string }{
			{"a:1", `"uri":"/up"`, "503x2"},
			{"a:1", `"uri":"/up","port":9000`, "ax2"},
			{"a:1", `"uri":"/up","upstream":"a:9000","port":1`, "ax2"},
			{"a:1", `"port":9000`, "ax2"},
			{"unix//run/a.sock", `"uri":"/up"`, "socketx2"},
			{"unix//run/a.sock", `"uri":"/up","port":9000`, "socketx2"},
			{"a:1", `"uri":"/up","initial":"down","passes":3`, "503x2"},
			{"a:1", `"uri":"/up","port":9000,"initial":"down","passes":3`, "503x2"},
			{"a:1", `"uri":"/up","port":9000,"initial":"down"`, "ax2"},
			{"a:1", `"interval":"1s"`, "ax2"}, // HC-1
			{"a:1", `"upstream":"b:1"`, "ax2"},
		} {
			g := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"health_checks":{"active":{%s}}}`, tt.upstream, tt.active))
			after(100 * time.Millisecond)
			wantText(t, tt.upstream+" "+tt.active, g.gets(2), tt.want)
			g.end()
		}
	})
}

// A slow upstream is ejected and comes back by half-open probes; another one is not touched, and edits forget nothing.
func TestCircuitBreaker(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		slow := func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(3 * time.Second)
			io.WriteString(w, "slow")
		}
		f.set("a:1", says("a"))
		f.set("slow:1", slow)
		config := func(i int) string {
			return fmt.Sprintf(`{"flush_interval":%d,"upstreams":[{"dial":"a:1"},{"dial":"slow:1"}],"load_balancing":{"selection_policy":{"policy":"round_robin"}},
				"circuit_breaker":{"type":"window","window":"1m","min_requests":4,"latency":"2s","open_for":"30s","trials":2}}`, i)
		}
		g := w.build(nil, config(0))
		wantText(t, "at first", g.gets(8), "ax4 slowx4")
		wantText(t, "ejected", g.gets(20), "ax20")
		for i := range 5 {
			next := w.build(g, config(i+1))
			g.retire(next)
			g = next
		}
		wantText(t, "still after edits", g.gets(20), "ax20")
		status := w.pool.Health()[1]
		if status.Address != "slow:1" || *status.Healthy || status.Health[0].State != "open" || status.Health[0].Reason != "4 of 4 requests took 2s or longer" {
			t.Errorf("status %+v", status)
		}
		after(30 * time.Second)
		wantText(t, "one trial, which is slow", g.gets(20), "ax19 slowx1")
		f.set("slow:1", says("quick"))
		wantText(t, "ejected again", g.gets(20), "ax20")
		after(30 * time.Second)
		wantText(t, "back", g.gets(20), "ax10 quickx10")
		if s := w.pool.Health()[1]; !*s.Healthy {
			t.Errorf("status %+v", s)
		}
		g.end()
	})
}

// An upstream without connections trips the breaker too, and with retries no client notices.
func TestCircuitBreakerWithRetries(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		f.set("a:1", says("a"))
		g := w.build(nil, `{"upstreams":[{"dial":"a:1"},{"dial":"dead:1"}],"load_balancing":{"retries":1,"selection_policy":{"policy":"round_robin"}},
			"circuit_breaker":{"type":"window","min_requests":3,"open_for":"10s"}}`)
		defer g.end()
		wantText(t, "no client notices", g.gets(20), "ax20")
		if u := g.upstreams[1]; u.Healthy() {
			t.Error("the dead one is not ejected")
		}
		// A trial whose client leaves is not lost.
		f.set("dead:1", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		f.set("a:1", nil)
		after(10 * time.Second)
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if status, body := g.ask(httptest.NewRequestWithContext(ctx, "GET", "/", nil)); status != 499 {
				t.Errorf("%d %s", status, body)
			}
			cancel()
		}
		f.set("dead:1", says("alive"))
		wantText(t, "it is back", g.gets(4), "alivex4")
	})
}

// A health check and requests are the same connections, and an upstream that is known by its placeholder is watched as one.
func TestPassiveChecksOfPlaceholders(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		g := w.build(nil, `{"upstreams":[{"dial":"{http.request.header.X-To}:1"}],"health_checks":{"active":{"uri":"/up","interval":"1s"},"passive":{"fail_duration":"10s"}}}`)
		defer g.end()
		f.set("a:1", says("a"))
		after(5 * time.Second)
		ask := func(to string) int {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("X-To", to)
			status, _ := g.ask(r)
			return status
		}
		if a, b, c := ask("a"), ask("b"), ask("a"); a != 200 || b != 502 || c != 503 {
			t.Errorf("%d %d %d", a, b, c)
		}
		if n := f.count("a:1", "/up"); n != 0 {
			t.Errorf("%d probes (HC-6)", n)
		}
	})
}

// What is of no use is accepted, and said.
func TestHealthWarnings(t *testing.T) {
	w := newWorld(t)
	for text, want := range map[string]string{
		`{"health_checks":{"active":{"interval":"1s"}}}`:                  "/health_checks/active",
		`{"health_checks":{"active":{"upstream":"a:1"}}}`:                 "/health_checks/active",
		`{"health_checks":{"active":{"path":"/up"}}}`:                     "/health_checks/active/path",
		`{"health_checks":{"active":{"path":"/up","uri":"/ready"}}}`:      "/health_checks/active/path",
		`{"health_checks":{"passive":{"max_fails":3}}}`:                   "/health_checks/passive",
		`{"health_checks":{"passive":{"unhealthy_status":[5]}}}`:          "/health_checks/passive",
		`{"health_checks":{"passive":{"unhealthy_request_count":10}}}`:    "",
		`{"health_checks":{"active":{"uri":"/up"},"passive":{}}}`:         "",
		`{"health_checks":{"passive":{"fail_duration":1,"max_fails":1}}}`: "",
	} {
		res := w.builder.Build(nil, "http.handlers.reverse_proxy", w.parse(text), module.Options{})
		got := ""
		if len(res.Warnings) > 0 {
			got = res.Warnings[0].Pointer
		}
		if len(res.Problems) > 0 || len(res.Warnings) > 1 || got != want {
			t.Errorf("%s: problems %v, warnings %v; want one at %q", text, res.Problems, res.Warnings, want)
		}
	}
}

// The old field path is a path and nothing else.
func TestHealthPath(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		f.set("a:1", says("a"))
		g := w.build(nil, `{"upstreams":[{"dial":"a:1"}],"health_checks":{"active":{"path":"/up?x"}}}`)
		synctest.Wait()
		if n := f.count("a:1", "/up?x"); n != 1 {
			t.Errorf("asked %v", f.asked)
		}
		g.end()
	})
}

// The headers of probes know the upstream, and the environment as it is then.
func TestProbeHeaders(t *testing.T) {
	in(t, func(t *testing.T, w *world, f *fleet) {
		var key atomic.Value
		key.Store("one")
		w.builder.Sources.Globals = vars.Func(func(name string) (any, bool) { return key.Load(), name == "env.KEY" })
		var got []string
		f.set("a:1", func(_ http.ResponseWriter, r *http.Request) {
			got = append(got, r.Host+" "+r.Header.Get("X-Key")+" "+r.Header.Get("X-Target")+" "+r.Header.Get("User-Agent"))
		})
		g := w.build(nil, `{"upstreams":[{"dial":"a:1"}],"headers":{"request":{"set":{"X-Key":["no"]}}},"rewrite":{"uri":"/no"},"health_checks":{"active":{
			"uri":"/up","interval":"1s","jitter":0,"headers":{"host":["h.test"],"x-key":["{env.KEY}"],"X-Target":["{http.reverse_proxy.active.target_upstream}"],"User-Agent":["probe"]}}}}`)
		after(500 * time.Millisecond)
		key.Store("two")
		after(time.Second)
		g.end()
		if want := []string{"h.test one a:1 probe", "h.test two a:1 probe"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// BenchmarkAvailable is the question of each request, for an upstream with everything and for one with nothing.
func BenchmarkAvailable(b *testing.B) {
	w := newWorld(b)
	for name, config := range map[string]string{
		"unwatched": `{"upstreams":[{"dial":"127.0.0.1:1"}]}`,
		"watched": `{"upstreams":[{"dial":"127.0.0.1:1"}],"circuit_breaker":{"type":"window"},
			"health_checks":{"active":{"uri":"/","initial":"up","fails":1000000},"passive":{"fail_duration":"1h","max_fails":5}}}`,
	} {
		g := w.build(nil, config)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !g.upstreams[0].Available() {
					b.Fatal("not available")
				}
			}
		})
		g.end()
	}
}
