package errorhandler

import (
	"errors"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// readError: error [<matcher>] <status>|<message> [<status>] { ... }
func readError(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	var cfg Config
	var ok bool
	if cfg.Error, cfg.StatusCode, ok = module.TextAndStatus(d.RemainingArgs()); !ok {
		return nil, d.ArgErr()
	}
	if err := lines.Parse(d, &cfg); err != nil {
		return nil, err
	}
	return u.One(m, "error", &cfg)
}

var lines = caddyfile.Options[Config]{
	Unknown: "unrecognized subdirective '%s'",
	Lines: []caddyfile.Option[Config]{
		{Name: "message", Args: caddyfile.Exactly(1), Set: func(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			if c.Error != "" {
				return errors.New("message already specified")
			}
			c.Error = args[0].Text
			return nil
		}},
	},
}
