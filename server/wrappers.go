package server

import (
	"fmt"
	"net"
	"strconv"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/wire"
)

// TLSWrapperConfig marks where TLS stands among the listener wrappers. In a
// server without TLS it means nothing.
type TLSWrapperConfig struct{}

// tlsPosition is the wrapper that wraps nothing.
type tlsPosition struct{}

// Open implements wire.Opener.
func (tlsPosition) Open(net.Conn) (wire.Opening, error) { return wire.Opening{}, nil }

// RedirectWrapperConfig answers requests in clear text at a port with TLS with a
// redirect to the same with TLS. It stands before TLS.
type RedirectWrapperConfig struct {
	// MaxHeaderBytes is how much is read of such a request. Default: 1048576.
	MaxHeaderBytes int64 `json:"max_header_bytes" check:"min=0"`
}

// clearRedirect marks that redirects are wanted; wire makes them.
type clearRedirect struct {
	tlsPosition
	limit int64
}

func redirectWrapperSpec() module.Spec {
	return module.New("caddy.listeners.http_redirect", "Redirects requests in clear text on a port with TLS.", nil,
		func(_ *module.Env, c *RedirectWrapperConfig) (wire.Opener, error) {
			if c.MaxHeaderBytes == 0 {
				c.MaxHeaderBytes = 1 << 20
			}
			return clearRedirect{limit: c.MaxHeaderBytes}, nil
		},
		module.Words(func(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
			d.Next()
			if d.NextArg() || d.NextBlock(d.Nesting()) {
				return nil, d.ArgErr()
			}
			return &RedirectWrapperConfig{}, nil
		}),
		module.Examples(module.Example{Title: "Redirect what is not TLS", JSON: `{"wrapper": "http_redirect"}`}))
}

func tlsWrapperSpec() module.Spec {
	return module.New("caddy.listeners.tls", "Marks where TLS stands among the listener wrappers.", nil,
		func(*module.Env, *TLSWrapperConfig) (wire.Opener, error) { return tlsPosition{}, nil },
		module.Words(func(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
			d.Next()
			if d.NextArg() || d.NextBlock(d.Nesting()) {
				return nil, d.ArgErr()
			}
			return &TLSWrapperConfig{}, nil
		}),
		module.Examples(module.Example{Title: "TLS begins here", JSON: `{"wrapper": "tls"}`}))
}

// wrappers is what stands before HTTP on a connection.
type wrappers struct {
	// before and behind TLS; without TLS the one follows the other.
	before, behind []wire.Opener
	// redirect is how much is read of a request in clear text that is answered
	// with a redirect, 0 for none.
	redirect int64
}

// readWrappers sorts the listener wrappers of a server. TLS stands first where
// nothing marks its place.
func readWrappers(c *ServerConfig) (w wrappers, ps schema.Problems) {
	marked := false
	for i, ref := range c.ListenerWrappers {
		switch o := ref.Value().(type) {
		case clearRedirect:
			w.redirect = o.limit
		case tlsPosition:
			why := ""
			switch {
			case i == 0:
				why = "TLS stands first of itself; leave \"tls\" out, or put it behind a wrapper"
			case marked:
				why = "TLS can stand at one place only; leave the second \"tls\" out"
			}
			if why != "" {
				ps = append(ps, schema.Problem{Pointer: "/listener_wrappers/" + strconv.Itoa(i), Message: fmt.Sprintf("listener wrapper tls: %s", why)})
			}
			marked = true
			w.before, w.behind = w.behind, nil
		default:
			w.behind = append(w.behind, o)
		}
	}
	return w, ps
}
