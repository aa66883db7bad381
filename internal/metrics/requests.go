package metrics

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// RequestsView is which metrics of requests are served.
type RequestsView uint8

// The views. Both families of series live as long as the process, whichever is
// served, so that an edit that changes the view loses no count.
const (
	RequestsOff     RequestsView = iota // none
	RequestsPlain                       // without the label host
	RequestsPerHost                     // with it
)

// Requests is the metrics of the HTTP requests of all servers: what is in
// flight, done and failed for each server and first handler, and how long and
// how large for each status and method besides. There is one for a process. It
// is safe for concurrent use.
type Requests struct {
	view     atomic.Uint32
	limit    atomic.Int64
	standard int // the limit unless one is set
	families [2]*requestFamily
	gatherer *prometheus.Registry
}

// Requests returns the metrics of requests; nothing is served before Use.
func (r *Registry) Requests() *Requests {
	r.once.Do(func() { r.requests = r.newRequests() })
	return r.requests
}

func (r *Registry) newRequests() *Requests {
	q := &Requests{standard: r.maxSeries, gatherer: prometheus.NewRegistry()}
	q.limit.Store(int64(r.maxSeries))
	q.families = [2]*requestFamily{newRequestFamily(r, q, false), newRequestFamily(r, q, true)}
	r.prom.MustRegister(q)
	q.gatherer.MustRegister(q)
	return q
}

// Use says what is served from now on, and how many series each metric may
// have; 0 is the registry's maximum.
func (q *Requests) Use(v RequestsView, maxSeries int) {
	if maxSeries <= 0 {
		maxSeries = q.standard
	}
	q.limit.Store(int64(maxSeries))
	q.view.Store(uint32(v))
}

// Gatherer returns these metrics alone, for other ways of export.
func (q *Requests) Gatherer() prometheus.Gatherer { return q.gatherer }

// Describe implements prometheus.Collector. It names nothing, for what is served
// varies.
func (q *Requests) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (q *Requests) Collect(ch chan<- prometheus.Metric) {
	if v := RequestsView(q.view.Load()); v != RequestsOff {
		q.families[v-RequestsPlain].collect(ch)
	}
}

// ServerRequests is the metrics of one server.
type ServerRequests struct {
	family *requestFamily
	name   string
}

// Server returns the metrics of the server with the name, for a view that is
// not RequestsOff.
func (q *Requests) Server(name string, v RequestsView) *ServerRequests {
	return &ServerRequests{q.families[v-RequestsPlain], name}
}

// Route returns the metrics of requests whose route begins with the handler.
// The host counts in the view RequestsPerHost only; [Other] stands for those
// that have no series of their own. For what exists it takes no lock and does
// not allocate.
func (s *ServerRequests) Route(handler, host string) *RouteRequests {
	return s.family.route(s.name, handler, host)
}

// requestFamily is one set of metrics: with or without the label host.
type requestFamily struct {
	owner    *Requests
	perHost  bool
	inFlight *prometheus.GaugeVec
	total    *prometheus.CounterVec
	failed   *prometheus.CounterVec

	duration, response, requestSize, responseSize *prometheus.HistogramVec

	routes   series[*RouteRequests]
	newRoute func(values []string) *RouteRequests

	mu    sync.Mutex   // held to add a codeSeries
	codes atomic.Int64 // how many there are
	// Where goes what is beyond the maximum.
	other                   *RouteRequests
	droppedRoute, droppedOf *dropCount
}

func newRequestFamily(r *Registry, q *Requests, perHost bool) *requestFamily {
	labels := []string{"server", "handler"}
	if perHost {
		labels = append(labels, "host")
	}
	detailed := append([]string{"code", "method"}, labels...)
	opts := func(name, help string) prometheus.Opts {
		return r.opts(Opts{Subsystem: "http", Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: r.namespace, Subsystem: "http", Name: name, Help: help, Buckets: buckets}, detailed)
	}
	f := &requestFamily{
		owner: q, perHost: perHost,
		inFlight:     prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("requests_in_flight", "Requests that are being answered.")), labels),
		total:        prometheus.NewCounterVec(prometheus.CounterOpts(opts("requests_total", "Requests that were answered.")), labels),
		failed:       prometheus.NewCounterVec(prometheus.CounterOpts(opts("request_errors_total", "Requests for which a handler returned an error.")), labels),
		duration:     histogram("request_duration_seconds", "Time until the handlers were done with a request.", Seconds()),
		response:     histogram("response_duration_seconds", "Time until the response header was written.", Seconds()),
		requestSize:  histogram("request_size_bytes", "Approximate size of a request, its body included.", Bytes()),
		responseSize: histogram("response_size_bytes", "Size of a response body.", Bytes()),
		droppedRoute: r.dropped.of(r.Name("http", "requests_total")),
		droppedOf:    r.dropped.of(r.Name("http", "request_duration_seconds")),
	}
	f.newRoute = f.makeRoute
	f.routes.init(0) // its limit varies
	return f
}

func (f *requestFamily) collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{f.inFlight, f.total, f.failed, f.duration, f.response, f.requestSize, f.responseSize} {
		c.Collect(ch)
	}
}

// limits returns how many series there may be, and how many of single hosts: a
// part is kept for those of hosts that find no room.
func (f *requestFamily) limits(host string) int {
	n := f.owner.limit.Load()
	if host != Other {
		n -= n / 8
	}
	return int(n)
}

