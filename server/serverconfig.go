package server

import (
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/clientip"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/wire"
)

// AppConfig is the http app: the servers, and what they share.
type AppConfig struct {
	// HTTPPort is the port regarded as plain HTTP. Default: 80.
	HTTPPort int `json:"http_port" check:"min=0,max=65535"`
	// HTTPSPort is the port regarded as HTTPS. Default: 443.
	HTTPSPort int `json:"https_port" check:"min=0,max=65535"`
	// GracePeriod is how long active requests may go on when the process stops;
	// after it their connections are cut. 0 means without limit. It never cuts a
	// request during a change of the configuration.
	GracePeriod module.Duration `json:"grace_period"`
	// ShutdownDelay is how long the servers go on accepting after the process
	// was told to stop, before the grace period begins. A change of the
	// configuration that gives up an address waits as long, while the address
	// still serves. Default: 0.
	ShutdownDelay module.Duration `json:"shutdown_delay"`
	// Servers are the HTTP servers, by a name of your choice that shows up in
	// logs, metrics and error texts.
	Servers map[string]module.Ref[*Server] `json:"servers" module:"=http.server" null:"refuse"`
	// Metrics turns metrics of requests on, even if it is empty.
	Metrics *MetricsConfig `json:"metrics"`
}

// ServerConfig is one HTTP server.
type ServerConfig struct {
	// Listen is the network addresses to listen on, such as ":8080",
	// "127.0.0.1:7000-7002", "unix//run/web.sock|0660" or "fd/3". Placeholders
	// {env.*}, {file.*} and {system.*} are expanded.
	Listen []string `json:"listen"`
	// ListenerWrappers read what stands before HTTP on new connections, in this
	// order.
	ListenerWrappers []module.Ref[wire.Opener] `json:"listener_wrappers" module:"caddy.listeners" inline:"wrapper"`
	// PacketConnWrappers wrap the sockets of HTTP/3. There are none so far.
	PacketConnWrappers []module.Ref[any] `json:"packet_conn_wrappers" module:"caddy.packetconns" inline:"wrapper"`

	// ReadTimeout limits the reading of a whole request, body included. 0 means
	// no limit.
	ReadTimeout module.Duration `json:"read_timeout"`
	// ReadHeaderTimeout limits the reading of the request header, and before it
	// the TLS handshake and the preface of HTTP/2. The handshake of QUIC has 5 s,
	// or this if it is less. Default: 1m.
	ReadHeaderTimeout module.Duration `json:"read_header_timeout"`
	// ReadIdleTimeout limits how long a body may stall; each read starts it
	// anew. Default: 1m; negative means no limit.
	ReadIdleTimeout module.Duration `json:"read_idle_timeout"`
	// ReadMinRate cuts a request body that stays below this many bytes a second
	// on average. Default: 0, off.
	ReadMinRate int64 `json:"read_min_rate"`
	// WriteTimeout limits the writing of a whole response. 0 means no limit.
	WriteTimeout module.Duration `json:"write_timeout"`
	// WriteIdleTimeout limits how long one write may stall. Default: 1m;
	// negative means no limit.
	WriteIdleTimeout module.Duration `json:"write_idle_timeout"`
	// WriteMinRate cuts a response that the client takes at less than this many
	// bytes a second on average. Default: 0, off.
	WriteMinRate int64 `json:"write_min_rate"`
	// MaxWriteChunk is the most bytes of one write, so that the idle time-out
	// applies in between. Default: 65536.
	MaxWriteChunk int `json:"max_write_chunk"`
	// IdleTimeout is how long a connection may wait for its next request; over
	// HTTP/2 and HTTP/3, until the header of one has come whole.
	// Default: 5m; negative means no limit.
	IdleTimeout module.Duration `json:"idle_timeout"`
	// KeepAliveInterval is the time between TCP keep-alive probes. Default: 15s;
	// negative turns probes off.
	KeepAliveInterval module.Duration `json:"keepalive_interval"`
	// KeepAliveIdle is the idle time before the first probe. Default: 15s;
	// negative leaves the system's value.
	KeepAliveIdle module.Duration `json:"keepalive_idle"`
	// KeepAliveCount is the number of probes without answer that end a
	// connection. Default: 9; negative leaves the system's value.
	KeepAliveCount int `json:"keepalive_count"`
	// MaxHeaderBytes limits the request header, 4096 bytes of tolerance on top
	// in HTTP/1. Default: 16384.
	MaxHeaderBytes int `json:"max_header_bytes"`
	// EnableFullDuplex lets handlers of HTTP/1 requests answer before they have
	// read the request body.
	EnableFullDuplex bool `json:"enable_full_duplex"`
	// ExpectedUnderscoreHeaders names request headers with "_" that are kept;
	// all others are dropped. A trailing "*" makes a prefix.
	ExpectedUnderscoreHeaders []string `json:"expected_underscore_headers"`
	// ExpectedDotHeaders is the same for names with ".".
	ExpectedDotHeaders []string `json:"expected_dot_headers"`

	// Routes is the routes of the server, tried in order.
	Routes module.Ref[*route.List] `json:"routes" module:"=http.routes"`
	// Errors is what runs when a handler returns an error.
	Errors *ErrorsConfig `json:"errors"`
	// NamedRoutes are run by the `invoke` handler only.
	NamedRoutes map[string]module.Ref[*route.Route] `json:"named_routes" module:"=http.route" null:"refuse"`

	// TLSConnectionPolicies turn TLS on, and say which handshakes are made how: the
	// first that matches a client counts. An empty list is none, and not filled by
	// automatic HTTPS. Default: what automatic HTTPS needs.
	TLSConnectionPolicies module.Ref[*handshake.Policies] `json:"tls_connection_policies" module:"=tls.connection_policies"`
	// AutomaticHTTPS says what to do about certificates and redirects.
	AutomaticHTTPS AutoHTTPSConfig `json:"automatic_https"`
	// StrictSNIHost requires that the Host header of a TLS request is the name
	// in its handshake. Without TLS it has no effect.
	StrictSNIHost *bool `json:"strict_sni_host"`

	// TrustedProxies is the source of the addresses of trusted proxies.
	TrustedProxies module.Ref[clientip.Source] `json:"trusted_proxies" module:"http.ip_sources" inline:"source"`
	// ClientIPHeaders are the headers in which a trusted proxy names the client,
	// in order. Default: X-Forwarded-For; an empty list means none.
	ClientIPHeaders *[]string `json:"client_ip_headers"`
	// TrustedProxiesStrict, if positive, reads those headers from the right and
	// takes the first address that is not a trusted proxy's.
	TrustedProxiesStrict int `json:"trusted_proxies_strict"`
	// TrustedProxiesUnix trusts every peer on a unix socket.
	TrustedProxiesUnix bool `json:"trusted_proxies_unix"`

	// Logs turns access logs on, even if empty.
	Logs *logs.AccessConfig `json:"logs"`
	// Protocols are the protocols to speak, of h1, h2, h2c and h3. Default: h1,
	// h2, h3, of which those that need TLS are left out without it.
	Protocols []string `json:"protocols"`
	// ListenProtocols are the protocols of each address of listen, in the same
	// order; null means those of protocols.
	ListenProtocols [][]string `json:"listen_protocols"`
	// Allow0RTT lets QUIC carry early data. Without HTTP/3 it has no effect.
	Allow0RTT *bool `json:"allow_0rtt"`
	// Metrics is an older place of apps.http.metrics: it turns metrics on for the
	// whole app, and its per_host counts.
	Metrics *MetricsConfig `json:"metrics"`
}

// ErrorsConfig is the routes for errors.
type ErrorsConfig struct {
	// Routes run when a handler returned an error; {http.error.*} describe it.
	Routes module.Ref[*route.List] `json:"routes" module:"=http.routes"`
}

// AutoHTTPSConfig is about automatic HTTPS.
type AutoHTTPSConfig struct {
	// Disable turns all of it off: the server speaks plain HTTP.
	Disable bool `json:"disable"`
	// DisableRedirects leaves out the redirects from HTTP to HTTPS.
	DisableRedirects bool `json:"disable_redirects"`
	// DisableCertificates leaves out the certificates.
	DisableCertificates bool `json:"disable_certificates"`
	// Skip names the hosts that are left alone altogether.
	Skip []string `json:"skip"`
	// SkipCertificates names the hosts that get no certificate.
	SkipCertificates []string `json:"skip_certificates"`
	// IgnoreLoadedCertificates manages a name although a loaded certificate
	// covers it.
	IgnoreLoadedCertificates bool `json:"ignore_loaded_certificates"`
}
