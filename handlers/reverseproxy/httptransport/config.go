// Package httptransport is the transport http of reverse_proxy: its settings, and the use of connections that handlers
// with equal settings share.
package httptransport

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/networkproxy"
	"github.com/sluiceproxy/sluice/upstream"
)

// Config is the config of the transport http: HTTP/1.1 or HTTP/2, with TLS or in clear text, or HTTP/3. Handlers with equal settings
// share their connections, and an edit that leaves the settings as they are leaves the connections open.
type Config struct {
	// Resolver is who is asked for the addresses of upstreams. Default: the system. Nothing is remembered: a name is looked
	// up for each new connection.
	Resolver ResolverConfig `json:"resolver"`
	// TLS speaks TLS to the upstreams, with the settings in it; {} is enough. The Host of requests is then the upstream's
	// address, unless headers.request sets it. Default: clear text.
	TLS *TLS `json:"tls"`
	// KeepAlive is how connections are kept for the next request.
	KeepAlive KeepAlive `json:"keep_alive"`
	// Compression asks the upstream for gzip where the client does not say what it accepts, and decompresses the answer.
	// Default: true.
	Compression bool `json:"compression"`
	// MaxConnsPerHost bounds the connections to one upstream: dialling, busy and idle. Requests above it wait. Default: 0, no
	// limit.
	MaxConnsPerHost int `json:"max_conns_per_host" check:"min=0"`
	// ProxyProtocol begins each connection with a header of the PROXY protocol that names the client, so that connections
	// are shared only by requests of one client address: v1 or v2. Default: none.
	ProxyProtocol string `json:"proxy_protocol"`
	// ForwardProxyURL is the older way to write network_proxy with the source url.
	ForwardProxyURL string `json:"forward_proxy_url"`
	// NetworkProxy is the forward proxy between sluice and the upstreams. Default: what HTTP_PROXY, HTTPS_PROXY and NO_PROXY in
	// the environment of the process say.
	NetworkProxy module.Ref[networkproxy.Proxy] `json:"network_proxy" module:"caddy.network_proxy" inline:"from"`
	// DialTimeout bounds the making of a connection, name resolution included; over HTTP/3 the time until the upstream answers
	// for the first time. Default: 3s.
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
	// Versions is the HTTP versions to speak: 1.1, 2, h2c, or 3 alone. With TLS the two sides agree on 2 in the handshake. In clear text 2
	// needs prior knowledge, so it is used only with h2c, and then always; a WebSocket runs over HTTP/2 then if the upstream
	// can do that (RFC 8441), else over 1.1 if that is in the list, and fails otherwise. 3 needs tls, there is no other version to fall back to, and what is
	// about TCP has no meaning: proxy_protocol, network_proxy, read_timeout, write_timeout, unix sockets. Default: 1.1 and 2.
	Versions []string `json:"versions"`
	// LocalAddress is the address to connect from, as [network/]host[:port]. Default: the system's choice.
	LocalAddress string `json:"local_address"`
}

// ResolverConfig is DNS servers.
type ResolverConfig struct {
	// Addresses is the servers, as [network/]host[:port]; each question goes to one of them, picked at random. Default: udp,
	// port 53.
	Addresses []string `json:"addresses"`
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

const id = "http.reverse_proxy.transport.http"

// Specs describes the transport and the modules that it is made of.
func Specs() []module.Spec { return append([]module.Spec{Spec()}, networkproxy.Specs()...) }

// Spec describes the transport http.
func Spec() module.Spec {
	return module.New(id, "Speaks HTTP to upstreams.", &Config{Compression: true}, compile,
		module.Examples(
			module.Example{Title: "Give up sooner.", JSON: `{"protocol":"http","dial_timeout":"1s","response_header_timeout":"30s"}`},
			module.Example{Title: "Speak HTTP/2 without TLS, as gRPC servers do.", JSON: `{"protocol":"http","versions":["h2c"]}`},
			module.Example{Title: "Speak HTTP/3.", JSON: `{"protocol":"http","versions":["3"],"tls":{}}`},
			module.Example{Title: "Speak TLS, and take a server for the name that its certificate has.", JSON: `{"protocol":"http","tls":{"server_name":"app.internal"}}`},
			module.Example{Title: "Tell the upstream who the client is, below HTTP.", JSON: `{"protocol":"http","proxy_protocol":"v2"}`},
		),
		module.Words(readWords))
}

func compile(env *module.Env, c *Config) (upstream.Transport, error) {
	t := &transport{options: c.options(), globals: env.Globals()}
	problems := c.readVersions(&t.options)
	problems = append(problems, c.readResolver(&t.options)...)
	problems = append(problems, c.readProxies(t)...)
	if c.TLS != nil {
		problems = append(problems, c.TLS.read(env, t).Under("/tls")...)
	}
	if err := t.options.Validate(); err != nil {
		problems = append(problems, module.Problem("/local_address", err.Error())...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	c.warn(env)
	if t.options.HTTP3 { // what does nothing makes no difference either
		t.proxy, t.options.ProxyProtocol, t.options.ReadTimeout, t.options.WriteTimeout = nil, 0, 0, 0
	}
	t.own(env)
	return t, nil
}

// options merges the settings into the defaults. A zero stands for the default, as it always has.
func (c *Config) options() upstream.HTTPOptions {
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

// readVersions reads which versions of HTTP are spoken.
func (c *Config) readVersions(o *upstream.HTTPOptions) (problems schema.Problems) {
	one, two := len(c.Versions) == 0, len(c.Versions) == 0
	for i, v := range c.Versions {
		at := "/versions/" + strconv.Itoa(i)
		switch v {
		case "1.1":
			one = true
		case "2":
			two = true
		case "h2c":
			two, o.H2C = true, true
		case "3":
			if o.HTTP3 = true; len(c.Versions) > 1 {
				problems = append(problems, module.Problem(at, "version 3 stands alone: an upstream is spoken to over QUIC or over TCP; use a handler with other versions for the others")...)
			}
		default:
			problems = append(problems, module.Problem(at, fmt.Sprintf("unknown version %q; the versions are 1.1, 2, h2c and 3", v))...)
		}
	}
	if o.HTTP3 {
		return problems
	}
	o.HTTP1Only, o.HTTP2Only = !two, !one
	return problems
}

// warn tells of what does nothing over HTTP/3.
func (c *Config) warn(env *module.Env) {
	if !slices.Contains(c.Versions, "3") {
		return
	}
	if c.TLS == nil {
		env.Warn("/versions", "HTTP/3 needs TLS, so all requests fail; set tls, {} is enough")
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"proxy_protocol", c.ProxyProtocol != ""}, {"network_proxy", c.NetworkProxy.Set()}, {"forward_proxy_url", c.ForwardProxyURL != ""},
		{"read_timeout", c.ReadTimeout != 0}, {"write_timeout", c.WriteTimeout != 0},
	} {
		if f.set {
			env.Warn("/"+f.name, f.name+" does nothing: it is about TCP, and HTTP/3 does not use it")
		}
	}
}

func (c *Config) readResolver(o *upstream.HTTPOptions) (problems schema.Problems) {
	var servers []string
	for i, text := range c.Resolver.Addresses {
		server, err := upstream.ParseResolver(text)
		if err != nil {
			problems = append(problems, module.Problem("/resolver/addresses/"+strconv.Itoa(i), err.Error())...)
		}
		servers = append(servers, server)
	}
	slices.Sort(servers)
	o.Resolvers = strings.Join(slices.Compact(servers), ",")
	return problems
}
