package admin

import (
	"fmt"
	"net/http"
	"path"
	"runtime/debug"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/sluiceproxy/sluice/admin/access"
	"go.uber.org/zap"
)

// handler answers one request, or returns why not. It writes nothing if it
// returns an error.
type handler func(c *call) error

// call is one request on its way. It is the ResponseWriter of its handler.
type call struct {
	http.ResponseWriter
	r       *http.Request
	guard   *Guard
	pattern string
	status  int
	// caller is the name of the token or certificate that was presented, "" if it
	// has none.
	caller string
	// grant is what the client of a remote endpoint may do, nil elsewhere.
	grant *access.Grant
	// anonymous is set if tokens are required and none was presented, which
	// only few paths allow.
	anonymous bool
}

// WriteHeader remembers the status.
func (c *call) WriteHeader(status int) {
	if c.status == 0 && status >= 200 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

// Write counts as status 200 if there was none yet.
func (c *call) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return c.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (c *call) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (a *API) newRouter() *chi.Mux {
	m := chi.NewRouter()
	for _, rt := range a.routes() {
		h := a.adapt(rt.Pattern, rt.handle)
		if rt.Method == AnyMethod {
			m.Handle(rt.Pattern, h)
			a.any[rt.Pattern] = rt.handle
		} else {
			m.Method(rt.Method, rt.Pattern, h)
		}
		if tree, ok := strings.CutSuffix(rt.Pattern, "/*"); ok {
			a.trees[tree] = true
		}
	}
	m.NotFound(http.NotFound)
	m.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) { a.otherMethod(w.(*call), r) })
	return m
}

// adapt makes a handler usable by the router, which hands on the call that
// Serve gave it.
func (a *API) adapt(pattern string, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := w.(*call)
		c.r, c.pattern = r, pattern
		if err := h(c); err != nil {
			a.fail(c, err)
		}
	}
}

// Serve answers one request under the rules of a Guard, in the order of the
// reference: log, security checks, then routing.
func (a *API) Serve(w http.ResponseWriter, r *http.Request, g *Guard) {
	c := &call{ResponseWriter: w, r: r, guard: g}
	a.logRequest(r)
	defer a.done(c)
	if err := g.check(c); err != nil {
		a.fail(c, err)
		return
	}
	if to, ok := a.redirect(r); ok {
		http.Redirect(c, r, to, http.StatusTemporaryRedirect)
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/") {
		http.NotFound(c, r)
		return
	}
	a.router.ServeHTTP(c, r)
}

// done counts the request, and turns a panic of a handler into an error.
func (a *API) done(c *call) {
	if v := recover(); v != nil {
		if v == http.ErrAbortHandler {
			panic(v)
		}
		a.log.Error("panic while answering a request", zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
		if c.status != 0 {
			panic(http.ErrAbortHandler)
		}
		a.fail(c, &Error{Status: http.StatusInternalServerError, Msg: "internal error; the log says more"})
	}
	if c.pattern == "" {
		c.pattern = a.patternOf(c.r)
	}
	if c.status == 0 {
		c.status = http.StatusOK
	}
	a.stats.count(c.pattern, c.r.Method, c.status)
}

// redirect returns where a path that is not clean, or lacks its final slash,
// leads to (section 5 rule 1).
func (a *API) redirect(r *http.Request) (string, bool) {
	p := r.URL.EscapedPath()
	if r.Method == http.MethodConnect || !strings.HasPrefix(p, "/") {
		return "", false
	}
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	if a.trees[clean] {
		clean += "/"
	}
	if clean == p {
		return "", false
	}
	if r.URL.RawQuery != "" {
		clean += "?" + r.URL.RawQuery
	}
	return clean, true
}

// patternOf finds the route of a request whatever its method, "" if none.
func (a *API) patternOf(r *http.Request) string {
	p := r.URL.RawPath
	if p == "" {
		p = r.URL.Path
	}
	for _, m := range []string{http.MethodGet, http.MethodPost} {
		if pattern := a.router.Find(chi.NewRouteContext(), m, p); pattern != "" {
			return pattern
		}
	}
	return ""
}

// otherMethod answers a request whose path exists, perhaps, but not for its
// method. The router also calls it for methods that it has never heard of.
func (a *API) otherMethod(c *call, r *http.Request) {
	c.pattern = a.patternOf(r)
	if h := a.any[c.pattern]; h != nil {
		a.adapt(c.pattern, h)(c, r)
		return
	}
	e := &Error{Status: http.StatusMethodNotAllowed, Msg: "method not allowed"}
	switch {
	case c.pattern == "":
		http.NotFound(c, r)
		return
	case c.pattern == configPattern, c.pattern == idPattern:
		e.Msg = fmt.Sprintf("method %s not allowed", r.Method)
	case strings.HasPrefix(c.pattern, pkiTree):
		e.Msg += ": " + r.Method
	}
	a.fail(c, e)
}
