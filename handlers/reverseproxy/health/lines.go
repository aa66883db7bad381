package health

import (
	"errors"
	"net"
	"strconv"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/match/respmatch"
)

// Lines returns the lines of a block that are about health, for a config that is made with the first of them.
func Lines[C any](config func(c *C) **Config) []caddyfile.Option[C] {
	list := make([]caddyfile.Option[C], len(lines))
	for i, l := range lines {
		list[i] = caddyfile.Option[C]{Name: l.Name, Now: l.Now, Args: l.Args, Block: l.Block, Once: l.Once}
		list[i].Set = func(c *C, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			at := config(c)
			if *at == nil {
				*at = &Config{}
			}
			return l.Set(*at, d, args)
		}
	}
	return list
}

var one = caddyfile.Exactly(1)

var errPort = errors.New("a port is a number from 0 to 65535")

var lines = []caddyfile.Option[Config]{
	{Name: "health_uri", Args: one, Set: readURI},
	{Name: "health_path", Now: "health_uri", Args: one, Set: readURI},
	{Name: "health_upstream", Args: one, Set: readUpstream},
	{Name: "health_port", Args: one, Set: readPort},
	{Name: "health_headers", Block: true, Set: readHeaders},
	{Name: "health_method", Args: one, Set: caddyfile.String(func(c *Config) *string { return &c.active().Method })},
	{Name: "health_request_body", Args: one, Set: caddyfile.String(func(c *Config) *string { return &c.active().Body })},
	{Name: "health_follow_redirects", Set: caddyfile.Flag(func(c *Config) *bool { return &c.active().FollowRedirects })},
	{Name: "health_interval", Args: one, Set: caddyfile.Duration(func(c *Config) *module.Duration { return &c.active().Interval })},
	{Name: "health_jitter", Args: one, Set: readJitter},
	{Name: "health_timeout", Args: one, Set: caddyfile.Duration(func(c *Config) *module.Duration { return &c.active().Timeout })},
	{Name: "health_passes", Args: one, Set: caddyfile.Int(func(c *Config) *int { return &c.active().Passes })},
	{Name: "health_fails", Args: one, Set: caddyfile.Int(func(c *Config) *int { return &c.active().Fails })},
	{Name: "health_initial", Args: one, Set: readInitial},
	{Name: "health_status", Args: one, Set: readStatus},
	{Name: "health_body", Args: one, Set: caddyfile.String(func(c *Config) *string { return &c.active().ExpectBody })},

	{Name: "fail_duration", Args: one, Set: caddyfile.Duration(func(c *Config) *module.Duration { return &c.passive().FailDuration })},
	{Name: "max_fails", Args: one, Set: caddyfile.Int(func(c *Config) *int64 { return &c.passive().MaxFails })},
	{Name: "unhealthy_status", Args: caddyfile.AtLeast(1), Set: readUnhealthy},
	{Name: "unhealthy_latency", Args: one, Set: caddyfile.Duration(func(c *Config) *module.Duration { return &c.passive().UnhealthyLatency })},
	{Name: "unhealthy_request_count", Args: one, Set: caddyfile.Int(func(c *Config) *int64 { return &c.passive().UnhealthyRequestCount })},

	{Name: "min_healthy", Args: one, Set: caddyfile.Int(func(c *Config) *int { return &c.MinHealthy })},
}

func (c *Config) active() *Active {
	if c.Active == nil {
		c.Active = &Active{}
	}
	return c.Active
}

func (c *Config) passive() *Passive {
	if c.Passive == nil {
		c.Passive = &Passive{}
	}
	return c.Passive
}

// readURI reads the URI under either of its names. Two that differ cannot both be meant.
func readURI(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	a := c.active()
	if a.URI != "" && a.URI != args[0].Text {
		return args[0].Errf("the health check has the URI '%s' already; one of health_uri and health_path is enough", caddyfile.Shorten(a.URI))
	}
	a.URI = args[0].Text
	return nil
}

func readUpstream(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	_, port, err := net.SplitHostPort(args[0].Text)
	if err != nil {
		return args[0].Errf("health_upstream is malformed '%s': %w; write it as host:port", caddyfile.Shorten(args[0].Text), err)
	}
	if _, err := parsePort(port); err != nil {
		return args[0].Errf("bad port number '%s': %w", caddyfile.Shorten(port), err)
	}
	c.active().Upstream = args[0].Text
	return nil
}

func readPort(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	if c.active().Upstream != "" {
		return args[0].Errf("the 'health_port' subdirective is ignored if 'health_upstream' is used!")
	}
	port, err := parsePort(args[0].Text)
	if err != nil {
		return args[0].Errf("bad port number '%s': %w", caddyfile.Shorten(args[0].Text), err)
	}
	c.active().Port = port
	return nil
}

func parsePort(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, errPort
	}
	return int(n), nil
}

// readHeaders reads a block of fields, whose values are added to those that are there.
func readHeaders(c *Config, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
	a := c.active()
	if a.Headers == nil {
		a.Headers = map[string][]string{}
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		values := d.RemainingArgs()
		if d.OpensBlock() {
			return d.Errf("a field of health_headers has no block")
		}
		if len(values) == 0 {
			values = []string{""}
		}
		a.Headers[name] = append(a.Headers[name], values...)
	}
	return nil
}

func readJitter(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	f, err := strconv.ParseFloat(args[0].Text, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return args[0].Errf("bad jitter '%s'; it is a part of the interval from 0 to 1, such as 0.1", caddyfile.Shorten(args[0].Text))
	}
	c.active().Jitter = &f
	return nil
}

func readInitial(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	switch text := args[0].Text; text {
	case "up", "down":
		c.active().Initial = text
		return nil
	default:
		return args[0].Errf("bad initial health '%s'; it is up or down", caddyfile.Shorten(text))
	}
}

func readStatus(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	n, err := respmatch.ParseStatus(args[0].Text)
	if err != nil {
		return args[0].Wrap(err)
	}
	c.active().ExpectStatus = n
	return nil
}

func readUnhealthy(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	for _, a := range args {
		n, err := respmatch.ParseStatus(a.Text)
		if err != nil {
			return a.Wrap(err)
		}
		c.passive().UnhealthyStatus = append(c.passive().UnhealthyStatus, n)
	}
	return nil
}
