package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// scripted is a Transport that answers as it is told and remembers when it was asked.
type scripted struct {
	answer func(r *http.Request) (*http.Response, error)

	mu    sync.Mutex
	begun time.Time
	asked []time.Duration // since the script began
}

func script(answer func(r *http.Request) (*http.Response, error)) *scripted {
	return &scripted{answer: answer, begun: time.Now()}
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked = append(s.asked, time.Since(s.begun))
	s.mu.Unlock()
	return s.answer(r)
}

func (s *scripted) times() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func respond(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func always(status int) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return respond(status, ""), nil }
}

// inOrder answers with P for passed, F for failed, and goes on with the last.
func inOrder(results string) func(*http.Request) (*http.Response, error) {
	var mu sync.Mutex
	i := 0
	return func(*http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		r := results[i]
		if i < len(results)-1 {
			i++
		}
		if r == 'F' {
			return nil, errors.New("refused")
		}
		return respond(200, ""), nil
	}
}

// everySecond is a schedule without jitter.
var everySecond = Schedule{Interval: time.Second, Timeout: 500 * time.Millisecond, Passes: 1, Fails: 1}

func checking(h *Host, via Transport, s Schedule) Checking {
	return Checking{Probe: HTTPProbe{Dial: h.Dial(), Target: h.Dial(), URI: "/up"}, Schedule: s, Via: via, Globals: vars.Map{}}
}

func checkerOf(t *testing.T, p *Pool, h *Host, c Checking) *Checker {
	t.Helper()
	checker, err := p.AcquireChecker(h, c)
	if err != nil {
		t.Fatal(err)
	}
	return checker
}

// after lets time pass, and what happens in it.
func after(d time.Duration) {
	time.Sleep(d) // in a bubble
	synctest.Wait()
}

// 1,000 handlers with one host make one probe a period.
func TestOneProberForEachHostAndMeaning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(nil)
		via := script(always(200))
		var held []*Checker
		var hosts []*Host
		for range 1000 {
			h := p.Acquire("10.20.0.1:8080")
			c := checkerOf(t, p, h, checking(h, via, everySecond))
			c.Start()
			held, hosts = append(held, c), append(hosts, h)
		}
		after(10*time.Second + time.Millisecond)
		if got := via.times(); len(got) != 11 || got[0] != 0 || got[10] != 10*time.Second {
			t.Errorf("%d probes in 10 periods, at %v; want one at once and one each second", len(got), got)
		}
		if v := p.Health()[0].Health; len(v) != 1 || v[0].Handlers != 1000 {
			t.Errorf("verdicts: %+v", v)
		}
		for i, c := range held[1:] {
			p.ReleaseChecker(c)
			p.Release(hosts[i+1])
		}
		after(time.Second)
		if n := len(via.times()); n != 12 {
			t.Errorf("%d probes; the last holder still wants one each second", n)
		}
		p.ReleaseChecker(held[0])
		p.Release(hosts[0])
		after(time.Minute)
		if n := len(via.times()); n != 12 {
			t.Errorf("%d probes after the last release", n)
		}
	})
}

