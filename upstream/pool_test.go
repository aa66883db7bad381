package upstream

import (
	"encoding/json"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/upstream/expiring"
)

func TestAcquireSharesByDialText(t *testing.T) {
	p := NewPool(nil)
	a, b, c := p.Acquire("10.20.0.1:8080"), p.Acquire("10.20.0.1:8080"), p.Acquire("tcp/10.20.0.1:8080")
	if a != b {
		t.Error("the same dial text gave two hosts")
	}
	if a == c {
		t.Error("different dial texts gave one host")
	}
	p.Release(a)
	if got := p.Acquire("10.20.0.1:8080"); got != a {
		t.Error("a held host was replaced")
	}
}

func TestReleaseOfWhatIsNotHeldPanics(t *testing.T) {
	p := NewPool(nil)
	h := p.Acquire("10.20.0.1:8080")
	p.Release(h)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	p.Release(h)
}

func TestReleasedHostLivesUntilItsLastRequest(t *testing.T) {
	p := NewPool(nil)
	h := p.Acquire("10.20.0.1:8080")
	h.Begin(0)
	h.Begin(0)
	p.Release(h)
	if got := p.List(); !reflect.DeepEqual(got, []Status{{Address: "10.20.0.1:8080", NumRequests: 2}}) {
		t.Errorf("while draining: %v", got)
	}
	if again := p.Acquire("10.20.0.1:8080"); again != h || again.Requests() != 2 {
		t.Error("a host taken up again lost its counters")
	}
	p.Release(h)
	h.End()
	h.End()
	if got := p.List(); len(got) != 0 || len(p.hosts) != 0 {
		t.Errorf("after the last request: %v, %d records", got, len(p.hosts))
	}
}

func TestListOrderAndContents(t *testing.T) {
	p := NewPool(nil)
	for _, dial := range []string{"unix//run/app.sock", "10.20.0.1:8080", "{http.request.host}:80"} {
		p.Acquire(dial).Begin(0)
	}
	p.Acquire("10.20.0.0:1")
	p.Enter("app.internal:80")
	p.Enter("10.20.0.1:8080") // literally a dial text: not listed again
	got, err := json.Marshal(p.List())
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"address":"10.20.0.0:1","num_requests":0,"fails":0},` +
		`{"address":"10.20.0.1:8080","num_requests":1,"fails":0},` +
		`{"address":"unix//run/app.sock","num_requests":1,"fails":0},` +
		`{"address":"{http.request.host}:80","num_requests":1,"fails":0},` +
		`{"address":"/run/app.sock","num_requests":1,"fails":0},` +
		`{"address":"app.internal:80","num_requests":1,"fails":0}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	p.Leave("app.internal:80")
	p.Leave("10.20.0.1:8080")
	if len(p.flying) != 0 {
		t.Errorf("%d in-flight entries stayed", len(p.flying))
	}
	if hosts := p.Hosts(); len(hosts) != 4 || hosts[0].Dial() != "10.20.0.0:1" {
		t.Errorf("hosts: %v", hosts)
	}
	if empty, _ := json.Marshal(NewPool(nil).List()); string(empty) != "[]" {
		t.Errorf("an empty pool lists %s", empty)
	}
}

func TestBeginNeverExceedsTheLimit(t *testing.T) {
	const limit, clients, rounds = 3, 16, 2000
	h := NewPool(nil).Acquire("10.20.0.1:8080")
	var wg sync.WaitGroup
	refused := make([]int, clients)
	for c := range clients {
		wg.Go(func() {
			for range rounds {
				before, ok := h.Begin(limit)
				if !ok {
					refused[c]++
					continue
				}
				if now := h.Requests(); before >= limit || now > limit {
					t.Errorf("%d requests run, limit %d", now, limit)
				}
				h.End()
			}
		})
	}
	wg.Wait()
	if h.Requests() != 0 {
		t.Errorf("%d requests stayed counted", h.Requests())
	}
	for range limit {
		if !h.TryAcquire(limit) {
			t.Fatal("refused below the limit")
		}
	}
	if !h.Full(limit) || h.TryAcquire(limit) {
		t.Error("not refused at the limit")
	}
	if h.Full(0) || !h.TryAcquire(0) {
		t.Error("no limit refused")
	}
}

func TestAcquireAndReleaseUnderLoad(t *testing.T) {
	p := NewPool(nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				h := p.Acquire(strconv.Itoa(i%3) + ".test:80")
				h.Begin(0)
				if i%2 == 0 {
					h.End()
					p.Release(h)
				} else {
					p.Release(h)
					h.End()
				}
			}
		})
	}
	wg.Wait()
	if len(p.hosts) != 0 {
		t.Errorf("%d records stayed", len(p.hosts))
	}
}

func TestFailureWindows(t *testing.T) {
	now := time.Unix(1000, 0)
	p := NewPool(func() time.Time { return now })
	h := p.Acquire("10.20.0.1:8080")
	h.Fail(0)
	if h.Fails() != 0 {
		t.Error("a failure without window was counted")
	}
	h.Fail(10 * time.Second)
	now = now.Add(4 * time.Second)
	h.Fail(10 * time.Second)
	h.Fail(2 * time.Second)
	steps := []struct {
		after time.Duration
		want  int64
	}{{0, 3}, {2 * time.Second, 2}, {4 * time.Second, 1}, {3999 * time.Millisecond, 1}, {time.Millisecond, 0}}
	for i, s := range steps {
		now = now.Add(s.after)
		if got := h.Fails(); got != s.want {
			t.Errorf("step %d: %d fails, want %d", i, got, s.want)
		}
	}
}

func TestFailureMemoryIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	p := NewPool(func() time.Time { return now })
	h := p.Acquire("10.20.0.1:8080")
	const n = 100_000
	for range n {
		now = now.Add(time.Minute / n / 2)
		h.Fail(time.Minute)
	}
	if n := h.failures.Entries(); n > expiring.Steps {
		t.Errorf("%d entries in memory", n)
	}
	if h.Fails() != n {
		t.Errorf("%d fails, want %d", h.Fails(), n)
	}
	now = now.Add(time.Minute)
	if h.Fails() != 0 {
		t.Errorf("%d fails after the window", h.Fails())
	}
}
