package metrics

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// Opts describes one metric.
type Opts struct {
	Subsystem string    // second part of the name, may be empty: admin_http, reverse_proxy
	Name      string    // last part of the name: requests_total
	Help      string    // one sentence
	Labels    []string  // names of the labels, in the order of With
	Buckets   []float64 // upper bounds, for histograms; default Seconds
	MaxSeries int       // how many series it may have; default that of the registry
}

// Vec is a metric with labels: a family of series of kind M. It is safe for
// concurrent use.
type Vec[M any] struct {
	series series[M]
	labels int
	create func(values []string) M
	drop   func(values []string)
	// dropped counts what had to go to the series Other.
	dropped *dropCount
}

// The kinds of metrics.
type (
	// Counters is a family of values that only grow.
	Counters = Vec[prometheus.Counter]
	// Gauges is a family of values that go up and down.
	Gauges = Vec[prometheus.Gauge]
	// Histograms is a family of distributions.
	Histograms = Vec[prometheus.Observer]
)

// Counters makes a metric. Like every constructor of a metric it is called
// once, at wiring, and panics on what is a mistake in the program: a name that
// is malformed or taken.
func (r *Registry) Counters(o Opts) *Counters {
	v := prometheus.NewCounterVec(prometheus.CounterOpts(r.opts(o)), o.Labels)
	return newVec(r, o, v, v.MetricVec, func(values []string) prometheus.Counter { return v.WithLabelValues(values...) })
}

// Gauges makes a metric. See [Registry.Counters].
func (r *Registry) Gauges(o Opts) *Gauges {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts(r.opts(o)), o.Labels)
	return newVec(r, o, v, v.MetricVec, func(values []string) prometheus.Gauge { return v.WithLabelValues(values...) })
}

// Histograms makes a metric. See [Registry.Counters].
func (r *Registry) Histograms(o Opts) *Histograms {
	if o.Buckets == nil {
		o.Buckets = Seconds()
	}
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: r.namespace, Subsystem: o.Subsystem, Name: o.Name, Help: o.Help, Buckets: o.Buckets,
	}, o.Labels)
	return newVec(r, o, v, v.MetricVec, func(values []string) prometheus.Observer { return v.WithLabelValues(values...) })
}

// Counter makes a metric without labels. See [Registry.Counters].
func (r *Registry) Counter(o Opts) prometheus.Counter { return r.Counters(o).With() }

// Gauge makes a metric without labels. See [Registry.Counters].
func (r *Registry) Gauge(o Opts) prometheus.Gauge { return r.Gauges(o).With() }

// Histogram makes a metric without labels. See [Registry.Counters].
func (r *Registry) Histogram(o Opts) prometheus.Observer { return r.Histograms(o).With() }

// GaugeFunc makes a metric without labels whose value is asked for at each
// scrape; f must be safe for concurrent use. See [Registry.Counters].
func (r *Registry) GaugeFunc(o Opts, f func() float64) {
	r.prom.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(r.opts(o)), f))
}

// GaugesFunc makes a metric with labels whose series are asked for at each
// scrape: f calls emit for each, with the values in the order of the labels; of
// two series with the same values the first counts. What is beyond the maximum
// is left out. See [Registry.Counters].
func (r *Registry) GaugesFunc(o Opts, f func(emit func(value float64, labels ...string))) {
	r.seriesFunc(o, prometheus.GaugeValue, f)
}

// CountersFunc is [Registry.GaugesFunc] for values that only grow.
func (r *Registry) CountersFunc(o Opts, f func(emit func(value float64, labels ...string))) {
	r.seriesFunc(o, prometheus.CounterValue, f)
}

func (r *Registry) seriesFunc(o Opts, kind prometheus.ValueType, f func(emit func(value float64, labels ...string))) {
	if o.MaxSeries <= 0 {
		o.MaxSeries = r.maxSeries
	}
	name := r.Name(o.Subsystem, o.Name)
	r.prom.MustRegister(&seriesFunc{
		desc: prometheus.NewDesc(name, o.Help, o.Labels, nil), kind: kind, limit: o.MaxSeries, labels: len(o.Labels), f: f, dropped: r.dropped.of(name),
	})
}

