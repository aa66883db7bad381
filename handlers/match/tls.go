package match

import (
	"net/http"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
)

// TLSConfig matches requests over TLS.
type TLSConfig struct {
	// HandshakeComplete asks for requests that came after the TLS handshake (true), or for those that came with it, as early data
	// of HTTP/3, which somebody else may send again (false). Default: any request over TLS.
	HandshakeComplete *bool `json:"handshake_complete"`
}

func tlsSpec() module.Spec {
	return module.New("http.matchers.tls", "Matches requests over TLS, and whether their handshake is complete.", nil, compileTLS, module.Words(tlsWords),
		module.Examples(
			module.Example{Title: "Early data, which may be answered with the status 425", JSON: `{"handshake_complete": false}`},
			module.Example{Title: "Any request over TLS", JSON: `{}`},
		))
}

func compileTLS(_ *module.Env, cfg *TLSConfig) (handlers.Matcher, error) {
	if cfg.HandshakeComplete == nil {
		return protocol(func(r *http.Request) bool { return r.TLS != nil }), nil
	}
	complete := *cfg.HandshakeComplete
	return protocol(func(r *http.Request) bool { return r.TLS != nil && r.TLS.HandshakeComplete == complete }), nil
}

func tlsWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &TLSConfig{}
	err := eachLine(d, caddyfile.AtLeast(0), func(args []string) error {
		for _, arg := range args {
			if arg != "early_data" {
				return d.Errf("unrecognized option '%s'", caddyfile.Shorten(arg))
			}
			cfg.HandshakeComplete = new(bool)
		}
		return nil
	})
	return cfg, err
}
