package adapt

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/tlsadapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

type members = map[string]*config.Node

// assemble makes the document of all sites.
func (r *run) assemble(sites []*site) *config.Node {
	plans := r.servers(sites)
	for _, p := range plans {
		sortSites(p.sites)
		p.options = r.options.serverFor(p.listen)
		p.secured()
	}
	r.nameServers(plans)
	servers := make(members, len(plans))
	for _, p := range plans {
		if len(r.errs) >= maxErrors || r.places.Full() {
			break
		}
		n, err := r.server(p)
		if err != nil {
			r.fail(err)
			continue
		}
		servers[p.name] = n
	}
	if len(sites) > 0 {
		r.fail(r.places.Check(sites[0].keys[0].Token))
	}
	if len(r.errs) > 0 {
		return nil
	}
	apps, err := r.apps(servers, plans)
	if err != nil {
		r.fail(err)
		return nil
	}
	root := members{}
	if len(apps) > 0 {
		root["apps"] = config.NewObject(apps)
	}
	if n := r.logging(plans); n != nil {
		root["logging"] = n
	}
	if n := r.options.adminNode(); n != nil {
		root["admin"] = n
		r.places.PutAt(n, r.options.adminAt)
	}
	if n := r.options.storage; n != nil {
		root["storage"] = n
	}
	return config.NewObject(root)
}

// apps makes the apps.
func (r *run) apps(servers members, plans []*serverPlan) (members, error) {
	apps := members{}
	for name, n := range r.options.apps {
		apps[name] = n
	}
	if len(servers) > 0 {
		apps["http"] = r.httpApp(servers)
	}
	secured := make([]tlsadapt.Server, len(plans))
	for i, p := range plans {
		secured[i] = p.tls
	}
	tls, errs := r.options.tls.App(secured)
	if len(errs) > 0 {
		var all collected
		for _, err := range errs {
			all.add(err)
		}
		return nil, all.err()
	}
	pki, err := r.options.tls.Authorities()
	if err != nil {
		return nil, err
	}
	for name, n := range (members{"tls": tls, "pki": pki}) {
		if n != nil {
			apps[name] = n
		}
	}
	return apps, nil
}

// nameServers gives servers the names that options have for them.
func (r *run) nameServers(plans []*serverPlan) {
	taken := make(map[string]bool, len(plans))
	for _, p := range plans {
		if p.options == nil || p.options.name == "" {
			taken[p.name] = true
		}
	}
	for _, p := range plans {
		if p.options == nil || p.options.name == "" {
			continue
		}
		if p.name = p.options.name; taken[p.name] {
			r.fail(placed(p.options.token, fmt.Errorf("applying global server options: cannot use duplicate server name '%s'", caddyfile.Shorten(p.name))))
		}
		taken[p.name] = true
	}
}

func (r *run) httpApp(servers members) *config.Node {
	app := members{"servers": config.NewObject(servers)}
	for name, n := range r.options.http {
		app[name] = n
	}
	if n := r.options.metricsNode(); n != nil {
		app["metrics"] = n
	}
	n := config.NewObject(app)
	for name, at := range r.options.at {
		r.places.PutMember(n, name, at)
	}
	return n
}

// siteRank is what sites of a server are sorted by.
type siteRank struct {
	copy             siteCopy
	host, pathLength int
	wild             bool
}

// sortSites puts the most specific sites first and those without a host last.
func sortSites(copies []siteCopy) {
	ranks := make([]siteRank, len(copies))
	for i, c := range copies {
		ranks[i] = rankOf(c)
	}
	sort.SliceStable(ranks, func(i, j int) bool {
		a, b := &ranks[i], &ranks[j]
		switch {
		case a.host == 0:
			return false
		case b.host == 0:
			return true
		case a.wild != b.wild:
			return !a.wild
		case a.host == b.host:
			return a.pathLength > b.pathLength
		}
		return a.host > b.host
	})
	for i := range ranks {
		copies[i] = ranks[i].copy
	}
}

