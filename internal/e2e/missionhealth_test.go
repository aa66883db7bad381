package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// Two texts of mission 05 and two of mission 17, for edits of them.
const (
	asked10s  = "health_interval 10s"
	patient5s = "health_timeout 5s"
	rest10s   = "fail_duration 10s"
	slow5s    = "unhealthy_latency 5s"
)

// among reports whether an upstream is among those that answer.
func (m *mission) among(t *testing.T, name string) bool {
	t.Helper()
	return slices.Contains(m.names(t, 4), name)
}

// becomes waits until an upstream is among those that answer, or is not, and then makes sure of it. The others answer
// well all the time.
func (m *mission) becomes(t *testing.T, name string, want bool) {
	t.Helper()
	poll(t, fmt.Sprintf("%s in the rotation: %t", name, want), func() error {
		if m.among(t, name) != want {
			return fmt.Errorf("%s in the rotation: %t", name, !want)
		}
		return nil
	})
	for range 3 {
		if m.among(t, name) != want {
			t.Errorf("%s in the rotation: %t, and then not", name, want)
		}
	}
}

// sick is an upstream that says so where it is asked, and serves all the same.
func sick(name string, how http.HandlerFunc) http.HandlerFunc {
	usual := missionUpstream(name)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			how(w, r)
			return
		}
		usual.ServeHTTP(w, r)
	}
}

func answer(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// hang does not answer until the request is taken back.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func checkHealth(t *testing.T, m *mission) {
	m.wants(t, "health_checks", `{"active":{"uri":"/healthz","interval":10000000000,"timeout":5000000000}}`)
	if got := m.names(t, 4); distinct(got) != 2 {
		t.Errorf("both are well: %v", got)
	}
	defer m.ups[1].does(nil)
	for _, tt := range []struct {
		name string
		how  http.HandlerFunc
	}{{"503", answer(503)}, {"404", answer(404)}, {"redirect", answer(302)}, {"hangs", hang}} {
		m.ups[1].does(nil)
		m.edit(t, asked10s, "health_interval 20ms", patient5s, "health_timeout 200ms")
		m.becomes(t, "up1", true)
		m.ups[1].does(sick("up1", tt.how))
		m.becomes(t, "up1", false)
		// An edit has not forgotten it, long before the next time it is asked.
		m.edit(t, asked10s, "health_interval 1h")
		if m.among(t, "up1") {
			t.Errorf("%s: an edit has forgotten who is down", tt.name)
		}
		m.ups[1].does(nil)
		m.edit(t, asked10s, "health_interval 20ms", patient5s, "health_timeout 200ms")
		m.becomes(t, "up1", true)
	}
	m.ups[0].does(sick("up0", answer(500)))
	m.ups[1].does(sick("up1", answer(500)))
	defer m.ups[0].does(nil)
	poll(t, "both to be down", func() error {
		if got := m.status(t); got != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d", got)
		}
		return nil
	})
}

// waitHealth: the upstreams are asked as often as the file says, and may take as long.
func waitHealth(t *testing.T, m *mission) {
	asked := make(chan time.Time, 100)
	m.ups[0].does(sick("up0", func(http.ResponseWriter, *http.Request) { asked <- time.Now() }))
	var well atomic.Bool
	begun := make(chan time.Time, 100)
	m.ups[1].does(sick("up1", func(w http.ResponseWriter, r *http.Request) {
		if !well.Load() {
			begun <- time.Now()
			hang(w, r)
		}
	}))
	m.load(t, m.file)
	next := func(ch chan time.Time) time.Time {
		select {
		case at := <-ch:
			return at
		case <-time.After(patience):
			t.Fatal("nobody asks how it is")
			return time.Time{}
		}
	}
	at := next(begun)
	if !m.among(t, "up1") {
		t.Error("it is out of the rotation before its time is over")
	}
	m.becomes(t, "up1", false)
	if took := time.Since(at); took < 4500*time.Millisecond || took > 9*time.Second {
		t.Errorf("it may take 5s, and took %v", took)
	}
	well.Store(true)
	m.becomes(t, "up1", true)
	first := next(asked)
	if gap := next(asked).Sub(first); gap < 8*time.Second || gap > 20*time.Second {
		t.Errorf("asked again after %v, want 10s", gap)
	}
	if len(asked) > 0 {
		t.Error("asked a third time already")
	}
}

