package tracing_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/handlers/tracing"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/porttest"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/upstream"
)

// collectorFake takes spans over HTTP and gRPC.
type collectorFake struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []span
}

type span struct {
	*tracev1.Span
	resource map[string]string
}

func attributes(list []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range list {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			out[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			out[a.Key] = fmt.Sprint(v.IntValue)
		}
	}
	return out
}

func (c *collectorFake) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range r.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.spans = append(c.spans, span{s, attributes(rs.Resource.Attributes)})
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func (c *collectorFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		in, _ = gzip.NewReader(r.Body)
	}
	body, err := io.ReadAll(in)
	req := &collector.ExportTraceServiceRequest{}
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, req) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	res, _ := c.Export(r.Context(), req)
	out, _ := proto.Marshal(res)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

// wait returns the spans once there are n.
func (c *collectorFake) wait(t *testing.T, n int) []span {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		spans := append([]span(nil), c.spans...)
		c.mu.Unlock()
		if len(spans) >= n || time.Now().After(end) {
			if len(spans) != n {
				t.Fatalf("%d spans, want %d", len(spans), n)
			}
			return spans
		}
	}
}

// world is an engine with everything that ships, and its log.
type world struct {
	*server.Engine
	t    *testing.T
	port int
	log  *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// specs is everything that ships and the handler under test.
func specs() []module.Spec {
	list := append(standard.Specs(), endpoint.Spec())
	for _, s := range list {
		if s.ID == tracing.Spec().ID {
			return list
		}
	}
	return append(list, tracing.Spec())
}

func newWorld(t *testing.T) *world {
	t.Helper()
	table, err := module.NewTable(specs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, port: porttest.Free(t, 1)[0], log: &syncBuffer{}}
	sw := logs.NewSwitch(logs.Process{Stderr: w.log})
	services := module.Services{}
	module.Provide(services, sw)
	module.Provide(services, endpoint.NewSockets(endpoint.SocketsOptions{Log: zap.NewNop()}))
	module.Provide(services, upstream.NewPool(nil))
	module.Provide(services, upstream.NewTransports(upstream.TransportsConfig{}))
	w.Engine, err = server.New(server.Options{Table: table, Services: services, ReadFile: os.ReadFile, Globals: vars.NewGlobal(), Sockets: listen.NewManager(listen.Options{}), Logs: sw})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) load(routes string) error {
	w.t.Helper()
	node, _, err := config.Parse(fmt.Appendf(nil, `{"admin":{"disabled":true},"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%d"],"automatic_https":{"disable":true},"logs":{},
		"routes":[%s],"errors":{"routes":[{"handle":[{"handler":"static_response","body":"sorry"}]}]}}}}}}`, w.port, routes), config.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.Apply(context.Background(), server.Change{Verb: "load", Edit: config.Edit{Whole: true, Value: node}})
	return err
}

func (w *world) mustLoad(routes string) {
	w.t.Helper()
	if err := w.load(routes); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(path string, lines ...string) string {
	w.t.Helper()
	r, err := http.NewRequest("GET", fmt.Sprintf("http://127.0.0.1:%d%s", w.port, path), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return string(body)
}

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// TestTrace follows a trace from the client to the upstream, the log and the
// collector, by both protocols.
func TestTrace(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			c := &collectorFake{}
			endpoint := ""
			if protocol == "grpc" {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				s := grpc.NewServer()
				collector.RegisterTraceServiceServer(s, c)
				go func() { _ = s.Serve(l) }()
				t.Cleanup(s.Stop)
				endpoint = "http://" + l.Addr().String()
			} else {
				s := httptest.NewServer(c)
				t.Cleanup(s.Close)
				endpoint = s.URL
			}
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
			t.Setenv("OTEL_SERVICE_NAME", "front")
			follow(t, c)
		})
	}
}

func follow(t *testing.T, c *collectorFake) {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Cache", "HIT")
		fmt.Fprintf(w, "%s|%s", r.Header.Get("Traceparent"), r.Header.Get("Tracestate"))
	}))
	t.Cleanup(up.Close)
	w := newWorld(t)
	w.mustLoad(`{"match":[{"path":["/vars"]}],"handle":[{"handler":"tracing"},{"handler":"static_response","body":"{http.vars.trace_id} {http.vars.span_id} {http.request.header.traceparent}"}]},
		{"match":[{"path":["/fail"]}],"handle":[{"handler":"tracing","span":"{http.request.uri.path}"},{"handler":"error","status_code":503,"error":"no way"}]},
		{"match":[{"path":["/plain"]}],"handle":[{"handler":"static_response","body":"plain"}]},
		{"handle":[{"handler":"tracing","span":"{http.request.method} proxied","span_attributes":{"cache":"{http.response.header.X-Cache}","app":"shop","none":"{http.nonsense}"}},{"handler":"reverse_proxy","upstreams":[{"dial":"` + strings.TrimPrefix(up.URL, "http://") + `"}]}]}`)

	got, state, _ := strings.Cut(w.get("/up%ffx?secret=1", "Traceparent: "+parent, "Tracestate: a=b", "User-Agent: test"), "|")
	s := c.wait(t, 1)[0]
	want := "00-4bf92f3577b34da6a3ce929d0e0e4736-" + hex.EncodeToString(s.SpanId) + "-01"
	if got != want || state != "a=b" {
		t.Errorf("the upstream got %s with state %s, want %s", got, state, want)
	}
	if s.Name != "GET proxied" || s.Kind != tracev1.Span_SPAN_KIND_SERVER || hex.EncodeToString(s.TraceId) != "4bf92f3577b34da6a3ce929d0e0e4736" || hex.EncodeToString(s.ParentSpanId) != "00f067aa0ba902b7" {
		t.Errorf("span %v", s.Span)
	}
	a := attributes(s.Attributes)
	for name, value := range map[string]string{
		"cache": "HIT", "app": "shop", "none": "", "http.request.method": "GET", "url.scheme": "http", "url.path": "/up?x", "user_agent.original": "test",
		"network.protocol.version": "1.1", "server.address": "127.0.0.1", "server.port": fmt.Sprint(w.port), "client.address": "127.0.0.1",
		"network.peer.address": "127.0.0.1", "http.response.status_code": "200",
	} {
		if got, ok := a[name]; !ok || got != value {
			t.Errorf("attribute %s is %q, want %q", name, got, value)
		}
	}
	if strings.Contains(fmt.Sprint(a), "secret") {
		t.Errorf("the query is in the span: %v", a)
	}
	if s.resource["service.name"] != "front" || s.resource["webengine.name"] != "sluice" {
		t.Errorf("resource %v", s.resource)
	}

	ids := strings.Fields(w.get("/vars"))
	s = c.wait(t, 2)[1]
	if trace, id := hex.EncodeToString(s.TraceId), hex.EncodeToString(s.SpanId); len(ids) != 3 || ids[0] != trace || ids[1] != id || ids[2] != "00-"+trace+"-"+id+"-01" || s.Name != "handler" || len(s.ParentSpanId) != 0 {
		t.Errorf("variables %v, span %v", ids, s.Span)
	}
	logged := ""
	for end := time.Now().Add(5 * time.Second); logged == "" && time.Now().Before(end); time.Sleep(time.Millisecond) { // it comes after the response
		for line := range strings.Lines(w.log.String()) {
			var e struct{ TraceID, SpanID string }
			if json.Unmarshal([]byte(line), &e) == nil && strings.Contains(line, `"uri":"/vars"`) {
				logged = e.TraceID + " " + e.SpanID
			}
		}
	}
	if logged != ids[0]+" "+ids[1] {
		t.Errorf("the access log has %q, want %v", logged, ids[:2])
	}

	if body := w.get("/fail"); body != "sorry" {
		t.Errorf("the error route says %q", body)
	}
	s = c.wait(t, 3)[2]
	if s.Name != "/fail" || s.Status.Code != tracev1.Status_STATUS_CODE_ERROR || attributes(s.Attributes)["http.response.status_code"] != "503" ||
		len(s.Events) != 1 || !strings.Contains(attributes(s.Events[0].Attributes)["exception.message"], "no way") {
		t.Errorf("the span of an error: %v", s.Span)
	}
	// What waits is sent when the last handler goes, and nothing after it.
	w.get("/plain")
	w.get("/vars")
	w.mustLoad(`{"handle":[{"handler":"static_response","body":"{http.vars.trace_id}"}]}`)
	c.wait(t, 4)
	if body := w.get("/"); body != "" {
		t.Errorf("traced without a handler: %q", body)
	}
	w.mustLoad(`{"handle":[{"handler":"tracing"},{"handler":"static_response","body":"{http.vars.trace_id}"}]}`)
	if body := w.get("/"); len(body) != 32 {
		t.Errorf("a second start: %q", body)
	}
	c.wait(t, 5)
}

