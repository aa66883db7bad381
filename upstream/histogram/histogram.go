// Package histogram remembers how long things took in the last minutes, in little memory and without a lock.
package histogram

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets of a histogram of microseconds: eight to each doubling, so that a value is known to within 6 %. What is shorter
// than 16 us shares the first, what is longer than two minutes the last.
const (
	shift   = 3
	low     = 4
	buckets = (27 - low) << shift
)

// Window is how long one of the two halves of a histogram is filled: minutes, for which callers count.
const Window = time.Minute

// Recent is how long something took in the last one to two minutes. To record costs one addition. A few values may be lost
// or survive while a minute begins. The zero value is empty. Safe for concurrent use.
type Recent struct {
	minute atomic.Int64
	ring   [2][buckets]atomic.Uint32
}

func bucket(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 1<<low))
	octave := bits.Len64(us) - 1
	i := (octave-low)<<shift + int(us>>(octave-shift))&(1<<shift-1)
	return min(i, buckets-1)
}

// middle is that of a bucket.
func middle(bucket int) time.Duration {
	octave := bucket>>shift + low
	step := time.Microsecond << octave >> shift
	return time.Microsecond<<octave + time.Duration(bucket&(1<<shift-1))*step + step/2
}

// at makes minute the current one. Minutes count from any moment.
func (r *Recent) at(minute int64) {
	before := r.minute.Load()
	if before >= minute || !r.minute.CompareAndSwap(before, minute) {
		return
	}
	r.clear(minute)
	if minute-before > 1 {
		r.clear(minute - 1)
	}
}

func (r *Recent) clear(minute int64) {
	for i := range r.ring[minute&1] {
		r.ring[minute&1][i].Store(0)
	}
}

// Record adds one value in a minute.
func (r *Recent) Record(minute int64, d time.Duration) {
	r.at(minute)
	r.ring[minute&1][bucket(d)].Add(1)
}

// Read returns the median and the 99th percentile in seconds, and how many values they are of. Without values all are 0.
func (r *Recent) Read(minute int64) (p50, p99 float64, count int64) {
	r.at(minute)
	var counts [buckets]int64
	for i := range counts {
		counts[i] = int64(r.ring[0][i].Load()) + int64(r.ring[1][i].Load())
		count += counts[i]
	}
	if count == 0 {
		return 0, 0, 0
	}
	return rank(&counts, (count+1)/2), rank(&counts, count-count/100), count
}

// rank is the n-th smallest value, from 1, in seconds.
func rank(counts *[buckets]int64, n int64) float64 {
	for i, c := range counts {
		if n -= c; n <= 0 {
			return middle(i).Seconds()
		}
	}
	return 0
}
