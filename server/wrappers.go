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

// openers are the listener wrappers of a server, without the mark of TLS.
func openers(c *ServerConfig) (list []wire.Opener, ps schema.Problems) {
	marks := 0
	for i, w := range c.ListenerWrappers {
		o := w.Value()
		if _, mark := o.(tlsPosition); !mark {
			list = append(list, o)
			continue
		}
		marks++
		why := ""
		switch {
		case i == 0:
			why = "TLS stands first of itself; leave \"tls\" out, or put it behind a wrapper"
		case marks > 1:
			why = "TLS can stand at one place only; leave the second \"tls\" out"
		default:
			continue
		}
		ps = append(ps, schema.Problem{Pointer: "/listener_wrappers/" + strconv.Itoa(i), Message: fmt.Sprintf("listener wrapper tls: %s", why)})
	}
	return list, ps
}
