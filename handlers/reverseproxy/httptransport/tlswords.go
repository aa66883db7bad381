package httptransport

import (
	"errors"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/networkproxy"
	"github.com/sluiceproxy/sluice/server/trust"
)

// tls returns the settings of TLS, which any line about them turns on.
func (c *reading) tls() *TLS {
	if c.TLS == nil {
		c.TLS = &TLS{}
	}
	return c.TLS
}

func readProxyProtocol(c *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	switch v := args[0].Text; v {
	case "v1", "v2":
		c.ProxyProtocol = v
		return nil
	default:
		return args[0].Errf("invalid proxy protocol version '%s'; the versions are v1 and v2", caddyfile.Shorten(v))
	}
}

func readNetworkProxy(c *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	if c.NetworkProxy.Set() {
		return errTwoProxies
	}
	d.Back(len(args) - 1)
	n, err := c.u.Module(d, networkproxy.Namespace, "from")
	c.NetworkProxy = module.RefTo[networkproxy.Proxy](n)
	return err
}

var errTwoProxies = errors.New("the forward proxy is specified twice; use network_proxy alone")

// readForwardProxyURL writes what network_proxy url does.
func readForwardProxyURL(c *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	if c.NetworkProxy.Set() {
		return errTwoProxies
	}
	n, err := c.u.Table().Encode(networkproxy.Namespace+".url", map[string]string{"from": "url", "url": args[0].Text})
	c.NetworkProxy = module.RefTo[networkproxy.Proxy](n)
	return err
}

// readClientAuth reads the files of a certificate and its key, or the name of one that is managed.
func readClientAuth(c *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	if len(args) == 1 {
		c.tls().ClientCertificateAutomate = args[0].Text
		return nil
	}
	c.tls().ClientCertificateFile, c.tls().ClientCertificateKeyFile = args[0].Text, args[1].Text
	return nil
}

var errTwoPools = errors.New("tls_trusted_ca_certs and tls_trust_pool exclude each other; use tls_trust_pool alone")

func readTrustedCerts(c *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	if c.tls().CA.Set() {
		return errTwoPools
	}
	for _, a := range args {
		c.tls().RootCAPEMFiles = append(c.tls().RootCAPEMFiles, a.Text)
	}
	return nil
}

func readTrustPool(c *reading, d *caddyfile.Dispenser, args []caddyfile.Token) (err error) {
	if len(c.tls().RootCAPEMFiles) > 0 {
		return errTwoPools
	}
	c.tls().CA, err = trust.ReadPool(c.u, d, args)
	return err
}

func readRenegotiation(c *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	if _, err := trust.ParseRenegotiation(args[0].Text); err != nil {
		return args[0].Errf("%w", err)
	}
	c.tls().Renegotiation = args[0].Text
	return nil
}