// HC-7, and HC-9 with quirk 12 fixed.
func TestResultsCountInARow(t *testing.T) {
	tests := []struct {
		passes, fails int
		down          bool
		results       string
		want          string // U or D after each result
	}{
		{1, 1, false, "FPFP", "DUDU"},
		{1, 3, false, "FPFPF", "UUUUU"},
		{1, 3, false, "FFPFFFF", "UUUUUDD"},
		{2, 1, false, "FPFPPF", "DDDDUD"},
		{3, 2, false, "PFFPPFPPPFF", "UUDDDDDDUUD"},
		{1, 1, true, "PF", "UD"},
		{2, 2, true, "FPFPPFF", "DDDDUUD"},
	}
	for _, tt := range tests {
		t.Run(tt.results, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := NewPool(nil)
				h := p.Acquire("10.20.0.1:8080")
				s := everySecond
				s.Passes, s.Fails, s.Down = tt.passes, tt.fails, tt.down
				c := checkerOf(t, p, h, checking(h, script(inOrder(tt.results)), s))
				defer p.ReleaseChecker(c)
				if c.Healthy() == tt.down {
					t.Errorf("begins healthy: %t", c.Healthy())
				}
				c.Start()
				got := ""
				synctest.Wait()
				for range tt.results {
					got += map[bool]string{true: "U", false: "D"}[c.Healthy()]
					after(time.Second)
				}
				if got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// A dead upstream stays known as dead across 100 edits, its neighbour as alive, and neither timer is disturbed.
func TestEditsDisturbNoChecker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(nil)
		via := script(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "10.20.0.1:8080" {
				return nil, errors.New("refused")
			}
			return respond(200, ""), nil
		})
		take := func() (list []*Checker) {
			for _, dial := range []string{"10.20.0.1:8080", "10.20.0.2:8080"} {
				h := p.Acquire(dial)
				c := checkerOf(t, p, h, checking(h, via, everySecond))
				list = append(list, c)
			}
			return list
		}
		give := func(list []*Checker) {
			for _, c := range list {
				p.ReleaseChecker(c)
				p.Release(c.host)
			}
		}
		now := take()
		for _, c := range now {
			c.Start()
		}
		synctest.Wait()
		for i := range 100 {
			next := take()
			if next[0].Healthy() || !next[1].Healthy() {
				t.Fatalf("edit %d: dead %t, alive %t", i, !next[0].Healthy(), next[1].Healthy())
			}
			for _, c := range next {
				c.Start()
			}
			give(now)
			now = next
			after(73 * time.Millisecond)
		}
		got := via.times()
		for i, at := range got {
			if at != time.Duration(i/2)*time.Second {
				t.Fatalf("probe %d at %s: an edit has moved it", i, at)
			}
		}
		if len(got) != 16 {
			t.Errorf("%d probes in 7.3 s of two hosts", len(got))
		}
		give(now)
	})
}

// What is known of a host is not forgotten when the schedule or the expectations change.
func TestChangedCheckBeginsWithWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(nil)
		h := p.Acquire("10.20.0.1:8080")
		first := checkerOf(t, p, h, checking(h, script(always(503)), everySecond))
		first.Start()
		synctest.Wait()
		for name, change := range map[string]func(*Checking){
			"interval": func(c *Checking) { c.Schedule.Interval = time.Minute },
			"passes":   func(c *Checking) { c.Schedule.Passes = 5 },
			"status":   func(c *Checking) { c.Probe.ExpectStatus = 3 },
			"via":      func(c *Checking) { c.Via = script(always(503)) },
		} {
			c := checking(h, first.prober.via, everySecond)
			change(&c)
			if got := checkerOf(t, p, h, c); got == first || got.Healthy() {
				t.Errorf("%s: the same checker %t, healthy %t", name, got == first, got.Healthy())
			} else {
				p.ReleaseChecker(got)
			}
		}
		for name, change := range map[string]func(*Checking){
			"uri":  func(c *Checking) { c.Probe.URI = "/other" },
			"port": func(c *Checking) { c.Probe.Port = 9000 },
		} {
			c := checking(h, first.prober.via, everySecond)
			change(&c)
			if got := checkerOf(t, p, h, c); !got.Healthy() { // S17: nothing is known of that
				t.Errorf("%s: it begins unhealthy", name)
			} else {
				p.ReleaseChecker(got)
			}
		}
		p.ReleaseChecker(first)
		again := checkerOf(t, p, h, checking(h, first.prober.via, everySecond))
		if !again.Healthy() {
			t.Error("something is known after the last release")
		}
		p.ReleaseChecker(again)
	})
}

