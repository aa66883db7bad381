package subroute

import (
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/rewriteops"
	"github.com/sluiceproxy/sluice/handlers/route"
)

func directives() module.Option {
	return module.Directives(
		module.Directive{Name: "handle", Read: readHandle},
		module.Directive{Name: "handle_path", Read: readHandlePath},
		module.Directive{Name: "route", Read: readRoute},
	)
}

// readHandle: handle [<matcher>] { <directives> }
func readHandle(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	return readBlock(u, d, true)
}

// readRoute: route [<matcher>] { <directives> }
func readRoute(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	return readBlock(u, d, false)
}

func readBlock(u *module.Use, d *caddyfile.Dispenser, ordered bool) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	routes, err := u.Block(d, ordered)
	if err != nil {
		return nil, err
	}
	return subrouteOf(u, m, routes)
}

func subrouteOf(u *module.Use, m module.Match, routes []module.Route) ([]any, error) {
	var cfg Config
	if len(routes) > 0 {
		cfg.Routes = module.RefTo[*route.List](u.RouteNodes(routes))
	}
	return u.One(m, "subroute", &cfg)
}

// readHandlePath: handle_path <path> { <directives> }
func readHandlePath(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	path := d.Token()
	if !strings.HasPrefix(path.Text, "/") {
		return nil, path.Errf("path matcher must begin with '/', got %s", caddyfile.Shorten(path.Text))
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	m, err := u.MatchOf(path)
	if err != nil {
		return nil, err
	}
	routes, err := u.Block(d, true)
	if err != nil {
		return nil, err
	}
	strip, err := u.Handler("rewrite", &rewriteops.Config{StripPathPrefix: prefixOf(path.Text)})
	if err != nil {
		return nil, err
	}
	first := module.Route{Handle: []*config.Node{strip}, Token: u.Token}
	return subrouteOf(u, m, append([]module.Route{first}, routes...))
}

// prefixOf is what a path matcher stands for without its wildcard.
func prefixOf(path string) string {
	if prefix, ok := strings.CutSuffix(path, "/*"); ok {
		return prefix
	}
	return strings.TrimSuffix(path, "*")
}
