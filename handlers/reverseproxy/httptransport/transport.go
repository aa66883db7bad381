package httptransport

import (
	"fmt"
	"net/http"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/networkproxy"
	"github.com/sluiceproxy/sluice/server/trust"
	"github.com/sluiceproxy/sluice/upstream"
)

// transport is a counted use of a shared transport, with what each request may add to it.
type transport struct {
	registry *upstream.Transports
	options  upstream.HTTPOptions
	roots    *trust.Pool // nil for what the options say
	shared   *upstream.HTTP

	serverName *vars.Text // with placeholders; nil without
	proxy      networkproxy.Proxy
	globals    vars.Scope // for requests that come from no client
	routed     bool       // requests ask for more than the options
}

// New returns the transport of a handler that says nothing about it.
func New(env *module.Env) upstream.Transport {
	t := &transport{options: upstream.DefaultHTTPOptions(), globals: env.Globals()}
	t.own(env)
	return t
}

func (t *transport) own(env *module.Env) {
	t.registry = module.Service[*upstream.Transports](env)
	t.routed = t.serverName != nil || t.proxy != nil || t.options.ProxyProtocol != 0
	env.Own(module.Acquired(t.acquire, t.release))
	if o := t.options.TLS; o.Managed != "" {
		env.Own(&need{from: o.Certificates, name: o.Managed})
	}
}

// need is the use of a certificate that is managed.
type need struct {
	from    upstream.ClientCertificates
	name    string
	started bool
}

// Prepare implements [module.Resource]. What a document needs that is refused is not looked after.
func (*need) Prepare() error { return nil }

// Start implements [module.Resource].
func (n *need) Start() {
	n.started = true
	n.from.Need(n.name)
}

// Close implements [module.Resource].
func (n *need) Close() {
	if n.started {
		n.from.Unneed(n.name)
	}
}

// acquire takes the shared transport. The trust pool below this module is prepared by then.
func (t *transport) acquire() (err error) {
	if t.roots != nil {
		t.options.TLS.Roots, t.options.TLS.RootsKey = t.roots.CertPool(), t.roots.Key()
	}
	t.shared, err = t.registry.Acquire(t.options)
	return err
}

// release leaves shared in place for requests that let go of their generation.
func (t *transport) release() { t.registry.Release(t.shared) }

// Traits implements the optional method of [upstream.Transport].
func (t *transport) Traits() upstream.Traits {
	return upstream.Traits{HostOfUpstream: t.options.TLS.Enabled, ExpectContinue: t.options.ExpectContinueTimeout}
}

// Identity implements [upstream.Identified]: it is equal for transports that send alike, so that handlers share their
// health checks.
func (t *transport) Identity() any {
	type meaning struct {
		shared *upstream.HTTP
		name   string
		proxy  networkproxy.Proxy
	}
	m := meaning{shared: t.shared, proxy: t.proxy}
	if t.serverName != nil {
		m.name = t.serverName.String()
	}
	return m
}

// RoundTrip implements [upstream.Transport].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.routed {
		return t.shared.RoundTrip(r)
	}
	to, err := t.route(r)
	if err != nil {
		return nil, err
	}
	return t.shared.Send(r, to)
}

// route is what a request asks of its connection. A request that comes from no client, as a health check does, has no
// exchange.
func (t *transport) route(r *http.Request) (to upstream.Route, err error) {
	scope := t.globals
	x := handlers.Of(r)
	if x != nil {
		scope = x
	}
	if t.serverName != nil {
		to.ServerName = t.serverName.Expand(scope, vars.All, "")
	}
	if t.options.ProxyProtocol != 0 && x != nil {
		if to.Client, _ = x.ClientIP(); to.Client == "" {
			return to, fmt.Errorf("the PROXY protocol needs the client's IP address, and the client %q has none", r.RemoteAddr)
		}
	}
	if t.proxy != nil {
		to.Proxy, to.Direct, err = t.proxy.ForwardProxy(scope)
	}
	return to, err
}
