// Package copyresponse takes over what an upstream has answered, in routes that
// a proxy runs instead of passing the answer on: all of it, or header fields.
package copyresponse

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// Config is the handler copy_response. It is for routes in handle_response of
// reverse_proxy; elsewhere each request is answered with 500.
type Config struct {
	// StatusCode replaces the status; it may hold placeholders. Default: that of
	// the upstream's response.
	StatusCode module.WeakString `json:"status_code,omitempty"`
}

// HeadersConfig is the handler copy_response_headers. It is for routes in
// handle_response of reverse_proxy; elsewhere each request is answered with 500.
// Fields that belong to the upstream's connection or frame its body are never
// copied.
type HeadersConfig struct {
	// Include is the fields to copy. Default: all.
	Include []string `json:"include,omitempty"`
	// Exclude is the fields not to copy. It cannot be used with include. Default:
	// none.
	Exclude []string `json:"exclude,omitempty"`
}

// Specs describes the handlers.
func Specs() []module.Spec {
	return []module.Spec{
		module.New("http.handlers.copy_response_headers", "Copies header fields of an upstream's response.", nil, compileHeaders,
			module.Directives(module.Directive{Name: "copy_response_headers", Read: readHeaders}),
			module.Examples(module.Example{Title: "Take over all but cookies", JSON: `{"handler":"copy_response_headers","exclude":["Set-Cookie"]}`})),
		module.New("http.handlers.copy_response", "Answers with an upstream's response.", nil, compile,
			module.Directives(module.Directive{Name: "copy_response", Read: readCopy}),
			module.Examples(module.Example{Title: "Answer with another status", JSON: `{"handler":"copy_response","status_code":503}`})),
	}
}

var errOutside = errors.New("there is no response to copy: this handler is for routes in handle_response of reverse_proxy")

type copier struct {
	status    vars.Text
	hasStatus bool
}

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) {
	return &copier{vars.Parse(string(cfg.StatusCode)), cfg.StatusCode != ""}, nil
}

// ServeHTTP implements handlers.Handler.
func (c *copier) ServeHTTP(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
	x := handlers.Of(r)
	if x.Upstream == nil {
		return handlers.NewError(http.StatusInternalServerError, errOutside)
	}
	status := 0
	if c.hasStatus {
		text := c.status.Expand(x, vars.All, "")
		n, err := strconv.Atoi(text)
		if err != nil || (n != 0 && (n < 200 || n > 999)) {
			return handlers.NewError(http.StatusInternalServerError, fmt.Errorf("copy_response: status_code %q is not a status", text))
		}
		status = n
	}
	return x.Upstream.Copy(w, r, status)
}

type headerCopier struct {
	include, exclude map[string]bool
}

func compileHeaders(_ *module.Env, cfg *HeadersConfig) (handlers.Handler, error) {
	if len(cfg.Include) > 0 && len(cfg.Exclude) > 0 {
		return nil, module.Problem("/exclude", "include and exclude cannot be used together")
	}
	return &headerCopier{canonical(cfg.Include), canonical(cfg.Exclude)}, nil
}

func canonical(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[http.CanonicalHeaderKey(n)] = true
	}
	return m
}

// ServeHTTP implements handlers.Handler.
func (c *headerCopier) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	x := handlers.Of(r)
	if x.Upstream == nil {
		return handlers.NewError(http.StatusInternalServerError, errOutside)
	}
	h := w.Header()
	for name, values := range x.Upstream.Header() {
		if (len(c.include) > 0 && !c.include[name]) || c.exclude[name] {
			continue
		}
		h[name] = append(h[name], values...)
	}
	return next.ServeHTTP(w, r)
}
