package httptransport

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// NetworkProxy says which forward proxy stands between sluice and an upstream. Values are compared with ==.
type NetworkProxy interface {
	// ForwardProxy returns the proxy's URL; or that there is none, whatever the surroundings say.
	ForwardProxy(s vars.Scope) (u *url.URL, direct bool, err error)
}

const proxyNamespace = "caddy.network_proxy"

// proxySpecs describes the modules that say so.
func proxySpecs() []module.Spec {
	return []module.Spec{
		module.New(proxyNamespace+".url", "Reaches upstreams through the forward proxy of a URL.", nil, compileProxyURL,
			module.Examples(module.Example{Title: "Use a proxy of the company.", JSON: `{"from":"url","url":"http://proxy.internal:3128"}`}),
			module.Words(proxyURLWords)),
		module.New(proxyNamespace+".none", "Uses no forward proxy, whatever the environment says.", nil,
			func(*module.Env, *ProxyNone) (NetworkProxy, error) { return noProxy{}, nil },
			module.Examples(module.Example{Title: "Ignore HTTP_PROXY.", JSON: `{"from":"none"}`}),
			module.Words(proxyNoneWords)),
	}
}

// ProxyURL is the source url.
type ProxyURL struct {
	// URL is the proxy: http, https, socks5 or socks5h, with a name and a password if it wants them. Placeholders are expanded
	// for each request.
	URL string `json:"url" check:"required"`
}

// ProxyNone is the source none. It has no settings.
type ProxyNone struct{}

func compileProxyURL(_ *module.Env, c *ProxyURL) (NetworkProxy, error) {
	p, err := newURLProxy(c.URL)
	if err != nil {
		return nil, module.Problem("/url", err.Error())
	}
	return p, nil
}

// urlProxy is the text of a URL.
type urlProxy string

func newURLProxy(text string) (NetworkProxy, error) {
	if literal, ok := vars.Parse(text).Literal(); ok {
		if _, err := parseProxy(literal); err != nil {
			return nil, err
		}
	}
	return urlProxy(text), nil
}

// ForwardProxy implements [NetworkProxy].
func (p urlProxy) ForwardProxy(s vars.Scope) (*url.URL, bool, error) {
	u, err := parseProxy(vars.Parse(string(p)).Expand(s, vars.All, ""))
	return u, false, err
}

var errProxyURL = errors.New("the URL of the forward proxy cannot be used; want http, https, socks5 or socks5h:// and a host")

// parseProxy reads a URL. Its errors do not repeat it, since it may have a password.
func parseProxy(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil, errProxyURL
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return u, nil
	}
	return nil, fmt.Errorf("%w; its scheme is %q", errProxyURL, u.Scheme)
}

type noProxy struct{}

// ForwardProxy implements [NetworkProxy].
func (noProxy) ForwardProxy(vars.Scope) (*url.URL, bool, error) { return nil, true, nil }

// readProxies reads the forward proxy and the PROXY protocol.
func (c *Config) readProxies(t *transport) (problems schema.Problems) {
	switch c.ProxyProtocol {
	case "":
	case "v1":
		t.options.ProxyProtocol = 1
	case "v2":
		t.options.ProxyProtocol = 2
	default:
		problems = append(problems, module.Problem("/proxy_protocol", fmt.Sprintf("unknown version %q of the PROXY protocol; the versions are v1 and v2", c.ProxyProtocol))...)
	}
	t.proxy = c.NetworkProxy.Value()
	if c.ForwardProxyURL == "" {
		return problems
	}
	if t.proxy != nil {
		return append(problems, module.Problem("/forward_proxy_url", "forward_proxy_url and network_proxy say the same thing twice; use network_proxy alone")...)
	}
	p, err := newURLProxy(c.ForwardProxyURL)
	if err != nil {
		problems = append(problems, module.Problem("/forward_proxy_url", err.Error())...)
	}
	t.proxy = p
	return problems
}

// proxyURLWords reads the source url.
func proxyURLWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	c := &ProxyURL{}
	if !d.AllArgs(&c.URL) {
		return nil, d.ArgErr()
	}
	return c, noMore(d)
}

// proxyNoneWords reads the source none.
func proxyNoneWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	return &ProxyNone{}, noMore(d)
}

// noMore refuses a block that has something in it.
func noMore(d *caddyfile.Dispenser) error { return nothing.Parse(d, &struct{}{}) }

var nothing caddyfile.Options[struct{}]
