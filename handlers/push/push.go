// Package push sends resources to clients before they ask for them, by HTTP/2
// server push.
package push

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/headerops"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"go.uber.org/zap"
)

// Config is the handler push. Besides its resources it pushes what the response's
// Link fields name. It does nothing where the client takes no pushes, which is
// so for most browsers of today.
type Config struct {
	// Resources are what to push when a request arrives.
	Resources []Resource `json:"resources,omitempty"`
	// Headers changes the header fields of the requests that the server makes up for
	// what it pushes.
	Headers *headerops.Ops `json:"headers,omitempty"`
}

// Resource is something to push.
type Resource struct {
	// Method is GET or HEAD. Default: GET.
	Method string `json:"method,omitempty"`
	// Target is the path, with or without a query, or a URL of the same host. It may
	// hold placeholders; an empty one becomes ".".
	Target string `json:"target,omitempty"`
}

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.push", "Pushes resources over HTTP/2.", nil, compile, module.Examples(
		module.Example{Title: "Push a style sheet with every page", JSON: `{"handler": "push", "resources": [{"target": "/style.css"}]}`},
		module.Example{Title: "Push what Link fields name, with a field of its own", JSON: `{"handler": "push", "headers": {"set": {"X-Pushed": ["1"]}}}`},
	), directives())
}

type handler struct {
	resources []resource
	headers   *headerops.Compiled
}

type resource struct {
	method string
	target vars.Text
}

func compile(env *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{}
	for i, r := range cfg.Resources {
		if r.Method != "" && r.Method != http.MethodGet && r.Method != http.MethodHead {
			env.Warn(fmt.Sprintf("/resources/%d/method", i), fmt.Sprintf("a push by method %q always fails; only GET and HEAD can be pushed", r.Method))
		}
		h.resources = append(h.resources, resource{r.Method, vars.Parse(r.Target)})
	}
	var err error
	if h.headers, err = headerops.Compile(cfg.Headers, headerops.Options{}); err != nil {
		var problems schema.Problems
		if errors.As(err, &problems) {
			return nil, problems.Under("/headers")
		}
		return nil, err
	}
	return h, nil
}

// marker is the field of requests that come from a push, so that they push
// nothing themselves.
const marker = "Caddy-Push"

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	if r.ProtoMajor < 2 || len(r.Header[marker]) > 0 {
		return next.ServeHTTP(w, r)
	}
	pusher := pusherOf(w)
	if pusher == nil {
		return next.ServeHTTP(w, r)
	}
	p := &pushing{pusher: pusher, header: h.headerFor(r), exchange: handlers.Of(r)}
	for i := range h.resources {
		res := &h.resources[i]
		if !p.push(res.method, res.target.Expand(p.exchange, vars.All, ".")) {
			break
		}
	}
	return next.ServeHTTP(&writer{under: w, pushing: p}, r)
}

// pusherOf finds the writer that can push, nil if there is none.
func pusherOf(w http.ResponseWriter) http.Pusher {
	for {
		if p, ok := w.(http.Pusher); ok {
			return p
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil
		}
		w = u.Unwrap()
	}
}

// copied are the fields of the client's request that say what it would ask for.
var copied = [...]string{"Accept-Encoding", "Accept-Language", "Accept", "Cache-Control", "User-Agent"}

// headerFor is the header of the requests that are made up for pushes.
func (h *handler) headerFor(r *http.Request) http.Header {
	header := http.Header{marker: {"1"}}
	for _, name := range copied {
		if values := r.Header[name]; len(values) > 0 {
			header[name] = values
		}
	}
	h.headers.Apply(header, handlers.Of(r))
	return header
}

// pushing is what is pushed for one request.
type pushing struct {
	pusher   http.Pusher
	header   http.Header
	exchange *handlers.Exchange
	failed   bool // the first failure ends it
}

// push reports whether to go on.
func (p *pushing) push(method, target string) bool {
	if p.failed {
		return false
	}
	// Pushing copies nothing of the header, and changes nothing in it.
	err := p.pusher.Push(target, &http.PushOptions{Method: method, Header: p.header})
	p.failed = err != nil
	if x := p.exchange; x != nil && x.Server != nil {
		p.log(x.Server, method, target, err)
	}
	return !p.failed
}

// log tells the debug log. What fails is the client's will, more often than not.
func (p *pushing) log(s handlers.Server, method, target string, err error) {
	e := s.Logger("http.handlers.push").Check(zap.DebugLevel, "pushed a resource")
	if e == nil {
		return
	}
	if err != nil {
		e.Message = "pushing failed; nothing more is pushed for this request"
	}
	e.Write(zap.String("method", cmp.Or(method, http.MethodGet)), zap.String("target", target), zap.Object("headers", loggedHeader{p.header, s.LogCredentials()}), zap.Error(err))
}
