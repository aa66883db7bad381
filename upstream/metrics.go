package upstream

import (
	"strconv"

	"github.com/sluiceproxy/sluice/internal/metrics"
)

// RegisterMetrics adds what is known of the hosts of a pool to a registry: whether each is healthy, in the opinion of all
// of its judges and, for active checks, of each of them (MET-1). The values are read when they are asked for.
func RegisterMetrics(r *metrics.Registry, p *Pool) {
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
