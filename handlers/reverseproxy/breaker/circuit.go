package breaker

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/upstream"
)

// state is where a circuit stands.
type state uint32

const (
	closed   state = iota // requests go through
	open                  // none does
	halfOpen              // trial requests do
)

// String names the state for verdicts.
func (s state) String() string { return [...]string{"closed", "open", "half_open"}[s] }

// circuit is one upstream's. While it is closed, no request takes a lock.
type circuit struct {
	settings
	errorStatus []int
	born        time.Time
	recent      window

	state atomic.Uint32
	until atomic.Int64 // when an open one may be tried, in nanoseconds since born
	free  atomic.Int64 // how many trials a half-open one may still begin

	mu      sync.Mutex // held to change state
	trial   upstream.Pass
	passed  int64 // trials that went well
	since   time.Time
	because string
}

func newCircuit(s settings, statuses []int) *circuit {
	c := &circuit{settings: s, errorStatus: statuses, born: time.Now()}
	c.since = c.born
	c.recent.step = max(int64(s.window)/steps, 1)
	return c
}

func (c *circuit) now() int64 { return int64(time.Since(c.born)) }

// Healthy implements [upstream.Judge]. An open circuit whose time has come is healthy, so that a trial can begin.
func (c *circuit) Healthy() bool {
	switch state(c.state.Load()) {
	case open:
		return c.now() >= c.until.Load()
	case halfOpen:
		return c.free.Load() > 0
	}
	return true
}

// Enter implements [upstream.Circuit].
func (c *circuit) Enter() (upstream.Pass, bool) {
	if state(c.state.Load()) == closed {
		return 0, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state(c.state.Load()) {
	case closed:
		return 0, true
	case open:
		if c.now() < c.until.Load() {
			return 0, false
		}
		c.trial++ // passes of an earlier time are worth nothing now
		c.passed = 0
		c.free.Store(c.trials)
		c.become(halfOpen, c.because)
	}
	if c.free.Load() <= 0 {
		return 0, false
	}
	c.free.Add(-1)
	return c.trial, true
}

// Abandon implements [upstream.Circuit].
func (c *circuit) Abandon(pass upstream.Pass) {
	if pass == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trying(pass) {
		c.free.Add(1)
	}
}

// trying reports whether the pass is one of the trials that are under way. The caller holds mu.
func (c *circuit) trying(pass upstream.Pass) bool {
	return state(c.state.Load()) == halfOpen && pass == c.trial
}

// Done implements [upstream.Circuit].
func (c *circuit) Done(pass upstream.Pass, o upstream.Outcome) {
	failed, slow := c.failed(o), c.latency > 0 && o.Latency >= c.latency
	if pass != 0 {
		c.tried(pass, failed, slow)
		return
	}
	if state(c.state.Load()) != closed {
		return // it began before the circuit opened
	}
	now := c.now()
	c.recent.add(now, failed, slow)
	if !failed && !slow {
		return
	}
	if because := c.tooBad(now); because != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		if state(c.state.Load()) == closed {
			c.trip(because)
		}
	}
}

func (c *circuit) failed(o upstream.Outcome) bool {
	if o.Status == 0 || o.Err != nil {
		return true
	}
	for _, pattern := range c.errorStatus {
		if upstream.StatusMatches(pattern, o.Status) {
			return true
		}
	}
	return false
}

// tried takes the outcome of a trial.
func (c *circuit) tried(pass upstream.Pass, failed, slow bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.trying(pass):
	case failed:
		c.trip("a trial request failed")
	case slow:
		c.trip("a trial request was slow")
	default:
		if c.passed++; c.passed >= c.trials {
			c.recent.forget()
			c.become(closed, "")
		}
	}
}

// tooBad returns why the circuit has to open, "" if it has not.
func (c *circuit) tooBad(now int64) string {
	all, failed, slow := c.recent.sum(now)
	if all < c.minRequests {
		return ""
	}
	n := float64(all)
	switch {
	case float64(failed) >= c.errorRate*n:
		return fmt.Sprintf("%d of %d requests failed", failed, all)
	case c.latency > 0 && float64(slow) >= c.slowRate*n:
		return fmt.Sprintf("%d of %d requests took %s or longer", slow, all, c.latency)
	}
	return ""
}

// trip opens the circuit. The caller holds mu.
func (c *circuit) trip(because string) {
	c.until.Store(c.now() + int64(c.openFor))
	c.become(open, because)
}

func (c *circuit) become(s state, because string) {
	c.state.Store(uint32(s))
	c.since, c.because = time.Now(), because
}

// Verdict implements [upstream.Judge].
func (c *circuit) Verdict() upstream.Verdict {
	rule := fmt.Sprintf("fewer than %g of the requests of %s fail", c.errorRate, c.window)
	if c.latency > 0 {
		rule += fmt.Sprintf(", fewer than %g take %s", c.slowRate, c.latency)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := state(c.state.Load())
	return upstream.Verdict{Kind: "circuit_breaker", Rule: rule, Healthy: s == closed, State: s.String(), Since: c.since, Reason: c.because}
}
