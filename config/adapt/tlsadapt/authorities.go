package tlsadapt

import (
	"maps"
	"slices"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/places"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/pki"
)

// authority is a certificate authority in the option pki.
type authority struct {
	pki.CA
	at places.Place
}

var one = caddyfile.Exactly(1)

var pkiLines = caddyfile.Options[Options]{Lines: []caddyfile.Option[Options]{
	{Name: "ca", Args: caddyfile.Between(0, 1), Block: true, Set: func(o *Options, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		id, ca := pki.DefaultID, &authority{at: o.Places.Here(d.Token())}
		if len(args) == 1 {
			id = args[0].Text
		}
		o.authorities[id] = ca
		return authorityLines.Parse(d, ca)
	}},
}}

var authorityLines = caddyfile.Options[authority]{Lines: []caddyfile.Option[authority]{
	{Name: "name", Args: one, Set: caddyfile.String(func(a *authority) *string { return &a.Name })},
	{Name: "root_cn", Args: one, Set: caddyfile.String(func(a *authority) *string { return &a.RootCommonName })},
	{Name: "intermediate_cn", Args: one, Set: caddyfile.String(func(a *authority) *string { return &a.IntermediateCommonName })},
	{Name: "intermediate_lifetime", Args: one, Set: caddyfile.Duration(func(a *authority) *module.Duration { return &a.IntermediateLifetime })},
	{Name: "maintenance_interval", Args: one, Set: caddyfile.Duration(func(a *authority) *module.Duration { return &a.MaintenanceInterval })},
	{Name: "renewal_window_ratio", Args: one, Set: func(a *authority, _ *caddyfile.Dispenser, args []caddyfile.Token) (err error) {
		a.RenewalWindowRatio, err = parseRatio(args[0].Text, true)
		return err
	}},
	{Name: "root", Block: true, Set: func(a *authority, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
		a.Root = &pki.KeyPair{}
		return keyPairLines.Parse(d, a.Root)
	}},
	{Name: "intermediate", Block: true, Set: func(a *authority, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
		a.Intermediate = &pki.KeyPair{}
		return keyPairLines.Parse(d, a.Intermediate)
	}},
}}

var keyPairLines = caddyfile.Options[pki.KeyPair]{Lines: []caddyfile.Option[pki.KeyPair]{
	{Name: "cert", Args: one, Set: caddyfile.String(func(p *pki.KeyPair) *string { return &p.Certificate })},
	{Name: "key", Args: one, Set: caddyfile.String(func(p *pki.KeyPair) *string { return &p.PrivateKey })},
	{Name: "format", Args: one, Set: caddyfile.String(func(p *pki.KeyPair) *string { return &p.Format })},
}}

func readPKI(o *Options, _ *module.Use, d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return pkiLines.Parse(d, o)
}

// Need makes sure that a certificate authority exists, which a directive at t is
// about.
func (o *Options) Need(id string, t caddyfile.Token) {
	if o.authorities[id] == nil {
		o.authorities[id] = &authority{at: places.At(t)}
	}
}

// Authorities is the app pki, nil if nothing is said about it.
func (o *Options) Authorities() (*config.Node, error) {
	if o.skipTrust && len(o.authorities) == 0 && !o.off() {
		o.Need(pki.DefaultID, caddyfile.Token{})
	}
	if len(o.authorities) == 0 {
		return nil, nil
	}
	nodes := members{}
	for _, id := range slices.Sorted(maps.Keys(o.authorities)) {
		ca := o.authorities[id]
		if o.skipTrust {
			ca.InstallTrust = new(bool)
		}
		n, err := o.Table.Encode(pki.AppID, &ca.CA)
		if err != nil {
			return nil, err
		}
		o.Places.PutAt(n, ca.at)
		nodes[id] = n
	}
	return config.NewObject(members{"certificate_authorities": config.NewObject(nodes)}), nil
}
