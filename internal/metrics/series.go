package metrics

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// series is a bounded map from label values to metrics that is read without
// locks: a hash table whose chains never change once they can be seen.
type series[M any] struct {
	seed  maphash.Seed
	max   int
	count atomic.Int64
	table atomic.Pointer[[]atomic.Pointer[entry[M]]] // its length is a power of two

	mu    sync.Mutex               // held by writers
	other atomic.Pointer[entry[M]] // the series beyond the maximum, once it exists
	full  atomic.Bool              // there is room for no other; set after other
}

type entry[M any] struct {
	hash   uint64
	values []string
	metric M
	next   *entry[M]
}

func (s *series[M]) init(limit int) {
	s.seed, s.max = maphash.MakeSeed(), limit
	table := make([]atomic.Pointer[entry[M]], 8)
	s.table.Store(&table)
}

func (s *series[M]) hash(values []string) uint64 {
	var h uint64
	for _, v := range values {
		h = h*0x9e3779b97f4a7c15 + maphash.String(s.seed, v)
	}
	return h ^ h>>32
}

// find returns the metric of the values. When there is room for no other it
// returns the one of what is beyond the maximum, and says so.
func (s *series[M]) find(values []string) (m M, ok, beyond bool) {
	if e := s.lookup(s.hash(values), values); e != nil {
		return e.metric, true, false
	}
	if e := s.other.Load(); e != nil {
		if asked := isOther(values); asked || s.full.Load() {
			return e.metric, true, !asked
		}
	}
	return m, false, false
}

func (s *series[M]) lookup(hash uint64, values []string) *entry[M] {
	table := *s.table.Load()
	for e := table[hash&uint64(len(table)-1)].Load(); e != nil; e = e.next {
		if e.hash == hash && slices.Equal(e.values, values) {
			return e
		}
	}
	return nil
}

// add returns the metric of the values, made if there is room for it, else that
// of what is beyond the maximum. The values are copied.
func (s *series[M]) add(values []string, create func([]string) M) (m M, beyond bool) {
	hash := s.hash(values)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.lookup(hash, values); e != nil {
		return e.metric, false
	}
	if asked := isOther(values); asked || s.count.Load() >= int64(s.max) {
		return s.overflow(len(values), create), !asked
	}
	return s.insert(hash, values, create), false
}

// within returns the metric of the values, made if there are fewer than limit
// series. It is for a series that has no maximum of its own.
func (s *series[M]) within(limit int, values []string, create func([]string) M) (m M, ok bool) {
	hash := s.hash(values)
	if e := s.lookup(hash, values); e != nil {
		return e.metric, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.lookup(hash, values); e != nil {
		return e.metric, true
	}
	if s.count.Load() >= int64(limit) {
		return m, false
	}
	return s.insert(hash, values, create), true
}

// insert is called with mu held.
func (s *series[M]) insert(hash uint64, values []string, create func([]string) M) M {
	own := make([]string, len(values))
	for i, v := range values {
		own[i] = strings.Clone(v)
	}
	if table := *s.table.Load(); s.count.Load() >= int64(len(table)) {
		s.grow(2 * len(table))
	}
	e := &entry[M]{hash: hash, values: own, metric: create(own)}
	bucket := s.bucket(hash)
	e.next = bucket.Load()
	bucket.Store(e)
	s.count.Add(1)
	return e.metric
}

func isOther(values []string) bool {
	for _, v := range values {
		if v != Other {
			return false
		}
	}
	return len(values) > 0
}

// overflow returns the metric of what is beyond the maximum.
func (s *series[M]) overflow(labels int, create func([]string) M) M {
	e := s.other.Load()
	if e == nil {
		values := slices.Repeat([]string{Other}, labels)
		e = &entry[M]{values: values, metric: create(values)}
		s.other.Store(e)
	}
	s.full.Store(s.count.Load() >= int64(s.max))
	return e.metric
}

func (s *series[M]) bucket(hash uint64) *atomic.Pointer[entry[M]] {
	table := *s.table.Load()
	return &table[hash&uint64(len(table)-1)]
}

// grow builds a new table, for readers may be in the old one.
func (s *series[M]) grow(size int) {
	old, table := *s.table.Load(), make([]atomic.Pointer[entry[M]], size)
	for i := range old {
		for e := old[i].Load(); e != nil; e = e.next {
			bucket := &table[e.hash&uint64(size-1)]
			bucket.Store(&entry[M]{e.hash, e.values, e.metric, bucket.Load()})
		}
	}
	s.table.Store(&table)
}

// remove takes the series out, if it exists, and calls drop with its values.
func (s *series[M]) remove(values []string, drop func([]string)) {
	hash := s.hash(values)
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := s.lookup(hash, values)
	if gone == nil {
		return
	}
	bucket := s.bucket(hash)
	var chain *entry[M]
	for e := bucket.Load(); e != nil; e = e.next {
		if e != gone {
			chain = &entry[M]{e.hash, e.values, e.metric, chain}
		}
	}
	bucket.Store(chain)
	s.count.Add(-1)
	s.full.Store(false)
	drop(gone.values)
}
