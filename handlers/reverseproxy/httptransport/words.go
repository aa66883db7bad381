package httptransport

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// reading is the transport http while it is read.
type reading struct {
	Config
	u *module.Use
}

// readWords reads the transport http.
func readWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	c := &reading{Config: Config{Compression: true}, u: u}
	if err := lines.Parse(d, c); err != nil {
		return nil, err
	}
	return &c.Config, nil
}

var one = caddyfile.Exactly(1)

var (
	readBuffer       = caddyfile.Size(func(c *reading) *int { return &c.ReadBufferSize })
	writeBuffer      = caddyfile.Size(func(c *reading) *int { return &c.WriteBufferSize })
	idleConns        = caddyfile.Int(func(c *reading) *int { return &c.KeepAlive.MaxIdleConns })
	idleConnsPerHost = caddyfile.Int(func(c *reading) *int { return &c.KeepAlive.MaxIdleConnsPerHost })
	idleTimeout      = caddyfile.Duration(func(c *reading) *module.Duration { return &c.KeepAlive.IdleTimeout })
)

// lines is what the block of the transport http may hold.
var lines = caddyfile.Options[reading]{
	Lines: []caddyfile.Option[reading]{
		{Name: "read_buffer", Args: one, Set: readBuffer},
		{Name: "read_buffer_size", Now: "read_buffer", Args: one, Set: readBuffer},
		{Name: "write_buffer", Args: one, Set: writeBuffer},
		{Name: "write_buffer_size", Now: "write_buffer", Args: one, Set: writeBuffer},
		{Name: "read_timeout", Args: one, Set: caddyfile.Duration(func(c *reading) *module.Duration { return &c.ReadTimeout })},
		{Name: "write_timeout", Args: one, Set: caddyfile.Duration(func(c *reading) *module.Duration { return &c.WriteTimeout })},
		{Name: "max_response_header", Args: one, Set: caddyfile.Size(func(c *reading) *int64 { return &c.MaxResponseHeaderSize })},

		{Name: "dial_timeout", Args: one, Set: caddyfile.Duration(func(c *reading) *module.Duration { return &c.DialTimeout })},
		{Name: "dial_fallback_delay", Args: one, Set: caddyfile.Duration(func(c *reading) *module.Duration { return &c.DialFallbackDelay })},
		{Name: "response_header_timeout", Args: one, Set: caddyfile.Duration(func(c *reading) *module.Duration { return &c.ResponseHeaderTimeout })},
		{Name: "expect_continue_timeout", Args: one, Set: caddyfile.Duration(func(c *reading) *module.Duration { return &c.ExpectContinueTimeout })},

		{Name: "keepalive", Args: one, Set: readKeepAlive},
		{Name: "idle_conn_timeout", Now: "keepalive", Args: one, Set: idleTimeout},
		{Name: "keepalive_interval", Args: one, Set: caddyfile.Duration(func(c *reading) *module.Duration { return &c.KeepAlive.ProbeInterval })},
		{Name: "keepalive_idle_conns", Args: one, Set: idleConns},
		{Name: "max_idle_conns", Now: "keepalive_idle_conns", Args: one, Set: idleConns},
		{Name: "keepalive_idle_conns_per_host", Args: one, Set: idleConnsPerHost},
		{Name: "max_idle_conns_per_host", Now: "keepalive_idle_conns_per_host", Args: one, Set: idleConnsPerHost},

		{Name: "versions", Args: caddyfile.AtLeast(1), Set: readVersionWords},
		{Name: "compression", Args: one, Set: readCompression},
		{Name: "max_conns_per_host", Args: one, Set: caddyfile.Int(func(c *reading) *int { return &c.MaxConnsPerHost })},
		{Name: "local_address", Args: one, Set: caddyfile.String(func(c *reading) *string { return &c.LocalAddress })},
		{Name: "resolvers", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(c *reading) *[]string { return &c.Resolver.Addresses })},
		{Name: "proxy_protocol", Args: one, Set: readProxyProtocol},
		{Name: "network_proxy", Args: caddyfile.AtLeast(1), Block: true, Once: "network_proxy already specified", Set: readNetworkProxy},
		{Name: "forward_proxy_url", Now: "network_proxy url", Args: one, Once: "forward_proxy_url already specified", Set: readForwardProxyURL},

		{Name: "tls", Set: func(c *reading, _ *caddyfile.Dispenser, _ []caddyfile.Token) error { c.tls(); return nil }},
		{Name: "tls_client_auth", Args: caddyfile.Between(1, 2), Set: readClientAuth},
		{Name: "tls_insecure_skip_verify", Set: caddyfile.Flag(func(c *reading) *bool { return &c.tls().InsecureSkipVerify })},
		{Name: "tls_curves", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(c *reading) *[]string { return &c.tls().Curves })},
		{Name: "tls_timeout", Args: one, Set: caddyfile.Duration(func(c *reading) *module.Duration { return &c.tls().HandshakeTimeout })},
		{Name: "tls_trusted_ca_certs", Now: "tls_trust_pool file", Args: caddyfile.AtLeast(1), Set: readTrustedCerts},
		{Name: "tls_trust_pool", Args: caddyfile.AtLeast(1), Block: true, Once: "tls_trust_pool already specified", Set: readTrustPool},
		{Name: "tls_server_name", Args: one, Set: caddyfile.String(func(c *reading) *string { return &c.tls().ServerName })},
		{Name: "tls_renegotiation", Args: one, Set: readRenegotiation},
		{Name: "tls_except_ports", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(c *reading) *[]string { return &c.tls().ExceptPorts })},
	},
}

// readKeepAlive reads "off" or how long an idle connection is kept.
func readKeepAlive(c *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	if args[0].Text == "off" {
		c.KeepAlive.Enabled = new(bool)
		return nil
	}
	return idleTimeout(c, d, args)
}

// readVersionWords takes the versions of the last line.
func readVersionWords(c *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	c.Versions = nil
	for _, a := range args {
		c.Versions = append(c.Versions, a.Text)
	}
	return nil
}

// readCompression reads "off"; any other word has always been taken for the default.
func readCompression(c *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	switch args[0].Text {
	case "off":
		c.Compression = false
	case "on":
	default:
		d.Warnf("compression %s does nothing; the words are on and off", caddyfile.Shorten(args[0].Text))
	}
	return nil
}