// S17: two checks of one host never influence each other.
func TestChecksOfOneHostAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(nil)
		h := p.Acquire("10.20.0.1:8080")
		via := script(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/a" {
				return respond(503, ""), nil
			}
			return respond(200, ""), nil
		})
		var list []*Checker
		for _, uri := range []string{"/a", "/b"} {
			c := checking(h, via, everySecond)
			c.Probe.URI = uri
			checker := checkerOf(t, p, h, c)
			checker.Start()
			list = append(list, checker)
		}
		after(5 * time.Second)
		if list[0].Healthy() || !list[1].Healthy() {
			t.Errorf("/a %t, /b %t", list[0].Healthy(), list[1].Healthy())
		}
		s := p.Health()[0]
		if *s.Healthy || len(s.Health) != 2 || s.Health[0].Healthy || !s.Health[1].Healthy || s.Health[0].State != "down" ||
			!strings.Contains(s.Health[0].Rule, "/a") || !strings.Contains(s.Health[0].Reason, "503") {
			t.Errorf("status %+v", s)
		}
		for _, c := range list {
			p.ReleaseChecker(c)
		}
	})
}

func TestNothingIsAskedBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(nil)
		h := p.Acquire("10.20.0.1:8080")
		via := script(always(200))
		c := checkerOf(t, p, h, checking(h, via, everySecond))
		after(time.Minute)
		p.ReleaseChecker(c) // the edit was rejected
		c.Start()
		after(time.Minute)
		if n := len(via.times()); n != 0 {
			t.Errorf("%d probes", n)
		}
	})
}

// A probe that is under way ends with the release and counts for nothing.
func TestReleaseCancelsTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(nil)
		h := p.Acquire("10.20.0.1:8080")
		core, logs := observer.New(zapcore.DebugLevel)
		ended := time.Duration(-1)
		begun := time.Now()
		via := script(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			ended = time.Since(begun)
			return nil, context.Cause(r.Context())
		})
		c := checking(h, via, Schedule{Interval: time.Second, Timeout: time.Hour, Passes: 1, Fails: 1})
		c.Log = zap.New(core)
		checker := checkerOf(t, p, h, c)
		checker.Start()
		after(3 * time.Second)
		p.ReleaseChecker(checker)
		synctest.Wait()
		if ended != 3*time.Second {
			t.Errorf("the probe ended after %s", ended)
		}
		after(time.Hour)
		if !checker.Healthy() || logs.Len() != 0 || len(via.times()) != 1 {
			t.Errorf("healthy %t, %d log lines, %d probes", checker.Healthy(), logs.Len(), len(via.times()))
		}
	})
}

func TestProbesOfOneCheckerDoNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(nil)
		h := p.Acquire("10.20.0.1:8080")
		via := script(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		s := everySecond
		s.Timeout = 2500 * time.Millisecond
		c := checkerOf(t, p, h, checking(h, via, s))
		c.Start()
		after(9 * time.Second)
		p.ReleaseChecker(c)
		got := via.times()
		if len(got) != 4 {
			t.Fatalf("probes at %v", got)
		}
		for i, at := range got {
			if want := time.Duration(i) * (s.Timeout + minPause); at != want {
				t.Errorf("probe %d at %s, want %s", i, at, want)
			}
		}
	})
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(nil)
		draws := []float64{0, 0.5, 1, 0.25}
		p.random = func() float64 {
			d := draws[0]
			draws = append(draws[1:], d)
			return d
		}
		h := p.Acquire("10.20.0.1:8080")
		via := script(always(200))
		s := everySecond
		s.Jitter = 0.2
		c := checkerOf(t, p, h, checking(h, via, s))
		c.Start()
		after(4100 * time.Millisecond)
		p.ReleaseChecker(c)
		want := []time.Duration{0, 800 * time.Millisecond, 1800 * time.Millisecond, 3000 * time.Millisecond, 3900 * time.Millisecond}
		if got := via.times(); !slices.Equal(got, want) {
			t.Errorf("probes at %v, want %v", got, want)
		}
	})
}

