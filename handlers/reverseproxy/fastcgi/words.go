package fastcgi

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// words reads the transport where a Caddyfile names it.
func words(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	c := &Config{}
	return c, lines.Parse(d, c)
}

var one = caddyfile.Exactly(1)

// lines is what the block of the transport may hold.
var lines = caddyfile.Options[Config]{Lines: []caddyfile.Option[Config]{
	{Name: "root", Args: one, Set: caddyfile.String(func(c *Config) *string { return &c.Root })},
	{Name: "split", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(c *Config) *[]string { return &c.SplitPath })},
	{Name: "env", Args: caddyfile.Exactly(2), Set: readEnv},
	{Name: "resolve_root_symlink", Set: caddyfile.Flag(func(c *Config) *bool { return &c.ResolveRootSymlink })},
	{Name: "dial_timeout", Args: one, Set: caddyfile.Duration(func(c *Config) *module.Duration { return &c.DialTimeout })},
	{Name: "read_timeout", Args: one, Set: caddyfile.Duration(func(c *Config) *module.Duration { return &c.ReadTimeout })},
	{Name: "write_timeout", Args: one, Set: caddyfile.Duration(func(c *Config) *module.Duration { return &c.WriteTimeout })},
	{Name: "body_spool_size", Args: one, Set: readSpoolSize},
	{Name: "capture_stderr", Set: caddyfile.Flag(func(c *Config) *bool { return &c.CaptureStderr })},
}}

// readSpoolSize reads a size, or -1 for none.
func readSpoolSize(c *Config, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	if args[0].Text == "-1" {
		c.BodySpoolSize = -1
		return nil
	}
	return spoolSize(c, d, args)
}

var spoolSize = caddyfile.Size(func(c *Config) *int64 { return &c.BodySpoolSize })

func readEnv(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	if c.Env == nil {
		c.Env = map[string]string{}
	}
	c.Env[args[0].Text] = args[1].Text
	return nil
}
