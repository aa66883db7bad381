package upstream

import (
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/upstream/expiring"
	"github.com/sluiceproxy/sluice/upstream/histogram"
)

// Host is the shared record of one upstream: everything that handlers with the same dial text know together (HOST-1).
// It is made by [Pool.Acquire]. All methods are safe for concurrent use.
type Host struct {
	pool    *Pool
	dial    string
	address Address
	literal bool

	refs     int           // guarded by pool.mu
	judges   map[any]*seat // guarded by pool.mu
	closing  *time.Timer   // guarded by pool.mu: when streams are ended
	requests atomic.Int64
	streams  atomic.Int64
	released atomic.Bool // refs reached 0 while requests were running
	drained  atomic.Bool
	failures expiring.Counter
	results  [6]atomic.Int64 // by first digit of the status; 0 is no response
	latency  atomic.Pointer[histogram.Recent]
}

// Dial returns the dial text as it was configured, placeholders unexpanded. It identifies the host.
func (h *Host) Dial() string { return h.dial }

// Address returns the parsed address of a dial text without placeholders. It reports false if the text has a
// placeholder, or is no valid address: then the text has to be expanded and parsed for each attempt.
func (h *Host) Address() (Address, bool) { return h.address, h.literal }

// Requests returns the number of requests that are running, tunnels among them.
func (h *Host) Requests() int64 { return h.requests.Load() }

// Begin counts one request in, unless limit is positive and as many are running already: then it reports false and
// counts nothing. The check and the count are one step, so a burst never exceeds the limit. before is the number of
// requests that were running. Each success is paid back by one [Host.End].
func (h *Host) Begin(limit int64) (before int64, ok bool) {
	if limit <= 0 {
		return h.requests.Add(1) - 1, true
	}
	for {
		n := h.requests.Load()
		if n >= limit {
			return n, false
		}
		if h.requests.CompareAndSwap(n, n+1) {
			return n, true
		}
	}
}

// TryAcquire is [Host.Begin] without the count: it reports whether the request may be sent.
func (h *Host) TryAcquire(limit int64) bool {
	_, ok := h.Begin(limit)
	return ok
}

// End counts one request out.
func (h *Host) End() {
	if h.requests.Add(-1) == 0 && h.released.Load() {
		h.pool.reap(h)
	}
}

// Full reports whether limit is positive and that many requests are running. It is a hint for choosing among hosts;
// [Host.Begin] decides.
func (h *Host) Full(limit int64) bool {
	return limit > 0 && h.requests.Load() >= limit
}

// Answered records a response: its status, when the request was sent, and how long it took until the header was in.
func (h *Host) Answered(status int, sent time.Time, took time.Duration) {
	if class := status / 100; class > 0 && class < len(h.results) {
		h.results[class].Add(1)
	}
	l := h.latency.Load()
	if l == nil {
		h.latency.CompareAndSwap(nil, new(histogram.Recent))
		l = h.latency.Load()
	}
	l.Record(h.minute(sent), took)
}

// Unanswered records a request without a response, the client's doing excepted.
func (h *Host) Unanswered() { h.results[0].Add(1) }

// recent is how long the host took to answer lately; nil without responses.
func (h *Host) recent() *Latency {
	l := h.latency.Load()
	if l == nil {
		return nil
	}
	p50, p99, n := l.Read(h.minute(h.pool.now()))
	if n == 0 {
		return nil
	}
	return &Latency{P50: p50, P99: p99, Count: n}
}

func (h *Host) minute(t time.Time) int64 { return int64(t.Sub(h.pool.born) / histogram.Window) }

// Fail remembers one failure for the length of window, then forgets it (HC-13). A window of 0 or less is no failure.
func (h *Host) Fail(window time.Duration) {
	if window > 0 {
		h.failures.Add(h.pool.now(), h.pool.born, window)
	}
}

// Fails returns the number of failures that are remembered now. It takes a lock only when one of them is over.
func (h *Host) Fails() int64 {
	if h.failures.Empty() {
		return 0
	}
	return h.failures.Count(h.pool.now(), h.pool.born)
}
