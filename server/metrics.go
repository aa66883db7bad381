package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/internal/metrics"
)

// MetricsConfig turns the metrics of HTTP requests on, even if it is empty. They
// are counted once for a request, on the route of the server's own list that it
// came to last, under the name of that route's first handler.
type MetricsConfig struct {
	// PerHost adds the label host: the Host header in lower case. Hosts that no
	// host matcher of a server's own routes names count as "_other". Default:
	// false.
	PerHost bool `json:"per_host"`
	// ObserveCatchallHosts gives each other host a label of its own too. As
	// clients choose them, mind max_series. Default: false.
	ObserveCatchallHosts bool `json:"observe_catchall_hosts"`
	// OTLP also pushes the metrics to an OpenTelemetry collector, as the OTEL_*
	// environment variables say. Default: false.
	OTLP bool `json:"otlp"`
	// MaxSeries is how many series each of the metrics may have. What is beyond
	// counts under labels "_other", and in
	// sluice_metrics_dropped_observations_total. Default: 10000.
	MaxSeries int `json:"max_series" check:"min=0,max=1000000"`
}

// metering is how an app measures requests.
type metering struct {
	view     metrics.RequestsView
	series   int
	catchall bool
	hosts    []*route.List // who is known, with PerHost
}

// metered works out the metrics of the app from its own config and the older
// places in its servers, of which only per_host counts.
func (app *App) metered(c *AppConfig) {
	on := c.Metrics != nil
	own := MetricsConfig{}
	if on {
		own = *c.Metrics
	}
	for _, b := range app.servers {
		if b.metrics != nil {
			on = true
			own.PerHost = own.PerHost || b.metrics.PerHost
		}
	}
	if !on {
		return
	}
	m := &app.metering
	m.view, m.series, m.catchall = metrics.RequestsPlain, own.MaxSeries, own.ObserveCatchallHosts
	if own.PerHost {
		m.view = metrics.RequestsPerHost
	}
	for name, b := range app.servers {
		if own.PerHost && b.routes.Len() > 0 {
			m.hosts = append(m.hosts, b.routes)
		}
		if r := b.process.requests; r != nil {
			b.meter = &serverMeter{series: r.Server(name, m.view), metering: m}
		}
	}
}

// serverMeter measures the requests of one server.
type serverMeter struct {
	*metering
	series *metrics.ServerRequests
}

// label is the value of the label host.
func (m *metering) label(r *http.Request) string {
	if m.view != metrics.RequestsPerHost {
		return ""
	}
	host := strings.ToLower(r.Host)
	if m.catchall || r.TLS != nil {
		return host
	}
	for _, l := range m.hosts {
		if l.HasHost(host) {
			return host
		}
	}
	return metrics.Other
}

// measure is what is measured of one request. It is told of the routes that the
// request comes to, and is the writer below all others.
type measure struct {
	http.ResponseWriter
	meter  *serverMeter // nil if nothing is measured
	route  *metrics.RouteRequests
	host   string
	size   int64
	header time.Duration // until the response header was written
	q      *request
}

// begin makes the measure ready and returns the writer to use.
func (m *measure) begin(q *request, w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if m.meter = q.server.meter; m.meter == nil {
		return w
	}
	m.ResponseWriter, m.q, m.header = w, q, -1
	m.host, m.size = m.meter.label(r), requestSize(r)
	return m
}

// observer is nil if nothing is measured.
func (m *measure) observer() route.Observer {
	if m.meter == nil {
		return nil
	}
	return m
}

// Reached implements route.Observer.
func (m *measure) Reached(handler string) {
	next := m.meter.series.Route(handler, m.host)
	if next == m.route {
		return
	}
	if m.route != nil {
		m.route.Leave()
	}
	next.Enter()
	m.route = next
}

// end counts the request once the routes are done with it.
func (m *measure) end(err error) {
	if m.route == nil {
		return
	}
	m.route.Leave()
	m.route.Count(err != nil)
	code, classed := statusFor(m.q.response.Status(), err)
	if classed {
		m.q.elapsed = time.Since(m.q.exchange.Start)
		m.route.Observe(metrics.RequestSample{
			Code: code, Method: m.q.exchange.Original.Method, Duration: m.q.elapsed, Header: m.header,
			RequestSize: m.size, ResponseSize: m.q.response.Size(),
		})
	}
	m.route = nil
}

// cut counts a request whose handler panicked.
func (m *measure) cut(failure any) {
	if m.route != nil {
		m.route.Leave()
		m.route.Count(failure != http.ErrAbortHandler)
		m.route = nil
	}
}

// statusFor is the status to count a request under: the one that was sent, or
// else that of the error. An error without one has none.
func statusFor(sent int, err error) (status int, ok bool) {
	if err == nil {
		return sent, true
	}
	var e *handlers.Error // allocates, so not where there is none
	switch {
	case !errors.As(err, &e):
		return 0, false
	case sent != 0:
		return sent, true
	}
	return handlers.StatusOf(err), true
}

// requestSize is about how many bytes a request has.
func requestSize(r *http.Request) int64 {
	n := len(r.RequestURI) + len(r.Method) + len(r.Proto) + len(r.Host)
	for name, values := range r.Header {
		n += len(name)
		for _, v := range values {
			n += len(v)
		}
	}
	return int64(n) + max(r.ContentLength, 0)
}

func (m *measure) note() {
	if m.header < 0 {
		m.header = time.Since(m.q.exchange.Start)
	}
}

// Unwrap is for http.ResponseController.
func (m *measure) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// WriteHeader notes the time of the final header.
func (m *measure) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		m.note()
	}
	m.ResponseWriter.WriteHeader(status)
}

// Write notes the time of a header that it implies.
func (m *measure) Write(p []byte) (int, error) {
	m.note()
	return m.ResponseWriter.Write(p)
}

// WriteString is Write without a copy where the writer below can do that.
func (m *measure) WriteString(s string) (int, error) {
	m.note()
	return io.WriteString(m.ResponseWriter, s)
}

// ReadFrom copies by the fastest means that the writer below has.
func (m *measure) ReadFrom(r io.Reader) (int64, error) {
	m.note()
	if to, ok := m.ResponseWriter.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(m.ResponseWriter, r)
}

// FlushError sends what is buffered.
func (m *measure) FlushError() error {
	m.note()
	return http.NewResponseController(m.ResponseWriter).Flush()
}

// Hijack takes over the connection.
func (m *measure) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(m.ResponseWriter).Hijack()
}
