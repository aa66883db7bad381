package breaker

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/upstream"
)

// build compiles the breaker of a JSON object without its inline key.
func build(t testing.TB, text string) (upstream.Breaker, string) {
	t.Helper()
	table, err := module.NewTable(Specs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := module.Builder{Table: table, Sources: module.Sources{Globals: vars.Map{}}}
	res := b.Build(nil, Namespace+".window", node, module.Options{})
	if len(res.Problems) > 0 {
		return nil, res.Problems.Error()
	}
	return res.Root.Value().(upstream.Breaker), ""
}

func circuitOf(t testing.TB, text string) *circuit {
	t.Helper()
	b, problems := build(t, text)
	if problems != "" {
		t.Fatal(problems)
	}
	return b.NewCircuit().(*circuit)
}

var (
	good = upstream.Outcome{Status: 200, Latency: time.Millisecond}
	slow = upstream.Outcome{Status: 200, Latency: 2 * time.Second}
	bad  = upstream.Outcome{Status: 503, Latency: time.Millisecond}
	none = upstream.Outcome{Err: errors.New("refused")}
)

// send lets requests through, all with one outcome. It stops at the first that is not let through.
func (c *circuit) send(n int, o upstream.Outcome) (sent int) {
	for range n {
		pass, ok := c.Enter()
		if !ok {
			return sent
		}
		c.Done(pass, o)
		sent++
	}
	return sent
}

func (c *circuit) want(t *testing.T, s state, healthy bool) {
	t.Helper()
	if got := state(c.state.Load()); got != s || c.Healthy() != healthy {
		t.Errorf("%s, healthy %t; want %s, %t", got, c.Healthy(), s, healthy)
	}
}

func TestCircuitOpens(t *testing.T) {
	type part struct {
		n int
		o upstream.Outcome
	}
	tests := []struct {
		name   string
		config string
		parts  []part
		opens  bool
	}{
		{"errors", `{}`, []part{{10, good}, {10, bad}}, true},
		{"no response", `{}`, []part{{10, good}, {10, none}}, true},
		{"too few errors", `{}`, []part{{11, good}, {9, bad}, {1, good}}, false},
		{"too few requests", `{}`, []part{{19, bad}}, false},
		{"few requests", `{"min_requests":2}`, []part{{2, bad}}, true},
		{"a small rate", `{"error_rate":0.1}`, []part{{18, good}, {2, bad}}, true},
		{"other statuses", `{"error_status":[429,404]}`, []part{{30, bad}}, false},
		{"no statuses", `{"error_status":[]}`, []part{{30, bad}}, false},
		{"no statuses, no response", `{"error_status":[]}`, []part{{20, none}}, true},
		{"slow, unasked", `{}`, []part{{30, slow}}, false},
		{"slow", `{"latency":"2s"}`, []part{{10, good}, {10, slow}}, true},
		{"not slow enough", `{"latency":"2001ms"}`, []part{{30, slow}}, false},
		{"a small slow rate", `{"latency":"1s","slow_rate":0.05,"error_rate":1}`, []part{{19, good}, {1, slow}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := circuitOf(t, tt.config)
				for i, p := range tt.parts {
					if sent := c.send(p.n, p.o); sent != p.n {
						t.Fatalf("opened after %d of part %d", sent, i)
					}
				}
				if tt.opens {
					c.want(t, open, false)
				} else {
					c.want(t, closed, true)
				}
			})
		})
	}
}

// Requests count for the length of the window.
func TestWindowSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := circuitOf(t, `{"window":"16s","min_requests":4}`)
		c.send(3, bad)
		time.Sleep(17 * time.Second)
		c.send(3, bad)
		c.want(t, closed, true)
		time.Sleep(14 * time.Second)
		c.send(1, bad)
		c.want(t, open, false)
	})
}

