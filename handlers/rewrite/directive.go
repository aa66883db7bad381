package rewrite

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

func directives() module.Option {
	return module.Directives(
		module.Directive{Name: "method", Read: readMethod},
		module.Directive{Name: "rewrite", Read: readRewrite},
		module.Directive{Name: "uri", Read: readURI},
	)
}

// readRewrite: rewrite [<matcher>] <to>
func readRewrite(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	args := d.RemainingArgTokens()
	var m module.Match
	switch {
	case len(args) == 0:
		return nil, d.Errf("too few arguments; rewrite needs a URI")
	case len(args) > 2:
		return nil, args[2].Errf("too many arguments; should only be a matcher and a URI")
	case d.OpensBlock():
		return nil, unexpectedBlock(d)
	case len(args) == 2 && !module.IsMatcher(args[0].Text):
		d.WarnAt(args[1], "'%s' is ignored: of two arguments of rewrite the first is a matcher: *, a path that begins with / or a name that begins with @", caddyfile.Shorten(args[1].Text))
		args = args[:1]
	case len(args) == 2:
		var err error
		if m, err = u.MatchOf(args[0]); err != nil {
			return nil, err
		}
	}
	return u.One(m, "rewrite", &Config{URI: args[len(args)-1].Text})
}

// readMethod: method [<matcher>] <method>
func readMethod(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	cfg := Config{Method: d.Val()}
	if d.Next() {
		return nil, d.ArgErr()
	}
	return u.One(m, "rewrite", &cfg)
}

func unexpectedBlock(d *caddyfile.Dispenser) error {
	d.Next()
	return d.ArgErr()
}
