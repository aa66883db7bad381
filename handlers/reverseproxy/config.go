package reverseproxy

import (
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/dynamic"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/health"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
	"github.com/sluiceproxy/sluice/handlers/rewriteops"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/upstream"
)

// Config is the handler reverse_proxy.
type Config struct {
	// Transport says how the proxy speaks to upstreams. Default: http with its defaults, in clear text.
	Transport module.Ref[upstream.Transport] `json:"transport" module:"http.reverse_proxy.transport" inline:"protocol"`
	// CircuitBreaker keeps requests away from an upstream that fails too often, or is too slow. Default: none.
	CircuitBreaker module.Ref[upstream.Breaker] `json:"circuit_breaker" module:"http.reverse_proxy.circuit_breakers" inline:"type"`
	// LoadBalancing says which upstream gets a request, and when a failed one is tried again.
	LoadBalancing LoadBalancing `json:"load_balancing"`
	// HealthChecks says how the health of upstreams is found out. One that is not healthy gets no requests. Default: not at all.
	HealthChecks *health.Config `json:"health_checks"`
	// Upstreams is the servers that requests are sent to. Without any the answer is 503.
	Upstreams []UpstreamConfig `json:"upstreams"`
	// DynamicUpstreams is a source that finds the upstreams, asked for each attempt. What it finds takes the place of upstreams,
	// which are used when it fails. Health checks, and the limit of their passive part, apply to what it finds. Default: none.
	DynamicUpstreams module.Ref[dynamic.Source] `json:"dynamic_upstreams" module:"http.reverse_proxy.upstreams" inline:"source"`
	// FlushInterval is how long a part of a response may wait for more before it is flushed to the client; negative flushes
	// each part at once. Responses of unknown length and event streams are always flushed at once. Default: 0, no flushing:
	// parts are sent as buffers fill.
	FlushInterval module.Duration `json:"flush_interval"`
	// TrustedProxies is IP addresses and CIDR prefixes of peers whose X-Forwarded-For, -Proto and -Host are believed by this
	// handler, besides those that the server trusts. Default: none.
	TrustedProxies []string `json:"trusted_proxies"`
	// Headers changes header fields on the way up and down.
	Headers *Headers `json:"headers"`
	// RequestBuffers is the number of bytes of the request body to read before the upstream is contacted; -1 is the whole
	// body. A body that is shorter is sent again with each retry. Default: 0, none.
	RequestBuffers int64 `json:"request_buffers"`
	// ResponseBuffers is the number of bytes of the response body to read before the response is passed on; -1 is the whole
	// body. Default: 0, none.
	ResponseBuffers int64 `json:"response_buffers"`
	// StreamTimeout closes an upgraded connection, such as a WebSocket, that long after it began. Default: 0, never.
	StreamTimeout module.Duration `json:"stream_timeout"`
	// StreamBufferSize is the bytes of the copy buffer for each direction of an upgraded connection. Default: 0, 32 KiB.
	StreamBufferSize int `json:"stream_buffer_size"`
	// StreamCloseDelay is how long upgraded connections live on after an edit has removed or changed this handler. Default: 0,
	// without end: an edit closes none.
	StreamCloseDelay module.Duration `json:"stream_close_delay"`
	// Rewrite changes the request that is sent to the upstream, and only that.
	Rewrite *rewriteops.Config `json:"rewrite"`
	// HandleResponse says what to do with which responses instead of passing them on: the first entry that matches counts. One
	// with status_code changes the status alone. Others run their routes with the client's request, and what follows those is
	// what follows the proxy. Handlers copy_response and copy_response_headers in them pass on what the upstream has answered,
	// and {http.reverse_proxy.status_code}, {http.reverse_proxy.status_text} and {http.reverse_proxy.header.NAME} show it.
	HandleResponse []route.ResponseConfig `json:"handle_response"`
	// VerboseLogs adds very detailed lines about copying and retries to the debug log. Default: false.
	VerboseLogs bool `json:"verbose_logs"`
}

// UpstreamConfig is one upstream.
type UpstreamConfig struct {
	// Dial is the network address of one socket: host:port, unix//path, or with a network in front such as tcp4/host:port.
	// Placeholders are expanded for each attempt.
	Dial string `json:"dial"`
	// MaxRequests is how many requests may run on the upstream at the same time; a full one is not chosen. Requests of other
	// handlers with the same dial text count. Default: 0, no limit.
	MaxRequests int64 `json:"max_requests" check:"min=0"`
}

// LoadBalancing is how an upstream is chosen and when a request is tried again.
type LoadBalancing struct {
	// SelectionPolicy chooses among the available upstreams. Default: round_robin.
	SelectionPolicy module.Ref[selection.Policy] `json:"selection_policy" module:"http.reverse_proxy.selection_policies" inline:"policy"`
	// Retries is how often a request is tried again at most. Default: 0: try_duration alone decides, and without that there is
	// no retry.
	Retries int `json:"retries" check:"min=0"`
	// TryDuration is how long after the beginning a retry may be decided. Default: 0: retries alone decides.
	TryDuration module.Duration `json:"try_duration"`
	// TryInterval is the pause before each retry. Default: 250ms if try_duration is set, else none.
	TryInterval module.Duration `json:"try_interval"`
	// RetryMatch is matcher sets for the requests that may be sent again although the upstream may have seen them. Default:
	// those with method GET. A request whose connection could not be made is always tried again. Sets with an expression are also
	// asked about responses, and those that match are tried again: {http.reverse_proxy.status_code} and
	// {http.reverse_proxy.header.NAME} show the response. For an attempt without one {http.reverse_proxy.is_transport_error} is
	// true and {http.reverse_proxy.transport_error} says what went wrong: tls (the handshake), timeout, closed (the upstream
	// closed the connection) or other; else it is empty. In error routes and logs it tells how the last attempt failed, and can
	// be dial as well.
	RetryMatch []map[string]module.Ref[handlers.Matcher] `json:"retry_match" module:"http.matchers" keyed:"true"`
}
