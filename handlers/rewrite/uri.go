package rewrite

import (
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/rewriteops"
)

// readURI: uri [<matcher>] <manipulation> <args...>
func readURI(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	kind, err := manipulationOf(d.Token())
	if err != nil {
		return nil, err
	}
	args := d.RemainingArgTokens()
	switch {
	case !kind.Args.Allows(len(args)):
		return nil, d.ArgErr()
	case !kind.Block && d.OpensBlock():
		return nil, unexpectedBlock(d)
	}
	var cfg Config
	if err := kind.Set(&cfg, d, args); err != nil {
		return nil, err
	}
	return u.One(m, "rewrite", &cfg)
}

func manipulationOf(name caddyfile.Token) (*caddyfile.Option[Config], error) {
	for i := range manipulations.Lines {
		if manipulations.Lines[i].Name == name.Text {
			return &manipulations.Lines[i], nil
		}
	}
	return nil, name.Errf("unrecognized URI manipulation '%s'", caddyfile.Shorten(name.Text)).Suggest(name.Text, manipulations.Names())
}

var manipulations = caddyfile.Options[Config]{Lines: []caddyfile.Option[Config]{
	{Name: "strip_prefix", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(c *Config) *string { return &c.StripPathPrefix })},
	{Name: "strip_suffix", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(c *Config) *string { return &c.StripPathSuffix })},
	{Name: "replace", Args: caddyfile.Between(2, 3), Set: readReplace},
	{Name: "path_regexp", Args: caddyfile.Exactly(2), Set: func(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		c.PathRegexp = []rewriteops.Regexp{{Find: args[0].Text, Replace: args[1].Text}}
		return nil
	}},
	{Name: "query", Args: caddyfile.Between(0, 3), Block: true, Set: readQuery},
}}

func readReplace(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	s := rewriteops.Substring{Find: args[0].Text, Replace: args[1].Text}
	if len(args) == 3 {
		n, err := strconv.Atoi(args[2].Text)
		if err != nil {
			return args[2].Errf("limit must be an integer; invalid: %s", caddyfile.Shorten(args[2].Text))
		}
		s.Limit = n
	}
	c.URISubstring = []rewriteops.Substring{s}
	return nil
}

// readQuery reads one operation on the line, or any number in the block.
func readQuery(c *Config, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	c.Query = &rewriteops.Query{}
	if len(args) > 0 {
		if err := queryWords(c.Query, d, args); err != nil {
			return err
		}
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if len(args) > 0 {
			return d.Errf("Cannot specify uri query rewrites in both argument and block")
		}
		words := append([]caddyfile.Token{d.Token()}, d.RemainingArgTokens()...)
		if d.OpensBlock() {
			return unexpectedBlock(d)
		}
		if err := queryWords(c.Query, d, words); err != nil {
			return err
		}
	}
	return nil
}

// queryWords adds the operation of one line: -key, +key value, key>name,
// key search replacement, or key value. The current token is the last of them.
func queryWords(q *rewriteops.Query, d *caddyfile.Dispenser, words []caddyfile.Token) error {
	key, n := words[0].Text, len(words)
	from, to, renames := strings.Cut(key, ">")
	switch {
	case strings.HasPrefix(key, "-"):
		if n != 1 {
			return d.ArgErr()
		}
		q.Delete = append(q.Delete, strings.TrimLeft(key, "-"))
	case strings.HasPrefix(key, "+"):
		if n != 2 {
			return d.ArgErr()
		}
		q.Add = append(q.Add, rewriteops.KeyValue{Key: strings.TrimLeft(key, "+"), Val: words[1].Text})
	case renames:
		if n != 1 {
			return d.ArgErr()
		}
		q.Rename = append(q.Rename, rewriteops.KeyValue{Key: from, Val: to})
	case n == 3:
		q.Replace = append(q.Replace, rewriteops.QueryReplacement{Key: key, SearchRegexp: words[1].Text, Replace: words[2].Text})
	case n == 2:
		q.Set = append(q.Set, rewriteops.KeyValue{Key: key, Val: words[1].Text})
	default:
		return d.ArgErr()
	}
	return nil
}
