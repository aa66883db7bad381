package upstream

import (
	"fmt"
	"strconv"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// Address is one socket that can be dialled, as a dial text names it after its placeholders were expanded. It is a
// value: compute it once, use it from any number of goroutines.
type Address struct {
	// Network is the network name in lower case: "tcp", "tcp4", "tcp6", "unix", ...
	Network string
	// Host is the host without brackets; of a unix socket it is the path.
	Host string
	// Port is the decimal port; of a unix socket it is "0".
	Port string
	// HostPort is the text to dial: "10.20.0.1:8080", "[2001:db8::5]:80"; of a unix socket the path.
	HostPort string
	// URLHost goes into the URL of a request for a [Transport]. It is HostPort for plain tcp and an encoded form for
	// every other network, so that connections are pooled by network and address (DIAL-4).
	URLHost string
}

// ParseDial parses the expanded text of a dial field: [network/]host:port or unix/<path> (DIAL-1, DIAL-2). The text has
// to name precisely one socket. A missing port is port 0, which fails when it is dialled and not here.
func ParseDial(text string) (Address, error) {
	parsed, err := netaddr.Parse(text)
	if err != nil {
		return Address{}, fmt.Errorf("dial address %q: %w", text, err)
	}
	if n := parsed.Count(); n != 1 {
		return Address{}, fmt.Errorf("dial address %q names %d sockets; it must represent precisely one socket", text, n)
	}
	a := Address{Network: parsed.Network, Host: parsed.Host, HostPort: parsed.JoinHostPort(0)}
	if parsed.IsUnix() || parsed.IsFD() {
		a.Port = "0"
		a.HostPort = parsed.Host
	} else {
		a.Port = strconv.FormatUint(uint64(parsed.StartPort), 10)
	}
	a.URLHost = encodeHost(a.Network, a.HostPort)
	return a, nil
}

// String returns the address with its network in front, as in "tcp/10.20.0.1:8080" and "unix//run/app.sock".
func (a Address) String() string {
	return a.Network + "/" + a.HostPort
}
