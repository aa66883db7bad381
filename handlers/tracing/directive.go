package tracing

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

func directives() module.Option {
	return module.Directives(module.Directive{Name: "tracing", Read: read})
}

// read: tracing [<matcher>] { span <name>; span_attributes { <name> <value> ... } }
func read(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	cfg := &Config{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "span":
			if !d.NextArg() {
				return nil, d.ArgErr()
			}
			cfg.SpanName = d.Val()
		case "span_attributes":
			if err := readAttributes(d, cfg); err != nil {
				return nil, err
			}
		default:
			return nil, d.ArgErr()
		}
		if d.NextArg() {
			return nil, d.ArgErr()
		}
	}
	return u.One(m, "tracing", cfg)
}

func readAttributes(d *caddyfile.Dispenser, cfg *Config) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if !d.NextArg() {
			return d.ArgErr()
		}
		if cfg.SpanAttributes == nil {
			cfg.SpanAttributes = map[string]string{}
		}
		cfg.SpanAttributes[name] = d.Val()
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	return nil
}
