package telemetry

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
)

// tracerName is the scope of our spans.
const tracerName = "github.com/sluiceproxy/sluice/handlers/tracing"

// newSpanExporter returns nil if spans are to be sent nowhere.
func newSpanExporter(ctx context.Context) (trace.SpanExporter, error) {
	kind, err := exporterKind("OTEL_TRACES_EXPORTER")
	if err != nil || kind == "none" {
		return nil, err
	}
	if kind == "console" {
		return stdouttrace.New()
	}
	grpc, err := overGRPC("TRACES")
	switch {
	case err != nil:
		return nil, err
	case grpc:
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

func (t *Telemetry) traceEngine(ctx context.Context) (engine, error) {
	res, err := t.resource()
	if err != nil {
		return engine{}, err
	}
	exporter, err := newSpanExporter(ctx)
	if err != nil {
		return engine{}, fmt.Errorf("making the exporter of traces that the OTEL_* variables describe: %w", err)
	}
	var provider *trace.TracerProvider
	var now *Tracing
	start := func() {
		options := []trace.TracerProviderOption{trace.WithResource(res)}
		if exporter != nil {
			options = append(options, trace.WithBatcher(exporter))
		}
		provider = trace.NewTracerProvider(options...)
		now = &Tracing{Tracer: provider.Tracer(tracerName), Propagator: newPropagator()}
		t.tracer.Store(now)
	}
	stop := func(ctx context.Context) error {
		if provider != nil {
			t.tracer.CompareAndSwap(now, nil)
			return provider.Shutdown(ctx)
		}
		if exporter != nil {
			return exporter.Shutdown(ctx)
		}
		return nil
	}
	return engine{start, stop}, nil
}

// newMetricExporter returns nil if metrics are to be pushed nowhere.
func newMetricExporter(ctx context.Context) (metric.Exporter, error) {
	kind, err := exporterKind("OTEL_METRICS_EXPORTER")
	if err != nil || kind == "none" {
		return nil, err
	}
	if kind == "console" {
		return stdoutmetric.New()
	}
	grpc, err := overGRPC("METRICS")
	switch {
	case err != nil:
		return nil, err
	case grpc:
		return otlpmetricgrpc.New(ctx)
	}
	return otlpmetrichttp.New(ctx)
}

func (t *Telemetry) metricEngine(ctx context.Context, g prometheus.Gatherer) (engine, error) {
	res, err := t.resource()
	if err != nil {
		return engine{}, err
	}
	exporter, err := newMetricExporter(ctx)
	if err != nil {
		return engine{}, fmt.Errorf("making the exporter of metrics that the OTEL_* variables describe: %w", err)
	}
	var provider *metric.MeterProvider
	start := func() {
		if exporter == nil {
			return
		}
		reader := metric.NewPeriodicReader(exporter, metric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(g))))
		provider = metric.NewMeterProvider(metric.WithResource(res), metric.WithReader(reader))
	}
	stop := func(ctx context.Context) error {
		switch {
		case provider != nil:
			return provider.Shutdown(ctx)
		case exporter != nil:
			return exporter.Shutdown(ctx)
		}
		return nil
	}
	return engine{start, stop}, nil
}
