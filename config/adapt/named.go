package adapt

import (
	"slices"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// namedRoutes is the named routes of a file.
type namedRoutes struct {
	groups counter // their own numbers
	routes map[string]*namedRoute
	names  []string
}

type namedRoute struct {
	node    *config.Node
	used    bool
	invoked []module.Invocation
}

// read reads the body of a named route, which is that of a handle block.
func (n *namedRoutes) read(r *run, b *caddyfile.ServerBlock) error {
	seg := expandShorthands(b.Segments[0])
	p := &pile{files: filesOf(b)}
	s := &scope{run: r, groups: &n.groups, pile: p}
	d := r.dispenser(seg)
	d.Next()
	routes, err := s.Block(d, true)
	if err != nil {
		return err
	}
	route := module.Route{Token: seg[0]}
	u := &module.Use{Assembly: s, Token: seg[0]}
	if len(routes) == 1 && len(routes[0].Match) == 0 {
		if len(routes[0].Handle) > 1 {
			// What existing configs get; nothing else would be the same document.
			r.warn(caddyfile.Warning{File: seg[0].File(), Line: int(seg[0].Line), Message: "the named route " + b.Name +
				" has several handlers without a matcher, of which only the first is kept; put them into a route block to keep them all"})
		}
		route.Handle = routes[0].Handle[:min(1, len(routes[0].Handle))]
	} else {
		sub, err := u.Handler("subroute", subroute(u, routes))
		if err != nil {
			return err
		}
		route.Handle = []*config.Node{sub}
	}
	if n.routes == nil {
		n.routes = map[string]*namedRoute{}
	}
	n.routes[b.Name] = &namedRoute{node: u.RouteNodes([]module.Route{route}).Index(0), invoked: p.invoked}
	n.names = append(n.names, b.Name)
	return nil
}

// subroute is the config of a subroute of the routes.
func subroute(u *module.Use, routes []module.Route) any {
	if len(routes) == 0 {
		return nil
	}
	return map[string]any{"routes": u.RouteNodes(routes)}
}

// reach adds the routes that an invocation needs, those that they invoke
// included.
func (n *namedRoutes) reach(inv module.Invocation, into map[string]bool) error {
	if into[inv.Name] {
		return nil
	}
	route := n.routes[inv.Name]
	if route == nil {
		return inv.Token.Errf("cannot invoke named route '%s', which was not defined", caddyfile.Shorten(inv.Name)).Suggest(inv.Name, n.names)
	}
	into[inv.Name] = true
	for _, more := range route.invoked {
		if err := n.reach(more, into); err != nil {
			return err
		}
	}
	return nil
}

// nodes makes the named_routes of a server, nil if its sites invoke none.
func (n *namedRoutes) nodes(r *run, sites []siteCopy) (*config.Node, error) {
	reached := map[string]bool{}
	var errs collected
	for _, c := range sites {
		for _, inv := range c.site.pile.invoked {
			if errs.full() {
				break
			}
			errs.add(n.reach(inv, reached))
		}
	}
	if len(reached) == 0 || errs.err() != nil {
		return nil, errs.err()
	}
	m := make(map[string]*config.Node, len(reached))
	for name := range reached {
		route := n.routes[name]
		m[name] = r.places.Fresh(route.node, &route.used)
	}
	return config.NewObject(m), nil
}

// filesOf lists the files that the tokens of a block come from, sorted.
func filesOf(b *caddyfile.ServerBlock) []string {
	var files []string
	var last *caddyfile.Origin
	see := func(t caddyfile.Token) {
		if t.Origin == last || t.Origin == nil {
			return
		}
		last = t.Origin
		if at, found := slices.BinarySearch(files, t.File()); !found {
			files = slices.Insert(files, at, t.File())
		}
	}
	for _, k := range b.Keys {
		see(k)
	}
	for _, seg := range b.Segments {
		for _, t := range seg {
			see(t)
		}
	}
	return files
}
