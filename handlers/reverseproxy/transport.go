package reverseproxy

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/upstream"
)

// TransportConfig is the transport http: HTTP/1.1 or HTTP/2 in clear text. Handlers with equal settings share their
// connections, and an edit that leaves the settings as they are leaves the connections open.
type TransportConfig struct {
	// Resolver is not supported yet.
	Resolver Later `json:"resolver"`
	// TLS is not supported yet.
	TLS Later `json:"tls"`
	// KeepAlive is how connections are kept for the next request.
	KeepAlive KeepAlive `json:"keep_alive"`
	// Compression asks the upstream for gzip where the client does not say what it accepts, and decompresses the answer.
	// Default: true.
	Compression bool `json:"compression"`
	// MaxConnsPerHost bounds the connections to one upstream: dialling, busy and idle. Requests above it wait. Default: 0, no
	// limit.
	MaxConnsPerHost int `json:"max_conns_per_host" check:"min=0"`
	// ProxyProtocol is not supported yet.
	ProxyProtocol Later `json:"proxy_protocol"`
	// ForwardProxyURL is not supported yet.
	ForwardProxyURL Later `json:"forward_proxy_url"`
	// NetworkProxy is not supported yet.
	NetworkProxy Later `json:"network_proxy"`
	// DialTimeout bounds the making of a connection, name resolution included. Default: 3s.
	DialTimeout module.Duration `json:"dial_timeout"`
	// DialFallbackDelay is the head start that IPv6 has over IPv4; negative turns the race off. Default: 300ms.
	DialFallbackDelay module.Duration `json:"dial_fallback_delay"`
	// ResponseHeaderTimeout bounds the wait for response headers after the request was written. Default: 0, none.
	ResponseHeaderTimeout module.Duration `json:"response_header_timeout"`
	// ExpectContinueTimeout is how long the body of a request with "Expect: 100-continue" waits for the upstream to ask for
	// it. Default: 0, it is sent at once.
	ExpectContinueTimeout module.Duration `json:"expect_continue_timeout"`
	// MaxResponseHeaderSize is the bytes of response headers above which the answer is 502. Default: 10 MiB.
	MaxResponseHeaderSize int64 `json:"max_response_header_size" check:"min=0"`
	// WriteBufferSize is bytes per connection. Default: 4 KiB.
	WriteBufferSize int `json:"write_buffer_size" check:"min=0"`
	// ReadBufferSize is bytes per connection. Default: 4 KiB.
	ReadBufferSize int `json:"read_buffer_size" check:"min=0"`
	// ReadTimeout bounds each single read from a TCP connection. Default: 0, none.
	ReadTimeout module.Duration `json:"read_timeout" check:"min=0"`
	// WriteTimeout bounds each single write to a TCP connection. Default: 0, none.
	WriteTimeout module.Duration `json:"write_timeout" check:"min=0"`
	// Versions is the HTTP versions to speak: 1.1, 2, h2c. In clear text 2 needs prior knowledge, so it is used only with h2c,
	// and then always. Default: 1.1 and 2.
	Versions []string `json:"versions"`
	// LocalAddress is the address to connect from, as [network/]host[:port]. Default: the system's choice.
	LocalAddress string `json:"local_address"`
}

// KeepAlive is how connections to upstreams are kept.
type KeepAlive struct {
	// Enabled keeps connections for the next request; false closes each after its request. Default: true.
	Enabled *bool `json:"enabled"`
	// ProbeInterval is the time between TCP keep-alive probes; negative turns them off. Default: 30s.
	ProbeInterval module.Duration `json:"probe_interval"`
	// MaxIdleConns bounds the idle connections to all upstreams. Default: 0, no limit.
	MaxIdleConns int `json:"max_idle_conns" check:"min=0"`
	// MaxIdleConnsPerHost bounds the idle connections to one upstream. Default: 256.
	MaxIdleConnsPerHost int `json:"max_idle_conns_per_host" check:"min=0"`
	// IdleTimeout is how long an idle connection is kept. Default: 2m.
	IdleTimeout module.Duration `json:"idle_timeout"`
}

