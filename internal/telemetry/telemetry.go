// Package telemetry sends traces and metrics to OpenTelemetry collectors.
//
// Where they go and how is not in the document but in the environment variables
// of the OpenTelemetry specification: OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER,
// OTEL_EXPORTER_OTLP_*, OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_METRIC_EXPORT_*,
// OTEL_PROPAGATORS, OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME. They are read
// when the first user comes; with the last one what waits is sent and the
// connection to the collector closed.
package telemetry

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// flushTime bounds how long what waits may take to be sent at the end.
const flushTime = 10 * time.Second

// Config is how a Telemetry is set up. The zero value is ready for use.
type Config struct {
	// Version is the program's, for the attribute webengine.version.
	Version string
	// OnError gets what goes wrong in the background, such as a collector that
	// can't be reached; nil leaves it to OpenTelemetry, which prints it. It holds
	// for the whole process, as OpenTelemetry knows only one.
	OnError func(error)
}

// Telemetry is the connection of a process to its collectors. It is safe for
// concurrent use.
type Telemetry struct {
	version string
	traces  shared
	metrics shared
	tracer  atomic.Pointer[Tracing]
	leaving sync.WaitGroup
}

// New returns a Telemetry that nobody uses yet.
func New(c Config) *Telemetry {
	if c.OnError != nil {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(c.OnError))
	}
	return &Telemetry{version: c.Version}
}

// Tracing is what a handler needs to trace a request.
type Tracing struct {
	Tracer     trace.Tracer
	Propagator propagation.TextMapPropagator
}

// Tracing returns the running tracer, or one that does nothing while there is
// none.
func (t *Telemetry) Tracing() *Tracing {
	if now := t.tracer.Load(); now != nil {
		return now
	}
	return &Tracing{Tracer: noop.NewTracerProvider().Tracer(""), Propagator: propagation.NewCompositeTextMapPropagator()}
}

// Traces is a user of traces: while one is started, Tracing traces.
func (t *Telemetry) Traces() *User {
	return &User{t: t, shared: &t.traces, make: t.traceEngine}
}

// Metrics is a user of the push of the metrics that g gathers. All users must
// name the same.
func (t *Telemetry) Metrics(g prometheus.Gatherer) *User {
	return &User{t: t, shared: &t.metrics, make: func(ctx context.Context) (engine, error) { return t.metricEngine(ctx, g) }}
}

// Wait returns when all that had its last user taken away is flushed, or with
// ctx's error.
func (t *Telemetry) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		t.leaving.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sending the last traces and metrics: %w", ctx.Err())
	}
}

// engine is something that can be started, and stopped whether it was or not.
type engine struct {
	start func()
	stop  func(context.Context) error
}

// shared is an engine that runs while somebody uses it.
type shared struct {
	mu      sync.Mutex
	users   int
	started bool
	engine
}

// User is one user of traces or metrics. It is used as a module's resource:
// Prepare, perhaps Start, then Close.
type User struct {
	t      *Telemetry
	shared *shared
	make   func(context.Context) (engine, error)
}

// Prepare reads the environment if this is the first user. It fails if that
// names what does not exist. Nothing is sent before Start.
func (u *User) Prepare() error {
	s := u.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		e, err := u.make(context.Background())
		if err != nil {
			return err
		}
		s.engine, s.started = e, false
	}
	s.users++
	return nil
}

// Start begins to send.
func (u *User) Start() {
	s := u.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started {
		s.start()
		s.started = true
	}
}

// Close ends the use. With the last one what waits is sent in the background,
// see Wait.
func (u *User) Close() {
	s := u.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	stop := s.stop
	u.t.leaving.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTime)
		defer cancel()
		if err := stop(ctx); err != nil {
			otel.Handle(fmt.Errorf("ending the export: %w", err))
		}
	})
}

// resource says who sends.
func (t *Telemetry) resource() (*resource.Resource, error) {
	own := resource.NewSchemaless(attribute.String("webengine.name", "sluice"), attribute.String("webengine.version", t.version))
	r, err := resource.Merge(own, resource.Default())
	if err != nil {
		return nil, fmt.Errorf("describing this process to the collector: %w", err)
	}
	return r, nil
}

func newPropagator() (p propagation.TextMapPropagator) { return autoprop.NewTextMapPropagator() }

// exporterKind reads which exporter a variable names.
func exporterKind(variable string) (string, error) {
	switch kind := os.Getenv(variable); kind {
	case "", "otlp":
		return "otlp", nil
	case "console", "none":
		return kind, nil
	default:
		return "", fmt.Errorf("%s is %q; want otlp, console or none", variable, kind)
	}
}

// overGRPC reads which protocol OTLP is to be sent by; signal is TRACES or
// METRICS.
func overGRPC(signal string) (bool, error) {
	variable := "OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL"
	protocol := os.Getenv(variable)
	if protocol == "" {
		variable = "OTEL_EXPORTER_OTLP_PROTOCOL"
		protocol = os.Getenv(variable)
	}
	switch protocol {
	case "grpc":
		return true, nil
	case "", "http/protobuf":
		return false, nil
	}
	return false, fmt.Errorf("%s is %q; want grpc or http/protobuf", variable, protocol)
}
