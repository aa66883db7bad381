package invoke

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// readInvoke: invoke [<matcher>] <name>
func readInvoke(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	name := d.Token()
	if d.Next() {
		return nil, d.ArgErr()
	}
	u.Add(module.Invocation{Name: name.Text, Token: name})
	return u.One(m, "invoke", &Config{Name: name.Text})
}
