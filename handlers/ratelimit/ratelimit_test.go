package ratelimit

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const byAddress = `{"rate_limits": {"z": {"key": "{http.request.remote.host}", "window": "10s", "max_events": 5}}}`

func TestBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newWorld(t, NewZones(nil)).load(nil, byAddress)
		if n := passes(g.site, "192.0.2.1", 8); n != 5 {
			t.Errorf("%d of 8 at once pass, want 5", n)
		}
		if n := passes(g.site, "192.0.2.2", 8); n != 5 {
			t.Errorf("%d of another address pass, want 5", n)
		}
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{time.Second, 0}, {time.Second, 1}, {2 * time.Second, 1}, {6 * time.Second, 3}, {time.Hour, 5}, {0, 0}} {
			time.Sleep(step.wait)
			if n := passes(g.site, "192.0.2.1", 8); n != step.want {
				t.Errorf("%d pass after %v more, want %d", n, step.wait, step.want)
			}
		}
	})
}

// TestLongRun: in the long run no more than max_events in a window, whatever the
// pace.
func TestLongRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newWorld(t, NewZones(nil)).load(nil, `{"rate_limits": {"z": {"key": "k", "window": "1s", "max_events": 3}}}`)
		ok := 0
		for range 10_000 {
			time.Sleep(7 * time.Millisecond)
			ok += passes(g.site, "192.0.2.1", 1)
		}
		if want := 3 + 70*3; ok < want-3 || ok > want {
			t.Errorf("%d pass in 70 s, want %d", ok, want)
		}
	})
}

func TestAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newWorld(t, NewZones(nil)).load(nil, byAddress)
		rec := ask(g.site, "192.0.2.1", "/")
		if h := rec.Header(); rec.Code != 200 || h.Get("RateLimit-Policy") != `"z";q=5;w=10` || h.Get("RateLimit") != `"z";r=4;t=2` || h.Get("Retry-After") != "" {
			t.Errorf("the first: %d %v", rec.Code, h)
		}
		passes(g.site, "192.0.2.1", 4)
		time.Sleep(500 * time.Millisecond)
		rec = ask(g.site, "192.0.2.1", "/")
		if h := rec.Header(); rec.Code != 429 || h.Get("RateLimit") != `"z";r=0;t=10` || h.Get("Retry-After") != "2" || rec.Body.String() != "rate limit exceeded: z" {
			t.Errorf("one too many: %d %v %q", rec.Code, h, rec.Body)
		}
		time.Sleep(1500 * time.Millisecond)
		if rec := ask(g.site, "192.0.2.1", "/"); rec.Code != 200 {
			t.Errorf("after the time that Retry-After says: %d", rec.Code)
		}
	})
}

func TestHeaderKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := func(headers string) string {
			return `{` + headers + `"rate_limits": {"day": {"window": "24h", "max_events": 1000}, "b\"\\é": {"window": "1500ms", "max_events": 2}}}`
		}
		for _, c := range []struct {
			headers string
			want    map[string]string
		}{
			{``, map[string]string{
				"Ratelimit-Policy": `"day";q=1000;w=86400, "b\"\\_";q=2;w=2`, "Ratelimit": `"day";r=999;t=87, "b\"\\_";r=1;t=1`, "Ratelimit-Limit": "", "Ratelimit-Remaining": ""}},
			{`"headers": "draft-10", `, map[string]string{
				"Ratelimit-Policy": `"day";q=1000;w=86400, "b\"\\_";q=2;w=2`, "Ratelimit": `"day";r=999;t=87, "b\"\\_";r=1;t=1`, "Ratelimit-Limit": ""}},
			{`"headers": "draft-06", `, map[string]string{
				"Ratelimit-Policy": `1000;w=86400, 2;w=2`, "Ratelimit": "", "Ratelimit-Limit": "2", "Ratelimit-Remaining": "1", "Ratelimit-Reset": "1"}},
			{`"headers": "off", `, map[string]string{"Ratelimit-Policy": "", "Ratelimit": "", "Ratelimit-Limit": ""}},
		} {
			g := newWorld(t, NewZones(nil)).load(nil, config(c.headers))
			h := ask(g.site, "192.0.2.1", "/").Header()
			for name, want := range c.want {
				if got := h.Get(name); got != want {
					t.Errorf("%s%s: %q, want %q", c.headers, name, got, want)
				}
			}
			ask(g.site, "192.0.2.1", "/")
			if rec := ask(g.site, "192.0.2.1", "/"); rec.Code != 429 || rec.Header().Get("Retry-After") != "1" {
				t.Errorf("%sthe third: %d %v", c.headers, rec.Code, rec.Header())
			}
		}
	})
}

