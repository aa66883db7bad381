package httptransport

import (
	"fmt"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/networkproxy"
)

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
	p, err := networkproxy.FromURL(c.ForwardProxyURL)
	if err != nil {
		problems = append(problems, module.Problem("/forward_proxy_url", err.Error())...)
	}
	t.proxy = p
	return problems
}
