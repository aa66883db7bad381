package dynamic

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxSets is how many lists with different keys a handler has upstreams for; there is more than one only where names
	// have placeholders.
	maxSets = 256
	// unused is how long a set is kept that no request has asked for while others are made.
	unused = 10 * time.Minute
)

// Sets is what a handler makes of lists: an item of type U for each dial text, which all lists with that text share, and
// of the items of each list one V. Safe for concurrent use.
type Sets[U, V any] struct {
	open  func(dial string) U
	drop  func(U)
	build func([]U) V

	last   atomic.Pointer[set[V]]
	mu     sync.Mutex
	sets   map[string]*set[V]
	items  map[string]*item[U]
	closed bool
}

type set[V any] struct {
	list  atomic.Pointer[List]
	dials []string
	value V
	used  atomic.Int64 // unix nanoseconds
}

type item[U any] struct {
	value U
	refs  int
}

// NewSets returns an empty one. open and drop are called one at a time.
func NewSets[U, V any](open func(dial string) U, drop func(U), build func([]U) V) *Sets[U, V] {
	return &Sets[U, V]{open: open, drop: drop, build: build, sets: map[string]*set[V]{}, items: map[string]*item[U]{}}
}

// Of returns what was made of a list. It is quick for the list that was asked for last.
func (s *Sets[U, V]) Of(list *List) V {
	last := s.last.Load()
	if last != nil && last.list.Load() == list {
		return last.value
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if last != nil {
		last.used.Store(now.UnixNano())
	}
	old := s.sets[list.Key]
	if old != nil && slices.Equal(old.dials, list.Dials) {
		old.list.Store(list)
		old.used.Store(now.UnixNano())
		s.last.Store(old)
		return old.value
	}
	made := &set[V]{dials: list.Dials}
	made.list.Store(list)
	made.used.Store(now.UnixNano())
	values := make([]U, len(list.Dials))
	for i, dial := range list.Dials {
		values[i] = s.take(dial)
	}
	made.value = s.build(values)
	if s.closed { // for this request only
		s.give(made)
		return made.value
	}
	s.sets[list.Key] = made
	s.last.Store(made)
	if old != nil {
		s.give(old)
	} else {
		s.trim(now, made)
	}
	return made.value
}

func (s *Sets[U, V]) take(dial string) U {
	it := s.items[dial]
	if it == nil {
		it = &item[U]{value: s.open(dial)}
		s.items[dial] = it
	}
	it.refs++
	return it.value
}

func (s *Sets[U, V]) give(old *set[V]) {
	for _, dial := range old.dials {
		it := s.items[dial]
		if it.refs--; it.refs == 0 {
			delete(s.items, dial)
			s.drop(it.value)
		}
	}
}

// trim lets go of sets that are not used any more, and of the one that was used longest ago if there are too many.
func (s *Sets[U, V]) trim(now time.Time, keep *set[V]) {
	if len(s.sets) == 1 {
		return
	}
	var oldestKey string
	var oldest *set[V]
	for key, one := range s.sets {
		switch {
		case one == keep:
		case now.UnixNano()-one.used.Load() > int64(unused):
			delete(s.sets, key)
			s.give(one)
		case oldest == nil || one.used.Load() < oldest.used.Load():
			oldestKey, oldest = key, one
		}
	}
	if len(s.sets) > maxSets && oldest != nil {
		delete(s.sets, oldestKey)
		s.give(oldest)
	}
}

// Close lets go of everything. What was returned stays usable.
func (s *Sets[U, V]) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for key, one := range s.sets {
		delete(s.sets, key)
		s.give(one)
	}
}