// TestTwoHandlers: each says its own, and of the older fields the one that has
// less left.
func TestTwoHandlers(t *testing.T) {
	w := newWorld(t, NewZones(nil))
	a := w.load(nil, `{"rate_limits": {"a": {"window": "1h", "max_events": 3}}}`)
	b := w.load(nil, `{"rate_limits": {"b": {"window": "1h", "max_events": 9}}}`)
	h := ask(serve(t, a, b), "192.0.2.1", "/").Header()
	if got := h["Ratelimit"]; len(got) != 2 || !strings.HasPrefix(got[0], `"a";r=2;`) || !strings.HasPrefix(got[1], `"b";r=8;`) {
		t.Errorf("%q", got)
	}
	old := w.load(nil, `{"headers": "draft-06", "rate_limits": {"a": {"window": "1h", "max_events": 3}}}`)
	older := w.load(nil, `{"headers": "draft-06", "rate_limits": {"b": {"window": "1h", "max_events": 9}}}`)
	h = ask(serve(t, old, older), "192.0.2.1", "/").Header()
	if h.Get("RateLimit-Limit") != "3" || h.Get("RateLimit-Remaining") != "1" || len(h["Ratelimit-Remaining"]) != 1 {
		t.Errorf("%v", h)
	}
}

func TestZones(t *testing.T) {
	t.Run("all must have room, and what is refused takes nothing", func(t *testing.T) {
		g := newWorld(t, NewZones(nil)).load(nil, `{"rate_limits": {
			"tight": {"key": "{http.request.remote.host}", "window": "1h", "max_events": 10},
			"all": {"key": "static", "window": "1s", "max_events": 3}}}`)
		for i := range 3 {
			if rec := ask(g.site, "192.0.2.1", "/"); rec.Code != 200 {
				t.Fatalf("request %d: %d", i, rec.Code)
			}
		}
		for range 20 {
			if rec := ask(g.site, "192.0.2.1", "/"); rec.Code == 429 && rec.Body.String() != "rate limit exceeded: all" {
				t.Fatalf("%q", rec.Body)
			}
		}
		if rec := ask(g.site, "192.0.2.1", "/"); rec.Code == 429 && !strings.HasPrefix(rec.Header().Get("RateLimit"), `"tight";r=7;`) {
			t.Errorf("%v: the requests that were refused took from the other zone", rec.Header())
		}
	})
	t.Run("matchers", func(t *testing.T) {
		g := newWorld(t, NewZones(nil)).load(nil, `{"rate_limits": {"post": {"match": [{"method": ["POST"], "path": ["/a*"]}, {"path": ["/b"]}], "window": "1h", "max_events": 1}}}`)
		for _, c := range []struct {
			path string
			code int
		}{{"/a", 200}, {"/a", 200}, {"/b", 200}, {"/b", 429}, {"/c", 200}, {"/a", 200}} {
			rec := ask(g.site, "192.0.2.1", c.path)
			if rec.Code != c.code || (c.path != "/b") != (rec.Header().Get("RateLimit") == "") {
				t.Errorf("%s: %d %v, want %d", c.path, rec.Code, rec.Header(), c.code)
			}
		}
	})
	t.Run("a zone of nothing", func(t *testing.T) {
		w := newWorld(t, NewZones(nil))
		g := w.load(nil, `{"rate_limits": {"none": {"window": "1m"}}}`)
		if rec := ask(g.site, "192.0.2.1", "/"); rec.Code != 429 || rec.Header().Get("Retry-After") != "60" {
			t.Errorf("%d %v", rec.Code, rec.Header())
		}
		if len(g.built.Warnings) != 1 {
			t.Errorf("warnings %v", g.built.Warnings)
		}
	})
	t.Run("no zones", func(t *testing.T) {
		if rec := ask(newWorld(t, NewZones(nil)).load(nil, `{}`).site, "192.0.2.1", "/"); rec.Code != 200 || len(rec.Header()) != 1 {
			t.Errorf("%d %v", rec.Code, rec.Header())
		}
	})
	t.Run("any placeholder", func(t *testing.T) {
		g := newWorld(t, NewZones(nil)).load(nil, `{"rate_limits": {"z": {"key": "{http.request.header.X-Key}", "window": "1h", "max_events": 1}}}`)
		for i, c := range []struct {
			key  string
			code int
		}{{"a", 200}, {"b", 200}, {"a", 429}, {"", 200}, {"", 429}, {strings.Repeat("x", 100_000), 200}} {
			if rec := g.site.Get("/", "X-Key: "+c.key); rec.Code != c.code {
				t.Errorf("%d: %d, want %d", i, rec.Code, c.code)
			}
		}
	})
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newWorld(t, NewZones(nil)).load(nil, `{"jitter": 0.5, "rate_limits": {"z": {"window": "100s", "max_events": 1}}}`)
		g.random = func() float64 { return 0.5 }
		ask(g.site, "192.0.2.1", "/")
		if got := ask(g.site, "192.0.2.1", "/").Header().Get("Retry-After"); got != "125" {
			t.Errorf("Retry-After %s, want 100 s and half of half of it", got)
		}
	})
}