func (f *requestFamily) route(server, handler, host string) *RouteRequests {
	var space [3]string
	values := append(space[:0], server, handler)
	if f.perHost {
		values = append(values, host)
	} else {
		host = Other
	}
	var buf [maxLabels]string
	values = cleaned(values, &buf)
	if t, ok := f.routes.within(f.limits(host), values, f.newRoute); ok {
		return t
	}
	f.droppedRoute.n.Add(1)
	return f.without(server, handler, host)
}

// without finds where a route goes that has no room: to that of other hosts, or
// else to that of everything.
func (f *requestFamily) without(server, handler, host string) *RouteRequests {
	if host != Other {
		if t, ok := f.routes.within(f.limits(Other), []string{server, handler, Other}, f.newRoute); ok {
			return t
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.other == nil {
		values := []string{Other, Other, Other}
		if !f.perHost {
			values = values[:2]
		}
		f.other = f.makeRoute(values)
		f.other.all = f.newCode(Other, Other, values)
	}
	return f.other
}

func (f *requestFamily) makeRoute(values []string) *RouteRequests {
	return &RouteRequests{
		family: f, values: values,
		inFlight: f.inFlight.WithLabelValues(values...), total: f.total.WithLabelValues(values...), failed: f.failed.WithLabelValues(values...),
	}
}

func (f *requestFamily) newCode(code, method string, route []string) *codeSeries {
	values := append([]string{code, method}, route...)
	return &codeSeries{
		duration: f.duration.WithLabelValues(values...), response: f.response.WithLabelValues(values...),
		requestSize: f.requestSize.WithLabelValues(values...), responseSize: f.responseSize.WithLabelValues(values...),
	}
}

// RouteRequests is the metrics of the routes of one server that begin with the
// same handler, and perhaps of one host.
type RouteRequests struct {
	family        *requestFamily
	values        []string
	inFlight      prometheus.Gauge
	total, failed prometheus.Counter
	codes         [8]atomic.Pointer[codeSeries] // chains that never change once they can be seen
	all           *codeSeries                   // of the one for what is beyond the maximum
}

// codeSeries is the metrics of one status and method.
type codeSeries struct {
	key                                           uint32
	next                                          *codeSeries
	duration, response, requestSize, responseSize prometheus.Observer
}

// Enter and Leave count a request that is being answered.
func (t *RouteRequests) Enter() { t.inFlight.Inc() }

// Leave is the opposite of Enter.
func (t *RouteRequests) Leave() { t.inFlight.Dec() }

// Count counts a request that was answered, and whether a handler returned an
// error.
func (t *RouteRequests) Count(failed bool) {
	t.total.Inc()
	if failed {
		t.failed.Inc()
	}
}

// RequestSample is what was measured of a request.
type RequestSample struct {
	Code     int // the status; 0, when none was sent, counts as 200
	Method   string
	Duration time.Duration
	// Header is the time until the response header was written, negative if it
	// was not.
	Header                    time.Duration
	RequestSize, ResponseSize int64
}

// Observe adds a request to the distributions. For a status and method that were
// met before it takes no lock and does not allocate.
func (t *RouteRequests) Observe(s RequestSample) {
	c := t.code(s.Code, methodOf(s.Method))
	c.duration.Observe(s.Duration.Seconds())
	if s.Header >= 0 {
		c.response.Observe(s.Header.Seconds())
	}
	c.requestSize.Observe(float64(s.RequestSize))
	c.responseSize.Observe(float64(s.ResponseSize))
}

func (t *RouteRequests) code(status int, method uint32) *codeSeries {
	if t.all != nil {
		return t.all
	}
	if status <= 0 || status > 999 {
		status = 200
	}
	key := uint32(status)<<4 | method
	chain := &t.codes[(key^key>>4)%uint32(len(t.codes))]
	if c := find(chain.Load(), key); c != nil {
		return c
	}
	if c := t.addCode(chain, key); c != nil {
		return c
	}
	f := t.family
	f.droppedOf.n.Add(1)
	host := Other
	if f.perHost {
		host = t.values[2]
	}
	return f.without(t.values[0], t.values[1], host).code(status, method)
}

func find(c *codeSeries, key uint32) *codeSeries {
	for ; c != nil && c.key != key; c = c.next {
	}
	return c
}

// addCode returns nil if there is no room.
func (t *RouteRequests) addCode(chain *atomic.Pointer[codeSeries], key uint32) *codeSeries {
	f := t.family
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := find(chain.Load(), key); c != nil {
		return c
	}
	host := Other
	if f.perHost {
		host = t.values[2]
	}
	if f.codes.Load() >= int64(f.limits(host)) {
		return nil
	}
	c := f.newCode(strconv.Itoa(int(key>>4)), methods[key&15], t.values)
	c.key, c.next = key, chain.Load()
	chain.Store(c)
	f.codes.Add(1)
	return c
}

// methods is the values of the label method.
var methods = [...]string{"OTHER", "GET", "HEAD", "PUT", "POST", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// methodOf is the place of a method among methods. Spellings in lower case count
// as well.
func methodOf(m string) uint32 {
	switch m {
	case "GET", "get":
		return 1
	case "HEAD", "head":
		return 2
	case "PUT", "put":
		return 3
	case "POST", "post":
		return 4
	case "DELETE", "delete":
		return 5
	case "CONNECT", "connect":
		return 6
	case "OPTIONS", "options":
		return 7
	case "TRACE", "trace":
		return 8
	case "PATCH", "patch":
		return 9
	}
	return 0
}
