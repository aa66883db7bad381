package adapt

import (
	"maps"
	"net"
	"slices"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/address"
	"github.com/sluiceproxy/sluice/config/adapt/places"
	"github.com/sluiceproxy/sluice/config/module"
)

// server makes the node of one server.
func (r *run) server(p *serverPlan) (*config.Node, error) {
	m := members{}
	secure, err := r.options.tls.Secure(&p.tls)
	if err != nil {
		return nil, err
	}
	routes, failures, err := r.routesOf(p)
	if err != nil {
		return nil, err
	}
	if len(p.sites) > 0 {
		listen := config.NewStrings(p.listen)
		r.places.Put(listen, p.sites[0].keys[0].Token)
		m["listen"] = listen
		u := &module.Use{Assembly: p.sites[0].site.scope}
		if len(routes) > 0 {
			m["routes"] = u.RouteNodes(routes)
		}
		if len(failures) > 0 {
			m["errors"] = config.NewObject(members{"routes": u.RouteNodes(failures)})
		}
		if m["named_routes"], err = r.named.nodes(r, p.sites); err != nil {
			return nil, err
		}
	}
	if p.protocols != nil {
		m["listen_protocols"] = protocolNodes(p.protocols)
	}
	maps.Copy(m, secure)
	logs := r.serverLogs(p)
	if p.options != nil {
		for name, n := range p.options.fields {
			m[name] = r.places.Copy(n)
		}
		logs = p.options.logs(logs)
	}
	if logs != nil {
		m["logs"] = config.NewObject(logs)
		r.placeLogs(m["logs"], p)
	}
	for name, n := range m {
		if n == nil {
			delete(m, name)
		}
	}
	n := config.NewObject(m)
	if len(p.sites) > 0 {
		r.places.Put(n, p.sites[0].keys[0].Token)
	}
	if p.options != nil {
		for name, t := range p.options.at {
			r.places.PutMember(n, name, places.At(t))
		}
	}
	return n, nil
}

func protocolNodes(lists [][]string) *config.Node {
	nodes := make([]*config.Node, len(lists))
	for i, l := range lists {
		if l != nil {
			nodes[i] = config.NewStrings(l)
		}
	}
	return config.NewArray(nodes)
}

// routesOf are the routes and the error routes of a server.
func (r *run) routesOf(p *serverPlan) (routes, failures []module.Route, err error) {
	var errs collected
	for _, c := range p.sites {
		s := c.site
		if !s.used {
			s.scope.sort(s.pile.routes)
		}
		own := s.scope.build(s.pile.routes, false)
		s.pile.sortErrors()
		onError := s.pile.errors
		if s.used {
			own, onError = r.cloned(own), r.cloned(onError)
		}
		s.used = true
		alone := len(p.sites) == 1
		if routes, err = r.siteRoutes(routes, c, own, alone); err != nil {
			errs.add(err)
		}
		if len(onError) > 0 {
			if failures, err = r.siteRoutes(failures, c, onError, alone); err != nil {
				errs.add(err)
			}
		}
	}
	// Existing configs have error routes side by side.
	return consolidate(routes), failures, errs.err()
}

// serverLogs says which loggers get the access logs of which hosts.
func (r *run) serverLogs(p *serverPlan) members {
	if !slices.ContainsFunc(p.sites, func(c siteCopy) bool { return len(c.site.pile.logs) > 0 }) {
		return nil
	}
	names := map[string][]string{}
	m := members{}
	var skip []string
	for _, c := range p.sites {
		if len(c.site.pile.logs) == 0 {
			if address.Hosts(c.keys) == nil {
				m["skip_unmapped_hosts"] = config.NewBool(true)
			}
			skip = append(skip, skippedHosts(c.keys)...)
			continue
		}
		for _, l := range c.site.pile.logs {
			switch list := address.Hosts(c.keys); {
			case l.noHostname:
			case len(l.hostnames) > 0:
				for _, h := range l.hostnames {
					names[withoutPort(h)] = append(names[withoutPort(h)], l.name)
				}
			case list == nil:
				if l.name != "" {
					m["default_logger_name"] = config.NewString(l.name)
				} else {
					delete(m, "default_logger_name")
				}
			default:
				for _, h := range list {
					names[h] = append(names[h], l.name)
				}
			}
		}
	}
	if len(names) > 0 {
		hosts := make(members, len(names))
		for h, list := range names {
			hosts[h] = config.NewStrings(list)
		}
		m["logger_names"] = config.NewObject(hosts)
	}
	if len(skip) > 0 {
		slices.Sort(skip)
		m["skip_hosts"] = config.NewStrings(skip)
	}
	return m
}

// placeLogs says that the logs of a server were written where its first log
// directive is.
func (r *run) placeLogs(n *config.Node, p *serverPlan) {
	for _, c := range p.sites {
		if len(c.site.pile.logs) > 0 {
			r.places.Put(n, c.site.pile.logs[0].token)
			return
		}
	}
	r.places.Put(n, p.options.token)
}

func withoutPort(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}

// skippedHosts are the different hosts of a site that is not logged.
func skippedHosts(keys []address.Address) []string {
	var out []string
	seen := map[string]bool{}
	for i := range keys {
		k := &keys[i]
		host := k.Host
		if k.Port != "" && k.Port != "80" && k.Port != "443" {
			host = net.JoinHostPort(k.Host, k.Port)
		}
		if k.Host != "" && !seen[host] {
			seen[host] = true
			out = append(out, host)
		}
	}
	return out
}

// logging makes the loggers of options and of the sites that are served. Of two
// with one name the last in the order of servers counts.
func (r *run) logging(plans []*serverPlan) *config.Node {
	loggers := map[string]*logger{}
	for i := range r.options.logs {
		l := &r.options.logs[i]
		loggers[l.name] = &logger{node: l.node}
	}
	for _, p := range plans {
		for _, c := range p.sites {
			for i := range c.site.pile.logs {
				if l := &c.site.pile.logs[i]; l.node != nil {
					loggers[l.name] = &logger{node: l.node, include: []string{"http.log.access." + l.name}}
				}
			}
		}
	}
	return r.options.loggingNode(r, loggers)
}

// logger is an entry of logging.logs.
type logger struct {
	node    *config.Node
	include []string // besides what the node includes
}
