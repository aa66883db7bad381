package adapt

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/events"
	"github.com/sluiceproxy/sluice/server/pki"
)

// appReaders is the global options about apps of their own.
var appReaders = map[string]option{
	"pki":                readPKI,
	"skip_install_trust": func(r *run, _ *module.Use, _ *caddyfile.Dispenser) error { r.options.skipTrust = true; return nil },
	"events":             readEvents,
	"filesystem":         readFilesystem,
}

// authority is a certificate authority in the option pki.
type authority struct {
	pki.CA
	at place
}

var one = caddyfile.Exactly(1)

var pkiLines = caddyfile.Options[options]{Lines: []caddyfile.Option[options]{
	{Name: "ca", Args: caddyfile.Between(0, 1), Block: true, Set: func(o *options, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		id, ca := pki.DefaultID, &authority{at: place{token: d.Token()}}
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

func readPKI(r *run, _ *module.Use, d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	err := pkiLines.Parse(d, r.options)
	for _, ca := range r.options.authorities {
		if ca.at.segment == 0 {
			ca.at.segment = r.places.current
		}
	}
	return err
}

// need makes sure that a certificate authority exists.
func (o *options) need(id string, t caddyfile.Token) {
	if o.authorities[id] == nil {
		o.authorities[id] = &authority{at: place{token: t}}
	}
}

// pkiApp is the app pki, nil if nothing is said about it.
func (r *run) pkiApp() (*config.Node, error) {
	o := r.options
	if o.skipTrust && len(o.authorities) == 0 && !slices.Contains(o.autoHTTPS, "off") {
		o.need(pki.DefaultID, caddyfile.Token{})
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
		n, err := r.table.Encode(pki.AppID, &ca.CA)
		if err != nil {
			return nil, err
		}
		r.places.nodes[n] = ca.at
		nodes[id] = n
	}
	return config.NewObject(members{"certificate_authorities": config.NewObject(nodes)}), nil
}

// subscriptions is the block of the option events.
type subscriptions struct {
	use  *module.Use
	list []*config.Node
}

var eventLines = caddyfile.Options[subscriptions]{Unknown: "unrecognized events option '%s'", Lines: []caddyfile.Option[subscriptions]{
	{Name: "on", Args: caddyfile.AtLeast(2), Block: true, Set: func(s *subscriptions, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		name := args[0].Text
		if name == "*" {
			name = ""
		}
		d.Back(len(args) - 2)
		handler, err := s.use.Module(d, events.Namespace, events.InlineKey)
		if err != nil {
			return err
		}
		s.list = append(s.list, config.NewObject(members{"events": stringNodes([]string{name}), "handlers": config.NewArray([]*config.Node{handler})}))
		return nil
	}},
}}

func readEvents(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	s := &subscriptions{use: u}
	if err := eventLines.Parse(d, s); err != nil {
		return err
	}
	if len(s.list) > 0 {
		r.options.apps[events.ID] = config.NewObject(members{"subscriptions": config.NewArray(s.list)})
	}
	return nil
}

func readFilesystem(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	if !d.NextArg() {
		return d.ArgErr()
	}
	backend, err := u.Module(d, "caddy.fs", "backend")
	if err != nil {
		return err
	}
	const app = "caddy.filesystems"
	var list []*config.Node
	for _, n := range r.options.apps[app].Get("filesystems").Elements() {
		list = append(list, n)
	}
	list = append(list, config.NewObject(members{"name": config.NewString(name), "file_system": backend}))
	r.options.apps[app] = config.NewObject(members{"filesystems": config.NewArray(list)})
	return nil
}

func errNoRatio(text string) error {
	return fmt.Errorf("parsing renewal_window_ratio: '%s' is no number", caddyfile.Shorten(text))
}

func errRatio(one bool) error {
	if one {
		return fmt.Errorf("renewal_window_ratio must be above 0 and at most 1")
	}
	return fmt.Errorf("renewal_window_ratio must be between 0 and 1 (exclusive)")
}