// TransportSpec describes the transport http.
func TransportSpec() module.Spec {
	return module.New("http.reverse_proxy.transport.http", "Speaks HTTP to upstreams.", &TransportConfig{Compression: true}, compileTransport,
		module.Examples(
			module.Example{Title: "Give up sooner.", JSON: `{"protocol":"http","dial_timeout":"1s","response_header_timeout":"30s"}`},
			module.Example{Title: "Speak HTTP/2 without TLS, as gRPC servers do.", JSON: `{"protocol":"http","versions":["h2c"]}`},
		),
		module.Words(transportWords))
}

// httpTransport is a counted use of a shared transport.
type httpTransport struct {
	registry *upstream.Transports
	options  upstream.HTTPOptions
	shared   *upstream.HTTP // from Prepare on
}

// RoundTrip implements [upstream.Transport].
func (t *httpTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.shared.RoundTrip(r)
}

func (t *httpTransport) acquire() (err error) {
	t.shared, err = t.registry.Acquire(t.options)
	return err
}

// release leaves shared in place for requests that let go of their generation.
func (t *httpTransport) release() { t.registry.Release(t.shared) }

func newTransport(env *module.Env, options upstream.HTTPOptions) upstream.Transport {
	t := &httpTransport{registry: module.Service[*upstream.Transports](env), options: options}
	env.Own(module.Acquired(t.acquire, t.release))
	return t
}

func compileTransport(env *module.Env, c *TransportConfig) (upstream.Transport, error) {
	if err := refuse(
		refusal{"resolver", c.Resolver, "upstream names are resolved by the system; leave it out"},
		refusal{"tls", c.TLS, "upstreams are spoken to in clear text; leave it out"},
		refusal{"proxy_protocol", c.ProxyProtocol, "leave it out"},
		refusal{"forward_proxy_url", c.ForwardProxyURL, "set HTTP_PROXY in the environment of the process instead"},
		refusal{"network_proxy", c.NetworkProxy, "set HTTP_PROXY or NO_PROXY in the environment of the process instead"},
	); err != nil {
		return nil, err
	}
	h2c, err := readVersions(c.Versions)
	if err != nil {
		return nil, err
	}
	o := c.options()
	o.H2C = h2c
	if err := o.Validate(); err != nil {
		return nil, module.Problem("/local_address", err.Error())
	}
	return newTransport(env, o), nil
}

// options merges the settings into the defaults. A zero stands for the default, as it always has.
func (c *TransportConfig) options() upstream.HTTPOptions {
	o := upstream.DefaultHTTPOptions()
	o.DialTimeout = orDefault(c.DialTimeout, o.DialTimeout)
	o.DialFallbackDelay = time.Duration(c.DialFallbackDelay)
	o.ResponseHeaderTimeout = time.Duration(c.ResponseHeaderTimeout)
	o.ExpectContinueTimeout = time.Duration(c.ExpectContinueTimeout)
	o.MaxResponseHeaderSize = c.MaxResponseHeaderSize
	o.WriteBufferSize, o.ReadBufferSize = c.WriteBufferSize, c.ReadBufferSize
	o.ReadTimeout, o.WriteTimeout = time.Duration(c.ReadTimeout), time.Duration(c.WriteTimeout)
	o.MaxConnsPerHost = c.MaxConnsPerHost
	o.LocalAddress = c.LocalAddress
	o.Compression = c.Compression
	k := c.KeepAlive
	o.KeepAlive = k.Enabled == nil || *k.Enabled
	o.ProbeInterval = orDefault(k.ProbeInterval, o.ProbeInterval)
	o.MaxIdleConns = k.MaxIdleConns
	if k.MaxIdleConnsPerHost > 0 {
		o.MaxIdleConnsPerHost = k.MaxIdleConnsPerHost
	}
	o.IdleTimeout = orDefault(k.IdleTimeout, o.IdleTimeout)
	return o
}

func orDefault(d module.Duration, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return time.Duration(d)
}

// readVersions reports whether HTTP/2 is spoken in clear text.
func readVersions(versions []string) (h2c bool, err error) {
	for i, v := range versions {
		at := "/versions/" + strconv.Itoa(i)
		switch v {
		case "1.1", "2":
		case "h2c":
			h2c = true
		case "3":
			return false, module.Problem(at, "version 3 is not supported yet; it needs TLS to the upstream")
		default:
			return false, module.Problem(at, fmt.Sprintf("unknown version %q; the versions are 1.1, 2, h2c and 3", v))
		}
	}
	return h2c, nil
}