// only gives mission 17 or 18 an upstream of which nothing is remembered.
func (m *mission) only(t *testing.T) *backend {
	t.Helper()
	b := newBackend(t, "only")
	m.places["localhost:3000"] = b.address()
	return b
}

// trouble makes an upstream answer n requests at once in some way.
func (m *mission) trouble(t *testing.T, b *backend, n int, how http.HandlerFunc) {
	t.Helper()
	var reached atomic.Int64
	b.does(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		how(w, r)
	})
	defer b.does(nil)
	got := make(chan int, n)
	for range n {
		go func() {
			res, err := m.ask(t, http.MethodGet, "/", nil)
			if err != nil {
				got <- 0
				return
			}
			res.Body.Close()
			got <- res.StatusCode
		}()
	}
	var codes []int
	for range n {
		codes = append(codes, <-got)
	}
	if reached.Load() < int64(n) {
		t.Errorf("%d of %d requests reached the upstream: %v", reached.Load(), n, codes)
	}
}

// rests checks that nothing reaches an upstream.
func (m *mission) rests(t *testing.T, b *backend) {
	t.Helper()
	var reached atomic.Int64
	b.does(func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	defer b.does(nil)
	for range 3 {
		if got := m.status(t); got != http.StatusServiceUnavailable {
			t.Errorf("it does not rest: %d", got)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d requests reached it while it rests", n)
	}
}

// serves waits until the site answers well.
func (m *mission) serves(t *testing.T) {
	t.Helper()
	poll(t, "the site to answer", func() error {
		if got := m.status(t); got != http.StatusOK {
			return fmt.Errorf("status %d", got)
		}
		return nil
	})
}

// late answers well, but after some time.
func late(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusOK)
	}
}

func breakOff(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func checkErrors(t *testing.T, m *mission) {
	m.wants(t, "health_checks", `{"passive":{"fail_duration":10000000000,"max_fails":3,"unhealthy_status":[5],"unhealthy_latency":5000000000}}`)
	for _, tt := range []struct {
		name string
		edit []string
		how  http.HandlerFunc
		rest bool
	}{
		{"500", nil, answer(500), true},
		{"503", nil, answer(503), true},
		{"599", nil, answer(599), true},
		{"broken off", nil, breakOff, true},
		{"slow", []string{slow5s, "unhealthy_latency 50ms"}, late(80 * time.Millisecond), true},
		{"not so slow", nil, late(80 * time.Millisecond), false},
		{"404", nil, answer(404), false},
		{"301", nil, answer(301), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := m.only(t)
			m.edit(t, tt.edit...)
			m.trouble(t, b, 2, tt.how)
			if got := m.status(t); got != http.StatusOK {
				t.Errorf("it rests after two failures: %d", got)
			}
			m.trouble(t, b, 1, tt.how)
			if tt.rest {
				m.rests(t, b)
			} else if got := m.status(t); got != http.StatusOK {
				t.Errorf("that is taken for a failure: %d", got)
			}
		})
	}
	b := m.only(t)
	m.edit(t, rest10s, "fail_duration 1s")
	begun := time.Now()
	m.trouble(t, b, 3, answer(500))
	m.rests(t, b)
	if m.serves(t); time.Since(begun) < time.Second {
		t.Errorf("it rested %v, want 1s", time.Since(begun))
	}
}

// waitErrors: the rest takes as long as the file says, and so may an answer. A second server sees to that meanwhile.
func waitErrors(t *testing.T, m *mission) {
	b := m.only(t)
	m.load(t, m.file)
	begun := time.Now()
	m.trouble(t, b, 3, answer(http.StatusInternalServerError))
	m.rests(t, b)
	other := newMission(t)
	slow := other.only(t)
	other.load(t, m.file)
	other.trouble(t, slow, 3, late(3*time.Second))
	if got := other.status(t); got != http.StatusOK {
		t.Errorf("answers after 3s are taken for slow: %d", got)
	}
	other.trouble(t, slow, 3, late(5100*time.Millisecond))
	other.rests(t, slow)
	m.serves(t)
	if took := time.Since(begun); took < 10*time.Second || took > 20*time.Second {
		t.Errorf("it rested %v, want 10s", took)
	}
}
