package dynamic

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// entry is what is known of one question.
type entry struct {
	key     string
	holders int // guarded by Cache.mu
	state   atomic.Pointer[state]

	mu     sync.Mutex
	flight *flight // nil if no lookup is under way
}

// state is what lookups have brought so far. It is never changed.
type state struct {
	list     *List     // the last answer, nil if there was none
	answered time.Time // when it came
	problem  *Failure  // with a part of it

	// Of the last lookup, if it failed:
	failed  time.Time
	failure *Failure
	absent  bool // since the last answer the DNS has said that there is nothing
}

// flight is a lookup that is under way.
type flight struct {
	began time.Time
	done  chan struct{}
}

func newEntry(key string) *entry {
	e := &entry{key: key}
	e.state.Store(&state{})
	return e
}

// terms is what a source makes of answers.
type terms struct {
	refresh, grace time.Duration
}

// due reports whether it is time to look again.
func (s *state) due(t terms, now time.Time) bool {
	switch {
	case s.failure == nil:
		return s.list == nil || now.Sub(s.answered) >= t.refresh
	case t.grace > 0 && s.list != nil:
		return now.Sub(s.failed) >= t.grace
	}
	return now.Sub(s.failed) >= failurePause
}

// result is what a source answers with. What was known before a failure is the answer for as long as there is a grace
// period, and else for who has no other, if it was the DNS that failed (SRV-3).
func (s *state) result(t terms, log *zap.Logger) (*List, error) {
	switch {
	case s.failure == nil:
		if s.problem != nil && s.problem.Tell() {
			log.Warn("a part of a DNS answer cannot be used", zap.Error(s.problem.Err))
		}
		return s.list, nil
	case s.list == nil:
		return nil, s.failure
	case t.grace > 0:
		if s.failure.Tell() {
			log.Error("looking up upstreams failed; using those known from before", zap.Duration("grace_period", t.grace), zap.Error(s.failure.Err))
		}
		return s.list, nil
	case s.absent:
		return nil, s.failure
	}
	return s.list, s.failure
}

// ask returns what is known, or what a lookup brings.
func (c *Cache) ask(e *entry, q Query, t terms, look lookup) (*List, error) {
	now := time.Now()
	s := e.state.Load()
	again := q.Again && s.failure == nil && s.list != nil
	if !again && !s.due(t, now) {
		return s.result(t, q.Log)
	}
	f := c.fly(e, look)
	var limit time.Duration
	switch list, _ := s.result(t, q.Log); {
	case list == nil && s.failure == nil:
		limit = lookupTimeout + patience // there is nothing at all: the lookup's own end is what counts
	case list == nil, again, s.failure == nil && now.Sub(s.answered) >= 2*t.refresh:
		limit = patience
	default:
		return s.result(t, q.Log)
	}
	if err := f.wait(q, limit); err != nil {
		return nil, err
	}
	list, err := e.state.Load().result(t, q.Log)
	if list == nil && err == nil {
		err = errSlow
	}
	return list, err
}

var errSlow = errors.New("the DNS does not answer in time")

// fly begins a lookup, or joins the one that is under way. It does not end with the request that needs it (quirk 2).
func (c *Cache) fly(e *entry, look lookup) *flight {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.flight == nil {
		e.flight = &flight{began: time.Now(), done: make(chan struct{})}
		go c.settle(e, e.flight, look)
	}
	return e.flight
}

// wait waits for the end of the lookup, until so long after its beginning. The error is that of the query's context.
func (f *flight) wait(q Query, limit time.Duration) error {
	timer := time.NewTimer(time.Until(f.began.Add(limit)))
	defer timer.Stop()
	select {
	case <-f.done:
	case <-timer.C:
	case <-q.Context.Done():
		return q.Context.Err()
	}
	return nil
}
