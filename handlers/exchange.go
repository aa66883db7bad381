package handlers

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"go.uber.org/zap"
)

// Server is what a request's server offers to handlers. It belongs to one
// generation.
type Server interface {
	// Name is the server's key in the document.
	Name() string
	// NamedRoute runs the named route; found is false if there is none.
	NamedRoute(name string, w http.ResponseWriter, r *http.Request, next Next) (found bool, err error)
	// LogCredentials reports whether logs may show credentials.
	LogCredentials() bool
	// Logger returns the logger with the name, such as
	// "http.handlers.reverse_proxy". It may be kept for the request only.
	Logger(name string) *zap.Logger
	// ShutdownAt is when the server will stop, zero if it is not about to.
	ShutdownAt() time.Time
}

// Exchange is everything one request and its response share besides the
// standard types. It is made by the server, found with Of, and used by one
// goroutine at a time.
type Exchange struct {
	// Server is the server that the request came to; nil after Release.
	Server Server
	// Start is when the header had arrived.
	Start time.Time
	// Original is the request before any handler changed it.
	Original Original
	// Response is the writer nearest to the client; it knows status and size.
	Response *ResponseWriter
	// Body counts what was read of the request body; nil if there is none.
	Body *CountingBody
	// Globals resolves names that do not depend on the request.
	Globals vars.Scope
	// End is what runs when a chain is used up, or ended by a terminal route.
	End Next
	// Client finds out who the client is; nil means nobody is trusted.
	Client Client
	// Trace, if set, is called for each handler of a route before it runs, with
	// its module name and its config.
	Trace func(name string, node *config.Node)
	// Upstream is the response of an upstream that is being handled by routes
	// instead of being passed on; nil outside such routes.
	Upstream UpstreamResponse
	// Extended says that the request is an extended CONNECT for a WebSocket (RFC 8441), which matchers and handlers see as the
	// handshake of RFC 6455 that it stands for. Who joins it to an upstream sets Joined before the answer; any other answer
	// must not look like success.
	Extended, Joined bool
	// Detachable says that who runs the chain takes what [Exchange.Detach] gives.
	Detachable bool
	// Chains are dropped by Release; the route package adds to them.
	Chains []interface{ Drop() }

	request *http.Request
	vars    map[string]any
	set     map[string]any
	groups  []string
	err     error
	depth   int
	rest    func()
	pin     Pin
	fields  []zap.Field

	clientIP             string
	trusted, clientKnown bool
	context              exchangeContext
	chainSpace           [4]interface{ Drop() }
	scopes               []vars.Scope
	scopeSpace           [2]vars.Scope
}

// UpstreamResponse is a response that a proxy has got and not passed on yet.
type UpstreamResponse interface {
	// Header is its header fields, without those that belong to the upstream's
	// connection or frame its body. They must not be changed.
	Header() http.Header
	// Copy answers with it, with another status unless that is 0.
	Copy(w http.ResponseWriter, r *http.Request, status int) error
}

// Client computes who sent a request: the peer, or whom a trusted proxy names.
type Client interface {
	// ClientOf returns the client's address as text, "" if it has none, and
	// whether the peer is a trusted proxy.
	ClientOf(r *http.Request) (ip string, trusted bool)
}

// Pin keeps a generation alive.
type Pin interface {
	// Release lets go. It is called once.
	Release()
}

// Original is a request as it arrived.
type Original struct {
	Method, RequestURI, RemoteAddr string
	URL                            url.URL
}

type exchangeKey struct{}

// exchangeContext carries the exchange without a chain of value contexts.
type exchangeContext struct {
	context.Context
	exchange *Exchange
}

func (c *exchangeContext) Value(key any) any {
	if key == (exchangeKey{}) {
		return c.exchange
	}
	return c.Context.Value(key)
}

// Begin ties the exchange to a request and returns the request to pass to
// handlers. The pin is released by Release or Finish, whichever comes first; it
// may be nil.
func (x *Exchange) Begin(r *http.Request, pin Pin) *http.Request {
	x.pin = pin
	x.Chains = x.chainSpace[:0]
	x.Original = Original{Method: r.Method, RequestURI: r.RequestURI, RemoteAddr: r.RemoteAddr, URL: *r.URL}
	x.context = exchangeContext{r.Context(), x}
	r = r.WithContext(&x.context)
	x.request = r
	return r
}

// Of returns the exchange of a request that came from a sluice server, or nil.
func Of(r *http.Request) *Exchange {
	if c, ok := r.Context().(*exchangeContext); ok {
		return c.exchange
	}
	x, _ := r.Context().Value(exchangeKey{}).(*Exchange)
	return x
}

// Request is the request as the handlers so far have left it. A handler that
// replaces the request it passes to next (with WithContext, or a copy) should
// call SetRequest so that placeholders follow.
func (x *Exchange) Request() *http.Request { return x.request }

