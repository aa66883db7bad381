package server_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
)

// pushed is a collector that keeps the last value of each sum by name.
type pushed struct {
	mu       sync.Mutex
	sums     map[string]float64
	names    map[string]bool
	resource string
	n        int
}

func (p *pushed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		in, _ = gzip.NewReader(r.Body)
	}
	body, err := io.ReadAll(in)
	req := &collector.ExportMetricsServiceRequest{}
	if err != nil || r.URL.Path != "/v1/metrics" || proto.Unmarshal(body, req) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	for _, rm := range req.ResourceMetrics {
		p.resource = fmt.Sprint(rm.Resource.Attributes)
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				p.names[m.Name] = true
				if s := m.GetSum(); s != nil {
					for _, d := range s.DataPoints {
						p.sums[m.Name] = d.GetAsDouble()
					}
				}
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (p *pushed) sum(name string) (float64, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sums[name], p.n
}

// TestMetricsPush: the metrics of requests, and no others, reach a collector,
// the last of them when the document stops naming it.
func TestMetricsPush(t *testing.T) {
	p := &pushed{sums: map[string]float64{}, names: map[string]bool{}}
	c := httptest.NewServer(p)
	defer c.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
	w := newWorld(t)
	port := freePort(t)
	ask := func() { get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)) }
	text := measured(port, `{"otlp":true}`, `{"handle":[{"handler":"say"}]}`)
	dry := server.Change{Verb: "load", DryRun: true, Edit: config.Edit{Verb: config.Post, Whole: true, Value: w.node(text)}}
	w.mustApply(dry)
	w.mustLoad(measured(port, `{}`, `{"handle":[{"handler":"say"}]}`))
	ask()
	if _, n := p.sum(""); n != 0 {
		t.Errorf("%d pushes without otlp", n)
	}
	w.mustLoad(text)
	ask()
	w.wait("a push", func() bool { v, _ := p.sum("sluice_http_requests_total"); return v == 2 })
	w.mustApply(w.change(config.Put, "/apps/http/servers/s/routes/0/handle/0/body", `"x"`))
	ask()
	w.wait("a push after an edit", func() bool { v, _ := p.sum("sluice_http_requests_total"); return v == 3 })
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
	w.mustApply(w.change(config.Patch, "/apps/http/metrics/otlp", `false`))
	w.mustApply(w.change(config.Patch, "/apps/http/metrics/otlp", `true`))
	ask()
	if err := w.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if v, _ := p.sum("sluice_http_requests_total"); v != 4 {
		t.Errorf("the last push says %v, want 4", v)
	}
	for name := range p.names {
		if !strings.HasPrefix(name, "sluice_http_") {
			t.Errorf("%s was pushed", name)
		}
	}
	if !p.names["sluice_http_request_duration_seconds"] || !strings.Contains(p.resource, "webengine.name") {
		t.Errorf("pushed %v of %s", p.names, p.resource)
	}
}

// TestMetricsPushThatIsRefused: an exporter that does not exist.
func TestMetricsPushThatIsRefused(t *testing.T) {
	t.Setenv("OTEL_METRICS_EXPORTER", "pigeon")
	w := newWorld(t)
	if _, err := w.load(measured(freePort(t), `{"otlp":true}`, "")); err == nil || !strings.Contains(err.Error(), "OTEL_METRICS_EXPORTER") {
		t.Errorf("%v", err)
	}
	t.Setenv("OTEL_METRICS_EXPORTER", "none")
	w.mustLoad(measured(freePort(t), `{"otlp":true}`, ""))
}
