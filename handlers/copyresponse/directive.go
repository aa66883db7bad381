package copyresponse

import (
	"strconv"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

var copyLines = caddyfile.Options[Config]{Lines: []caddyfile.Option[Config]{
	{Name: "status", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(c *Config) *module.WeakString { return &c.StatusCode })},
}}

var headerLines = caddyfile.Options[HeadersConfig]{Lines: []caddyfile.Option[HeadersConfig]{
	{Name: "include", Args: caddyfile.AtLeast(0), Set: caddyfile.Strings(func(c *HeadersConfig) *[]string { return &c.Include })},
	{Name: "exclude", Args: caddyfile.AtLeast(0), Set: caddyfile.Strings(func(c *HeadersConfig) *[]string { return &c.Exclude })},
}}

// readCopy: copy_response [<matcher>] [<status>] { status <status> }
func readCopy(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	var c Config
	switch args := d.RemainingArgTokens(); {
	case len(args) > 1:
		return nil, d.ArgErr()
	case len(args) == 1:
		if n, err := strconv.Atoi(args[0].Text); err == nil && n > 0 {
			c.StatusCode = module.WeakString(args[0].Text)
		} else {
			return nil, args[0].Errf("'%s' is not a status", caddyfile.Shorten(args[0].Text))
		}
	}
	if err := copyLines.Parse(d, &c); err != nil {
		return nil, err
	}
	return u.One(m, "copy_response", &c)
}

// readHeaders: copy_response_headers [<matcher>] { include <fields...>; exclude <fields...> }
func readHeaders(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	var c HeadersConfig
	if err := headerLines.Parse(d, &c); err != nil {
		return nil, err
	}
	return u.One(m, "copy_response_headers", &c)
}
