package mission

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// visits are when a backend was asked how it is.
type visits struct {
	mu    sync.Mutex
	at    []time.Time
	ended []time.Time
}

func (v *visits) note(list *[]time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	*list = append(*list, time.Now())
}

func (v *visits) both() (at, ended []time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.at), slices.Clone(v.ended)
}

// patient is a backend that can be asked how it is.
func patient(t *testing.T, name, address string) (*backend, *visits, *atomic.Pointer[http.HandlerFunc]) {
	t.Helper()
	v, how := &visits{}, &atomic.Pointer[http.HandlerFunc]{}
	b := newBackend(t, name, address)
	b.does(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			b.usual(w, r)
			return
		}
		v.note(&v.at)
		if f := how.Load(); f != nil {
			(*f)(w, r)
		}
		v.note(&v.ended)
	})
	return b, v, how
}

// inRotation waits until a backend is among those that answer, or is not. No request fails meanwhile.
func (s *site) inRotation(t *testing.T, name string, want bool) {
	t.Helper()
	poll(t, fmt.Sprintf("%s in the rotation: %t", name, want), func() error {
		if slices.Contains(s.turns(t, 4), name) != want {
			return fmt.Errorf("%s in the rotation: %t", name, !want)
		}
		return nil
	})
}

// checkHealth: both are asked at /healthz every 10 seconds, and have 5 for the answer. One that answers badly, or not, leaves
// the rotation, and comes back. What a request gets is never an error.
func checkHealth(t *testing.T, s *site) {
	_, steady, _ := patient(t, "up0", "localhost:3000")
	_, moody, how := patient(t, "up1", "localhost:3001")
	hangs, bad := http.HandlerFunc(hang), answer(http.StatusServiceUnavailable)
	how.Store(&hangs) // it serves all the same
	s.up(t)
	if at, ended := moody.both(); len(at) != 1 || len(ended) > 0 {
		t.Errorf("it was asked at %v, and has answered at %v", at, ended)
	} else if time.Since(at[0]) < 4*time.Second && !slices.Contains(s.turns(t, 4), "up1") {
		t.Error("it is out of the rotation before its time is over")
	}
	s.inRotation(t, "up1", false)
	at, _ := moody.both()
	// The time begins before the question arrives.
	if took := time.Since(at[0]); took < 4900*time.Millisecond || took > 9*time.Second {
		t.Errorf("it may take 5s, and took %v", took)
	}
	how.Store(nil)
	s.inRotation(t, "up1", true)
	how.Store(&bad)
	s.inRotation(t, "up1", false)
	for range 5 {
		if got := s.turns(t, 2); distinct(got) != 1 {
			t.Errorf("it is in the rotation again: %v", got)
		}
	}
	how.Store(nil)
	s.inRotation(t, "up1", true)
	if got := s.turns(t, 6); distinct(got[:2]) != 2 || !slices.Equal(got[:2], got[2:4]) {
		t.Errorf("not in turn: %v", got)
	}
	for name, v := range map[string]*visits{"up0": steady, "up1": moody} {
		at, ended := v.both()
		if len(at) < 3 {
			t.Errorf("%s was asked only at %v", name, at)
		}
		if took := ended[0].Sub(at[0]); name == "up1" && (took < 4900*time.Millisecond || took > 8*time.Second) {
			t.Errorf("%s: the question was taken back after %v, want 5s", name, took)
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i].Sub(at[i-1]); gap < 8*time.Second || gap > 14*time.Second {
				t.Errorf("%s was asked again after %v, want 10s", name, gap)
			}
		}
	}
}

// trouble makes the backend answer n requests at once in some way.
func (s *site) trouble(t *testing.T, b *backend, n int, how http.HandlerFunc) {
	t.Helper()
	var reached atomic.Int64
	b.does(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		how(w, r)
	})
	defer b.does(nil)
	var running sync.WaitGroup
	for range n {
		running.Go(func() { _, _ = s.try("HTTP/2.0", s.request(t, "GET", "/", nil)) })
	}
	running.Wait()
	if got := reached.Load(); got < int64(n) { // one that is broken off may be sent once more
		t.Errorf("%d of %d requests reached the backend", got, n)
	}
}

// forgotten waits until no failure of the backend is remembered.
func (s *site) forgotten(t *testing.T) {
	t.Helper()
	poll(t, "failures to be forgotten", func() error {
		res, err := http.Get(admin + "/reverse_proxy/upstreams")
		must(t, err)
		defer res.Body.Close()
		var list []struct {
			Address string
			Fails   int
		}
		must(t, json.NewDecoder(res.Body).Decode(&list))
		if len(list) != 1 || list[0].Address != "localhost:3000" || list[0].Fails != 0 {
			return fmt.Errorf("%+v", list)
		}
		return nil
	})
}

// rests wants nothing to reach the backend until ten seconds are over, counted from the end of the first of its failures.
func (s *site) rests(t *testing.T, b *backend, first, last time.Time) {
	t.Helper()
	before := b.asked.Load()
	for _, proto := range protocols {
		if r := s.do(t, proto, s.request(t, "GET", "/", nil)); r.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: it does not rest: %d", proto, r.StatusCode)
		}
	}
	if n := b.asked.Load() - before; n != 0 {
		t.Errorf("%d requests reached it while it rests", n)
	}
	s.becomes(t, http.StatusOK)
	if now := time.Now(); now.Sub(first) < 10*time.Second || now.Sub(last) > 15*time.Second {
		t.Errorf("it rested until %v after the first failure and %v after the last, want 10s", now.Sub(first), now.Sub(last))
	}
}

// checkErrors: three bad or slow answers, and the backend rests for 10 seconds. What is neither is not counted.
func checkErrors(t *testing.T, s *site) {
	b := newBackend(t, "up", "localhost:3000")
	s.up(t)
	for _, code := range []int{301, 404, 429, 200} {
		s.trouble(t, b, 4, answer(code))
	}
	s.trouble(t, b, 3, late(3*time.Second))
	if got := s.status(t); got != http.StatusOK {
		t.Fatalf("it rests for nothing: %d", got)
	}
	bad := func(t *testing.T, how ...http.HandlerFunc) {
		t.Helper()
		s.forgotten(t)
		first := time.Now()
		for i, f := range how {
			if got := s.status(t); got != http.StatusOK {
				t.Errorf("it rests after %d failures: %d", i, got)
			}
			s.trouble(t, b, 1, f)
		}
		s.rests(t, b, first, time.Now())
	}
	t.Run("bad", func(t *testing.T) { bad(t, answer(500), answer(503), answer(599)) })
	t.Run("broken off", func(t *testing.T) { bad(t, breakOff, answer(502), breakOff) })
	t.Run("slow", func(t *testing.T) {
		s.forgotten(t)
		first := time.Now().Add(5 * time.Second)
		s.trouble(t, b, 2, late(5100*time.Millisecond))
		if got := s.status(t); got != http.StatusOK {
			t.Errorf("it rests after two slow answers: %d", got)
		}
		s.trouble(t, b, 1, late(5100*time.Millisecond))
		s.rests(t, b, first, time.Now())
	})
}
