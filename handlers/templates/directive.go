package templates

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// readTemplates: templates [<matcher>] { mime <types...>; between <open> <close>; root <path>; extensions { <module> ... } }
func readTemplates(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if args := d.RemainingArgTokens(); len(args) > 0 {
		d.Warnf("'%s' is ignored: templates takes no arguments", caddyfile.Shorten(args[0].Text))
	}
	c := reading{use: u}
	if err := lines.Parse(d, &c); err != nil {
		return nil, err
	}
	return u.One(m, "templates", &c.cfg)
}

// reading is a directive that is being read.
type reading struct {
	use *module.Use
	cfg Config
}

var lines = caddyfile.Options[reading]{
	Lines: []caddyfile.Option[reading]{
		{Name: "mime", Args: caddyfile.AtLeast(1), Set: func(c *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			c.cfg.MIMETypes = texts(args)
			return nil
		}},
		{Name: "between", Args: caddyfile.Exactly(2), Set: func(c *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			c.cfg.Delimiters = texts(args)
			return nil
		}},
		{Name: "root", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(c *reading) *string { return &c.cfg.FileRoot })},
		{Name: "extensions", Block: true, Set: readExtensions},
	},
	Other: func(_ *reading, d *caddyfile.Dispenser) (bool, error) {
		d.Warnf("'%s' is ignored: templates has no line of this name", caddyfile.Shorten(d.Val()))
		d.NextSegment()
		return true, nil
	},
}

func texts(args []caddyfile.Token) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a.Text
	}
	return out
}

func readExtensions(c *reading, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		n, err := c.use.Module(d, functionsNamespace, "")
		if err != nil {
			return err
		}
		if c.cfg.Match == nil {
			c.cfg.Match = map[string]module.Ref[Functions]{}
		}
		c.cfg.Match[name] = module.RefTo[Functions](n)
	}
	return nil
}
