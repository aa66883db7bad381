package tlsadapt

import (
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// echLines is the block of the option ech.
var echLines = caddyfile.Options[Options]{Lines: []caddyfile.Option[Options]{
	{Name: "dns", Args: caddyfile.AtLeast(1), Block: true, Set: func(_ *Options, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
		return d.Errf("'dns' in ech is not supported yet; publish the keys by other means")
	}},
}}

func readECH(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
	names := d.RemainingArgs()
	if len(names) == 0 {
		return d.ArgErr()
	}
	if err := echLines.Parse(d, o); err != nil {
		return err
	}
	configs := make([]*config.Node, len(names))
	for i, name := range names {
		configs[i] = config.NewObject(members{"public_name": config.NewString(name)})
	}
	o.ech = names
	o.appField(u, "encrypted_client_hello", config.NewObject(members{"configs": config.NewArray(configs)}))
	return nil
}
