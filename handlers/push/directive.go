package push

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/headerops"
)

func directives() module.Option {
	return module.Directives(module.Directive{Name: "push", Read: readPush})
}

// readPush: push [<matcher>] [<resource>] { ... }
func readPush(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	var cfg Config
	if d.NextArg() {
		cfg.Resources = append(cfg.Resources, Resource{Target: d.Val()})
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	if err := lines.Parse(d, &cfg); err != nil {
		return nil, err
	}
	return u.One(m, "push", &cfg)
}

var lines = caddyfile.Options[Config]{
	Lines: []caddyfile.Option[Config]{
		{Name: "GET", Args: caddyfile.Exactly(1), Set: resourceOf("GET")},
		{Name: "HEAD", Args: caddyfile.Exactly(1), Set: resourceOf("HEAD")},
		{Name: "headers", Args: caddyfile.None, Block: true, Set: func(c *Config, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
			if c.Headers == nil {
				c.Headers = &headerops.Ops{}
			}
			return headers.Parse(d, c.Headers)
		}},
	},
	Other: func(c *Config, d *caddyfile.Dispenser) (bool, error) {
		c.Resources = append(c.Resources, Resource{Target: d.Val()})
		if d.NextArg() || d.OpensBlock() {
			return false, d.ArgErr()
		}
		return true, nil
	},
}

func resourceOf(method string) func(*Config, *caddyfile.Dispenser, []caddyfile.Token) error {
	return func(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		c.Resources = append(c.Resources, Resource{method, args[0].Text})
		return nil
	}
}

// headers: [+|-]<field> [<value|regexp> [<replacement>]]
var headers = caddyfile.Options[headerops.Ops]{
	Other: func(o *headerops.Ops, d *caddyfile.Dispenser) (bool, error) {
		field := d.Val()
		args := d.RemainingArgTokens()
		if len(args) > 2 || d.OpensBlock() {
			return false, d.ArgErr()
		}
		if field == "" || field == "+" || field == "-" {
			return false, d.Errf("the name of the header field is missing in '%s'", field)
		}
		value, replacement := "", (*string)(nil)
		if len(args) > 0 {
			value = args[0].Text
		}
		if len(args) > 1 {
			replacement = &args[1].Text
		}
		o.Words(field, value, replacement)
		return true, nil
	},
}
