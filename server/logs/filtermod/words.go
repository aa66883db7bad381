package filtermod

import (
	"fmt"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/logs/filter"
)

// bare reads a filter without settings.
func bare[C any](_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := new(C)
	_, err := arguments(d, caddyfile.None, &caddyfile.Options[C]{}, cfg)
	return cfg, err
}

// arguments reads a module's arguments, whose number must be allowed, and then
// its block.
func arguments[C any](d *caddyfile.Dispenser, count caddyfile.Count, options *caddyfile.Options[C], cfg *C) ([]caddyfile.Token, error) {
	d.Next()
	name := d.Val()
	args := d.RemainingArgTokens()
	if !count.Allows(len(args)) {
		return nil, d.ArgErr()
	}
	if len(options.Lines) == 0 && options.Other == nil && d.OpensBlock() {
		return nil, d.Errf("malformed %s: blocks are not supported", caddyfile.Shorten(name))
	}
	return args, options.Parse(d, cfg)
}

func renameWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &RenameConfig{}
	args, err := arguments(d, caddyfile.Exactly(1), &caddyfile.Options[RenameConfig]{}, cfg)
	if err == nil {
		cfg.Name = args[0].Text
	}
	return cfg, err
}

func replaceWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &ReplaceConfig{}
	args, err := arguments(d, caddyfile.Exactly(1), &caddyfile.Options[ReplaceConfig]{}, cfg)
	if err == nil {
		cfg.Value = args[0].Text
	}
	return cfg, err
}

var maskLines = caddyfile.Options[MaskConfig]{Lines: []caddyfile.Option[MaskConfig]{
	{Name: "ipv4", Args: caddyfile.Exactly(1), Set: setIPv4},
	{Name: "ipv6", Args: caddyfile.Exactly(1), Set: setIPv6},
}}

var (
	setIPv4 = caddyfile.Int(func(c *MaskConfig) *int { return &c.IPv4 })
	setIPv6 = caddyfile.Int(func(c *MaskConfig) *int { return &c.IPv6 })
)

func maskWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &MaskConfig{}
	d.Next()
	args := d.RemainingArgTokens()
	if len(args) > 2 {
		return nil, d.ArgErr()
	}
	for i, set := range []func(*MaskConfig, *caddyfile.Dispenser, []caddyfile.Token) error{setIPv4, setIPv6} {
		if i < len(args) {
			if err := set(cfg, d, args[i:i+1]); err != nil {
				return nil, args[i].Wrap(err)
			}
		}
	}
	return cfg, maskLines.Parse(d, cfg)
}

// actionLines are the lines of a filter with actions.
func actionLines[C any](add func(c *C, kind, name, value string)) caddyfile.Options[C] {
	line := func(kind string, args int) caddyfile.Option[C] {
		return caddyfile.Option[C]{Name: kind, Args: caddyfile.Exactly(args),
			Set: func(c *C, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
				value := ""
				if len(args) > 1 {
					value = args[1].Text
				}
				add(c, kind, args[0].Text, value)
				return nil
			}}
	}
	return caddyfile.Options[C]{Lines: []caddyfile.Option[C]{line("replace", 2), line("hash", 1), line("delete", 1)}}
}

var queryLines = actionLines(func(c *QueryConfig, kind, name, value string) {
	c.Actions = append(c.Actions, QueryAction{kind, name, value})
})

var cookieLines = actionLines(func(c *CookieConfig, kind, name, value string) {
	c.Actions = append(c.Actions, CookieAction{kind, name, value})
})

func queryWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &QueryConfig{}
	_, err := arguments(d, caddyfile.None, &queryLines, cfg)
	return cfg, err
}

func cookieWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &CookieConfig{}
	_, err := arguments(d, caddyfile.None, &cookieLines, cfg)
	return cfg, err
}

func setCookieWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &SetCookieConfig{}
	_, err := arguments(d, caddyfile.None, &cookieLines, &cfg.CookieConfig)
	return cfg, err
}

func regexpWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &RegexpConfig{}
	args, err := arguments(d, caddyfile.Exactly(2), &caddyfile.Options[RegexpConfig]{}, cfg)
	if err == nil {
		cfg.Regexp, cfg.Value = args[0].Text, args[1].Text
	}
	return cfg, err
}

var multiRegexpLines = caddyfile.Options[MultiRegexpConfig]{Lines: []caddyfile.Option[MultiRegexpConfig]{
	{Name: "regexp", Args: caddyfile.Exactly(2), Set: func(c *MultiRegexpConfig, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		if n := len(args[0].Text); n == 0 || n > maxPattern {
			return fmt.Errorf("the expression has %d bytes; 1 to %d are right", n, maxPattern)
		}
		c.Operations = append(c.Operations, RegexpConfig{args[0].Text, args[1].Text})
		return nil
	}},
}}

func multiRegexpWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &MultiRegexpConfig{}
	if _, err := arguments(d, caddyfile.None, &multiRegexpLines, cfg); err != nil {
		return nil, err
	}
	if n := len(cfg.Operations); n == 0 || n > filter.MaxOperations {
		return nil, d.Errf("multi_regexp has %d operations; 1 to %d are right", n, filter.MaxOperations)
	}
	return cfg, nil
}
