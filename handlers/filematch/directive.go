package filematch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

func directives() module.Option {
	return module.Directives(module.Directive{Name: "try_files", Read: readTryFiles})
}

// words: file [<files...>] [{ root ..., try_files ..., try_policy ..., split_path ... }]
func words(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	var cfg Config
	for d.Next() {
		for _, t := range d.RemainingArgTokens() {
			cfg.TryFiles = append(cfg.TryFiles, t.Text)
		}
		if err := lines.Parse(d, &cfg); err != nil {
			return nil, err
		}
	}
	return &cfg, nil
}

var lines = caddyfile.Options[Config]{
	Unknown: "unrecognized subdirective: %s",
	Lines: []caddyfile.Option[Config]{
		{Name: "root", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(c *Config) *string { return &c.Root })},
		{Name: "try_files", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(c *Config) *[]string { return &c.TryFiles })},
		{Name: "try_policy", Args: caddyfile.Exactly(1), Set: setPolicy},
		{Name: "split_path", Args: caddyfile.AtLeast(1), Set: func(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			c.SplitPath = nil
			for _, a := range args {
				c.SplitPath = append(c.SplitPath, a.Text)
			}
			return nil
		}},
	},
}

func setPolicy(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	p := args[0]
	if !slices.Contains(policies, p.Text) {
		return p.Errf("unrecognized try policy: %s", caddyfile.Shorten(p.Text)).Suggest(p.Text, policies)
	}
	c.TryPolicy = p.Text
	return nil
}

// readTryFiles: try_files <files...> [{ policy <p> }]
func readTryFiles(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	entries := d.RemainingArgs()
	if len(entries) == 0 {
		return nil, d.ArgErr()
	}
	var cfg Config
	if err := tryLines.Parse(d, &cfg); err != nil {
		return nil, err
	}
	var routes []module.Route
	for len(entries) > 0 {
		// Those without a query are tried together.
		n := slices.IndexFunc(entries, func(e string) bool { return strings.Contains(e, "?") })
		files, query := entries, ""
		switch {
		case n == 0:
			n = 1
			file, rest, _ := strings.Cut(entries[0], "?")
			files, query = []string{file}, "?"+rest
		case n > 0:
			files = entries[:n]
		default:
			n = len(entries)
		}
		entries = entries[n:]
		r, err := rewriteTo(u, &Config{TryFiles: files, TryPolicy: cfg.TryPolicy}, query)
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	group := ""
	if len(routes) > 1 {
		group = u.Group()
	}
	out := make([]any, len(routes))
	for i, r := range routes {
		r.Group = group
		out[i] = r
	}
	return out, nil
}

// rewriteTo makes a route that rewrites to the file that a matcher finds.
func rewriteTo(u *module.Use, cfg *Config, query string) (module.Route, error) {
	match, err := u.Table().Encode("http.matchers.file", cfg)
	if err != nil {
		return module.Route{}, fmt.Errorf("writing the matcher of try_files: %w", err)
	}
	handler, err := u.Handler("rewrite", config.NewObject(map[string]*config.Node{"uri": config.NewString("{http.matchers.file.relative}" + query)}))
	if err != nil {
		return module.Route{}, err
	}
	return module.Route{
		Match:  []*config.Node{config.NewObject(map[string]*config.Node{"file": match})},
		Handle: []*config.Node{handler},
		Token:  u.Token,
	}, nil
}

// tryLines are the lines of the directive. Others do nothing.
var tryLines = caddyfile.Options[Config]{
	Lines: []caddyfile.Option[Config]{{Name: "policy", Args: caddyfile.Exactly(1), Set: setPolicy}},
	Other: func(_ *Config, d *caddyfile.Dispenser) (bool, error) {
		d.Warnf("'%s' is ignored: the block of try_files has only policy", caddyfile.Shorten(d.Val()))
		d.NextSegment()
		return true, nil
	},
}
