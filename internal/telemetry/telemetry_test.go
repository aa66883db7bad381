package telemetry

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector counts what reaches it, and answers when hold is closed.
func collector(t *testing.T, hold chan struct{}) *atomic.Int64 {
	t.Helper()
	n := &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		n.Add(1)
		<-hold
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(s.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
	return n
}

func open() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// TestUsers: the first starts, the last ends, and what was only prepared sends
// nothing.
func TestUsers(t *testing.T) {
	n := collector(t, open())
	tel := New(Config{Version: "1"})
	prepare := func() *User {
		t.Helper()
		u := tel.Traces()
		if err := u.Prepare(); err != nil {
			t.Fatal(err)
		}
		return u
	}
	traced := func() bool {
		_, span := tel.Tracing().Tracer.Start(context.Background(), "x")
		span.End()
		return span.SpanContext().IsValid()
	}
	prepare().Close()
	if traced() {
		t.Error("traced without a user")
	}
	a, b := prepare(), prepare()
	if traced() {
		t.Error("traced before the start")
	}
	a.Start()
	b.Start()
	if !traced() {
		t.Error("not traced with two users")
	}
	a.Close()
	if !traced() {
		t.Error("not traced with one user")
	}
	b.Close()
	if err := tel.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if traced() || n.Load() != 1 {
		t.Errorf("%d messages, want 1 with both spans; or it is still traced", n.Load())
	}
}

func TestMetricsAreFlushed(t *testing.T) {
	hold := make(chan struct{})
	n := collector(t, hold)
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "x_total", Help: "h"}))
	tel := New(Config{})
	u := tel.Metrics(registry)
	if err := u.Prepare(); err != nil {
		t.Fatal(err)
	}
	u.Start()
	start := time.Now()
	u.Close()
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("closing waited %v for the collector", d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := tel.Wait(ctx); err == nil {
		t.Error("Wait did not wait")
	}
	close(hold)
	if err := tel.Wait(t.Context()); err != nil || n.Load() != 1 {
		t.Errorf("%v, %d messages", err, n.Load())
	}
}

func TestEnvironmentThatIsWrong(t *testing.T) {
	for _, c := range []struct{ name, value string }{
		{"OTEL_TRACES_EXPORTER", "zipkin"}, {"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"}, {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(c.name, c.value)
			if err := New(Config{}).Traces().Prepare(); err == nil || !strings.Contains(err.Error(), c.name+` is "`+c.value) {
				t.Errorf("%v", err)
			}
		})
	}
	for _, kind := range []string{"none", "console"} {
		t.Setenv("OTEL_TRACES_EXPORTER", kind)
		t.Setenv("OTEL_METRICS_EXPORTER", kind)
		tel := New(Config{})
		for _, u := range []*User{tel.Traces(), tel.Metrics(prometheus.NewRegistry())} {
			if err := u.Prepare(); err != nil {
				t.Errorf("%s: %v", kind, err)
				continue
			}
			u.Close()
		}
		if err := tel.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