// SetRequest makes r the request that placeholders read.
func (x *Exchange) SetRequest(r *http.Request) { x.request = r }

// Release lets go of the generation, so that a stream of hours does not keep a
// whole configuration in memory. The handler must hold on its own to whatever
// it still uses; next and the server can no longer be called.
func (x *Exchange) Release() {
	x.ClientIP()
	x.Client = nil
	for _, c := range x.Chains {
		c.Drop()
	}
	clear(x.chainSpace[:])
	x.Chains = nil
	x.End = Next{}
	x.Server = released{x.Server.Name(), x.Server.LogCredentials()}
	x.unpin()
}

// Detach hands over what is left of a request whose connection was taken over. rest runs in a goroutine of its own when
// the chain has returned, and the request ends with it; so what has served the connection until then is not kept in
// memory. The request's context is cancelled by then. It reports false if nobody takes it: then the handler goes on
// itself.
func (x *Exchange) Detach(rest func()) bool {
	if !x.Detachable || x.Response == nil || !x.Response.Hijacked() {
		return false
	}
	x.rest = rest
	return true
}

// Detached returns what was handed over, once; nil if nothing was.
func (x *Exchange) Detached() (rest func()) {
	rest, x.rest = x.rest, nil
	return rest
}

// Finish ends the exchange. The server calls it when the handlers are done.
func (x *Exchange) Finish() { x.unpin() }

func (x *Exchange) unpin() {
	if x.pin != nil {
		x.pin.Release()
		x.pin = nil
	}
}

// Var returns a request variable, nil if unset. The variables client_ip,
// trusted_proxy and start_time exist from the start.
func (x *Exchange) Var(name string) any {
	v, _ := x.LookupVar(name)
	return v
}

// LookupVar is Var that tells an unset variable from a nil one.
func (x *Exchange) LookupVar(name string) (any, bool) {
	if v, ok := x.vars[name]; ok {
		return v, true
	}
	switch name {
	case "client_ip":
		ip, _ := x.ClientIP()
		return ip, true
	case "trusted_proxy":
		_, trusted := x.ClientIP()
		return trusted, true
	case "start_time":
		return x.Start, true
	}
	return nil, false
}

// ClientIP is who sent the request and whether the peer is a trusted proxy, as
// the server found, not as a handler may have changed the variables. It is
// computed at the first call.
func (x *Exchange) ClientIP() (ip string, trusted bool) {
	if !x.clientKnown && x.Client != nil {
		x.clientKnown = true
		x.clientIP, x.trusted = x.Client.ClientOf(x.request)
	}
	return x.clientIP, x.trusted
}

// SetVar sets a request variable, readable as {http.vars.NAME}.
func (x *Exchange) SetVar(name string, value any) {
	if x.vars == nil {
		x.vars = make(map[string]any, 8)
	}
	x.vars[name] = value
}

// Set makes a placeholder known for the rest of the request. It is found before
// the HTTP names.
func (x *Exchange) Set(placeholder string, value any) {
	if x.set == nil {
		x.set = make(map[string]any, 8)
	}
	x.set[placeholder] = value
}

// AddScope makes the names of a scope known for the rest of the request: they
// are found after those that were Set, the newest scope first. It saves a
// handler from setting what may never be asked for.
func (x *Exchange) AddScope(s vars.Scope) {
	if x.scopes == nil {
		x.scopes = x.scopeSpace[:0]
	}
	x.scopes = append(x.scopes, s)
}

// Unset makes a placeholder that was set unknown again.
func (x *Exchange) Unset(placeholder string) { delete(x.set, placeholder) }

// Satisfy marks a route group and reports whether it was free until now. The
// empty group is always free.
func (x *Exchange) Satisfy(group string) bool {
	if group == "" {
		return true
	}
	for _, g := range x.groups {
		if g == group {
			return false
		}
	}
	x.groups = append(x.groups, group)
	return true
}

// Err is the error being handled, nil outside error routes.
func (x *Exchange) Err() error { return x.err }

// Enter counts nesting of routes within routes and fails when it has no end,
// as with a named route that invokes itself. Leave undoes it.
func (x *Exchange) Enter() error {
	if x.depth >= maxDepth {
		return NewError(http.StatusInternalServerError, errTooDeep)
	}
	x.depth++
	return nil
}

// Leave is called after a successful Enter, and by a list that has come to its
// end, before it goes on with what follows it.
func (x *Exchange) Leave() { x.depth-- }

// Reenter undoes a Leave.
func (x *Exchange) Reenter() { x.depth++ }

// AddLogField adds a field to the request's access-log entry.
func (x *Exchange) AddLogField(f zap.Field) { x.fields = append(x.fields, f) }

// LogFields are the fields added so far.
func (x *Exchange) LogFields() []zap.Field { return x.fields }
