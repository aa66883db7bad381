// Package tracing is the handler tracing: it makes a span of OpenTelemetry for
// what follows it in a request's way.
//
// Exporter, sampler and propagators come from the OTEL_* environment variables;
// see internal/telemetry.
package tracing

import (
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/telemetry"
)

// Config says what a span is called and carries.
type Config struct {
	// SpanName is the name of the span. Placeholders are expanded when the
	// request comes to the handler. Default: handler.
	SpanName string `json:"span"`
	// SpanAttributes are attributes by name. Placeholders in the values are
	// expanded when the handlers behind this one are done, so the response may be
	// named.
	SpanAttributes map[string]string `json:"span_attributes"`
}

// defaultSpan is what a span is called if nothing else is set.
const defaultSpan = "handler"

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.tracing", "Traces requests with OpenTelemetry, and passes the trace on to upstreams.", nil, compile,
		directives(),
		module.Examples(
			module.Example{Title: "Trace what follows", JSON: `{"handler": "tracing"}`},
			module.Example{Title: "Name the span, and note what the upstream said", JSON: `{"handler": "tracing", "span": "{http.request.method} {http.request.host}", "span_attributes": {"app": "shop", "cache": "{http.response.header.X-Cache}"}}`},
		))
}

type handler struct {
	telemetry  *telemetry.Telemetry
	span       vars.Text
	attributes []textAttribute
}

// textAttribute is an attribute whose value is expanded for each span.
type textAttribute struct {
	key  attribute.Key
	text vars.Text
}

func compile(env *module.Env, c *Config) (handlers.Handler, error) {
	h := &handler{telemetry: module.Service[*telemetry.Telemetry](env)}
	if c.SpanName == "" {
		c.SpanName = defaultSpan
	}
	h.span = vars.Parse(c.SpanName)
	for _, name := range slices.Sorted(maps.Keys(c.SpanAttributes)) {
		h.attributes = append(h.attributes, textAttribute{attribute.Key(name), vars.Parse(c.SpanAttributes[name])})
	}
	env.Own(h.telemetry.Traces())
	return h, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	x := handlers.Of(r)
	t := h.telemetry.Tracing()
	carrier := propagation.HeaderCarrier(r.Header)
	ctx, span := t.Tracer.Start(t.Propagator.Extract(r.Context(), carrier), clean(h.span.Expand(x, vars.All, "")), trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(requestAttributes(x, r)...)
	}
	t.Propagator.Inject(ctx, carrier)
	if c := span.SpanContext(); c.IsValid() {
		traceID, spanID := c.TraceID().String(), c.SpanID().String()
		x.SetVar("trace_id", traceID)
		x.SetVar("span_id", spanID)
		x.AddLogField(zap.String("traceID", traceID))
		x.AddLogField(zap.String("spanID", spanID))
	}
	r = r.WithContext(ctx)
	x.SetRequest(r)
	err := next.ServeHTTP(w, r)
	if span.IsRecording() {
		h.finish(span, x, err)
	}
	return err
}

// finish adds what is known when the handlers are done.
func (h *handler) finish(span trace.Span, x *handlers.Exchange, err error) {
	status := 0
	if x.Response != nil {
		status = x.Response.Status()
	}
	switch {
	case status == 0 && err != nil:
		status = handlers.StatusOf(err)
	case status == 0:
		status = http.StatusOK
	}
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	if x.Response != nil {
		span.SetAttributes(attribute.Int64("http.response.body.size", x.Response.Size()))
	}
	if err != nil {
		span.AddEvent("exception", trace.WithAttributes(attribute.String("exception.message", clean(err.Error()))))
	}
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	for _, a := range h.attributes {
		span.SetAttributes(a.key.String(clean(a.text.Expand(x, vars.All, ""))))
	}
}

// maxText is how many bytes of a text go into a span.
const maxText = 4 << 10

// clean bounds a text and makes it valid UTF-8. With one text that is not, a
// client could make the collector refuse all that is sent along with it.
func clean(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "?")
}

// requestAttributes describe a request by the semantic conventions for HTTP
// servers. The query is left out, for it may hold secrets.
func requestAttributes(x *handlers.Exchange, r *http.Request) []attribute.KeyValue {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	list := make([]attribute.KeyValue, 0, 10)
	list = append(list,
		attribute.String("http.request.method", clean(r.Method)),
		attribute.String("url.scheme", scheme),
		attribute.String("url.path", clean(r.URL.Path)),
		attribute.String("network.protocol.version", version(r)),
		attribute.String("user_agent.original", clean(r.UserAgent())),
	)
	list = appendHost(list, "server", r.Host)
	list = appendHost(list, "network.peer", r.RemoteAddr)
	if ip, _ := x.ClientIP(); ip != "" {
		list = append(list, attribute.String("client.address", ip))
	}
	return list
}

// version is that of HTTP, as "1.1" or "2".
func version(r *http.Request) string {
	return strings.TrimSuffix(strings.TrimPrefix(r.Proto, "HTTP/"), ".0")
}

func appendHost(list []attribute.KeyValue, prefix, hostport string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return append(list, attribute.String(prefix+".address", clean(hostport)))
	}
	list = append(list, attribute.String(prefix+".address", clean(host)))
	if n, err := strconv.Atoi(port); err == nil {
		list = append(list, attribute.Int(prefix+".port", n))
	}
	return list
}
