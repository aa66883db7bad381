package certstore

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// fileSystemWords reads
//
//	file_system [<root>] {
//		root <root>
//	}
var fileSystemWords = words("root", func() *FileSystemConfig { return &FileSystemConfig{} }, func(c *FileSystemConfig) *string { return &c.Root })

// boltWords reads
//
//	bolt [<path>] {
//		path <path>
//	}
var boltWords = words("path", func() *BoltConfig { return &BoltConfig{} }, func(c *BoltConfig) *string { return &c.Path })

// words is the syntax of a storage that has one setting, which is an argument or
// a line.
func words[C any](name string, fresh func() *C, field func(c *C) *string) module.Syntax {
	lines := caddyfile.Options[C]{Lines: []caddyfile.Option[C]{{
		Name: name, Args: caddyfile.Exactly(1),
		Set: func(c *C, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			if *field(c) != "" {
				return d.Errf("%s already set", name)
			}
			*field(c) = args[0].Text
			return nil
		},
	}}}
	return func(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
		d.Next()
		c := fresh()
		if args := d.RemainingArgs(); len(args) == 1 {
			*field(c) = args[0]
		} else if len(args) > 1 {
			return nil, d.ArgErr()
		}
		return c, lines.Parse(d, c)
	}
}
