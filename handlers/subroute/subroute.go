// Package subroute runs a list of routes in the place of a handler, and can
// catch the errors of what it runs.
package subroute

import (
	"net/http"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/route"
)

// Config is the handler subroute.
type Config struct {
	// Routes is tried in order; what stands behind the subroute follows them. A
	// terminal route ends the routes around the subroute as well, and groups are
	// those of the whole request.
	Routes module.Ref[*route.List] `json:"routes" module:"=http.routes"`
	// Errors catches errors, also those of handlers and routes that stand behind
	// the subroute. When its routes do not answer, what stands behind the subroute
	// runs, once more if it has already.
	Errors *Errors `json:"errors,omitempty"`
}

// Errors is what to do with an error.
type Errors struct {
	// Routes is tried in order. The placeholders {http.error.*} tell about the
	// error; method and URI of the request are as the failing handler left them.
	Routes module.Ref[*route.List] `json:"routes" module:"=http.routes"`
}

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.subroute", "Runs a list of routes.", nil, compile, module.Examples(
		module.Example{Title: "Group handlers", JSON: `{"handler": "subroute", "routes": [{"handle": [{"handler": "rewrite", "strip_path_prefix": "/a"}]}, {"handle": [{"handler": "static_response", "body": "{http.request.uri}"}]}]}`},
		module.Example{Title: "Catch errors", JSON: `{"handler": "subroute", "routes": [{"handle": [{"handler": "error", "status_code": 422, "error": "not a number"}]}], "errors": {"routes": [{"handle": [{"handler": "static_response", "body": "{http.error.status_code} {http.error.message}"}], "terminal": true}]}}`},
	), directives())
}

type handler struct {
	routes  *route.List
	errors  *route.List
	catches bool
}

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{routes: cfg.Routes.Value(), catches: cfg.Errors != nil}
	if h.catches {
		h.errors = cfg.Errors.Routes.Value()
	}
	return h, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	err := h.routes.Serve(w, r, next)
	if err == nil || !h.catches {
		return err
	}
	x := handlers.Of(r)
	if x.Response != nil && x.Response.Hijacked() {
		return err // nobody to answer to
	}
	x.Fail(err)
	x.End = handlers.NextFunc(handlers.ErrorEnd)
	return h.errors.Serve(w, r, next)
}
