package requestbody

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

func directives() module.Option {
	return module.Directives(module.Directive{Name: "request_body", Read: readRequestBody})
}

// readRequestBody: request_body [<matcher>] { ... }
func readRequestBody(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if args := d.RemainingArgTokens(); len(args) > 0 {
		d.Warnf("'%s' is ignored: request_body takes its options in a block", caddyfile.Shorten(args[0].Text))
	}
	var cfg Config
	if err := lines.Parse(d, &cfg); err != nil {
		return nil, err
	}
	return u.One(m, "request_body", &cfg)
}

var lines = caddyfile.Options[Config]{
	Unknown: "unrecognized request_body subdirective '%s'",
	Lines: []caddyfile.Option[Config]{
		{Name: "max_size", Args: caddyfile.Exactly(1), Set: caddyfile.Size(func(c *Config) *int64 { return &c.MaxSize })},
		{Name: "set", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(c *Config) *string { return &c.Set })},
	},
}