// HC-11.
func TestPanicOfAProbeStaysInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(nil)
		h := p.Acquire("10.20.0.1:8080")
		core, logs := observer.New(zapcore.DebugLevel)
		via := script(func(*http.Request) (*http.Response, error) { panic("oops") })
		c := checking(h, via, everySecond)
		c.Log = zap.New(core)
		checker := checkerOf(t, p, h, c)
		checker.Start()
		after(2500 * time.Millisecond)
		p.ReleaseChecker(checker)
		if len(via.times()) != 3 || !checker.Healthy() {
			t.Errorf("%d probes, healthy %t", len(via.times()), checker.Healthy())
		}
		if n := logs.FilterMessage("active health check panicked").Len(); n != 3 {
			t.Errorf("%d panics logged", n)
		}
	})
}

// HC-6, and the last row of HC-4: what cannot be asked stays as it is.
func TestWhatCannotBeProbedStaysUp(t *testing.T) {
	tests := []struct {
		dial string
		port int
		want string
	}{
		{"{http.request.host}:80", 0, "invalid use of placeholders in dial address for active health checks"},
		{"unix//run/app.sock", 9000, "bad network address"},
		{"10.20.0.1:80-82", 0, "bad network address"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			p := NewPool(nil)
			h := p.Acquire(tt.dial)
			core, logs := observer.New(zapcore.DebugLevel)
			via := script(always(200))
			c := checking(h, via, everySecond)
			c.Probe.Port, c.Log = tt.port, zap.New(core)
			checker := checkerOf(t, p, h, c)
			checker.Start()
			after(1500 * time.Millisecond)
			if !checker.Healthy() || len(via.times()) != 0 {
				t.Errorf("%s: healthy %t, %d requests", tt.dial, checker.Healthy(), len(via.times()))
			}
			if got := logs.FilterMessage(tt.want).All(); len(got) != 2 || got[0].Level != zapcore.ErrorLevel {
				t.Errorf("%s: log %v", tt.dial, logs.All())
			}
			if v := checker.Verdict(); !strings.Contains(v.Reason, tt.want) {
				t.Errorf("%s: verdict %+v", tt.dial, v)
			}
			p.ReleaseChecker(checker)
		})
	}
}

// LOG-2. A host that is down already is no news.
func TestCheckerLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(nil)
		h := p.Acquire("10.20.0.1:8080")
		core, logs := observer.New(zapcore.InfoLevel)
		s := everySecond
		s.Fails = 2
		c := checking(h, script(inOrder("FFFFP")), s)
		c.Log = zap.New(core)
		checker := checkerOf(t, p, h, c)
		checker.Start()
		after(10 * time.Second)
		p.ReleaseChecker(checker)
		var got []string
		for _, e := range logs.All() {
			got = append(got, fmt.Sprint(e.Level, " ", e.Message, " ", e.ContextMap()["host"]))
		}
		const host = " 10.20.0.1:8080"
		want := []string{"info HTTP request failed" + host, "info HTTP request failed" + host, "warn host is down" + host, "info host is up" + host}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// Transports that do the same are one.
func TestCheckersShareByIdentityOfTheTransport(t *testing.T) {
	p := NewPool(nil)
	h := p.Acquire("10.20.0.1:8080")
	shared := script(always(200))
	a := checkerOf(t, p, h, checking(h, &alias{shared}, everySecond))
	b := checkerOf(t, p, h, checking(h, &alias{shared}, everySecond))
	c := checkerOf(t, p, h, checking(h, &alias{script(always(200))}, everySecond))
	if a != b || a == c {
		t.Errorf("shared %t, others shared %t", a == b, a == c)
	}
}

type alias struct{ Transport }

func (a *alias) Identity() any { return a.Transport }

func TestDismissalOfWhatIsNotHeldPanics(t *testing.T) {
	p := NewPool(nil)
	h := p.Acquire("10.20.0.1:8080")
	c := checkerOf(t, p, h, checking(h, script(always(200)), everySecond))
	p.ReleaseChecker(c)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	p.ReleaseChecker(c)
}