func rankOf(c siteCopy) siteRank {
	rank := siteRank{copy: c}
	best := 0
	for i := range c.keys {
		k := &c.keys[i]
		rank.host = max(rank.host, specificity(k.Host))
		if s := specificity(k.Path); s > best {
			best, rank.pathLength = s, len(k.Path)
		}
		rank.wild = rank.wild || k.Host == "" || strings.Contains(k.Host, "*")
	}
	return rank
}

// specificity is how much of a text is fixed.
func specificity(s string) int {
	n := len(s) - strings.Count(s, "*")
	for s != "" {
		from := strings.IndexByte(s, '{')
		if from < 0 {
			break
		}
		to := strings.IndexByte(s[from:], '}')
		if to < 0 {
			break
		}
		n -= to + 1
		s = s[from+to+1:]
	}
	return n
}

// siteRoutes puts the routes of a site into those of a server, behind the
// site's matchers.
func (r *run) siteRoutes(list []module.Route, c siteCopy, routes []module.Route, alone bool) ([]module.Route, error) {
	match := c.matchers()
	for _, m := range match {
		r.places.Put(m, c.keys[0].Token)
	}
	if len(match) == 0 && alone && !slices.ContainsFunc(routes, hasHost) {
		return append(list, routes...), nil
	}
	if len(match) == 0 && len(routes) == 0 {
		return list, nil
	}
	route := module.Route{Match: match, Terminal: true, Token: c.keys[0].Token}
	if len(routes) > 0 {
		u := &module.Use{Assembly: c.site.scope, Token: c.keys[0].Token}
		sub, err := u.Handler("subroute", subroute(u, routes))
		if err != nil {
			return nil, err
		}
		route.Handle = []*config.Node{sub}
	}
	return append(list, route), nil
}

func hasHost(r module.Route) bool {
	return slices.ContainsFunc(r.Match, func(set *config.Node) bool { return set.Get("host") != nil })
}

// matchers are the sets that the keys of a site stand for: one for each path.
func (c *siteCopy) matchers() []*config.Node {
	type pair struct {
		path  string
		hosts []*config.Node
	}
	var pairs []*pair
	byPath := map[string]*pair{}
	seen := map[[2]string]bool{}
	catchAll := false
	for i := range c.keys {
		k := &c.keys[i]
		p := byPath[k.Path]
		if p == nil {
			p = &pair{path: k.Path}
			byPath[k.Path] = p
			pairs = append(pairs, p)
		}
		if k.Host == "" && !catchAll {
			catchAll, p.hosts = true, nil
		}
		if at := [2]string{k.Path, k.Host}; !catchAll && !seen[at] {
			seen[at] = true
			p.hosts = append(p.hosts, config.NewString(k.Host))
		}
	}
	var sets []*config.Node
	for _, p := range pairs {
		m := members{}
		if len(p.hosts) > 0 {
			m["host"] = config.NewArray(p.hosts)
		}
		if p.path != "" {
			m["path"] = config.NewArray([]*config.Node{config.NewString(p.path)})
		}
		if len(m) > 0 {
			sets = append(sets, config.NewObject(m))
		}
	}
	return sets
}

// cloned returns routes for one more place in the document.
func (r *run) cloned(routes []module.Route) []module.Route {
	out := slices.Clone(routes)
	for i := range out {
		out[i].Match, out[i].Handle = r.places.Copies(out[i].Match), r.places.Copies(out[i].Handle)
	}
	return out
}

// sortErrors puts the error routes of a site in order. It does so in place, and
// its comparison contradicts itself, so that the next server of the same site
// gets another order: that is the one existing configs have.
func (p *pile) sortErrors() {
	sort.SliceStable(p.errors, func(i, j int) bool {
		return len(p.errors[i].Match) > 0 || len(p.errors[j].Match) == 0
	})
}
