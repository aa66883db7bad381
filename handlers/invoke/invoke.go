// Package invoke runs a named route of the server.
package invoke

import (
	"fmt"
	"net/http"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
)

// Config is the handler invoke.
type Config struct {
	// Name is the key of the route in the server's named_routes. Matchers, group
	// and terminal of that route apply; if it does not match, or does not end the
	// chain, what stands behind this handler follows.
	Name string `json:"name,omitempty"`
}

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.invoke", "Runs a named route.", nil, compile, module.Examples(
		module.Example{Title: "Run a shared route", JSON: `{"handler": "invoke", "name": "common-headers"}`},
	), module.Directives(module.Directive{Name: "invoke", Read: readInvoke}))
}

type handler struct{ name string }

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) { return &handler{cfg.Name}, nil }

// ServeHTTP implements handlers.Handler. A route that invokes itself without end
// is stopped where it is run, which counts the nesting.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	found, err := handlers.Of(r).Server.NamedRoute(h.name, w, r, next)
	if !found && err == nil {
		return fmt.Errorf("invoke: route '%s' not found", h.name)
	}
	return err
}
