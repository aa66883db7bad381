package encode

import (
	"strconv"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/match/respmatch"
)

const encoders = "http.encoders"

func directives() module.Option {
	return module.Directives(module.Directive{Name: "encode", Read: readEncode})
}

// readEncode: encode [<matcher>] [<formats...>] { ... }
func readEncode(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	formats := d.RemainingArgTokens()
	cfg := Config{Encodings: map[string]module.Ref[*Encoding]{}}
	if err := encodeLines(u).Parse(d, &cfg); err != nil {
		return nil, err
	}
	for _, t := range formats {
		if _, ok := u.Table().Spec(encoders + "." + t.Text); !ok {
			err := t.Errf("finding encoder module 'http.encoders.%s': module not registered: http.encoders.%[1]s", caddyfile.Shorten(t.Text))
			return nil, err.Suggest(t.Text, formatNames())
		}
		cfg.add(t.Text, config.NewObject(nil))
	}
	if len(cfg.Prefer) == 0 {
		cfg.add("zstd", config.NewObject(nil))
		cfg.add("gzip", config.NewObject(nil))
	}
	return u.One(m, "encode", &cfg)
}

// add offers an encoding, in place of one of the same name.
func (c *Config) add(name string, settings *config.Node) {
	c.Encodings[name] = module.RefTo[*Encoding](settings)
	c.Prefer = append(c.Prefer, name)
}

func formatNames() []string { return []string{"gzip", "zstd", "br"} }

// encodeLines is the block of the directive. All names that are not in it are
// those of encoders.
func encodeLines(u *module.Use) *caddyfile.Options[Config] {
	return &caddyfile.Options[Config]{
		Lines: []caddyfile.Option[Config]{
			{Name: "minimum_length", Args: caddyfile.Exactly(1), Set: caddyfile.Int(func(c *Config) *int { return &c.MinimumLength })},
		},
		Other: func(c *Config, d *caddyfile.Dispenser) (bool, error) {
			if d.Val() == "match" {
				return true, c.readMatch(d)
			}
			name := d.Val()
			settings, err := u.Module(d, encoders, "")
			if err != nil {
				return false, err
			}
			c.add(name, settings)
			return true, nil
		},
	}
}

// readMatch: match <response matcher>. The last one counts.
func (c *Config) readMatch(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() == 0 && !d.OpensBlock() {
		return d.ArgErr()
	}
	c.Match = &respmatch.Config{}
	return c.Match.Words(d)
}

// gzipWords: gzip [<level>]
func gzipWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	cfg := &Gzip{}
	args := d.RemainingArgTokens()
	if len(args) > 1 || d.OpensBlock() {
		return nil, d.ArgErr()
	}
	if len(args) == 1 {
		n, err := strconv.Atoi(args[0].Text)
		if err != nil {
			return nil, args[0].Errf("invalid level '%s'; it is a number from 1 to 9", caddyfile.Shorten(args[0].Text))
		}
		cfg.Level = n
	}
	return cfg, nil
}

// zstdWords: zstd [<level>] { level <level>; disable_checksum }
func zstdWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	cfg := &Zstd{}
	args := d.RemainingArgTokens()
	if len(args) > 1 {
		return nil, d.ArgErr()
	}
	if len(args) == 1 {
		if err := cfg.readLevel(d, args); err != nil {
			return nil, err
		}
	}
	if err := zstdLines.Parse(d, cfg); err != nil {
		return nil, err
	}
	return cfg, nil
}

func (c *Zstd) readLevel(_ *caddyfile.Dispenser, args []caddyfile.Token) error {
	if zstdLevelOf(args[0].Text) < 0 || args[0].Text == "" {
		return args[0].Errf("unexpected compression level, use one of %s: '%s'", zstdLevelNames, caddyfile.Shorten(args[0].Text))
	}
	c.Level = args[0].Text
	return nil
}

var zstdLines = caddyfile.Options[Zstd]{
	Unknown: "unrecognized zstd subdirective '%s'",
	Lines: []caddyfile.Option[Zstd]{
		{Name: "level", Args: caddyfile.Exactly(1), Set: (*Zstd).readLevel},
		{Name: "disable_checksum", Args: caddyfile.None, Set: func(c *Zstd, _ *caddyfile.Dispenser, _ []caddyfile.Token) error {
			c.Checksum = new(bool)
			return nil
		}},
	},
}

// brotliWords: br [<quality>]
func brotliWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	cfg := &Brotli{}
	args := d.RemainingArgTokens()
	if len(args) > 1 || d.OpensBlock() {
		return nil, d.ArgErr()
	}
	if len(args) == 1 {
		n, err := strconv.Atoi(args[0].Text)
		if err != nil || n < 0 || n > 11 {
			return nil, args[0].Errf("invalid quality '%s'; it is a number from 0 to 11", caddyfile.Shorten(args[0].Text))
		}
		cfg.Quality = &n
	}
	return cfg, nil
}
