package upstream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// ParseResolver reads the address of a DNS server, [network/]host[:port], and returns it as network/host:port. The
// network is udp and the port 53 unless it says otherwise.
func ParseResolver(text string) (string, error) {
	a, err := netaddr.ParseDefault(text, "udp", 53)
	if err != nil {
		return "", fmt.Errorf("resolver address %q: %w", text, err)
	}
	if n := a.Count(); n != 1 {
		return "", fmt.Errorf("resolver address %q names %d ports; exactly one is possible", text, n)
	}
	if a.Host == "" {
		return "", fmt.Errorf("resolver address %q has no host; want one such as 10.0.0.53", text)
	}
	if !isTCP(a.Network) && !strings.HasPrefix(a.Network, "udp") {
		return "", fmt.Errorf("resolver address %q is of network %q; want udp or tcp", text, a.Network)
	}
	return a.Network + "/" + a.JoinHostPort(0), nil
}

// ResolverOptions are how DNS servers are reached.
type ResolverOptions struct {
	// Addresses are the servers as [ParseResolver] returns them; each connection goes to one of them, picked at random.
	Addresses []string
	// DialTimeout bounds the making of a connection; 0 is no bound.
	DialTimeout time.Duration
	// DialFallbackDelay is the head start of IPv6 over IPv4; 0 is 300 ms, negative turns the race off.
	DialFallbackDelay time.Duration
	// Dial opens connections; nil means the real network.
	Dial DialFunc
}

// NewResolver returns a resolver that asks the DNS servers of the options and nobody else. Without any it is the one of
// the system.
func NewResolver(o ResolverOptions) *net.Resolver {
	if len(o.Addresses) == 0 {
		return net.DefaultResolver
	}
	if o.Dial == nil {
		o.Dial = dialNetwork
	}
	d := &net.Dialer{Timeout: o.DialTimeout, FallbackDelay: o.DialFallbackDelay}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		own, address, _ := strings.Cut(o.Addresses[rand.IntN(len(o.Addresses))], "/")
		if isTCP(network) && !isTCP(own) { // an answer that was too long for udp
			own = "tcp" + strings.TrimPrefix(own, "udp")
		}
		return o.Dial(ctx, d, own, address)
	}}
}

// dialNetwork is the [DialFunc] of the real network.
func dialNetwork(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	return d.DialContext(ctx, network, address)
}
