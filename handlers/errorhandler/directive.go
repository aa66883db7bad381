package errorhandler

import (
	"errors"
	"strconv"

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
	switch args := d.RemainingArgs(); {
	case len(args) == 1 && isStatus(args[0]):
		cfg.StatusCode = module.WeakString(args[0])
	case len(args) == 1:
		cfg.Error = args[0]
	case len(args) == 2:
		cfg.Error, cfg.StatusCode = args[0], module.WeakString(args[1])
	default:
		return nil, d.ArgErr()
	}
	if err := lines.Parse(d, &cfg); err != nil {
		return nil, err
	}
	return u.One(m, "error", &cfg)
}

// isStatus reports whether a lone argument is a status and not a message.
func isStatus(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n > 0 && len(text) == 3
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
