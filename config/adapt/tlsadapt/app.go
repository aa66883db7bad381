package tlsadapt

import (
	"errors"
	"slices"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/address"
	"github.com/sluiceproxy/sluice/config/adapt/places"
	"github.com/sluiceproxy/sluice/config/adapt/policies"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// certificates is the tls app while it is made of all sites.
type certificates struct {
	*Options
	list      []*policies.Automation
	catchAll  *policies.Automation
	automate  []string
	internal  []string // of those, the ones that no public authority certifies
	files     []*config.Node
	folders   []string
	loaded    map[*Site]bool
	names     map[string]caddyfile.Token // where they were written
	sites     map[*policies.Automation]Part
	foldersAt places.Place
	errs      []error
}

// App makes the app tls of all servers, nil if there is nothing to say.
func (o *Options) App(servers []Server) (*config.Node, []error) {
	c := &certificates{Options: o, loaded: map[*Site]bool{}, names: map[string]caddyfile.Token{}, sites: map[*policies.Automation]Part{}}
	if o.catchAll() {
		c.catchAll = o.base()
		c.list = append(c.list, c.catchAll)
	}
	for i := range servers {
		c.server(&servers[i])
	}
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	if len(servers) > 0 && len(servers[0].Parts) > 0 {
		if err := o.Places.Check(servers[0].Parts[0].Keys[0].Token); err != nil {
			return nil, []error{err}
		}
	}
	if len(c.internal) > 0 {
		slices.Sort(c.internal)
		c.list = append(c.list, &policies.Automation{Subjects: slices.Compact(c.internal), Issuers: []*config.Node{policies.Issuer("internal")}, Local: true})
	}
	if len(o.ech) > 0 {
		p := o.base()
		p.Subjects = o.ech
		c.list = append(c.list, p)
	}
	nodes, err := c.policies()
	if err != nil {
		return nil, []error{err}
	}
	return c.assemble(nodes), nil
}

// server adds the sites of a server.
func (c *certificates) server(s *Server) {
	elsewhere := c.hasOtherPort(s.Listen)
	for _, part := range s.Parts {
		if len(c.errs) >= maxErrors || c.Places.Full() {
			return
		}
		c.manage(part)
		if elsewhere && slices.ContainsFunc(part.Keys, func(k address.Address) bool { return k.Scheme != "http" }) {
			if err := c.site(part); err != nil {
				c.errs = append(c.errs, err)
			}
		}
	}
}

// manage collects what has to be managed though no matcher has it.
func (c *certificates) manage(part Part) {
	var force bool
	for _, t := range part.Directives {
		force = force || t.force
	}
	orphans := slices.ContainsFunc(part.Keys, func(k address.Address) bool { return k.Host == "" }) &&
		!c.off() && !slices.Contains(c.automatic, "disable_certs")
	for _, host := range c.managed(part.Keys) {
		if force || orphans {
			c.automate = append(c.automate, host)
		}
		if orphans && !certmagic.SubjectQualifiesForPublicCert(host) {
			c.internal = append(c.internal, host)
		}
	}
}

// site adds the policy of a site.
func (c *certificates) site(part Part) error {
	s := part.Site
	p := c.base()
	all := address.Hosts(part.Keys) == nil
	if all && c.catchAll != nil {
		p = c.catchAll
	}
	if err := c.settings(p, s, part.Keys[0].Token); err != nil {
		return err
	}
	if all && c.catchAll == nil {
		c.catchAll = p
	}
	for i := range part.Keys {
		c.names[part.Keys[i].Host] = part.Keys[i].Token
	}
	p.Subjects = c.managed(part.Keys)
	c.sites[p] = part
	c.list = append(c.list, p)
	if len(p.Issuers) == 0 {
		for _, name := range p.Subjects {
			if !policies.Tailscale(name) && !certmagic.SubjectQualifiesForCert(name) {
				return c.names[name].Errf("subject does not qualify for certificate: '%s'", caddyfile.Shorten(name))
			}
		}
		if local := p.Divide(policies.Issuer("internal")); local != nil {
			c.sites[local] = part
			c.list = append(c.list, local)
		}
	}
	if !c.loaded[s] {
		c.loaded[s] = true
		for _, t := range s.Directives {
			c.files, c.folders = append(c.files, t.files...), append(c.folders, t.folders...)
			if len(t.folders) > 0 {
				c.foldersAt = t.at
			}
		}
	}
	return nil
}

// settings applies the tls directives of a site to its policy.
func (c *certificates) settings(p *policies.Automation, s *Site, key caddyfile.Token) error {
	var issuers []*config.Node
	keyType, ratio := "", 0.0
	for _, t := range s.Directives {
		p.OnDemand, p.ReusePrivateKeys = p.OnDemand || t.onDemand, p.ReusePrivateKeys || t.reuse
		if keyType == "" {
			keyType = t.keyType
		}
		if ratio == 0 {
			ratio = t.ratio
		}
		issuers = append(issuers, t.issuers...)
		p.Managers = append(p.Managers, c.Places.Copies(t.managers)...)
	}
	if keyType != "" {
		p.KeyType = keyType
	}
	if ratio != 0 {
		p.RenewalWindowRatio = ratio
	}
	if len(issuers) > 0 {
		if p == c.catchAll && !slices.EqualFunc(p.Issuers, issuers, config.Equal) {
			return key.Errf("automation policy from site block is also default/catch-all policy because of key without hostname, and the two are in conflict: their issuers differ; give one of the two a host name")
		}
		p.Issuers = c.Places.Copies(issuers)
	}
	if s.BindHost != "" {
		for i, n := range p.Issuers {
			if policies.IsACME(n) && n.Get("challenges").Get("bind_host") == nil {
				p.Issuers[i] = c.Places.Moved(n, policies.With(n, config.NewString(s.BindHost), "challenges", "bind_host"))
			}
		}
	}
	return nil
}

// policies makes the automation policies.
func (c *certificates) policies() ([]*config.Node, error) {
	for _, p := range c.list {
		if len(p.Issuers) == 0 && c.acme.Defaults() && p.AllPublic() {
			p.Issuers = c.acme.Issuers()
		}
		for i, n := range p.Issuers {
			p.Issuers[i] = c.Places.Moved(n, c.acme.Complete(n))
		}
	}
	merged, err := policies.Merge(c.list)
	if err != nil {
		var twice *policies.AmbiguousError
		if errors.As(err, &twice) {
			return nil, c.names[twice.Subject].Wrap(err)
		}
		return nil, err
	}
	var nodes []*config.Node
	for _, p := range merged {
		n := p.Node()
		if part, ok := c.sites[p]; ok {
			c.placePolicy(n, part)
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// placePolicy says that a policy was written where the first tls directive of a
// site is, or else its first address.
func (c *certificates) placePolicy(n *config.Node, part Part) {
	key := part.Keys[0].Token
	c.Places.Put(n, key)
	if tls := part.Directives; len(tls) > 0 {
		c.Places.PutAt(n, tls[0].at)
		c.Places.PutMember(n, "subjects", places.At(key))
	}
}

// assemble puts everything together.
func (c *certificates) assemble(nodes []*config.Node) *config.Node {
	app, automation, loaders := members{}, members{}, members{}
	for name, n := range c.app {
		app[name] = n
	}
	for name, n := range c.automation {
		automation[name] = n
	}
	if len(nodes) > 0 {
		automation["policies"] = config.NewArray(nodes)
	}
	slices.Sort(c.automate)
	if names := slices.Compact(c.automate); len(names) > 0 {
		loaders["automate"] = config.NewStrings(names)
	}
	if len(c.files) > 0 {
		loaders["load_files"] = config.NewArray(c.files)
	}
	if len(c.folders) > 0 {
		loaders["load_folders"] = config.NewStrings(c.folders)
		c.Places.PutAt(loaders["load_folders"], c.foldersAt)
	}
	var inner *config.Node
	if len(automation) > 0 {
		inner = config.NewObject(automation)
		app["automation"] = inner
	}
	if len(loaders) > 0 {
		app["certificates"] = config.NewObject(loaders)
	}
	if len(app) == 0 {
		return nil
	}
	n := config.NewObject(app)
	for name, at := range c.at {
		object := n
		if _, ok := automation[name]; ok {
			object = inner
		}
		c.Places.PutMember(object, name, at)
	}
	return n
}
