// Package networkproxy is the forward proxies between sluice and whom it calls: the modules caddy.network_proxy.*, which
// transports and certificate issuers use.
package networkproxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// Namespace is where the modules are, and InlineKey the field that names one.
const (
	Namespace = "caddy.network_proxy"
	InlineKey = "from"
)

// Proxy says which forward proxy stands between sluice and another server. Values are compared with ==.
type Proxy interface {
	// ForwardProxy returns the proxy's URL; or that there is none, whatever the surroundings say.
	ForwardProxy(s vars.Scope) (u *url.URL, direct bool, err error)
}

// Specs describes the modules.
func Specs() []module.Spec {
	return []module.Spec{
		module.New(Namespace+".url", "Reaches upstreams through the forward proxy of a URL.", nil, compileURL,
			module.Examples(module.Example{Title: "Use a proxy of the company.", JSON: `{"from":"url","url":"http://proxy.internal:3128"}`}),
			module.Words(urlWords)),
		module.New(Namespace+".none", "Uses no forward proxy, whatever the environment says.", nil,
			func(*module.Env, *None) (Proxy, error) { return noProxy{}, nil },
			module.Examples(module.Example{Title: "Ignore HTTP_PROXY.", JSON: `{"from":"none"}`}),
			module.Words(noneWords)),
	}
}

// URL is the source url.
type URL struct {
	// URL is the proxy: http, https, socks5 or socks5h, with a name and a password if it wants them. Placeholders are expanded
	// for each request.
	URL string `json:"url" check:"required"`
}

// None is the source none. It has no settings.
type None struct{}

func compileURL(_ *module.Env, c *URL) (Proxy, error) {
	p, err := FromURL(c.URL)
	if err != nil {
		return nil, module.Problem("/url", err.Error())
	}
	return p, nil
}

// urlProxy is the text of a URL.
type urlProxy string

// FromURL is the proxy of a URL, whose placeholders are expanded for each request. Without placeholders it is checked now.
func FromURL(text string) (Proxy, error) {
	if literal, ok := vars.Parse(text).Literal(); ok {
		if _, err := parse(literal); err != nil {
			return nil, err
		}
	}
	return urlProxy(text), nil
}

// ForwardProxy implements [Proxy].
func (p urlProxy) ForwardProxy(s vars.Scope) (*url.URL, bool, error) {
	u, err := parse(vars.Parse(string(p)).Expand(s, vars.All, ""))
	return u, false, err
}

var errURL = errors.New("the URL of the forward proxy cannot be used; want http, https, socks5 or socks5h:// and a host")

// parse reads a URL. Its errors do not repeat it, since it may have a password.
func parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil, errURL
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return u, nil
	}
	return nil, fmt.Errorf("%w; its scheme is %q", errURL, u.Scheme)
}

type noProxy struct{}

// ForwardProxy implements [Proxy].
func (noProxy) ForwardProxy(vars.Scope) (*url.URL, bool, error) { return nil, true, nil }

// ForTransport returns what the field Proxy of an [http.Transport] wants, for requests that sluice makes by itself. A nil
// p stands for what HTTP_PROXY, HTTPS_PROXY and NO_PROXY in the environment of the process say.
func ForTransport(p Proxy, s vars.Scope) func(*http.Request) (*url.URL, error) {
	if p == nil {
		return http.ProxyFromEnvironment
	}
	return func(*http.Request) (*url.URL, error) {
		u, _, err := p.ForwardProxy(s)
		return u, err
	}
}

// urlWords reads the source url.
func urlWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	c := &URL{}
	if !d.AllArgs(&c.URL) {
		return nil, d.ArgErr()
	}
	return c, noMore(d)
}

// noneWords reads the source none.
func noneWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	return &None{}, noMore(d)
}

// noMore refuses a block that has something in it.
func noMore(d *caddyfile.Dispenser) error { return nothing.Parse(d, &struct{}{}) }

var nothing caddyfile.Options[struct{}]
