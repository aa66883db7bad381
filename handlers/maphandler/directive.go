package maphandler

import (
	"strings"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// readMap: map [<matcher>] <source> <destinations...> { [~]<input> <outputs...>; default <defaults...> }
func readMap(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	var cfg Config
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	cfg.Source = d.Val()
	for _, t := range d.RemainingArgTokens() {
		if short, ok := u.Shorthand(t.Text); ok {
			return nil, t.Errf("destination {%s} conflicts with a Caddyfile placeholder shorthand", short)
		}
		cfg.Destinations = append(cfg.Destinations, t.Text)
	}
	if len(cfg.Destinations) == 0 {
		return nil, d.Errf("missing destination argument(s)")
	}
	if err := mapLines.Parse(d, &cfg); err != nil {
		return nil, err
	}
	return u.One(m, "map", &cfg)
}

// mapLines of a block are all mappings but one.
var mapLines = caddyfile.Options[Config]{
	Other: func(c *Config, d *caddyfile.Dispenser) (bool, error) {
		name := d.Token()
		values := d.RemainingArgTokens()
		if d.OpensBlock() {
			d.Next()
			return false, d.ArgErr()
		}
		if name.Text == "default" {
			return true, c.readDefaults(name, values)
		}
		return true, c.readMapping(name, values)
	},
}

func (c *Config) readDefaults(name caddyfile.Token, values []caddyfile.Token) error {
	if len(c.Defaults) > 0 {
		return name.Errf("defaults already defined")
	}
	if n := len(c.Destinations); len(values) > n {
		return values[n].Errf("too many defaults; there are %d destinations", n)
	}
	c.Defaults = make([]string, len(c.Destinations))
	for i, v := range values {
		c.Defaults[i] = v.Text
	}
	return nil
}

func (c *Config) readMapping(name caddyfile.Token, values []caddyfile.Token) error {
	if n := len(c.Destinations); len(values) > n {
		return values[n].Errf("too many outputs; there are %d destinations", n)
	}
	m := Mapping{Outputs: make([]any, len(c.Destinations))}
	if re, ok := strings.CutPrefix(name.Text, "~"); ok {
		m.InputRegexp = re
	} else {
		m.Input = name.Text
	}
	for i, t := range values {
		v, err := t.Scalar()
		if err != nil {
			return err
		}
		if v != "-" {
			m.Outputs[i] = v
		}
	}
	c.Mappings = append(c.Mappings, m)
	return nil
}
