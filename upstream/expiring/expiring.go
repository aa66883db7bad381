// Package expiring counts what is forgotten after a time, without a timer: who reads drops what is over.
package expiring

import (
	"sync"
	"sync/atomic"
	"time"
)

// Steps bounds the memory of a window: what comes closer together than this fraction of the window shares one entry and is
// forgotten together, with the first of them.
const Steps = 256

// Counter is a multiset of moments at which something is forgotten. born is any moment, the same in all calls. The zero
// value is empty. Safe for concurrent use.
type Counter struct {
	total atomic.Int64
	first atomic.Int64 // when the first is forgotten, in nanoseconds since born
	mu    sync.Mutex
	until []expiry // ascending
}

type expiry struct {
	at time.Time
	n  int64
}

// Empty reports whether there is certainly nothing, however late it is.
func (c *Counter) Empty() bool { return c.total.Load() == 0 }

// Add counts one, until a window after now.
func (c *Counter) Add(now, born time.Time, window time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(now, born)
	at := now.Add(window)
	i := len(c.until)
	for i > 0 && c.until[i-1].at.After(at) {
		i--
	}
	if i > 0 && at.Sub(c.until[i-1].at) < window/Steps {
		c.until[i-1].n++
	} else {
		c.until = append(c.until, expiry{})
		copy(c.until[i+1:], c.until[i:])
		c.until[i] = expiry{at: at, n: 1}
	}
	c.first.Store(int64(c.until[0].at.Sub(born)))
	c.total.Add(1)
}

// Count returns how many there are. It takes a lock only when one of them is over.
func (c *Counter) Count(now, born time.Time) int64 {
	n := c.total.Load()
	if n == 0 || int64(now.Sub(born)) < c.first.Load() {
		return n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(now, born)
	return c.total.Load()
}

func (c *Counter) drop(now, born time.Time) {
	i := 0
	for i < len(c.until) && !c.until[i].at.After(now) {
		c.total.Add(-c.until[i].n)
		i++
	}
	if i == 0 {
		return
	}
	c.until = append(c.until[:0], c.until[i:]...)
	if len(c.until) > 0 {
		c.first.Store(int64(c.until[0].at.Sub(born)))
	}
}

// Entries returns how many entries there are in memory.
func (c *Counter) Entries() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.until)
}

// First returns how long after born the first one is forgotten; it means nothing where there is none.
func (c *Counter) First() time.Duration { return time.Duration(c.first.Load()) }
