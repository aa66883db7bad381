package tlsadapt

import (
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
)

// echBlock is the block of the option ech while it is read.
type echBlock struct {
	use       *module.Use
	providers []*config.Node
}

// echLines is the lines of the block. Each dns is a publication of its own.
var echLines = caddyfile.Options[echBlock]{Lines: []caddyfile.Option[echBlock]{
	{Name: "dns", Args: caddyfile.AtLeast(1), Block: true, Set: func(b *echBlock, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		d.Back(len(args) - 1)
		n, err := b.use.Module(d, dnsproviders.Namespace, dnsproviders.InlineKey)
		b.providers = append(b.providers, n)
		return err
	}},
}}

func readECH(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
	names := d.RemainingArgs()
	if len(names) == 0 {
		return d.ArgErr()
	}
	b := &echBlock{use: u}
	if err := echLines.Parse(d, b); err != nil {
		return err
	}
	configs := make([]*config.Node, len(names))
	for i, name := range names {
		configs[i] = config.NewObject(members{"public_name": config.NewString(name)})
	}
	value := members{"configs": config.NewArray(configs)}
	publications := make([]*config.Node, len(b.providers))
	for i, provider := range b.providers {
		publisher := config.NewObject(members{"provider": provider})
		publications[i] = config.NewObject(members{"configs": config.NewStrings(names), "publishers": config.NewObject(members{"dns": publisher})})
	}
	if len(publications) > 0 {
		value["publication"] = config.NewArray(publications)
	}
	o.ech = names
	o.appField(u, "encrypted_client_hello", config.NewObject(value))
	return nil
}
