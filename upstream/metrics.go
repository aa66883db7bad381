package upstream

import (
	"strconv"

	"github.com/sluiceproxy/sluice/internal/metrics"
)

// RegisterMetrics adds what is known of the hosts of a pool to a registry: whether each is healthy, in the opinion of all
// of its judges and, for active checks, of each of them (MET-1); and its traffic. The values are read when they are asked
// for.
func RegisterMetrics(r *metrics.Registry, p *Pool) {
	registerTraffic(r, p)
	r.GaugesFunc(metrics.Opts{
		Subsystem: "reverse_proxy", Name: "upstreams_healthy",
		Help: "Health status of reverse proxy upstreams.", Labels: []string{"upstream"},
	}, func(emit func(value float64, labels ...string)) {
		for _, s := range p.Health() {
			emit(number(s.Healthy == nil || *s.Healthy), s.Address)
		}
	})
	r.GaugesFunc(metrics.Opts{
		Subsystem: "reverse_proxy", Name: "health_check_passing",
		Help: "Whether an active health check of a reverse proxy upstream finds it healthy.", Labels: []string{"upstream", "check"},
	}, func(emit func(value float64, labels ...string)) {
		for _, s := range p.Health() {
			for _, v := range s.Health {
				if v.Kind == "active" {
					emit(number(v.Healthy), s.Address, v.Rule)
				}
			}
		}
	})
}

// registerTraffic adds what requests have made known.
func registerTraffic(r *metrics.Registry, p *Pool) {
	perHost := func(help string, value func(h *Host) float64) (string, func(func(float64, ...string))) {
		return help, func(emit func(float64, ...string)) {
			for _, h := range p.Hosts() {
				emit(value(h), h.dial)
			}
		}
	}
	gauge := func(name, help string, value func(h *Host) float64) {
		help, f := perHost(help, value)
		r.GaugesFunc(metrics.Opts{Subsystem: "reverse_proxy", Name: name, Help: help, Labels: []string{"upstream"}}, f)
	}
	gauge("upstream_requests_in_flight", "Requests that are running on a reverse proxy upstream.", func(h *Host) float64 { return float64(h.Requests()) })
	gauge("upstream_streams", "Open streams of a reverse proxy upstream.", func(h *Host) float64 { return float64(h.streams.Load()) })
	gauge("upstream_draining", "Whether a reverse proxy upstream is being drained.", func(h *Host) float64 { return number(h.Drained()) })
	gauge("upstream_connections", "Open connections to a reverse proxy upstream.", func(h *Host) float64 {
		if !h.literal {
			return 0
		}
		return float64(p.connections.Count(h.address.HostPort))
	})
	r.CountersFunc(metrics.Opts{
		Subsystem: "reverse_proxy", Name: "upstream_responses_total",
		Help: "Round trips to a reverse proxy upstream, by class of the status; error is no response.", Labels: []string{"upstream", "class"},
	}, func(emit func(float64, ...string)) {
		for _, h := range p.Hosts() {
			for class := range h.results {
				if n := h.results[class].Load(); n > 0 {
					emit(float64(n), h.dial, resultClasses[class])
				}
			}
		}
	})
	r.GaugesFunc(metrics.Opts{
		Subsystem: "reverse_proxy", Name: "upstream_latency_seconds",
		Help: "Time until the response header of a reverse proxy upstream, of the last minutes.", Labels: []string{"upstream", "quantile"},
	}, func(emit func(float64, ...string)) {
		for _, h := range p.Hosts() {
			if l := h.recent(); l != nil {
				emit(l.P50, h.dial, "0.5")
				emit(l.P99, h.dial, "0.99")
			}
		}
	})
}

var resultClasses = [...]string{"error", "1xx", "2xx", "3xx", "4xx", "5xx"}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func plural(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.FormatInt(n, 10) + " " + noun
}
