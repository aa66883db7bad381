package server_test

import (
	"context"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
)

// BenchmarkMetrics is a request to a static response without metrics, with
// them, and with those for each host, among as many hosts.
func BenchmarkMetrics(b *testing.B) {
	for _, c := range []struct{ name, metrics string }{{"off", ""}, {"on", `{}`}, {"per-host", `{"per_host":true}`}} {
		b.Run(c.name, func(b *testing.B) {
			e := newReal(b, 1000, "127.0.0.1:9")
			if c.metrics != "" {
				node, _, err := config.Parse([]byte(c.metrics), config.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				path, err := config.ParsePath("/apps/http/metrics")
				if err != nil {
					b.Fatal(err)
				}
				if _, err := e.Apply(context.Background(), server.Change{Verb: "PUT", Edit: config.Edit{Verb: config.Put, Path: path, Value: node}}); err != nil {
					b.Fatal(err)
				}
			}
			benchmarkRequests(b, e, "/static", len("hello"))
		})
	}
}
