package setvars

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

func directives() module.Option {
	return module.Directives(
		module.Directive{Name: "vars", Read: readVars},
		module.Directive{Name: "root", Read: readRoot},
		module.Directive{Name: "fs", Read: readFS},
		module.Directive{Name: "log_name", Read: readLogName},
		module.Directive{Name: "log_skip", Read: readLogSkip},
		module.Directive{Name: "skip_log", Now: "log_skip", Read: readLogSkip},
	)
}

// readVars: vars [<matcher>] [<name> <value>] { <name> <value> ... }
func readVars(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	cfg := Config{}
	if d.NextArg() {
		if err := cfg.read(d); err != nil {
			return nil, err
		}
	}
	if err := lines.Parse(d, &cfg); err != nil {
		return nil, err
	}
	if len(cfg) == 0 {
		d.Warnf("vars without a variable changes nothing")
	}
	return u.One(m, "vars", &cfg)
}

// lines of a block are all variables.
var lines = caddyfile.Options[Config]{
	Other: func(c *Config, d *caddyfile.Dispenser) (bool, error) {
		if err := c.read(d); err != nil {
			return false, err
		}
		if d.OpensBlock() {
			d.Next()
			return false, d.ArgErr()
		}
		return true, nil
	},
}

// inlineKey is what the document names the module by, among the variables.
const inlineKey = "handler"

// read takes a variable whose name is the current token.
func (c Config) read(d *caddyfile.Dispenser) error {
	name := d.Token()
	values := d.RemainingArgTokens()
	if len(values) != 1 {
		return d.ArgErr()
	}
	if name.Text == inlineKey {
		return name.Errf("a variable cannot be named '%s', which is the document's word for the module; choose another name", inlineKey)
	}
	v, err := values[0].Scalar()
	if err != nil {
		return err
	}
	c[name.Text] = v
	return nil
}

// readRoot: root [<matcher>] <path>
func readRoot(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	args := d.RemainingArgTokens()
	var m module.Match
	switch {
	case len(args) == 0:
		return nil, d.Errf("too few arguments; root needs a path")
	case len(args) > 2:
		return nil, args[2].Errf("too many arguments; should only be a matcher and a path")
	case d.OpensBlock():
		d.Next()
		return nil, d.ArgErr()
	case len(args) == 2 && !module.IsMatcher(args[0].Text):
		d.WarnAt(args[1], "'%s' is ignored: of two arguments of root the first is a matcher: *, a path that begins with / or a name that begins with @", caddyfile.Shorten(args[1].Text))
		args = args[:1]
	case len(args) == 2:
		var err error
		if m, err = u.MatchOf(args[0]); err != nil {
			return nil, err
		}
	}
	return u.One(m, "vars", &Config{"root": args[len(args)-1].Text})
}

// readFS: fs [<matcher>] <name>
func readFS(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	var name string
	if !d.AllArgs(&name) {
		return nil, d.ArgErr()
	}
	return u.One(m, "vars", &Config{"fs": name})
}

// readLogName: log_name [<matcher>] <names...>
func readLogName(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	names := d.RemainingArgs()
	if d.OpensBlock() {
		d.Next()
		return nil, d.ArgErr()
	}
	cfg := Config{"access_logger_names": names}
	if len(names) == 0 {
		d.Warnf("log_name without names has no effect")
	}
	return u.One(m, "vars", &cfg)
}

// readLogSkip: log_skip [<matcher>]
func readLogSkip(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	switch {
	case err != nil:
		return nil, err
	case d.NextArg():
		return nil, d.ArgErr()
	case d.OpensBlock():
		return nil, u.Token.Errf("log_skip directive does not accept blocks")
	}
	return u.One(m, "vars", &Config{"log_skip": true})
}