func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := circuitOf(t, `{"min_requests":2,"open_for":"10s","trials":3,"latency":"1s"}`)
		late, _ := c.Enter()
		c.send(2, bad)
		c.want(t, open, false)
		if c.send(1, good) != 0 {
			t.Error("an open circuit lets a request through")
		}
		c.Done(late, good) // it began before, and says nothing now
		time.Sleep(9999 * time.Millisecond)
		c.want(t, open, false)
		time.Sleep(time.Millisecond)
		c.want(t, open, true) // its time has come

		var passes []upstream.Pass
		for range 3 {
			pass, ok := c.Enter()
			if !ok || pass == 0 {
				t.Fatalf("trial %d: %d, %t", len(passes), pass, ok)
			}
			passes = append(passes, pass)
		}
		c.want(t, halfOpen, false)
		if _, ok := c.Enter(); ok {
			t.Error("more trials than there are")
		}
		c.Abandon(passes[0]) // the client left: another may try
		c.want(t, halfOpen, true)
		again, _ := c.Enter()
		c.Done(passes[1], good)
		c.Done(passes[2], good)
		c.want(t, halfOpen, false)
		c.Done(again, slow)
		c.want(t, open, false)
		if v := c.Verdict(); v.Healthy || v.State != "open" || v.Reason != "a trial request was slow" || v.Kind != "circuit_breaker" {
			t.Errorf("verdict %+v", v)
		}

		time.Sleep(10 * time.Second)
		first, _ := c.Enter()
		c.Done(passes[0], bad) // a trial of the time before
		c.want(t, halfOpen, true)
		c.Done(first, good)
		if c.send(2, good) != 2 {
			t.Error("the other trials are not let through")
		}
		c.want(t, closed, true)
		c.send(1, bad)
		c.want(t, closed, true) // what was before is forgotten
		c.send(1, bad)
		c.want(t, open, false)
	})
}

func TestTrialThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := circuitOf(t, `{"min_requests":1,"open_for":"1s"}`)
		c.send(1, none)
		time.Sleep(time.Second)
		if c.send(2, none) != 1 {
			t.Error("a trial that failed did not open the circuit")
		}
		c.want(t, open, false)
		if v := c.Verdict(); v.Reason != "a trial request failed" || time.Since(v.Since) != 0 {
			t.Errorf("verdict %+v", v)
		}
	})
}

func TestCircuitUnderLoad(t *testing.T) {
	c := circuitOf(t, `{"window":"20ms","min_requests":5,"open_for":"1ms","trials":2}`)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 5000 {
				if !c.Healthy() {
					continue
				}
				pass, ok := c.Enter()
				switch {
				case !ok:
				case (n+i)%7 == 0:
					c.Abandon(pass)
				case (n/500)%2 == 0:
					c.Done(pass, bad)
				default:
					c.Done(pass, good)
				}
			}
		})
	}
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.free.Load(); n < 0 || n > c.trials {
		t.Errorf("%d free trials of %d", n, c.trials)
	}
}

func TestBreakersByMeaning(t *testing.T) {
	a, _ := build(t, `{"latency":"1s"}`)
	b, _ := build(t, `{"latency":1000000000,"trials":3}`)
	c, _ := build(t, `{"latency":"1s","error_status":[5,429]}`)
	if a.Key() != b.Key() || a.Key() == c.Key() {
		t.Errorf("keys: %v, %v, %v", a.Key(), b.Key(), c.Key())
	}
}

func TestLoadProblems(t *testing.T) {
	for text, want := range map[string]string{
		`{"window":0}`:         "/window",
		`{"window":"-1s"}`:     "/window",
		`{"open_for":0}`:       "/open_for",
		`{"error_rate":0}`:     "/error_rate",
		`{"error_rate":1.5}`:   "/error_rate",
		`{"slow_rate":-1}`:     "/slow_rate",
		`{"slow_rate":0}`:      "slow_rate is 0; it has to be more than 0",
		`{"min_requests":0}`:   "/min_requests",
		`{"trials":0}`:         "/trials",
		`{"latency":"-1s"}`:    "/latency",
		`{"error_status":"5"}`: "/error_status",
		`{"half":1}`:           "/half",
	} {
		if _, got := build(t, text); !strings.Contains(got, want) {
			t.Errorf("%s: %q does not have %q", text, got, want)
		}
	}
}

func TestClosedCircuitDoesNotAllocate(t *testing.T) {
	c := circuitOf(t, `{"latency":"1s"}`)
	if n := testing.AllocsPerRun(1000, func() {
		pass, _ := c.Enter()
		c.Done(pass, good)
	}); n != 0 {
		t.Errorf("%v allocations for each request", n)
	}
}

func BenchmarkClosedCircuit(b *testing.B) {
	c := circuitOf(b, `{"latency":"1s"}`)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			pass, _ := c.Enter()
			c.Done(pass, good)
		}
	})
}
