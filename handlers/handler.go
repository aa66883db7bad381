// Package handlers is the contract between the HTTP engine and what it runs:
// what a handler, a matcher and an error are, and the exchange that one request
// and its response share. It knows no handler by name.
package handlers

import (
	"net/http"
)

// Handler handles one request or passes it on.
//
// Three outcomes are possible. It writes a response and returns nil. It calls
// next, once, and returns what that returned, perhaps after changing the
// request before or the response writer around it. Or it returns an error
// before anything was written: then the error routes answer, or the server
// answers with the status of the error (see Error) and no body. A handler that
// returns an error after the response header was sent cannot change the status
// any more; the error is still logged.
//
// Handlers are shared by all requests and must be safe for concurrent use.
type Handler interface {
	ServeHTTP(w http.ResponseWriter, r *http.Request, next Next) error
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(w http.ResponseWriter, r *http.Request, next Next) error

// ServeHTTP calls f.
func (f HandlerFunc) ServeHTTP(w http.ResponseWriter, r *http.Request, next Next) error {
	return f(w, r, next)
}

// Next is what follows a handler: the rest of its route, the routes after it,
// and what follows the list that they stand in. It is a position, not a
// closure: calling it twice runs what follows twice. The zero Next does
// nothing. It must not be called after the handler that got it has returned
// the request to the server; then it returns ErrOver.
type Next struct {
	chain Chain
	at    any
	step  int
}

// Chain walks a list of routes. It is implemented by the route package.
type Chain interface {
	// Continue runs what stands behind step within at, and then what follows.
	Continue(w http.ResponseWriter, r *http.Request, at any, step int) error
}

// NextIn makes a Next for a position of a chain.
func NextIn(c Chain, at any, step int) Next { return Next{c, at, step} }

// ServeHTTP runs what follows.
func (n Next) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	if n.chain == nil {
		return nil
	}
	return n.chain.Continue(w, r, n.at, n.step)
}

// NextFunc makes a Next that calls f.
func NextFunc(f func(w http.ResponseWriter, r *http.Request) error) Next {
	return Next{chain: funcChain(f)}
}

type funcChain func(w http.ResponseWriter, r *http.Request) error

func (f funcChain) Continue(w http.ResponseWriter, r *http.Request, _ any, _ int) error {
	return f(w, r)
}

// Matcher decides whether a request is meant by a route. It reads the request
// and may write only captures and variables into the exchange; it has no other
// effect, so that the same list can be asked where a request would go.
//
// An error is not a verdict: it ends the whole chain like a handler's error.
// Matchers are shared by all requests and must be safe for concurrent use.
type Matcher interface {
	Match(r *http.Request) (bool, error)
}

// HostMatcher is a Matcher that can only match requests for certain hosts. The
// route index and whatever needs to know the names of a site ask it.
type HostMatcher interface {
	Matcher
	// Hosts lists the patterns, lower-case: exact names, or names with "*"
	// labels. When complete is false the matcher may match other hosts too, and
	// must be tried for any: some patterns have placeholders, and stand in the
	// list as they are written.
	Hosts() (patterns []string, complete bool)
}

// PathMatcher is a Matcher that can only match requests for certain paths.
type PathMatcher interface {
	Matcher
	// Paths lists lower-case cleaned paths: a pattern with Prefix set stands
	// for all paths that begin with Text. When complete is false the matcher
	// may match other paths too and must be tried for any.
	Paths() (patterns []PathPattern, complete bool)
}

// PathPattern is one path, or all paths with a prefix.
type PathPattern struct {
	Text   string
	Prefix bool
}
