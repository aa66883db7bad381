package ratelimit

import (
	"fmt"
	"strconv"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
)

// readRateLimit: rate_limit [<matcher>] { zone <name> { ... } ... }
func readRateLimit(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	c := reading{use: u, cfg: Config{RateLimits: map[string]Zone{}}}
	if err := lines.Parse(d, &c); err != nil {
		return nil, err
	}
	if len(c.cfg.RateLimits) == 0 {
		d.Warnf("rate_limit without a zone limits nothing")
	}
	return u.One(m, "rate_limit", &c.cfg)
}

// reading is a directive that is being read.
type reading struct {
	use *module.Use
	cfg Config
}

// zoneReading is a zone that is being read.
type zoneReading struct {
	use  *module.Use
	zone Zone
}

var one = caddyfile.Exactly(1)

var lines = caddyfile.Options[reading]{
	Unknown: "unrecognized subdirective '%s'",
	Lines: []caddyfile.Option[reading]{
		{Name: "zone", Args: one, Block: true, Set: readZone},
		{Name: "jitter", Args: one, Set: caddyfile.Parsed("invalid jitter percentage '%s': %w",
			func(text string) (float64, error) { return strconv.ParseFloat(text, 64) }, func(c *reading) *float64 { return &c.cfg.Jitter })},
		{Name: "headers", Args: one, Set: func(c *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			c.cfg.Headers = args[0].Text
			if names := []string{draft10, draft06, noHeaders}; c.cfg.Headers != names[0] && c.cfg.Headers != names[1] && c.cfg.Headers != names[2] {
				return args[0].Errf("unrecognized kind of headers '%s'; they are draft-10, draft-06 or off", caddyfile.Shorten(c.cfg.Headers)).Suggest(c.cfg.Headers, names)
			}
			return nil
		}},
		{Name: "log_key", Set: caddyfile.Flag(func(c *reading) *bool { return &c.cfg.LogKey })},
		{Name: "distributed", Block: true, Set: refuse("limits are counted by each process for itself")},
		{Name: "storage", Args: caddyfile.AtLeast(0), Block: true, Set: refuse("it belongs to distributed limits")},
		{Name: "sweep_interval", Args: one, Set: refuse("memory is bounded by max_keys of each zone; remove the line")},
	},
}

func refuse(why string) func(*reading, *caddyfile.Dispenser, []caddyfile.Token) error {
	return func(_ *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		for range args {
			d.Prev()
		}
		return d.Errf("'%s' is not supported yet; %s", d.Val(), why)
	}
}

func readZone(c *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	name := args[0]
	if _, again := c.cfg.RateLimits[name.Text]; again {
		return name.Errf("zone '%s' is there already", caddyfile.Shorten(name.Text))
	}
	z := zoneReading{use: c.use}
	if err := zoneLines.Parse(d, &z); err != nil {
		return err
	}
	if z.zone.Window <= 0 {
		return name.Errf("zone '%s' needs a window of more than 0, such as: window 1m", caddyfile.Shorten(name.Text))
	}
	c.cfg.RateLimits[name.Text] = z.zone
	return nil
}

var zoneLines = caddyfile.Options[zoneReading]{
	Unknown: "unrecognized subdirective '%s'",
	Lines: []caddyfile.Option[zoneReading]{
		{Name: "match", Args: caddyfile.AtLeast(0), Block: true, Set: readMatch},
		{Name: "key", Args: one, Once: "zone key already specified", Set: caddyfile.String(func(z *zoneReading) *string { return &z.zone.Key })},
		{Name: "window", Args: one, Once: "zone window already specified", Set: caddyfile.Duration(func(z *zoneReading) *module.Duration { return &z.zone.Window })},
		{Name: "events", Args: one, Once: "zone max events already specified", Set: count("invalid max events integer '%s': %w", func(z *zoneReading) *int { return &z.zone.MaxEvents })},
		{Name: "max_keys", Args: one, Once: "zone max keys already specified", Set: count("invalid max keys integer '%s': %w", func(z *zoneReading) *int { return &z.zone.MaxKeys })},
	},
}

func count(sentence string, field func(*zoneReading) *int) func(*zoneReading, *caddyfile.Dispenser, []caddyfile.Token) error {
	return caddyfile.Parsed(sentence, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err == nil && n < 0 {
			err = fmt.Errorf("it is less than 0")
		}
		return n, err
	}, field)
}

// readMatch reads a set of matchers; several lines are several sets.
func readMatch(z *zoneReading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	for range args {
		d.Prev()
	}
	node, err := z.use.MatcherSet(d)
	if err != nil {
		return err
	}
	set := map[string]module.Ref[handlers.Matcher]{}
	for name, m := range node.Members() {
		set[name] = module.RefTo[handlers.Matcher](m)
	}
	z.zone.Match = append(z.zone.Match, set)
	return nil
}
