package upstream

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets of a histogram of microseconds: eight to each doubling, so that a value is known to within 6 %. What is shorter
// than 16 us shares the first, what is longer than two minutes the last.
const (
	latencyShift   = 3
	latencyLow     = 4
	latencyBuckets = (27 - latencyLow) << latencyShift
)

// latencyWindow is how long one of the two histograms is filled.
const latencyWindow = time.Minute

// latency is how long an upstream took to answer in the last one to two minutes. To record costs one addition. A few
// values may be lost or survive while a minute begins.
type latency struct {
	minute atomic.Int64
	ring   [2][latencyBuckets]atomic.Uint32
}

func latencyBucket(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 1<<latencyLow))
	octave := bits.Len64(us) - 1
	i := (octave-latencyLow)<<latencyShift + int(us>>(octave-latencyShift))&(1<<latencyShift-1)
	return min(i, latencyBuckets-1)
}

// latencyOf is the middle of a bucket.
func latencyOf(bucket int) time.Duration {
	octave := bucket>>latencyShift + latencyLow
	step := time.Microsecond << octave >> latencyShift
	return time.Microsecond<<octave + time.Duration(bucket&(1<<latencyShift-1))*step + step/2
}

// at makes minute the current one. Minutes count from any moment.
func (l *latency) at(minute int64) {
	before := l.minute.Load()
	if before >= minute || !l.minute.CompareAndSwap(before, minute) {
		return
	}
	l.clear(minute)
	if minute-before > 1 {
		l.clear(minute - 1)
	}
}

func (l *latency) clear(minute int64) {
	for i := range l.ring[minute&1] {
		l.ring[minute&1][i].Store(0)
	}
}

func (l *latency) record(minute int64, d time.Duration) {
	l.at(minute)
	l.ring[minute&1][latencyBucket(d)].Add(1)
}

// Latency is how long an upstream takes to answer: from the sending of a request to the header of the response, dialling
// included.
type Latency struct {
	// P50 and P99 are the median and the 99th percentile of the last one to two minutes, in seconds, to within 6 %.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	// Count is how many responses that is.
	Count int64 `json:"count"`
}

// read returns nil when there was no response.
func (l *latency) read(minute int64) *Latency {
	l.at(minute)
	var counts [latencyBuckets]int64
	total := int64(0)
	for i := range counts {
		counts[i] = int64(l.ring[0][i].Load()) + int64(l.ring[1][i].Load())
		total += counts[i]
	}
	if total == 0 {
		return nil
	}
	return &Latency{P50: rank(&counts, (total+1)/2), P99: rank(&counts, total-total/100), Count: total}
}

// rank is the n-th smallest value, from 1, in seconds.
func rank(counts *[latencyBuckets]int64, n int64) float64 {
	for i, c := range counts {
		if n -= c; n <= 0 {
			return latencyOf(i).Seconds()
		}
	}
	return 0
}
