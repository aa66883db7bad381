package metrics

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// dropCounts says, for each metric that has met its maximum of series, how much
// went to its series Other.
type dropCounts struct {
	desc *prometheus.Desc
	mu   sync.Mutex
	list []*dropCount
}

type dropCount struct {
	metric string
	n      atomic.Uint64
}

// of makes the count of a metric.
func (d *dropCounts) of(metric string) *dropCount {
	c := &dropCount{metric: metric}
	d.mu.Lock()
	d.list = append(d.list, c)
	d.mu.Unlock()
	return c
}

func (d *dropCounts) Describe(ch chan<- *prometheus.Desc) { ch <- d.desc }

func (d *dropCounts) Collect(ch chan<- prometheus.Metric) {
	d.mu.Lock()
	list := d.list
	d.mu.Unlock()
	for _, c := range list {
		if n := c.n.Load(); n > 0 {
			ch <- prometheus.MustNewConstMetric(d.desc, prometheus.CounterValue, float64(n), c.metric)
		}
	}
}
