package main

import (
	"fmt"
	"math/bits"
	"slices"
	"time"
)

// quantile returns the q-th part of sorted values, 0 of none.
func quantile[T any](sorted []T, q float64) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func median(times []time.Duration) time.Duration {
	return quantile(slices.Sorted(slices.Values(times)), 0.5)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// ratio is a/b as text, "-" if that means nothing.
func ratio(a, b float64) string {
	if a <= 0 || b <= 0 {
		return "-"
	}
	return fmt.Sprintf("x%.3g", a/b)
}

// histogram counts times in steps of about 6 percent, from 1 microsecond on.
type histogram struct {
	counts [64 * steps]int64
	n      int64
}

const steps = 16

func (h *histogram) add(d time.Duration) {
	h.counts[slot(uint64(d.Microseconds()))]++
	h.n++
}

// slot numbers a value: below 2*steps by itself, above by its power of two and
// the four bits that follow the first.
func slot(v uint64) int {
	e := bits.Len64(v)
	if e <= 5 {
		return int(v)
	}
	return (e-5)*steps + int(v>>(e-5))
}

// top is the largest value of a slot.
func top(slot int) uint64 {
	if slot < 2*steps {
		return uint64(slot)
	}
	e := slot/steps - 1
	return (uint64(slot-e*steps)+1)<<e - 1
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
}

func (h *histogram) quantile(q float64) time.Duration {
	rest := int64(q * float64(h.n))
	for i, c := range h.counts {
		if rest -= c; rest < 0 {
			return time.Duration(top(i)) * time.Microsecond
		}
	}
	return 0
}
