// Package rewrite changes the method and the URI of requests.
package rewrite

import (
	"net/http"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/rewriteops"
)

// Config is the handler rewrite.
type Config = rewriteops.Config

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.rewrite", "Rewrites the method and the URI of a request.", nil, compile, module.Examples(
		module.Example{Title: "Serve everything from one page", JSON: `{"handler": "rewrite", "uri": "/index.html"}`},
		module.Example{Title: "Take off a prefix", JSON: `{"handler": "rewrite", "strip_path_prefix": "/api"}`},
		module.Example{Title: "Merge slashes", JSON: `{"handler": "rewrite", "path_regexp": [{"find": "/{2,}", "replace": "/"}]}`},
		module.Example{Title: "Change the query", JSON: `{"handler": "rewrite", "query": {"rename": [{"key": "q", "val": "query"}], "delete": ["debug"]}}`},
	), directives())
}

type handler struct{ ops *rewriteops.Compiled }

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) {
	ops, err := rewriteops.Compile(cfg)
	if err != nil {
		return nil, err
	}
	return &handler{ops}, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	h.ops.Apply(r, handlers.Of(r))
	return next.ServeHTTP(w, r)
}
