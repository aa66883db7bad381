// Package route runs lists of routes. A list is compiled with an index over
// hosts and paths, shares everything unchanged with the list before it, and is
// walked by a cursor rather than by nested closures, so that one changed route
// does not change those before it.
package route

import (
	"net/http"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
)

// Config is one route.
type Config struct {
	// Group makes routes exclude each other: of the routes with the same group
	// only the first that matches runs, wherever in the request's way they
	// stand. Empty means no group.
	Group string `json:"group"`
	// Match is a list of matcher sets: the route is taken if any set matches,
	// and a set matches if all its matchers do. Without sets it always matches.
	Match []map[string]module.Ref[handlers.Matcher] `json:"match" module:"http.matchers" keyed:"true"`
	// Handle is the chain of handlers that run, in this order.
	Handle []module.Ref[handlers.Handler] `json:"handle" module:"http.handlers" inline:"handler"`
	// Terminal ends the routing with this route: no later route runs, neither
	// in this list nor in the lists around it.
	Terminal bool `json:"terminal"`
}

// Module IDs of routes and of lists of them, for slots that name them.
const (
	RouteID = "http.route"
	ListID  = "http.routes"
)

// Specs describes routes and route lists.
func Specs() []module.Spec {
	return []module.Spec{
		module.New(RouteID, "One route: matchers, and the handlers that run if they match.", nil, compile),
		module.NewList(ListID, "A list of routes, tried in order.", RouteID, (*List).update),
	}
}

// Route is a compiled route. It does not know where it stands.
type Route struct {
	group    string
	terminal bool
	sets     []matcherSet
	handlers []handlers.Handler
	names    []string
	nodes    []*config.Node
	keys     []key
}

// matcherSet is matchers that must all match, in an order that does not vary.
type matcherSet []handlers.Matcher

func compile(_ *module.Env, c *Config) (*Route, error) {
	r := &Route{group: c.Group, terminal: c.Terminal}
	for _, set := range c.Match {
		r.sets = append(r.sets, orderSet(set))
	}
	r.handlers = make([]handlers.Handler, len(c.Handle))
	r.names = make([]string, len(c.Handle))
	r.nodes = make([]*config.Node, len(c.Handle))
	for i, h := range c.Handle {
		r.handlers[i], r.names[i], r.nodes[i] = h.Value(), h.Name(), h.Node()
	}
	r.keys = keysOf(r.sets)
	return r, nil
}

// Of returns a route without matchers that runs one handler. It is no route of a
// document.
func Of(h handlers.Handler) *Route {
	return &Route{handlers: []handlers.Handler{h}, names: []string{""}, nodes: []*config.Node{nil}, keys: keysOf(nil)}
}

// Match reports whether the route's matchers admit the request.
func (r *Route) Match(req *http.Request) (bool, error) {
	if len(r.sets) == 0 {
		return true, nil
	}
	for _, set := range r.sets {
		if ok, err := set.match(req); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (s matcherSet) match(req *http.Request) (bool, error) {
	for _, m := range s {
		if ok, err := m.Match(req); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// Handler is the module name of the route's first handler, "" if it has none.
func (r *Route) Handler() string {
	if len(r.names) == 0 {
		return ""
	}
	return r.names[0]
}

// Serve runs this route alone, as `invoke` does with a named one: matchers,
// group and terminal apply, and next follows.
func (r *Route) Serve(w http.ResponseWriter, req *http.Request, next handlers.Next) error {
	return (&List{single: &entry{route: r}}).Serve(w, req, next)
}
