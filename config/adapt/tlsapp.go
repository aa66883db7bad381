package adapt

import (
	"errors"
	"slices"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/policies"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// certificates is the tls app while it is made of all sites.
type certificates struct {
	*run
	list      []*policies.Automation
	catchAll  *policies.Automation
	automate  []string
	internal  []string // of those, the ones that no public authority certifies
	files     []*config.Node
	folders   []string
	loaded    map[*site]bool
	at        map[string]caddyfile.Token // of names
	sites     map[*policies.Automation]siteCopy
	foldersAt place
	errs      collected
}

// tlsApp makes the app tls, nil if there is nothing to say.
func (r *run) tlsApp(plans []*serverPlan) (*config.Node, error) {
	c := &certificates{run: r, loaded: map[*site]bool{}, at: map[string]caddyfile.Token{}, sites: map[*policies.Automation]siteCopy{}}
	o := &r.options.tls
	if o.catchAll() {
		c.catchAll = o.base(r)
		c.list = append(c.list, c.catchAll)
	}
	for _, p := range plans {
		elsewhere := r.hasOtherPort(p.listen)
		for _, copied := range p.sites {
			if c.errs.full() || c.copied > maxCopied {
				break
			}
			c.names(copied)
			if elsewhere && slices.ContainsFunc(copied.keys, func(k address) bool { return k.scheme != "http" }) {
				c.errs.add(c.site(copied))
			}
		}
	}
	if err := c.errs.err(); err != nil {
		return nil, err
	}
	if len(plans) > 0 && len(plans[0].sites) > 0 {
		if err := c.checkSize(plans[0].sites[0].keys[0].token); err != nil {
			return nil, err
		}
	}
	if len(c.internal) > 0 {
		slices.Sort(c.internal)
		c.list = append(c.list, &policies.Automation{Subjects: slices.Compact(c.internal), Issuers: []*config.Node{policies.Issuer("internal")}, Local: true})
	}
	if len(o.ech) > 0 {
		p := o.base(r)
		p.Subjects = o.ech
		c.list = append(c.list, p)
	}
	nodes, err := c.policies()
	if err != nil {
		return nil, err
	}
	return c.app(nodes), nil
}

// names collects what has to be managed though no matcher has it.
func (c *certificates) names(copied siteCopy) {
	var force bool
	for _, t := range copied.site.pile.tls {
		force = force || t.force
	}
	auto := c.options.autoHTTPS
	orphans := slices.ContainsFunc(copied.keys, func(k address) bool { return k.host == "" }) &&
		!slices.Contains(auto, "off") && !slices.Contains(auto, "disable_certs")
	for _, host := range c.managed(copied.keys) {
		if force || orphans {
			c.automate = append(c.automate, host)
		}
		if orphans && !certmagic.SubjectQualifiesForPublicCert(host) {
			c.internal = append(c.internal, host)
		}
	}
}

// site adds the policy of a site.
func (c *certificates) site(copied siteCopy) error {
	s := copied.site
	p := c.options.tls.base(c.run)
	all := hosts(copied.keys) == nil
	if all && c.catchAll != nil {
		p = c.catchAll
	}
	if err := c.settings(p, s, copied.keys[0].token); err != nil {
		return err
	}
	if all && c.catchAll == nil {
		c.catchAll = p
	}
	for i := range copied.keys {
		c.at[copied.keys[i].host] = copied.keys[i].token
	}
	p.Subjects = c.managed(copied.keys)
	c.sites[p] = copied
	c.list = append(c.list, p)
	if len(p.Issuers) == 0 {
		for _, name := range p.Subjects {
			if !policies.Tailscale(name) && !certmagic.SubjectQualifiesForCert(name) {
				return c.at[name].Errf("subject does not qualify for certificate: '%s'", caddyfile.Shorten(name))
			}
		}
		if local := p.Divide(policies.Issuer("internal")); local != nil {
			c.sites[local] = copied
			c.list = append(c.list, local)
		}
	}
	if !c.loaded[s] {
		c.loaded[s] = true
		for _, t := range s.pile.tls {
			c.files, c.folders = append(c.files, t.files...), append(c.folders, t.folders...)
			if len(t.folders) > 0 {
				c.foldersAt = t.at
			}
		}
	}
	return nil
}

// settings applies the tls directives of a site to its policy.
func (c *certificates) settings(p *policies.Automation, s *site, key caddyfile.Token) error {
	var issuers []*config.Node
	keyType, ratio := "", 0.0
	for _, t := range s.pile.tls {
		p.OnDemand, p.ReusePrivateKeys = p.OnDemand || t.onDemand, p.ReusePrivateKeys || t.reuse
		if keyType == "" {
			keyType = t.keyType
		}
		if ratio == 0 {
			ratio = t.ratio
		}
		issuers = append(issuers, t.issuers...)
		p.Managers = append(p.Managers, c.copies(t.managers)...)
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
		p.Issuers = c.copies(issuers)
	}
	if len(s.pile.binds) > 0 && s.pile.binds[0].host != "" {
		for i, n := range p.Issuers {
			if policies.IsACME(n) && n.Get("challenges").Get("bind_host") == nil {
				p.Issuers[i] = c.moved(n, policies.With(n, config.NewString(s.pile.binds[0].host), "challenges", "bind_host"))
			}
		}
	}
	return nil
}

// moved gives a node the place of the one that it was made of.
func (r *run) moved(from, to *config.Node) *config.Node {
	if at, ok := r.places.nodes[from]; ok {
		r.places.nodes[to] = at
	}
	return to
}

// policies makes the automation policies.
func (c *certificates) policies() ([]*config.Node, error) {
	acme := &c.options.tls.acme
	for _, p := range c.list {
		if len(p.Issuers) == 0 && acme.Defaults() && p.AllPublic() {
			p.Issuers = acme.Issuers()
		}
		for i, n := range p.Issuers {
			p.Issuers[i] = c.moved(n, acme.Complete(n))
		}
	}
	merged, err := policies.Merge(c.list)
	if err != nil {
		var twice *policies.AmbiguousError
		if errors.As(err, &twice) {
			return nil, placed(c.at[twice.Subject], err)
		}
		return nil, err
	}
	var nodes []*config.Node
	for _, p := range merged {
		n := p.Node()
		if copied, ok := c.sites[p]; ok {
			c.placePolicy(n, copied)
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// placePolicy says that a policy was written where the first tls directive of a
// site is, or else its first address.
func (c *certificates) placePolicy(n *config.Node, copied siteCopy) {
	key := copied.keys[0].token
	c.places.put(n, key)
	if tls := copied.site.pile.tls; len(tls) > 0 {
		c.places.nodes[n] = tls[0].at
		c.places.putMember(n, "subjects", key)
	}
}

// app puts everything together.
func (c *certificates) app(nodes []*config.Node) *config.Node {
	o := &c.options.tls
	app, automation, loaders := members{}, members{}, members{}
	for name, n := range o.app {
		app[name] = n
	}
	for name, n := range o.automation {
		automation[name] = n
	}
	if len(nodes) > 0 {
		automation["policies"] = config.NewArray(nodes)
	}
	slices.Sort(c.automate)
	if names := slices.Compact(c.automate); len(names) > 0 {
		loaders["automate"] = stringNodes(names)
	}
	if len(c.files) > 0 {
		loaders["load_files"] = config.NewArray(c.files)
	}
	if len(c.folders) > 0 {
		loaders["load_folders"] = stringNodes(c.folders)
		c.places.nodes[loaders["load_folders"]] = c.foldersAt
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
	for name, at := range o.at {
		object := n
		if _, ok := automation[name]; ok {
			object = inner
		}
		c.places.members[member{object, name}] = at
	}
	return n
}