type seriesFunc struct {
	desc          *prometheus.Desc
	kind          prometheus.ValueType
	limit, labels int
	f             func(emit func(float64, ...string))
	dropped       *dropCount
}

func (g *seriesFunc) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

func (g *seriesFunc) Collect(ch chan<- prometheus.Metric) {
	seen := map[string]bool{}
	g.f(func(value float64, labels ...string) {
		var buf [maxLabels]string
		labels = cleaned(labels, &buf)
		key := strings.Join(labels, "\xff") // is in no valid UTF-8
		switch {
		case len(labels) != g.labels:
			panic(fmt.Sprintf("metrics: %d label values for %d labels", len(labels), g.labels))
		case seen[key]:
			return
		case len(seen) >= g.limit:
			g.dropped.n.Add(1)
			return
		}
		seen[key] = true
		ch <- prometheus.MustNewConstMetric(g.desc, g.kind, value, labels...)
	})
}

func (r *Registry) opts(o Opts) prometheus.Opts {
	return prometheus.Opts{Namespace: r.namespace, Subsystem: o.Subsystem, Name: o.Name, Help: o.Help}
}

func newVec[M any](r *Registry, o Opts, c prometheus.Collector, pv *prometheus.MetricVec, with func([]string) M) *Vec[M] {
	r.prom.MustRegister(c)
	if o.MaxSeries <= 0 {
		o.MaxSeries = r.maxSeries
	}
	v := &Vec[M]{labels: len(o.Labels), create: with, drop: func(values []string) { pv.DeleteLabelValues(values...) }}
	v.dropped = r.dropped.of(r.Name(o.Subsystem, o.Name))
	v.series.init(o.MaxSeries)
	return v
}

// With returns the series of the label values, which are given in the order of
// the labels; it panics if their number is wrong. It takes no lock and does not
// allocate for a series that exists; who knows the values early keeps the
// result. Values are cut to [MaxLabelLen] bytes and made valid UTF-8.
//
// When the metric has its maximum of series, a new one is not made: the result
// is the series whose labels are all [Other].
func (v *Vec[M]) With(values ...string) M {
	v.check(values)
	var clean [maxLabels]string
	values = cleaned(values, &clean)
	m, ok, beyond := v.series.find(values)
	if !ok {
		m, beyond = v.series.add(values, v.create)
	}
	if beyond {
		v.dropped.n.Add(1)
	}
	return m
}

// Delete forgets the series of the label values, if there is one. Whoever still
// holds it observes into the void. It makes room for another one.
func (v *Vec[M]) Delete(values ...string) {
	v.check(values)
	var clean [maxLabels]string
	v.series.remove(cleaned(values, &clean), v.drop)
}

// Len returns the number of series, without that of the labels [Other].
func (v *Vec[M]) Len() int { return int(v.series.count.Load()) }

func (v *Vec[M]) check(values []string) {
	if len(values) != v.labels {
		panic(fmt.Sprintf("metrics: %d label values for %d labels", len(values), v.labels))
	}
}

// maxLabels is how many label values are cleaned without allocation.
const maxLabels = 8

// cleaned returns values if nothing is wrong with them, else a copy in buf.
func cleaned(values []string, buf *[maxLabels]string) []string {
	for i, s := range values {
		if len(s) <= MaxLabelLen && utf8.ValidString(s) {
			continue
		}
		out := append(buf[:0], values...)
		for j := i; j < len(out); j++ {
			out[j] = clean(out[j])
		}
		return out
	}
	return values
}

func clean(s string) string {
	if len(s) > MaxLabelLen {
		cut := MaxLabelLen
		for cut > MaxLabelLen-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "?")
	}
	return s
}