// TestEnvironment: sampler, propagators and exporters come from it, and one that
// does not exist refuses the document.
func TestEnvironment(t *testing.T) {
	c := &collectorFake{}
	s := httptest.NewServer(c)
	defer s.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
	t.Setenv("OTEL_PROPAGATORS", "b3")
	route := `{"handle":[{"handler":"tracing"},{"handler":"static_response","body":"{http.request.header.B3} {http.request.header.Traceparent}"}]}`
	w := newWorld(t)
	w.mustLoad(route)
	if body := strings.TrimSpace(w.get("/")); !strings.HasSuffix(body, "-0") || strings.Contains(body, "00-") {
		t.Errorf("not sampled: %q", body)
	}
	if body := w.get("/", "B3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"); !strings.HasPrefix(body, "4bf92f3577b34da6a3ce929d0e0e4736-") || !strings.HasSuffix(strings.TrimSpace(body), "-1") {
		t.Errorf("sampled by the parent: %q", body)
	}
	c.wait(t, 1)
	w.mustLoad(`{"handle":[{"handler":"static_response"}]}`)
	for variable, value := range map[string]string{"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "carrier-pigeon"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, value)
			if err := w.load(route); err == nil || !strings.Contains(err.Error(), variable) || !strings.Contains(err.Error(), value) {
				t.Errorf("%v", err)
			}
			if body := w.get("/"); body != "" {
				t.Errorf("the document before does not serve: %q", body)
			}
		})
	}
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	w.mustLoad(route)
	if body := strings.TrimSpace(w.get("/")); !strings.HasSuffix(body, "-0") {
		t.Errorf("without exporter: %q", body)
	}
}

// TestOneProvider: a document with many handlers, edited often, has one
// connection to its collector; a dry run has none.
func TestOneProvider(t *testing.T) {
	c := &collectorFake{}
	var connections sync.Map
	s := httptest.NewUnstartedServer(c)
	s.Config.ConnState = func(n net.Conn, _ http.ConnState) { connections.Store(n, true) }
	s.Start()
	defer s.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	w := newWorld(t)
	for i := range 10 {
		w.mustLoad(strings.Repeat(fmt.Sprintf(`{"handle":[{"handler":"tracing","span":"s%d"}]},`, i), 3) + `{"handle":[{"handler":"static_response"}]}`)
		w.get("/")
	}
	c.wait(t, 30)
	n := 0
	connections.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections to the collector", n)
	}
}
