package intercept

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/route"
)

var lines = caddyfile.Options[route.ResponseWords]{Other: (*route.ResponseWords).Line}

// readIntercept: intercept [<matcher>] { @name ...; replace_status ...; handle_response ... }
func readIntercept(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	var w route.ResponseWords
	if err := lines.Parse(d, &w); err != nil {
		return nil, err
	}
	list, err := w.Responses(u)
	if err != nil {
		return nil, err
	}
	return u.One(m, "intercept", &Config{HandleResponse: list})
}
