package acmeserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// resolver asks DNS servers. It is safe for concurrent use.
type resolver struct {
	servers []dnsServer
	turn    atomic.Uint32
	asks    net.Resolver
}

type dnsServer struct{ network, address string }

// newResolver reads a list of servers.
func newResolver(list []string) (*resolver, schema.Problems) {
	r := &resolver{}
	var problems schema.Problems
	for i, text := range list {
		s, err := readServer(text)
		if err != nil {
			problems = append(problems, module.Problem(fmt.Sprintf("/resolvers/%d", i), err.Error())...)
		}
		r.servers = append(r.servers, s)
	}
	r.asks = net.Resolver{PreferGo: true, Dial: r.dial}
	return r, problems
}

// readServer reads [network/]host[:port].
func readServer(text string) (dnsServer, error) {
	network, address, named := strings.Cut(text, "/")
	if !named {
		network, address = "udp", text
	}
	bad := fmt.Errorf("%q is not a DNS server; want one such as 9.9.9.9, tcp/1.1.1.1:53 or [2620:fe::fe]:53", text)
	switch network {
	case "udp", "udp4", "udp6", "tcp", "tcp4", "tcp6":
	default:
		return dnsServer{}, bad
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]"), "53"
	}
	if _, err := netip.ParseAddr(host); err != nil && !isHostName(strings.ToLower(host)) {
		return dnsServer{}, bad
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return dnsServer{}, bad
	}
	return dnsServer{network, net.JoinHostPort(host, port)}, nil
}

// dial connects to the next server, whatever server of the system is wanted, so that a second attempt asks another one.
func (r *resolver) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	s := r.servers[int(r.turn.Add(1)-1)%len(r.servers)]
	if strings.HasPrefix(network, "tcp") && strings.HasPrefix(s.network, "udp") { // the answer was too long for UDP
		s.network = "tcp" + s.network[len("udp"):]
	}
	var d net.Dialer
	return d.DialContext(ctx, s.network, s.address)
}

// texts returns the TXT records of a name. A nil resolver asks the servers of the system.
func (r *resolver) texts(ctx context.Context, name string) ([]string, error) {
	name += "." // it is not below the domain of this machine
	if r == nil {
		return net.DefaultResolver.LookupTXT(ctx, name)
	}
	return r.asks.LookupTXT(ctx, name)
}

// reverseName is the name for reverse lookups of an address, RFC 1035 section 3.5 and RFC 3596 section 2.5.
func reverseName(addr netip.Addr) string {
	var b strings.Builder
	raw := addr.AsSlice()
	if addr.Is4() {
		for i := len(raw) - 1; i >= 0; i-- {
			fmt.Fprintf(&b, "%d.", raw[i])
		}
		return b.String() + "in-addr.arpa"
	}
	for i := len(raw) - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "%x.%x.", raw[i]&15, raw[i]>>4)
	}
	return b.String() + "ip6.arpa"
}