// TestStateByMeaning: an edit resets nothing but what is no longer wanted.
func TestStateByMeaning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, NewZones(nil))
		g := w.load(nil, byAddress)
		passes(g.site, "192.0.2.1", 4)
		for _, edit := range []struct {
			name, config string
			want         int
		}{
			{"another zone", `{"rate_limits": {"z": {"key": "{http.request.remote.host}", "window": "10s", "max_events": 5}, "other": {"window": "1s", "max_events": 1000}}}`, 1},
			{"jitter", `{"jitter": 1, "rate_limits": {"z": {"key": "{http.request.remote.host}", "window": "10s", "max_events": 5}}}`, 0},
			{"more events", `{"rate_limits": {"z": {"key": "{http.request.remote.host}", "window": "10s", "max_events": 8}}}`, 3},
			{"fewer events", `{"rate_limits": {"z": {"key": "{http.request.remote.host}", "window": "10s", "max_events": 2}}}`, 0},
			{"more keys", `{"rate_limits": {"z": {"key": "{http.request.remote.host}", "window": "10s", "max_events": 2, "max_keys": 5}}}`, 0},
			{"without the zone", `{"rate_limits": {}}`, 9},
			{"and with it again", byAddress, 5},
		} {
			g = w.load(g, edit.config)
			if n := passes(g.site, "192.0.2.1", 9); n != edit.want {
				t.Errorf("%s: %d pass, want %d", edit.name, n, edit.want)
			}
		}
		release([]*module.Built{g.built.Root})
		if len(w.zones.zones) != 0 {
			t.Errorf("%d zones are left of nothing", len(w.zones.zones))
		}
	})
}

// TestSameName: two handlers count together.
func TestSameName(t *testing.T) {
	w := newWorld(t, NewZones(nil))
	a, b := w.load(nil, byAddress), w.load(nil, byAddress)
	if n := passes(a.site, "192.0.2.1", 3) + passes(b.site, "192.0.2.1", 9); n != 5 {
		t.Errorf("%d pass through both, want 5", n)
	}
	release([]*module.Built{a.built.Root})
	if n := passes(b.site, "192.0.2.1", 1); n != 0 || len(w.zones.zones) != 1 {
		t.Errorf("%d pass after one of them has gone", n)
	}
}

// TestRejectedLoad leaves nothing behind.
func TestRejectedLoad(t *testing.T) {
	w := newWorld(t, NewZones(nil))
	res := w.compile(nil, byAddress)
	if len(w.zones.zones) != 0 {
		t.Error("compiling makes a zone")
	}
	for _, r := range res.Root.Owned() {
		if err := r.Prepare(); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	if len(w.zones.zones) != 0 {
		t.Error("a zone is left of what was undone")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, keys := range []int{1, 10, 2000} {
			registry, err := metrics.New(metrics.Config{})
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, NewZones(registry))
			g := w.load(nil, fmt.Sprintf(`{"rate_limits": {"z": {"key": "{http.request.remote.host}", "window": "1h", "max_events": 1, "max_keys": %d}}}`, keys))
			s := g.zones[0].state
			for i := range 3 * keys {
				ask(g.site, fmt.Sprint("10.", i>>16&255, ".", i>>8&255, ".", i&255), "/")
			}
			slots := 0
			for i := range s.shards {
				slots += len(s.shards[i].slots) - 1
			}
			if n := s.keys(); n > keys+manyShards || n < keys*9/10 || slots > keys+manyShards {
				t.Errorf("%d keys in %d slots, want about %d", n, slots, keys)
			}
			text := scrape(registry)
			if want := fmt.Sprintf("sluice_rate_limit_keys{zone=\"z\"} %d\n", s.keys()); !strings.Contains(text, want) {
				t.Errorf("metrics lack %s in\n%s", want, text)
			}
			if want := fmt.Sprintf("sluice_rate_limit_evicted_keys_total{zone=\"z\"} %d\n", 3*keys-s.keys()); !strings.Contains(text, want) {
				t.Errorf("metrics lack %s in\n%s", want, text)
			}
		}
	})
}

