// Package metricshandler serves the metrics of the process on a site.
package metricshandler

import (
	"net/http"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/metrics"
)

// Config says how the metrics are served.
type Config struct {
	// DisableOpenMetrics serves the Prometheus text format whatever the client
	// asks for; otherwise OpenMetrics is served to those that prefer it. Default:
	// false.
	DisableOpenMetrics bool `json:"disable_openmetrics"`
}

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.metrics", "Serves the process's metrics in the Prometheus format.", nil, compile,
		module.Directives(module.Directive{Name: "metrics", Read: readMetrics}),
		module.Examples(
			module.Example{Title: "Serve the metrics", JSON: `{"handler": "metrics"}`},
			module.Example{Title: "Serve text only", JSON: `{"handler": "metrics", "disable_openmetrics": true}`},
		))
}

func compile(env *module.Env, c *Config) (handlers.Handler, error) {
	registry := module.Service[*metrics.Registry](env)
	serve := registry.Negotiating()
	if c.DisableOpenMetrics {
		serve = registry.Handler()
	}
	return handlers.HandlerFunc(func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		serve.ServeHTTP(w, r)
		return nil
	}), nil
}

// readMetrics: metrics [<matcher>] [{ disable_openmetrics }]
func readMetrics(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	cfg := &Config{}
	if err := lines.Parse(d, cfg); err != nil {
		return nil, err
	}
	return u.One(m, "metrics", cfg)
}

var lines = caddyfile.Options[Config]{
	Unknown: "unrecognized subdirective '%s'",
	Lines: []caddyfile.Option[Config]{
		{Name: "disable_openmetrics", Set: caddyfile.Flag(func(c *Config) *bool { return &c.DisableOpenMetrics })},
	},
}
