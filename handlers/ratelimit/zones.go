package ratelimit

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluiceproxy/sluice/internal/metrics"
)

// Zones is the state of the rate limits of a process. It outlives documents: a
// zone lasts as long as one of them has a zone of its name. It is a service: one
// for a process. It is safe for concurrent use.
type Zones struct {
	epoch   time.Time
	metrics zoneMetrics
	mu      sync.Mutex
	zones   map[string]*state
}

type zoneMetrics struct {
	requests, declined, evicted *metrics.Counters
	keys                        *metrics.Gauges
}

// NewZones returns the state of no zones. Metrics of zones go to the registry; it
// may be nil, and then there are none.
func NewZones(r *metrics.Registry) *Zones {
	z := &Zones{epoch: time.Now(), zones: map[string]*state{}}
	if r == nil {
		return z
	}
	label := []string{"zone"}
	z.metrics = zoneMetrics{
		requests: r.Counters(metrics.Opts{Subsystem: "rate_limit", Name: "requests_total", Labels: label,
			Help: "Requests that a rate limit zone was about."}),
		declined: r.Counters(metrics.Opts{Subsystem: "rate_limit", Name: "declined_requests_total", Labels: label,
			Help: "Requests that a rate limit zone had no room for."}),
		evicted: r.Counters(metrics.Opts{Subsystem: "rate_limit", Name: "evicted_keys_total", Labels: label,
			Help: "Keys that were forgotten although they were still counted, because their rate limit zone was full."}),
		keys: r.Gauges(metrics.Opts{Subsystem: "rate_limit", Name: "keys", Labels: label,
			Help: "Keys that a rate limit zone remembers."}),
	}
	return z
}

// acquire returns the state of a zone, which is kept until it is released as
// often.
func (z *Zones) acquire(name string, keys int) *state {
	z.mu.Lock()
	defer z.mu.Unlock()
	s := z.zones[name]
	if s == nil {
		s = newState(z, name, keys)
		z.zones[name] = s
	}
	s.holders++
	return s
}

func (z *Zones) release(s *state) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if s.holders--; s.holders > 0 {
		return
	}
	delete(z.zones, s.name)
	if z.metrics.keys != nil {
		z.metrics.keys.Delete(s.name)
	}
}

// state is what is counted in one zone. Keys are remembered by a hash with a
// secret seed, so that they take little memory, the same for each, and cannot be
// made to collide.
type state struct {
	name    string
	zones   *Zones
	holders int // guarded by Zones.mu
	seed    maphash.Seed
	shards  []shard

	requests, declined, evicted prometheus.Counter
	size                        prometheus.Gauge
}

// shards of a zone that may remember many keys; one lock for each.
const manyShards = 16

func newState(z *Zones, name string, keys int) *state {
	n := 1
	if keys >= 64*manyShards {
		n = manyShards
	}
	s := &state{name: name, zones: z, seed: maphash.MakeSeed(), shards: make([]shard, n)}
	for i := range s.shards {
		s.shards[i].init()
	}
	s.resize(keys)
	if m := &z.metrics; m.keys != nil {
		s.requests, s.declined, s.evicted, s.size = m.requests.With(name), m.declined.With(name), m.evicted.With(name), m.keys.With(name)
	}
	return s
}

// resize says how many keys may be remembered.
func (s *state) resize(keys int) {
	each := int64(max(1, (keys+len(s.shards)-1)/len(s.shards)))
	for i := range s.shards {
		s.shards[i].capacity.Store(each)
	}
}

func (s *state) hash(key string) uint64 { return maphash.String(s.seed, key) }

func (s *state) shard(hash uint64) *shard { return &s.shards[hash>>32%uint64(len(s.shards))] }

// limit is how much is allowed.
type limit struct {
	events float64
	window time.Duration
}

// rate is in events for each nanosecond.
func (l limit) rate() float64 { return l.events / float64(l.window) }

// verdict is what a zone says to a request.
type verdict struct {
	ok    bool
	left  int64         // how many more requests there is room for now
	reset time.Duration // until there is room for all
	wait  time.Duration // until there is room for one, if there is none
}

// take takes a token for a key, if there is one.
func (s *state) take(hash uint64, l limit) verdict {
	now := time.Since(s.zones.epoch)
	v, made, gone, live := s.shard(hash).take(hash, l, now)
	if s.requests != nil {
		s.requests.Inc()
		if !v.ok {
			s.declined.Inc()
		}
		if made != gone {
			s.size.Add(float64(made - gone))
		}
		if live > 0 {
			s.evicted.Add(float64(live))
		}
	}
	return v
}

// giveBack returns a token that was taken.
func (s *state) giveBack(hash uint64) { s.shard(hash).giveBack(hash) }

// keys is how many keys are remembered.
func (s *state) keys() int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += len(sh.index)
		sh.mu.Unlock()
	}
	return n
}

// shard is a part of the keys of a zone, those used last in front.
type shard struct {
	capacity atomic.Int64
	mu       sync.Mutex
	index    map[uint64]int32
	slots    []bucket
	free     []int32
}