// TestEvictionOrder: who was seen last stays.
func TestEvictionOrder(t *testing.T) {
	w := newWorld(t, NewZones(nil))
	g := w.load(nil, `{"rate_limits": {"z": {"key": "{http.request.remote.host}", "window": "1h", "max_events": 2, "max_keys": 3}}}`)
	for _, a := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1", "192.0.2.4"} { // 2 is forgotten
		ask(g.site, a, "/")
	}
	for a, want := range map[string]int{"192.0.2.1": 0, "192.0.2.3": 1, "192.0.2.4": 1} {
		if n := passes(g.site, a, 5); n != want {
			t.Errorf("%s: %d pass, want %d", a, n, want)
		}
	}
	if n := passes(g.site, "192.0.2.2", 5); n != 2 {
		t.Errorf("the one that was forgotten: %d pass, want 2", n)
	}
}

// TestFullBucketsAreDropped although there is room.
func TestFullBucketsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newWorld(t, NewZones(nil)).load(nil, `{"rate_limits": {"z": {"key": "{http.request.remote.host}", "window": "1s", "max_events": 1, "max_keys": 500}}}`)
		for i := range 200 {
			ask(g.site, fmt.Sprint("10.0.0.", i), "/")
		}
		time.Sleep(time.Minute)
		for i := range 150 {
			ask(g.site, fmt.Sprint("10.0.1.", i), "/")
		}
		if n := g.zones[0].state.keys(); n != 150 {
			t.Errorf("%d keys are remembered, want those that still count", n)
		}
	})
}

func scrape(r *metrics.Registry) string {
	rec := httptest.NewRecorder()
	r.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	return rec.Body.String()
}

func TestMetrics(t *testing.T) {
	registry, err := metrics.New(metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := newWorld(t, NewZones(registry)).load(nil, byAddress)
	passes(g.site, "192.0.2.1", 8)
	passes(g.site, "192.0.2.2", 1)
	text := scrape(registry)
	for _, want := range []string{
		`sluice_rate_limit_requests_total{zone="z"} 9`, `sluice_rate_limit_declined_requests_total{zone="z"} 3`, `sluice_rate_limit_keys{zone="z"} 2`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
	release([]*module.Built{g.built.Root})
	if text := scrape(registry); strings.Contains(text, "rate_limit_keys{") || !strings.Contains(text, "rate_limit_requests_total{") {
		t.Error("the keys of a zone that has gone are shown, or its requests are not")
	}
}

func TestLog(t *testing.T) {
	for _, logKey := range []bool{false, true} {
		core, seen := observer.New(zapcore.DebugLevel)
		g := newWorld(t, NewZones(nil)).load(nil, fmt.Sprintf(`{"log_key": %v, "rate_limits": {"z": {"key": "{http.request.header.X-Key}", "window": "1h", "max_events": 1}}}`, logKey))
		s := serve(t, handlers.HandlerFunc(func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
			x := handlers.Of(r)
			x.Server = logged{x.Server, zap.New(core)}
			return g.ServeHTTP(w, r, next)
		}))
		s.Get("/", "X-Key: secret")
		s.Get("/", "X-Key: secret")
		if seen.Len() != 1 {
			t.Fatalf("%d log entries, want one", seen.Len())
		}
		e := seen.All()[0]
		if e.Level != zapcore.DebugLevel || e.Message != "rate limit exceeded" || e.ContextMap()["zone"] != "z" || (e.ContextMap()["key"] == "secret") != logKey {
			t.Errorf("log_key %v: %v %v", logKey, e.Entry, e.ContextMap())
		}
	}
}

type logged struct {
	handlers.Server
	log *zap.Logger
}

func (l logged) Logger(string) *zap.Logger { return l.log }

// TestConcurrent: no more pass than may, however many ask at once.
func TestConcurrent(t *testing.T) {
	g := newWorld(t, NewZones(nil)).load(nil, `{"rate_limits": {"z": {"key": "{http.request.remote.host}", "window": "10h", "max_events": 50}}}`)
	var ok atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() { ok.Add(int64(passes(g.site, fmt.Sprint("192.0.2.", i%2), 100))) })
	}
	all.Wait()
	if ok.Load() != 100 {
		t.Errorf("%d pass, want 50 of each of two addresses", ok.Load())
	}
}

