// Package intercept replaces responses of the handlers behind it: by another
// status, or by what other routes answer.
package intercept

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/route"
)

// Config is the handler intercept.
type Config struct {
	// HandleResponse says what to do with which responses: the first entry that
	// matches counts, and a response without one is passed on as it comes. Routes
	// of an entry see {http.intercept.status_code} and
	// {http.intercept.header.NAME}. What they do not write is that of the
	// original response: header fields, status, and body.
	HandleResponse []route.ResponseConfig `json:"handle_response,omitempty"`
}

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.intercept", "Replaces responses of the handlers behind it.", nil, compile,
		module.Directives(module.Directive{Name: "intercept", Read: readIntercept}),
		module.Examples(
			module.Example{Title: "Hide what went wrong", JSON: `{"handler":"intercept","handle_response":[{"match":{"status_code":[5]},"routes":[{"handle":[{"handler":"static_response","body":"Sorry.","status_code":503}]}]}]}`},
			module.Example{Title: "Change a status", JSON: `{"handler":"intercept","handle_response":[{"match":{"status_code":[404]},"status_code":410}]}`},
		))
}

type handler struct{ responses route.Responses }

func compile(env *module.Env, cfg *Config) (handlers.Handler, error) {
	for i, e := range cfg.HandleResponse {
		at := config.JoinPointer("/handle_response", strconv.Itoa(i), "status_code")
		status := string(e.StatusCode)
		if status == "" || strings.Contains(status, "{") {
			continue
		}
		if n, err := strconv.Atoi(status); err != nil || n != 0 && (n < 200 || n > 999) {
			env.Warn(at, fmt.Sprintf("%q is not a status from 200 to 999: responses that match will have status 500", status))
		} else if e.Routes.Set() {
			env.Warn(at, "it has no effect beside routes")
		}
	}
	return &handler{route.CompileResponses(cfg.HandleResponse)}, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	if len(h.responses) == 0 {
		return next.ServeHTTP(w, r)
	}
	x := handlers.Of(r)
	i := &interceptor{under: w, responses: h.responses, exchange: x}
	defer i.body.close()
	if err := next.ServeHTTP(i, r); err != nil {
		return err
	}
	if i.entry == nil {
		return nil
	}
	setPlaceholders(x, i.status, w.Header())
	// The length is that of the body that may be replaced.
	length := w.Header()["Content-Length"]
	w.Header().Del("Content-Length")
	out := &outcome{ResponseWriter: w}
	if err := i.entry.Routes.Serve(out, r, handlers.NextFunc(func(http.ResponseWriter, *http.Request) error { return nil })); err != nil {
		return err
	}
	if out.hijacked || out.wroteBody {
		return nil
	}
	if !out.wroteHeader {
		if length != nil {
			w.Header()["Content-Length"] = length
		}
		w.WriteHeader(i.status)
	}
	if err := i.body.copyTo(w); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		return handlers.NewError(http.StatusInternalServerError, err)
	}
	return nil
}

const headerPlaceholder = "http.intercept.header."

func setPlaceholders(x *handlers.Exchange, status int, h http.Header) {
	x.Set("http.intercept.status_code", status)
	values := make(map[string]string, len(h))
	for name, lines := range h {
		values[name] = strings.Join(lines, ",")
	}
	x.AddScope(original(values))
}

// original is the header of the response that was intercepted.
type original map[string]string

// Lookup implements vars.Scope.
func (o original) Lookup(name string) (any, bool) {
	field, ok := strings.CutPrefix(name, headerPlaceholder)
	if !ok {
		return nil, false
	}
	value, ok := o[field]
	return value, ok
}
