package ratelimit

import (
	"math"
	"time"
)

// bucket is the count of one key: used tokens come back evenly.
type bucket struct {
	hash       uint64
	used       float64
	rate       float64 // at which they come back, for each nanosecond
	at         time.Duration
	prev, next int32
}

// root is the slot that begins and ends the ring of buckets.
const root = 0

// tolerance is for sums of fractions that fall short of a whole.
const tolerance = 1e-6

func (s *shard) init() {
	s.index = map[uint64]int32{}
	s.slots = make([]bucket, 1, 8)
}

// refill gives back what came back until now.
func (b *bucket) refill(now time.Duration) {
	if now > b.at {
		b.used = max(0, b.used-float64(now-b.at)*b.rate)
		b.at = now
	}
}

// take takes a token of the bucket for hash. It also returns how many buckets
// were made and dropped, and how many of those dropped were not full.
func (s *shard) take(hash uint64, l limit, now time.Duration) (v verdict, made, gone, live int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, known := s.index[hash]
	if known {
		s.unlink(i)
	} else {
		gone, live = s.makeRoom(now)
		i, made = s.alloc(hash, now), 1
	}
	s.pushFront(i)
	b := &s.slots[i]
	b.refill(now)
	b.rate = l.rate()
	if room := l.events - b.used; room >= 1-tolerance {
		b.used++
		v.ok = true
	}
	v.left = int64(max(0, math.Floor(l.events-b.used+tolerance)))
	if b.rate == 0 {
		v.reset, v.wait = l.window, l.window
		return v, made, gone, live
	}
	v.reset = duration(b.used / b.rate)
	v.wait = duration((b.used + 1 - l.events) / b.rate)
	return v, made, gone, live
}

func duration(nanoseconds float64) time.Duration {
	return time.Duration(min(max(0, nanoseconds), math.MaxInt64/2))
}

func (s *shard) giveBack(hash uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, known := s.index[hash]; known {
		s.slots[i].used = max(0, s.slots[i].used-1)
	}
}

// makeRoom drops buckets that have not been used for the longest time: those
// beyond the capacity, and two that are full if there are such.
func (s *shard) makeRoom(now time.Duration) (gone, live int) {
	capacity := int(s.capacity.Load())
	for spare := 2; len(s.index) > 0; gone++ {
		last := &s.slots[s.slots[root].prev]
		last.refill(now)
		switch {
		case len(s.index) >= capacity:
			if last.used > 0 {
				live++
			}
		case last.used == 0 && spare > 0:
			spare--
		default:
			return gone, live
		}
		s.drop(s.slots[root].prev)
	}
	return gone, live
}

func (s *shard) drop(i int32) {
	delete(s.index, s.slots[i].hash)
	s.unlink(i)
	s.free = append(s.free, i)
}

func (s *shard) alloc(hash uint64, now time.Duration) int32 {
	var i int32
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		s.slots = append(s.slots, bucket{})
		i = int32(len(s.slots) - 1)
	}
	s.slots[i] = bucket{hash: hash, at: now}
	s.index[hash] = i
	return i
}

func (s *shard) unlink(i int32) {
	b := &s.slots[i]
	s.slots[b.prev].next, s.slots[b.next].prev = b.next, b.prev
}

func (s *shard) pushFront(i int32) {
	first := s.slots[root].next
	s.slots[i].prev, s.slots[i].next = root, first
	s.slots[first].prev, s.slots[root].next = i, i
}
