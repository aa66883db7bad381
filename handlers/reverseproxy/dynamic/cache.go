package dynamic

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/upstream"
)

const (
	// maxLoose is how many answers are kept that no source in use has asked for by a fixed name (SRV-4).
	maxLoose = 1000
	// maxLookups bounds the lookups that run at the same time.
	maxLookups = 64
	// lookupTimeout bounds one lookup, with all that a resolver tries again.
	lookupTimeout = 10 * time.Second
	// patience is how long, from the beginning of a lookup, requests wait for it that have something else.
	patience = time.Second
	// failurePause is how long nothing is looked up after a failure that no grace period bridges.
	failurePause = time.Second
)

// Resolver asks the DNS. It is what *[net.Resolver] does.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options is what a [Cache] takes from its surroundings.
type Options struct {
	// Resolver makes resolvers; nil makes those of [upstream.NewResolver].
	Resolver func(upstream.ResolverOptions) Resolver
}

// Cache is what a process knows from the DNS, and the hosts that it knew until lately. It outlives every configuration.
// Safe for concurrent use.
type Cache struct {
	resolver func(upstream.ResolverOptions) Resolver
	slots    chan struct{}
	hosts    hosts

	mu    sync.Mutex
	held  map[string]*entry // asked for by fixed names of sources in use
	loose map[string]*entry
}

// NewCache returns an empty cache. The pool holds the hosts that it finds.
func NewCache(pool *upstream.Pool, o Options) *Cache {
	if o.Resolver == nil {
		o.Resolver = func(o upstream.ResolverOptions) Resolver { return upstream.NewResolver(o) }
	}
	return &Cache{
		resolver: o.Resolver, slots: make(chan struct{}, maxLookups), hosts: hosts{pool: pool},
		held: map[string]*entry{}, loose: map[string]*entry{},
	}
}

// hold returns the entry of a key and counts one holder: until its last [Cache.drop] it stays.
func (c *Cache) hold(key string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.held[key]
	if e == nil {
		if e = c.loose[key]; e == nil {
			e = newEntry(key)
		}
		delete(c.loose, key)
		c.held[key] = e
	}
	e.holders++
	return e
}

// drop gives back what one [Cache.hold] took. What is known stays for a while, if there is room.
func (c *Cache) drop(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.holders--; e.holders == 0 {
		delete(c.held, e.key)
		c.keep(e)
	}
}

// at returns the entry of a key that is made of a request.
func (c *Cache) at(key string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.held[key]
	if e == nil {
		e = c.loose[key]
	}
	if e == nil {
		e = newEntry(key)
		c.keep(e)
	}
	return e
}

// keep puts an entry among those that may have to go. The caller holds c.mu.
func (c *Cache) keep(e *entry) {
	if len(c.loose) >= maxLoose {
		c.evict()
	}
	c.loose[e.key] = e
}

// evict forgets the least of a few entries picked at random: one without an answer, or with the oldest.
func (c *Cache) evict() {
	const few = 8
	var worst *entry
	n := 0
	for _, e := range c.loose {
		if worst == nil || e.state.Load().answered.Before(worst.state.Load().answered) {
			worst = e
		}
		if n++; n == few {
			break
		}
	}
	delete(c.loose, worst.key)
}

// lookup asks the DNS. The problem is what is wrong with a part of the answer.
type lookup func(ctx context.Context) (dials []string, problem, err error)

// run makes a lookup within the bounds of the process.
func (c *Cache) run(look lookup) (dials []string, problem, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, nil, errors.New("too many DNS lookups are waiting for an answer")
	}
	return look(ctx)
}

// settle runs the lookup of a flight and keeps what comes of it.
func (c *Cache) settle(e *entry, f *flight, look lookup) {
	dials, problem, err := c.run(look)
	old := e.state.Load()
	next := &state{list: old.list, answered: old.answered}
	now := time.Now()
	if err != nil {
		var dns *net.DNSError
		next.failed, next.failure = now, &Failure{Err: err}
		next.absent = errors.As(err, &dns) && dns.IsNotFound || old.absent
	} else {
		next.answered = now
		if old.list == nil || !slices.Equal(old.list.Dials, dials) {
			next.list = &List{Key: e.key, Dials: dials}
		}
		if problem != nil {
			next.problem = &Failure{Err: problem}
		}
	}
	e.mu.Lock()
	e.state.Store(next)
	e.flight = nil
	e.mu.Unlock()
	close(f.done)
}

// byWeight orders records by priority, and at random by weight within one (SRV-2, RFC 2782). Package net does so too; this
// is for resolvers that do not.
func byWeight(records []*net.SRV) {
	slices.SortStableFunc(records, func(a, b *net.SRV) int { return int(a.Priority) - int(b.Priority) })
	for i := 0; i < len(records); {
		end := i + 1
		for end < len(records) && records[end].Priority == records[i].Priority {
			end++
		}
		shuffle(records[i:end])
		i = end
	}
}

func shuffle(records []*net.SRV) {
	sum := 0
	for _, r := range records {
		sum += int(r.Weight)
	}
	for ; sum > 0 && len(records) > 1; records = records[1:] {
		n := rand.IntN(sum)
		for i := range records {
			if n -= int(records[i].Weight); n < 0 {
				sum -= int(records[i].Weight)
				records[0], records[i] = records[i], records[0]
				break
			}
		}
	}
}
