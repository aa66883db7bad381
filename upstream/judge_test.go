package upstream

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/internal/metrics"
)

// Handlers with different settings judge by their own; the failures are shared (HC-13, HC-16).
func TestStrikes(t *testing.T) {
	now := time.Unix(1000, 0)
	p := NewPool(func() time.Time { return now })
	h := p.Acquire("10.20.0.1:8080")
	one, three := p.AcquireStrikes(h, 1), p.AcquireStrikes(h, 3)
	if p.AcquireStrikes(h, 3) != three {
		t.Error("equal settings gave two judges")
	}
	check := func(what string, first, third bool, fails int64) {
		t.Helper()
		if one.Healthy() != first || three.Healthy() != third || h.Fails() != fails {
			t.Errorf("%s: max 1 %t, max 3 %t, %d fails; want %t, %t, %d", what, one.Healthy(), three.Healthy(), h.Fails(), first, third, fails)
		}
	}
	check("fresh", true, true, 0)
	h.Fail(10 * time.Second)
	check("one failure", false, true, 1)
	h.Fail(time.Second)
	h.Fail(time.Second)
	check("three", false, false, 3)
	if v := three.Verdict(); v.Healthy || v.State != "down" || v.Reason != "3 recent failures" {
		t.Errorf("verdict %+v", v)
	}
	now = now.Add(time.Second)
	check("two are over", false, true, 1)
	now = now.Add(9 * time.Second)
	check("all are over", true, true, 0)
	p.ReleaseStrikes(one)
	p.ReleaseStrikes(three)
	p.ReleaseStrikes(three)
	if len(h.judges) != 0 {
		t.Errorf("%d judges stayed", len(h.judges))
	}
}

// A step of the wall clock back does not make failures last longer.
func TestFailuresFollowTheMonotonicClock(t *testing.T) {
	p := NewPool(nil)
	h := p.Acquire("10.20.0.1:8080")
	h.Fail(time.Hour)
	if at := h.failures.First(); at > time.Hour+time.Minute || at < time.Hour {
		t.Errorf("the first failure is forgotten %s after the pool was made", at)
	}
}

func TestFailuresAreRecordedWithoutAllocation(t *testing.T) {
	p := NewPool(nil)
	h := p.Acquire("10.20.0.1:8080")
	s := p.AcquireStrikes(h, 1<<40)
	for range 1000 {
		h.Fail(time.Minute)
	}
	if n := testing.AllocsPerRun(1000, func() {
		h.Fail(time.Minute)
		s.Healthy()
	}); n >= 1 {
		t.Errorf("%v allocations for each failure", n)
	}
}

func BenchmarkHealthyWithFailures(b *testing.B) {
	p := NewPool(nil)
	h := p.Acquire("10.20.0.1:8080")
	s := p.AcquireStrikes(h, 3)
	h.Fail(time.Hour)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !s.Healthy() {
				b.Error("unhealthy")
				return
			}
		}
	})
}

// The fields of the reference come first and stay as they are; health comes after, where there is any.
func TestListShowsHealth(t *testing.T) {
	p := NewPool(nil)
	plain, judged := p.Acquire("10.20.0.1:8080"), p.Acquire("10.20.0.2:8080")
	plain.Begin(0)
	p.AcquireStrikes(judged, 1)
	judged.Fail(time.Hour)
	text, err := json.Marshal(p.List())
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"address":"10.20.0.1:8080","num_requests":1,"fails":0},` +
		`{"address":"10.20.0.2:8080","num_requests":0,"fails":1,"healthy":false,"health":[` +
		`{"kind":"passive","rule":"fewer than 1 failure","healthy":false,"state":"down","reason":"1 recent failure","handlers":1}]}]`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

// MET-1.
func TestHealthMetrics(t *testing.T) {
	r, err := metrics.New(metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPool(nil)
	RegisterMetrics(r, p)
	up, down := p.Acquire("10.20.0.1:8080"), p.Acquire("10.20.0.2:8080")
	p.AcquireStrikes(down, 1)
	down.Fail(time.Hour)
	c := checkerOf(t, p, up, checking(up, script(always(200)), everySecond))
	show := func() string {
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w.Body.String()
	}
	text := show()
	for _, want := range []string{
		"# HELP sluice_reverse_proxy_upstreams_healthy Health status of reverse proxy upstreams.\n",
		"# TYPE sluice_reverse_proxy_upstreams_healthy gauge\n",
		`sluice_reverse_proxy_upstreams_healthy{upstream="10.20.0.1:8080"} 1` + "\n",
		`sluice_reverse_proxy_upstreams_healthy{upstream="10.20.0.2:8080"} 0` + "\n",
		`sluice_reverse_proxy_health_check_passing{check="GET /up every 1s",upstream="10.20.0.1:8080"} 1` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	p.ReleaseChecker(c)
	p.Release(up)
	if strings.Contains(show(), "10.20.0.1") {
		t.Error("a host that is gone still has a series")
	}
}
