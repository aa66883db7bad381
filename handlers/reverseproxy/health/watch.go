package health

import (
	"net/http"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/upstream"
)

// Watch is one upstream of one handler under the eyes of its checks. Safe for concurrent use; nothing in it allocates
// for a request.
type Watch struct {
	plan    *Plan
	host    *upstream.Host
	checker *upstream.Checker // nil without active checks
	strikes *upstream.Strikes // nil without passive checks
	circuit upstream.Circuit  // nil without a circuit breaker
}

// Start begins the active checks. They go on from where they are if another handler has begun them.
func (w *Watch) Start() {
	if w.checker != nil {
		w.checker.Start()
	}
}

// Close ends the watch. It has to come before the host is released.
func (w *Watch) Close() {
	pool := w.plan.deps.Pool
	if w.circuit != nil {
		pool.Dismiss(w.host, w.plan.deps.Breaker.Key())
	}
	if w.strikes != nil {
		pool.ReleaseStrikes(w.strikes)
	}
	if w.checker != nil {
		pool.ReleaseChecker(w.checker)
	}
}

// Healthy reports whether requests may be sent to the upstream (HOST-2).
func (w *Watch) Healthy() bool {
	return (w.checker == nil || w.checker.Healthy()) && (w.strikes == nil || w.strikes.Healthy()) &&
		(w.circuit == nil || w.circuit.Healthy())
}

// Visit is one request's way to one upstream and back. The zero value is ready for use.
type Visit struct {
	watch *Watch // nil if nobody watches
	pass  upstream.Pass
	owed  bool // pass has to be given back
}

// Enter begins a visit, unless the circuit breaker has something against it. A blind one does not ask. Each success is
// followed by Leave, whatever else is called.
func (v *Visit) Enter(w *Watch, blind bool) bool {
	*v = Visit{watch: w}
	if w == nil || w.circuit == nil || blind {
		return true
	}
	v.pass, v.owed = w.circuit.Enter()
	return v.owed
}

// Leave ends the visit. If Done was not told how it went, it counts for nothing.
func (v *Visit) Leave() {
	if v.owed {
		v.owed = false
		v.watch.circuit.Abandon(v.pass)
	}
}

// Done counts a round trip: a response whose header took the latency to come, or an error that came after so long (LIFE-3,
// HC-14). One that is excused is not the upstream's doing and counts for nothing.
func (v *Visit) Done(res *http.Response, err error, latency time.Duration, excused bool) {
	if v.watch == nil || excused {
		return
	}
	o := upstream.Outcome{Latency: latency, Err: err}
	if err == nil {
		o.Status = res.StatusCode
	}
	v.watch.count(v.pass, o)
	v.owed = false
}

// Strike counts a failure that came after the response was counted.
func (v *Visit) Strike() {
	if v.watch != nil {
		v.watch.host.Fail(v.watch.plan.window)
	}
}

func (w *Watch) count(pass upstream.Pass, o upstream.Outcome) {
	if w.circuit != nil {
		w.circuit.Done(pass, o)
	}
	p := w.plan
	if p.window <= 0 {
		return
	}
	if o.Err != nil {
		w.host.Fail(p.window)
		return
	}
	for _, pattern := range p.statuses {
		if upstream.StatusMatches(pattern, o.Status) {
			w.host.Fail(p.window)
		}
	}
	if p.latency > 0 && o.Latency >= p.latency {
		w.host.Fail(p.window)
	}
}

// Resource returns the watches over n upstreams: on the host of each, handed to put. They begin with the resource's
// Prepare, active checks with its Start, and all end with its Close. A watch may be used after its end, by requests that
// let go of their generation.
func (p *Plan) Resource(n int, host func(i int) *upstream.Host, put func(i int, w *Watch)) module.Resource {
	return &watches{plan: p, n: n, host: host, put: put}
}

type watches struct {
	plan *Plan
	n    int
	host func(i int) *upstream.Host
	put  func(i int, w *Watch)
	list []*Watch
}

// Prepare implements [module.Resource].
func (r *watches) Prepare() error {
	for i := range r.n {
		w, err := r.plan.Watch(r.host(i))
		if err != nil {
			r.Close()
			return err
		}
		r.list = append(r.list, w)
		r.put(i, w)
	}
	return nil
}

// Start implements [module.Resource].
func (r *watches) Start() {
	for _, w := range r.list {
		w.Start()
	}
}

// Close implements [module.Resource].
func (r *watches) Close() {
	for _, w := range r.list {
		w.Close()
	}
}
