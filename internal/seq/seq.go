// Package seq holds a persistent sequence: an immutable list whose edits share
// everything but the chunks they touch. Each element carries a label, a number
// that rises strictly along the sequence and stays with the element when others
// are inserted or removed before it, so labels can serve as order keys in
// indexes that must not be rebuilt at every insertion.
package seq

import (
	"iter"
	"sort"
)

const (
	chunkSize = 256 // elements that a freshly split chunk holds
	chunkMax  = 2 * chunkSize
	gap       = 1 << 32 // distance between labels of a fresh sequence
)

// Item is one element with its label.
type Item[T any] struct {
	Label int64
	Value T
}

// Seq is an immutable sequence. The zero value is empty. A Seq is safe for
// concurrent use; every edit returns a new one.
type Seq[T any] struct {
	chunks [][]Item[T]
	starts []int // starts[i] is the index of the first element of chunks[i]
	n      int
}

// Of makes a sequence of the values, with evenly spaced labels.
func Of[T any](values []T) Seq[T] {
	items := make([]Item[T], len(values))
	for i, v := range values {
		items[i] = Item[T]{int64(i) * gap, v}
	}
	return build(split(nil, items))
}

// Len is the number of elements.
func (s Seq[T]) Len() int { return s.n }

// At returns the element at index i, which must be within 0..Len()-1.
func (s Seq[T]) At(i int) Item[T] {
	c := s.chunkOf(i)
	return s.chunks[c][i-s.starts[c]]
}

// All iterates over index and element in order.
func (s Seq[T]) All() iter.Seq2[int, Item[T]] {
	return s.Range(0, s.n)
}

// Range iterates over the elements from index start up to, not including, end.
func (s Seq[T]) Range(start, end int) iter.Seq2[int, Item[T]] {
	return func(yield func(int, Item[T]) bool) {
		if start >= end {
			return
		}
		i := start
		for c := s.chunkOf(start); c < len(s.chunks); c++ {
			for _, it := range s.chunks[c][i-s.starts[c]:] {
				if i >= end || !yield(i, it) {
					return
				}
				i++
			}
		}
	}
}

// After returns the index of the first element whose label is greater than
// label, or Len() if there is none.
func (s Seq[T]) After(label int64) int {
	c := sort.Search(len(s.chunks), func(i int) bool {
		ch := s.chunks[i]
		return ch[len(ch)-1].Label > label
	})
	if c == len(s.chunks) {
		return s.n
	}
	ch := s.chunks[c]
	return s.starts[c] + sort.Search(len(ch), func(i int) bool { return ch[i].Label > label })
}

// Splice replaces the elements start..end-1 by values. Elements outside keep
// their labels unless relabelled is true: then the gap was used up, and every
// label of the result is new.
func (s Seq[T]) Splice(start, end int, values []T) (out Seq[T], relabelled bool) {
	labels, ok := s.labelsFor(start, end, len(values))
	if !ok {
		return s.relabel(start, end, values), true
	}
	items := make([]Item[T], len(values))
	for i, v := range values {
		items[i] = Item[T]{labels(i), v}
	}
	return s.replace(start, end, items), false
}

// labelsFor gives the labels of n values that stand between start and end. A
// value that replaces an element in place takes its label.
func (s Seq[T]) labelsFor(start, end, n int) (func(int) int64, bool) {
	if n == end-start {
		return func(i int) int64 { return s.At(start + i).Label }, true
	}
	hasLo, hasHi := start > 0, end < s.n
	var lo, hi int64
	if hasLo {
		lo = s.At(start - 1).Label
	}
	if hasHi {
		hi = s.At(end).Label
	}
	switch {
	case !hasLo && !hasHi:
		return func(i int) int64 { return int64(i) * gap }, true
	case !hasLo:
		return func(i int) int64 { return hi - int64(n-i)*gap }, true
	case !hasHi:
		return func(i int) int64 { return lo + int64(i+1)*gap }, true
	}
	step := (hi - lo) / int64(n+1)
	return func(i int) int64 { return lo + int64(i+1)*step }, step > 0
}

func (s Seq[T]) relabel(start, end int, values []T) Seq[T] {
	all := make([]T, 0, s.n-(end-start)+len(values))
	for _, it := range s.Range(0, start) {
		all = append(all, it.Value)
	}
	all = append(all, values...)
	for _, it := range s.Range(end, s.n) {
		all = append(all, it.Value)
	}
	return Of(all)
}

// replace rebuilds only the chunks that the range touches.
func (s Seq[T]) replace(start, end int, items []Item[T]) Seq[T] {
	if s.n == 0 {
		return build(split(nil, items))
	}
	first := s.chunkOf(min(start, s.n-1))
	last := first
	if end > start {
		last = s.chunkOf(end - 1)
	}
	var mid []Item[T]
	mid = append(mid, s.chunks[first][:start-s.starts[first]]...)
	mid = append(mid, items...)
	mid = append(mid, s.chunks[last][end-s.starts[last]:]...)
	chunks := make([][]Item[T], 0, len(s.chunks)+1+len(items)/chunkSize)
	chunks = append(chunks, s.chunks[:first]...)
	chunks = split(chunks, mid)
	chunks = append(chunks, s.chunks[last+1:]...)
	return build(chunks)
}

func (s Seq[T]) chunkOf(i int) int {
	return sort.Search(len(s.starts), func(c int) bool { return s.starts[c] > i }) - 1
}

// split appends items to chunks in pieces of a good size.
func split[T any](chunks [][]Item[T], items []Item[T]) [][]Item[T] {
	for len(items) > chunkMax {
		chunks = append(chunks, items[:chunkSize:chunkSize])
		items = items[chunkSize:]
	}
	if len(items) > 0 {
		chunks = append(chunks, items)
	}
	return chunks
}

func build[T any](chunks [][]Item[T]) Seq[T] {
	s := Seq[T]{chunks: chunks, starts: make([]int, len(chunks))}
	for i, c := range chunks {
		s.starts[i] = s.n
		s.n += len(c)
	}
	return s
}