func TestProblems(t *testing.T) {
	w := newWorld(t, NewZones(nil))
	for _, c := range []struct{ name, config, at string }{
		{"no window", `{"rate_limits": {"z": {"max_events": 1}}}`, "/rate_limits/z/window"},
		{"a negative window", `{"rate_limits": {"a/b": {"max_events": 1, "window": "-1s"}}}`, "/rate_limits/a~1b/window"},
		{"negative events", `{"rate_limits": {"z": {"max_events": -1, "window": "1s"}}}`, "/rate_limits/z/max_events"},
		{"negative keys", `{"rate_limits": {"z": {"max_events": 1, "window": "1s", "max_keys": -1}}}`, "/rate_limits/z/max_keys"},
		{"negative jitter", `{"jitter": -0.1}`, "/jitter"},
		{"headers", `{"headers": "draft-03"}`, "/headers"},
		{"a matcher", `{"rate_limits": {"z": {"max_events": 1, "window": "1s", "match": [{"nope": {}}]}}}`, "/rate_limits/z/match/0/nope"},
		{"a field of a zone", `{"rate_limits": {"z": {"events": 1, "window": "1s"}}}`, "/rate_limits/z/events"},
		{"distributed", `{"distributed": {}}`, "/distributed"},
		{"storage", `{"storage": {"module": "file_system"}}`, "/storage"},
		{"sweep_interval", `{"sweep_interval": "1m"}`, "/sweep_interval"},
		{"key", `{"rate_limits": {"z": {"max_events": 1, "window": "1s", "key": "` + strings.Repeat("{", 200) + `"}}}`, "/rate_limits/z/key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if ps := w.compile(nil, c.config).Problems; len(ps) != 1 || ps[0].Pointer != c.at {
				t.Errorf("problems %v, want one at %s", ps, c.at)
			}
		})
	}
}

func TestExamples(t *testing.T) {
	s := Spec()
	for _, e := range s.Examples {
		text := strings.Replace(e.JSON, `"handler": "rate_limit", `, "", 1)
		if res := newWorld(t, NewZones(nil)).compile(nil, text); len(res.Problems)+len(res.Warnings) > 0 {
			t.Errorf("%s: %v %v", e.Title, res.Problems, res.Warnings)
		}
	}
	if s.Summary == "" || len(s.Examples) == 0 {
		t.Error("no summary or no example")
	}
}

// FuzzBucket compares the buckets with a slow model that forgets nothing.
func FuzzBucket(f *testing.F) {
	f.Add([]byte{1, 2, 3, 250, 1, 1, 1}, uint8(2), uint8(10))
	f.Add([]byte("aaaaaaaaaaaaaaaa\xff\xffaaaa"), uint8(3), uint8(1))
	f.Fuzz(func(t *testing.T, steps []byte, events, window uint8) {
		l := limit{float64(events), time.Duration(window)*time.Second + time.Millisecond}
		s := newState(NewZones(nil), "z", 1<<20)
		model := map[uint64]*struct {
			used float64
			at   time.Duration
		}{}
		var now time.Duration
		for _, b := range steps {
			if b >= 200 {
				now += time.Duration(b-199) * 100 * time.Millisecond
				continue
			}
			hash := uint64(b%8) << 32
			m := model[hash]
			if m == nil {
				m = new(struct {
					used float64
					at   time.Duration
				})
				m.at = now
				model[hash] = m
			}
			m.used = max(0, m.used-float64(now-m.at)*l.rate())
			m.at = now
			want := m.used+1 <= l.events+tolerance
			if want {
				m.used++
			}
			v, _, _, live := s.shard(hash).take(hash, l, now)
			if v.ok != want || live > 0 || v.left < 0 || v.left > int64(events) || v.reset < 0 || (!v.ok && v.wait <= 0) {
				t.Fatalf("%+v at %v, want %v; %d dropped", v, now, want, live)
			}
		}
	})
}

func BenchmarkHandler(b *testing.B) {
	g := newWorld(b, NewZones(nil)).load(nil, `{"rate_limits": {"z": {"key": "{http.request.remote.host}", "window": "1s", "max_events": 1000000000}}}`)
	r := httptest.NewRequest("GET", "/", nil)
	x := &handlers.Exchange{}
	r = x.Begin(r, nil)
	w := httptest.NewRecorder()
	next := handlers.NextFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	b.ReportAllocs()
	for b.Loop() {
		clear(w.Header())
		if err := g.ServeHTTP(w, r, next); err != nil {
			b.Fatal(err)
		}
	}
}
