package timeouts

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

func directives() module.Option {
	return module.Directives(module.Directive{Name: "timeouts", Read: readTimeouts})
}

// readTimeouts: timeouts [<matcher>] { ... }
func readTimeouts(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	var cfg Config
	if err := lines.Parse(d, &cfg); err != nil {
		return nil, err
	}
	return u.One(m, "timeouts", &cfg)
}

var lines = caddyfile.Options[Config]{
	Unknown: "unrecognized timeouts subdirective '%s'",
	Lines: []caddyfile.Option[Config]{
		{Name: "read_timeout", Args: caddyfile.Between(1, 2), Set: func(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			return setLimit(&c.ReadTimeout, &c.ReadMinRate, args)
		}},
		{Name: "write_timeout", Args: caddyfile.Between(1, 2), Set: func(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			return setLimit(&c.WriteTimeout, &c.WriteMinRate, args)
		}},
		{Name: "max_write_chunk", Args: caddyfile.Exactly(1), Set: caddyfile.Size(func(c *Config) *int { return &c.MaxWriteChunk })},
	},
}

// setLimit: <duration> [<min bytes/s>]. The duration has no unit for days.
func setLimit(timeout, rate *int64, args []caddyfile.Token) error {
	idle, err := time.ParseDuration(args[0].Text)
	if err != nil {
		return args[0].Wrap(fmt.Errorf("bad duration value '%s'; it is a number with a unit such as 10s or 1m30s", caddyfile.Shorten(args[0].Text)))
	}
	*timeout = int64(idle)
	if len(args) == 1 {
		return nil
	}
	if *rate, err = strconv.ParseInt(args[1].Text, 10, 64); err != nil {
		return args[1].Wrap(fmt.Errorf("invalid rate '%s'; it is a number of bytes per second", caddyfile.Shorten(args[1].Text)))
	}
	return nil
}
