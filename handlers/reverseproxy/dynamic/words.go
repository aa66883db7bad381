package dynamic

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

var one = caddyfile.Exactly(1)

// What the blocks of sources may hold.
var (
	srvLines = caddyfile.Options[SRV]{Lines: []caddyfile.Option[SRV]{
		{Name: "service", Args: one, Set: onlyOnce(func(c *SRV) *string { return &c.Service })},
		{Name: "proto", Args: one, Set: onlyOnce(func(c *SRV) *string { return &c.Proto })},
		{Name: "name", Args: one, Set: onlyOnce(func(c *SRV) *string { return &c.Name })},
		{Name: "refresh", Args: one, Set: caddyfile.Duration(func(c *SRV) *module.Duration { return &c.Refresh })},
		{Name: "grace_period", Args: one, Set: caddyfile.Duration(func(c *SRV) *module.Duration { return &c.GracePeriod })},
		{Name: "resolvers", Args: caddyfile.AtLeast(1), Set: resolvers(func(c *SRV) **ResolverConfig { return &c.Resolver })},
		{Name: "dial_timeout", Args: one, Set: caddyfile.Duration(func(c *SRV) *module.Duration { return &c.DialTimeout })},
		{Name: "dial_fallback_delay", Args: one, Set: caddyfile.Duration(func(c *SRV) *module.Duration { return &c.DialFallbackDelay })},
	}}
	addressLines = caddyfile.Options[Address]{Lines: []caddyfile.Option[Address]{
		{Name: "name", Args: one, Set: onlyOnce(func(c *Address) *string { return &c.Name })},
		{Name: "port", Args: one, Set: onlyOnce(func(c *Address) *string { return &c.Port })},
		{Name: "refresh", Args: one, Set: caddyfile.Duration(func(c *Address) *module.Duration { return &c.Refresh })},
		{Name: "resolvers", Args: caddyfile.AtLeast(1), Set: resolvers(func(c *Address) **ResolverConfig { return &c.Resolver })},
		{Name: "dial_timeout", Args: one, Set: caddyfile.Duration(func(c *Address) *module.Duration { return &c.DialTimeout })},
		{Name: "dial_fallback_delay", Args: one, Set: caddyfile.Duration(func(c *Address) *module.Duration { return &c.DialFallbackDelay })},
		{Name: "versions", Args: caddyfile.AtLeast(1), Set: readVersions},
	}}
	multiLines = caddyfile.Options[multiReading]{Other: readSource}
)

// onlyOnce returns a Set for a text that may be given once, be it in the first line or in the block.
func onlyOnce[C any](field func(c *C) *string) func(*C, *caddyfile.Dispenser, []caddyfile.Token) error {
	return func(c *C, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		if at := field(c); *at == "" {
			*at = args[0].Text
			return nil
		}
		d.Prev()
		return d.Errf("%s has already been specified", d.Val())
	}
}

func resolvers[C any](field func(c *C) **ResolverConfig) func(*C, *caddyfile.Dispenser, []caddyfile.Token) error {
	return func(c *C, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		at := field(c)
		if *at == nil {
			*at = &ResolverConfig{}
		}
		for _, a := range args {
			(*at).Addresses = append((*at).Addresses, a.Text)
		}
		return nil
	}
}

func readVersions(c *Address, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	if c.Versions == nil {
		c.Versions = &Versions{}
	}
	yes := true
	for _, a := range args {
		switch a.Text {
		case "ipv4":
			c.Versions.IPv4 = &yes
		case "ipv6":
			c.Versions.IPv6 = &yes
		default:
			return a.Errf("unknown version %s; the versions are ipv4 and ipv6", caddyfile.Shorten(a.Text)).Suggest(a.Text, []string{"ipv4", "ipv6"})
		}
	}
	return nil
}

// readSRV: srv [<name>] { ... }
func readSRV(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	var c SRV
	d.Next()
	if d.NextArg() {
		c.Name = d.Val()
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	return &c, srvLines.Parse(d, &c)
}

// readAddress: a [<name> [<port>]] { ... }
func readAddress(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	var c Address
	d.Next()
	if d.NextArg() {
		c.Name = d.Val()
	}
	if d.NextArg() {
		c.Port = d.Val()
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	return &c, addressLines.Parse(d, &c)
}

// multiReading is a multi while it is read.
type multiReading struct {
	u *module.Use
	Multi
}

// readMulti: multi { <source> ... }
func readMulti(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	m := &multiReading{u: u}
	return &m.Multi, multiLines.Parse(d, m)
}

func readSource(m *multiReading, d *caddyfile.Dispenser) (bool, error) {
	n, err := m.u.Module(d, Namespace, InlineKey)
	if err != nil {
		return true, err
	}
	m.Sources = append(m.Sources, module.RefTo[Source](n))
	return true, nil
}
