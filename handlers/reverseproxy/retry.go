package reverseproxy

import (
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
)

// retryRules decide whether a failed attempt is followed by another (LB-1 to LB-6).
type retryRules struct {
	retries  int
	duration time.Duration
	interval time.Duration
	match    []retrySet
}

// retrySet is matchers that must all match.
type retrySet struct {
	matchers []handlers.Matcher
	// response says that the set may judge responses: it has an expression (LB-11).
	response bool
}

const defaultTryInterval = 250 * time.Millisecond

func compileRetry(c *LoadBalancing) retryRules {
	r := retryRules{retries: c.Retries, duration: time.Duration(c.TryDuration), interval: time.Duration(c.TryInterval)}
	if r.interval == 0 && r.duration > 0 {
		r.interval = defaultTryInterval
	}
	for _, set := range c.RetryMatch {
		r.match = append(r.match, compileRetrySet(set))
	}
	return r
}

func compileRetrySet(set map[string]module.Ref[handlers.Matcher]) retrySet {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	var s retrySet
	for _, name := range names {
		s.matchers = append(s.matchers, set[name].Value())
		s.response = s.response || name == "expression"
	}
	return s
}

// possible reports whether any request can be tried again.
func (r *retryRules) possible() bool { return r.retries > 0 || r.duration > 0 }

// mayRetry decides after an attempt that failed as how says.
func (p *proxying) mayRetry(how outcome) bool {
	r := &p.h.retry
	if !r.possible() ||
		(r.duration > 0 && time.Since(p.start) >= r.duration) ||
		(r.retries > 0 && p.retries >= r.retries) {
		return false
	}
	if how != broken {
		return true
	}
	if len(r.match) == 0 {
		return p.out.Method == http.MethodGet
	}
	p.isTransportError = true
	ok := p.matchRetry(false)
	p.isTransportError = false
	return ok
}

// wantsRetry reports whether the response is one that retry_match wants tried again, if the budget allows or not (LB-13).
func (p *proxying) wantsRetry() bool {
	return len(p.h.retry.match) > 0 && p.h.retry.possible() && p.matchRetry(true)
}

// matchRetry tests the outgoing copy (LB-5). An error of a matcher means no (LB-8).
func (p *proxying) matchRetry(response bool) bool {
	defer p.x.SetRequest(p.x.Request())
	p.x.SetRequest(p.out)
	p.judging = true
	defer func() { p.judging = false }()
	for _, set := range p.h.retry.match {
		if response && !set.response {
			continue
		}
		matched := true
		for _, m := range set.matchers {
			ok, err := m.Match(p.out)
			if err != nil {
				p.log.Error("error matching request for retry", zap.Error(err))
				return false
			}
			if !ok {
				matched = false
				break
			}
		}
		if matched {
			return true
		}
	}
	return false
}

// pause waits for the interval. It reports false if the client left meanwhile.
func (p *proxying) pause() bool {
	if p.h.retry.interval <= 0 {
		return true
	}
	timer := time.NewTimer(p.h.retry.interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.in.Context().Done():
		return false
	}
}
