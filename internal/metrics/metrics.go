// Package metrics is the registry of a process's Prometheus metrics: counters,
// gauges and histograms under one configurable namespace, bounded in their
// number of series, and a handler that serves them as text.
//
// Metrics live as long as the process: they are made once, at wiring, and
// outlive every document.
package metrics

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// DefaultNamespace is the first part of every metric's name.
	DefaultNamespace = "sluice"
	// DefaultMaxSeries is how many series one metric may have.
	DefaultMaxSeries = 10_000
	// Other is the value of every label of the series that takes the
	// observations beyond the maximum.
	Other = "_other"
	// MaxLabelLen is the length in bytes to which label values are cut.
	MaxLabelLen = 256
)

// ContentType is what [Registry.Handler] answers with, whatever is asked for.
const ContentType = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

// maxScrapes is how many requests are answered at a time; others get 503.
const maxScrapes = 16

// Config is how a [Registry] is set up. The zero value is ready for use.
type Config struct {
	Namespace string // default DefaultNamespace; set it to keep dashboards that know another name
	MaxSeries int    // of each metric that sets none itself; default DefaultMaxSeries
}

// Registry holds the metrics of one process. It is safe for concurrent use.
type Registry struct {
	namespace string
	maxSeries int
	prom      *prometheus.Registry
	handler   http.Handler
	open      http.Handler // negotiates the format
	dropped   dropCounts
	once      sync.Once
	requests  *Requests
}

// New returns a registry that holds the standard metrics of Go programs: go_*,
// process_*, go_build_info and promhttp_metric_handler_*. The error says that
// the namespace is not made of letters, digits and underscores.
func New(c Config) (*Registry, error) {
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	if !validName(c.Namespace) {
		return nil, fmt.Errorf("metrics namespace %q: want letters, digits and underscores, and a letter first", c.Namespace)
	}
	if c.MaxSeries <= 0 {
		c.MaxSeries = DefaultMaxSeries
	}
	r := &Registry{namespace: c.Namespace, maxSeries: c.MaxSeries, prom: prometheus.NewRegistry()}
	r.prom.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	r.dropped.desc = prometheus.NewDesc(r.Name("metrics", "dropped_observations_total"),
		"Observations counted under the labels "+Other+" because the metric has as many series as it may have.", []string{"metric"}, nil)
	r.prom.MustRegister(&r.dropped)
	r.handler = textOnly(r.newHandler(false))
	r.open = r.newHandler(true)
	return r, nil
}

func (r *Registry) newHandler(openMetrics bool) http.Handler {
	return promhttp.InstrumentMetricHandler(r.prom, promhttp.HandlerFor(r.prom, promhttp.HandlerOpts{
		Registry:            r.prom,
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   openMetrics,
	}))
}

// Namespace returns the first part of every metric's name.
func (r *Registry) Namespace() string { return r.namespace }

// Handler serves all metrics in the text format 0.0.4, compressed if the client
// accepts that. No other format is negotiated.
func (r *Registry) Handler() http.Handler { return r.handler }

// Negotiating serves all metrics like [Registry.Handler], but in the format that
// the client prefers: OpenMetrics 1.0 or 0.0.1, protocol buffers, or text.
func (r *Registry) Negotiating() http.Handler { return r.open }

// Register adds a collector of the caller's own, for values that are computed
// when they are asked for. Its metrics are neither renamed nor bounded; it must
// see to both itself. It returns an error if one of its metrics exists.
func (r *Registry) Register(c prometheus.Collector) error {
	if err := r.prom.Register(c); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// Gatherer returns the metrics for other ways of export.
func (r *Registry) Gatherer() prometheus.Gatherer { return r.prom }

// Name returns the full name of a metric: namespace, subsystem and name.
func (r *Registry) Name(subsystem, name string) string {
	return prometheus.BuildFQName(r.namespace, subsystem, name)
}

// textOnly keeps the handler from negotiating the format.
func textOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, asks := req.Header["Accept"]; asks {
			plain := *req
			plain.Header = req.Header.Clone()
			plain.Header.Del("Accept")
			req = &plain
		}
		next.ServeHTTP(w, req)
	})
}

func validName(s string) bool {
	for i, c := range s {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && !strings.HasPrefix(s, "__") && len(s) <= 64
}

// Seconds returns the buckets of durations: 5 ms to 10 s.
func Seconds() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
}

// Bytes returns the buckets of sizes: 256 bytes to 4 MiB.
func Bytes() []float64 {
	return []float64{256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304}
}
