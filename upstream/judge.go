package upstream

import (
	"slices"
	"strings"
	"time"
)

// Judge says whether a host is fit to be sent requests, as far as it knows: an active check, the failures of requests, a
// circuit breaker. A judge belongs to a host and to a meaning, not to a handler: handlers whose settings are equal share
// one, and an edit that leaves them equal leaves it alone. Safe for concurrent use.
type Judge interface {
	// Healthy reports whether requests may be sent. It is asked for each request, so it is quick.
	Healthy() bool
	// Verdict describes the judge and what it thinks. It must not ask the [Pool] for anything.
	Verdict() Verdict
}

// Verdict is one judge's line in the list of upstreams.
type Verdict struct {
	// Kind is "active", "passive" or "circuit_breaker".
	Kind string `json:"kind"`
	// Rule says what is looked at, such as "GET /healthz every 10s".
	Rule string `json:"rule"`
	// Healthy is the verdict.
	Healthy bool `json:"healthy"`
	// State is where the judge stands, such as "up", "down", "open" or "half_open".
	State string `json:"state"`
	// Since is when that began.
	Since time.Time `json:"since,omitzero"`
	// Checked is when an active check last had a result.
	Checked time.Time `json:"checked,omitzero"`
	// Reason is why the host is not healthy, or why the last check failed.
	Reason string `json:"reason,omitempty"`
	// Handlers is how many upstreams of handlers are judged by it.
	Handlers int `json:"handlers"`
}

// seat is a judge with its holders.
type seat struct {
	judge Judge
	refs  int // guarded by Pool.mu
}

// stopper is a judge that has something to end when nobody holds it any more.
type stopper interface{ stop() }

// Appoint returns the judge of the host under a key and counts one holder. The key is the judge's meaning: a comparable
// value of a type of its own. The first holder makes the judge. Each Appoint is paid back by one [Pool.Dismiss] before
// the host is released.
func (p *Pool) Appoint(h *Host, key any, create func() Judge) Judge {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.appoint(h, key, create)
}

func (p *Pool) appoint(h *Host, key any, create func() Judge) Judge {
	s := h.judges[key]
	if s == nil {
		s = &seat{judge: create()}
		if h.judges == nil {
			h.judges = map[any]*seat{}
		}
		h.judges[key] = s
	}
	s.refs++
	return s.judge
}

// Dismiss gives back what one [Pool.Appoint] took. With the last holder the judge goes. Dismissing what is not held
// panics.
func (p *Pool) Dismiss(h *Host, key any) {
	p.mu.Lock()
	s := h.judges[key]
	if s == nil {
		p.mu.Unlock()
		panic("upstream: dismissal of a judge that is not held, of " + h.dial)
	}
	last := s.refs == 1
	if s.refs--; last {
		delete(h.judges, key)
	}
	p.mu.Unlock()
	if j, ok := s.judge.(stopper); ok && last {
		j.stop()
	}
}

// verdicts lists what the judges of h think, in order of kind and rule. The caller holds p.mu.
func (h *Host) verdicts() []Verdict {
	list := make([]Verdict, 0, len(h.judges))
	for _, s := range h.judges {
		v := s.judge.Verdict()
		v.Handlers = s.refs
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b Verdict) int {
		if c := strings.Compare(a.Kind, b.Kind); c != 0 {
			return c
		}
		return strings.Compare(a.Rule, b.Rule)
	})
	return list
}

// Strikes is the judge of passive checks: a host is healthy while fewer failures than a maximum are remembered (HC-13).
type Strikes struct {
	host *Host
	max  int64
}

type strikesKey struct{ max int64 }

// AcquireStrikes returns the judge that allows fewer than max failures, and counts one holder. The failures themselves
// are the host's, and shared by all (HC-16).
func (p *Pool) AcquireStrikes(h *Host, maximum int64) *Strikes {
	return p.Appoint(h, strikesKey{maximum}, func() Judge { return &Strikes{h, maximum} }).(*Strikes)
}

// ReleaseStrikes gives back what [Pool.AcquireStrikes] took.
func (p *Pool) ReleaseStrikes(s *Strikes) { p.Dismiss(s.host, strikesKey{s.max}) }

// Healthy implements [Judge].
func (s *Strikes) Healthy() bool { return s.host.Fails() < s.max }

// Verdict implements [Judge].
func (s *Strikes) Verdict() Verdict {
	n := s.host.Fails()
	v := Verdict{Kind: "passive", Rule: "fewer than " + plural(s.max, "failure"), Healthy: n < s.max, State: "up"}
	if !v.Healthy {
		v.State, v.Reason = "down", plural(n, "recent failure")
	}
	return v
}

// Breaker makes circuits. It is what a module of namespace http.reverse_proxy.circuit_breakers compiles to.
type Breaker interface {
	// Key is the meaning of the breaker: a comparable value of a type of its own. Of breakers with equal keys, one makes
	// the circuit of a host and all use it, so a circuit survives every edit that leaves its settings as they are.
	Key() any
	// NewCircuit makes a circuit for one host.
	NewCircuit() Circuit
}

// Circuit is the judge of one host that a [Breaker] made. Healthy is a hint for choosing among hosts; Enter decides.
type Circuit interface {
	Judge
	// Enter lets one request in, or does not. Each pass is given back by either Done or Abandon.
	Enter() (pass Pass, ok bool)
	// Done takes the outcome of a round trip.
	Done(pass Pass, o Outcome)
	// Abandon takes back the pass of a request that says nothing about the host, such as one whose client left.
	Abandon(pass Pass)
}

// Pass is what a circuit gave a request. 0 is an ordinary one, of which nothing needs to be given back.
type Pass uint64

// Outcome is how a round trip ended.
type Outcome struct {
	// Status is that of the response, 0 if there was none.
	Status int
	// Latency is the time until the response header, or until the failure.
	Latency time.Duration
	// Err is why there was no response.
	Err error
}
