package dynamic

import (
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/upstream"
)

const (
	// lingering is how long a host is kept that no list has any more, with the failures that are remembered of it (HOST-5).
	lingering = time.Hour
	// sweeping is how often it is looked for those whose time is over.
	sweeping = 5 * time.Minute
	// maxLingering is how many there may be.
	maxLingering = 4096
)

// hosts is the hosts that were in lists until lately.
type hosts struct {
	pool *upstream.Pool

	mu       sync.Mutex
	left     map[string]*former
	sweeping bool
}

// former is a host that is held because it may come back.
type former struct {
	host  *upstream.Host
	until time.Time
}

// Acquire returns the host of a dial text and counts one holder.
func (c *Cache) Acquire(dial string) *upstream.Host { return c.hosts.pool.Acquire(dial) }

// Release gives back what one [Cache.Acquire] took. The host is kept for another hour, as names come and go in the DNS.
func (c *Cache) Release(h *upstream.Host) {
	s := &c.hosts
	s.mu.Lock()
	defer s.mu.Unlock()
	until := time.Now().Add(lingering)
	if f := s.left[h.Dial()]; f != nil {
		f.until = until
		s.pool.Release(h)
		return
	}
	if len(s.left) >= maxLingering {
		s.pool.Release(h)
		return
	}
	if s.left == nil {
		s.left = map[string]*former{}
	}
	s.left[h.Dial()] = &former{h, until}
	if !s.sweeping {
		s.sweeping = true
		time.AfterFunc(sweeping, s.sweep)
	}
}

// sweep lets go of those whose time is over, and comes back as long as there are others.
func (s *hosts) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for dial, f := range s.left {
		if !now.Before(f.until) {
			delete(s.left, dial)
			s.pool.Release(f.host)
		}
	}
	if s.sweeping = len(s.left) > 0; s.sweeping {
		time.AfterFunc(sweeping, s.sweep)
	}
}
