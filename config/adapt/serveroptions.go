package adapt

import (
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// serverOptions is one block of the option servers.
type serverOptions struct {
	address string
	index   int // among the blocks
	name    string
	fields  members // of the server
	// credentials and trace are part of the server's logs.
	credentials, trace bool
	metrics            *metricsOption
	at                 map[string]caddyfile.Token // of fields
	token              caddyfile.Token

	use       *module.Use
	protocols []string
	clientIP  []string
}

type serverLine = caddyfile.Option[serverOptions]

// serverLines is the lines of a servers block.
var serverLines = caddyfile.Options[serverOptions]{Unknown: "unrecognized servers option '%s'", Other: readTrustedProxies, Lines: []serverLine{
	{Name: "name", Args: caddyfile.Exactly(1), Set: func(s *serverOptions, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		if s.address == "" {
			return d.Errf("cannot set a name for a server without a listener address")
		}
		s.name = args[0].Text
		return nil
	}},
	{Name: "listener_wrappers", Block: true, Set: wrappers("listener_wrappers", "caddy.listeners")},
	{Name: "packet_conn_wrappers", Block: true, Set: wrappers("packet_conn_wrappers", "caddy.packetconns")},
	{Name: "timeouts", Block: true, Set: func(s *serverOptions, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
		return timeoutLines.Parse(d, s)
	}},
	{Name: "keepalive_interval", Args: caddyfile.Exactly(1), Set: durationField("keepalive_interval")},
	{Name: "keepalive_idle", Args: caddyfile.Exactly(1), Set: durationField("keepalive_idle")},
	{Name: "keepalive_count", Args: caddyfile.Exactly(1), Set: intField("keepalive_count")},
	{Name: "max_header_size", Args: caddyfile.Exactly(1), Set: sizeField("max_header_bytes")},
	{Name: "enable_full_duplex", Set: boolField("enable_full_duplex", true)},
	{Name: "expected_underscore_headers", Args: caddyfile.AtLeast(1), Set: listField("expected_underscore_headers")},
	{Name: "expected_dot_headers", Args: caddyfile.AtLeast(1), Set: listField("expected_dot_headers")},
	{Name: "log_credentials", Set: caddyfile.Flag(func(s *serverOptions) *bool { return &s.credentials })},
	{Name: "trace", Set: caddyfile.Flag(func(s *serverOptions) *bool { return &s.trace })},
	{Name: "protocols", Args: caddyfile.AtLeast(1), Set: readProtocols},
	{Name: "strict_sni_host", Args: caddyfile.Between(0, 1), Set: func(s *serverOptions, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		if len(args) == 1 && args[0].Text != "on" && args[0].Text != "insecure_off" {
			return d.Errf("strict_sni_host only supports 'on' or 'insecure_off', got '%s'", caddyfile.Shorten(args[0].Text))
		}
		s.set(d, "strict_sni_host", config.NewBool(len(args) == 0 || args[0].Text == "on"))
		return nil
	}},
	{Name: "trusted_proxies_strict", Set: func(s *serverOptions, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
		s.set(d, "trusted_proxies_strict", config.NewNumber(1))
		return nil
	}},
	{Name: "trusted_proxies_unix", Set: boolField("trusted_proxies_unix", true)},
	{Name: "client_ip_headers", Args: caddyfile.AtLeast(1), Set: readClientIPHeaders},
	{Name: "0rtt", Args: caddyfile.Exactly(1), Set: func(s *serverOptions, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		if args[0].Text != "off" {
			return d.Errf("unsupported 0rtt argument '%s'; only 'off' is", caddyfile.Shorten(args[0].Text))
		}
		s.set(d, "allow_0rtt", config.NewBool(false))
		return nil
	}},
	{Name: "metrics", Block: true, Set: func(s *serverOptions, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
		d.Warnf("metrics in servers is an older spelling; use the global option metrics")
		s.metrics = &metricsOption{}
		return metricsOptions.Parse(d, s.metrics)
	}},
}}

var timeoutLines = caddyfile.Options[serverOptions]{Unknown: "unrecognized timeouts option '%s'", Lines: []serverLine{
	{Name: "read_body", Args: caddyfile.Exactly(1), Set: durationField("read_timeout")},
	{Name: "read_body_idle", Args: caddyfile.Between(1, 2), Set: idleField("read_idle_timeout", "read_min_rate")},
	{Name: "read_header", Args: caddyfile.Exactly(1), Set: durationField("read_header_timeout")},
	{Name: "write", Args: caddyfile.Exactly(1), Set: durationField("write_timeout")},
	{Name: "write_idle", Args: caddyfile.Between(1, 2), Set: idleField("write_idle_timeout", "write_min_rate")},
	{Name: "write_max_chunk", Args: caddyfile.Exactly(1), Set: sizeField("max_write_chunk")},
	{Name: "idle", Args: caddyfile.Exactly(1), Set: durationField("idle_timeout")},
}}

// set sets a field of the server.
func (s *serverOptions) set(d *caddyfile.Dispenser, name string, n *config.Node) {
	s.setAt(d.Token(), name, n)
}

func (s *serverOptions) setAt(t caddyfile.Token, name string, n *config.Node) {
	s.fields[name], s.at[name] = n, t
}

type setLine = func(*serverOptions, *caddyfile.Dispenser, []caddyfile.Token) error

func boolField(name string, v bool) setLine {
	return func(s *serverOptions, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
		s.set(d, name, config.NewBool(v))
		return nil
	}
}

// numberField sets a field to what a setter for numbers read; 0 is as if it was
// not set.
func numberField(name string, set func(field func(*int64) *int64) func(*int64, *caddyfile.Dispenser, []caddyfile.Token) error) setLine {
	read := set(func(n *int64) *int64 { return n })
	return func(s *serverOptions, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		var n int64
		if err := read(&n, d, args); err != nil {
			return err
		}
		delete(s.fields, name)
		if n != 0 {
			s.set(d, name, config.NewNumber(float64(n)))
		}
		return nil
	}
}

func intField(name string) setLine      { return numberField(name, caddyfile.Int[int64, int64]) }
func sizeField(name string) setLine     { return numberField(name, caddyfile.Size[int64, int64]) }
func durationField(name string) setLine { return numberField(name, caddyfile.Duration[int64, int64]) }

// idleField is a duration and, perhaps, bytes for each second.
func idleField(name, rate string) setLine {
	duration, number := durationField(name), intField(rate)
	return func(s *serverOptions, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		if err := duration(s, d, args[:1]); err != nil || len(args) == 1 {
			return err
		}
		return number(s, d, args[1:])
	}
}

func listField(name string) setLine {
	return func(s *serverOptions, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		list := s.fields[name].Strings()
		for _, a := range args {
			list = append(list, a.Text)
		}
		s.set(d, name, config.NewStrings(list))
		return nil
	}
}

func wrappers(field, namespace string) setLine {
	return func(s *serverOptions, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
		var list []*config.Node
		start := d.Token()
		for _, before := range s.fields[field].Elements() {
			list = append(list, before)
		}
		for nesting := d.Nesting(); d.NextBlock(nesting); {
			n, err := s.use.Module(d, namespace, "wrapper")
			if err != nil {
				return err
			}
			list = append(list, n)
		}
		if len(list) > 0 {
			s.setAt(start, field, config.NewArray(list))
		}
		return nil
	}
}

func readProtocols(s *serverOptions, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	for _, a := range args {
		if !slices.Contains([]string{"h1", "h2", "h2c", "h3"}, a.Text) {
			return a.Errf("unknown protocol '%s': expected h1, h2, h2c, or h3", caddyfile.Shorten(a.Text))
		}
		if slices.Contains(s.protocols, a.Text) {
			return a.Errf("protocol %s specified more than once", a.Text)
		}
		s.protocols = append(s.protocols, a.Text)
	}
	s.set(d, "protocols", config.NewStrings(s.protocols))
	return nil
}

func readClientIPHeaders(s *serverOptions, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	for _, a := range args {
		if slices.ContainsFunc(s.clientIP, func(h string) bool { return strings.EqualFold(h, a.Text) }) {
			return a.Errf("client IP header %s specified more than once", caddyfile.Shorten(a.Text))
		}
		s.clientIP = append(s.clientIP, a.Text)
	}
	s.set(d, "client_ip_headers", config.NewStrings(s.clientIP))
	return nil
}

// readServers reads a block of the option servers.
func readServers(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	s := serverOptions{fields: members{}, at: map[string]caddyfile.Token{}, token: u.Token, use: u}
	if d.NextArg() {
		s.address = d.Val()
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	if err := serverLines.Parse(d, &s); err != nil {
		return err
	}
	if r.options.servers[s.address] != nil {
		return u.Token.Errf("cannot have 'servers' global options with duplicate listener addresses: %s", caddyfile.Shorten(s.address))
	}
	s.index = len(r.options.servers)
	r.options.servers[s.address] = &s
	if s.metrics != nil {
		if r.options.nested == nil {
			r.options.nested = &metricsOption{}
		}
		r.options.nested.PerHost = r.options.nested.PerHost || s.metrics.PerHost
	}
	return nil
}

// readTrustedProxies reads the one line that is a module.
func readTrustedProxies(s *serverOptions, d *caddyfile.Dispenser) (bool, error) {
	if d.Val() != "trusted_proxies" {
		return false, nil
	}
	if !d.NextArg() {
		return true, d.Errf("trusted_proxies expects an IP range source module name as its first argument")
	}
	start := d.Token()
	n, err := s.use.Module(d, "http.ip_sources", "source")
	s.setAt(start, "trusted_proxies", n)
	return true, err
}

// serverFor is the block for a server that listens on the addresses: the one
// with the longest address that is one of them, else the one without, else nil.
func (o *options) serverFor(listen []string) *serverOptions {
	best := o.servers[""]
	for _, address := range listen {
		s := o.servers[address]
		if s == nil || best != nil && (len(s.address) < len(best.address) || len(s.address) == len(best.address) && s.index >= best.index) {
			continue
		}
		best = s
	}
	return best
}

// logs adds what the block says about logs to those of the server.
func (s *serverOptions) logs(m members) members {
	if m == nil && (s.credentials || s.trace) {
		m = members{}
	}
	if s.credentials {
		m["should_log_credentials"] = config.NewBool(true)
	}
	if s.trace {
		m["trace"] = config.NewBool(true)
	}
	return m
}
