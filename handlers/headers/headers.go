// Package headers changes the header fields of requests and responses.
package headers

import (
	"errors"
	"net/http"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/headerops"
	"github.com/sluiceproxy/sluice/handlers/match/respmatch"
	"github.com/sluiceproxy/sluice/schema"
)

// Config is the handler headers.
type Config struct {
	// Request changes the request's fields, before the chain goes on. The host is
	// the field Host.
	Request *headerops.Ops `json:"request,omitempty"`
	// Response changes the response's fields.
	Response *ResponseOps `json:"response,omitempty"`
}

// ResponseOps is operations on a response. They are applied at once, to what is
// set so far, unless they are deferred. Deferred ones are not applied to the
// answer to an error that comes from further down the chain.
type ResponseOps struct {
	headerops.Ops
	// Require limits the operations to responses that match. It implies deferred.
	Require *respmatch.Config `json:"require,omitempty"`
	// Deferred applies the operations when the header is written, so that they
	// have the last word.
	Deferred bool `json:"deferred,omitempty"`
}

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.headers", "Changes header fields of requests and responses.", nil, compile, module.Examples(
		module.Example{Title: "Tell the upstream who asks", JSON: `{"handler": "headers", "request": {"set": {"X-Tenant": ["{http.request.host}"]}, "delete": ["X-Debug-*"]}}`},
		module.Example{Title: "Remove a field, whoever sets it", JSON: `{"handler": "headers", "response": {"delete": ["Server"], "deferred": true}}`},
		module.Example{Title: "Let successful answers be cached", JSON: `{"handler": "headers", "response": {"set": {"Cache-Control": ["max-age=3600"]}, "require": {"status_code": [2]}}}`},
		module.Example{Title: "Rewrite a field", JSON: `{"handler": "headers", "response": {"replace": {"Location": [{"search_regexp": "^http://", "replace": "https://"}]}, "deferred": true}}`},
	), directives())
}

type handler struct {
	request  *headerops.Compiled
	response *headerops.Compiled
	require  *respmatch.Matcher
	deferred bool
}

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{}
	var problems schema.Problems
	note := func(err error, pointer string) {
		var ps schema.Problems
		if errors.As(err, &ps) {
			problems = append(problems, ps.Under(pointer)...)
		}
	}
	var err error
	h.request, err = headerops.Compile(cfg.Request, headerops.Options{})
	note(err, "/request")
	if res := cfg.Response; res != nil {
		h.response, err = headerops.Compile(&res.Ops, headerops.Options{})
		note(err, "/response")
		h.require = respmatch.Compile(res.Require)
		h.deferred = res.Deferred || res.Require != nil
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return h, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	x := handlers.Of(r)
	h.request.ApplyToRequest(r, x)
	switch {
	case h.response == nil:
		return next.ServeHTTP(w, r)
	case !h.deferred:
		h.response.Apply(w.Header(), x)
		return next.ServeHTTP(w, r)
	}
	d := newDeferred(w, h, x)
	if err := next.ServeHTTP(d, r); err != nil {
		d.release()
		return err
	}
	d.finish()
	return nil
}
