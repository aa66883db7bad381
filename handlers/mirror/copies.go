package mirror

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluiceproxy/sluice/internal/metrics"
)

// maxHeld is how many bytes of bodies all mirrors of a process hold.
const maxHeld = 64 << 20

// Copies is what all mirrors of a process have in common: how much they may hold, and what becomes of copies. It is a
// service: one for a process. Safe for concurrent use.
type Copies struct {
	held     atomic.Int64
	outcomes [outcomes]atomic.Int64
	counters [outcomes]prometheus.Counter // nil without a registry
}

// outcome is what became of a copy.
type outcome int

const (
	answered          outcome = iota // sent and answered
	failed                           // sent and not answered
	skippedUpgrade                   // not made: for another protocol
	skippedLarge                     // not made: its body is too large
	skippedIncomplete                // not made: nobody read the body to its end
	skippedBusy                      // not made: too many are under way, or hold too much
	outcomes
)

var outcomeNames = [outcomes]string{"answered", "failed", "skipped_upgrade", "skipped_large", "skipped_incomplete", "skipped_busy"}

// NewCopies returns the state of no mirrors. What becomes of copies is counted in the registry; it may be nil.
func NewCopies(r *metrics.Registry) *Copies {
	c := &Copies{}
	if r == nil {
		return c
	}
	family := r.Counters(metrics.Opts{Subsystem: "mirror", Name: "copies_total", Labels: []string{"outcome"},
		Help: "Requests that mirrors have copied, or have not for the reason in the label."})
	for i, name := range outcomeNames {
		c.counters[i] = family.With(name)
	}
	r.GaugeFunc(metrics.Opts{Subsystem: "mirror", Name: "held_bytes", Help: "Bytes of request bodies that mirrors hold."},
		func() float64 { return float64(c.held.Load()) })
	return c
}

func (c *Copies) count(o outcome) {
	c.outcomes[o].Add(1)
	if c.counters[o] != nil {
		c.counters[o].Inc()
	}
}

// hold reserves room for n bytes.
func (c *Copies) hold(n int) bool {
	if c.held.Add(int64(n)) <= maxHeld {
		return true
	}
	c.held.Add(-int64(n))
	return false
}

func (c *Copies) free(n int) { c.held.Add(-int64(n)) }
