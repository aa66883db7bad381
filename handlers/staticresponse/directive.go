package staticresponse

import (
	"errors"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

func directives() module.Option {
	return module.Directives(
		module.Directive{Name: "abort", Read: readAbort},
		module.Directive{Name: "redir", Read: readRedir},
		module.Directive{Name: "respond", Read: readRespond},
	)
}

// readAbort: abort [<matcher>]
func readAbort(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if d.Next() {
		return nil, d.ArgErr()
	}
	return u.One(m, "static_response", &Config{Abort: true})
}

// readRespond: respond [<matcher>] <status>|<body> [<status>] { ... }
func readRespond(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	var cfg Config
	var ok bool
	if cfg.Body, cfg.StatusCode, ok = module.TextAndStatus(d.RemainingArgs()); !ok {
		return nil, d.ArgErr()
	}
	if err := respondLines.Parse(d, &cfg); err != nil {
		return nil, err
	}
	return u.One(m, "static_response", &cfg)
}

var respondLines = caddyfile.Options[Config]{
	Unknown: "unrecognized subdirective '%s'",
	Lines: []caddyfile.Option[Config]{
		{Name: "body", Args: caddyfile.Exactly(1), Set: func(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			if c.Body != "" {
				return errors.New("body already specified")
			}
			c.Body = args[0].Text
			return nil
		}},
		{Name: "close", Args: caddyfile.None, Once: "close already specified", Set: caddyfile.Flag(func(c *Config) *bool { return &c.Close })},
	},
}
