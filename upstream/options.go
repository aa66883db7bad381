package upstream

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// HTTPOptions are the settings of an HTTP transport to upstreams. Options of equal meaning share one transport and its
// connections. Begin with [DefaultHTTPOptions]; the zero value has no dial timeout and keeps no connection alive.
type HTTPOptions struct {
	// DialTimeout bounds the making of a connection, name resolution included; 0 is no bound.
	DialTimeout time.Duration
	// DialFallbackDelay is the head start of IPv6 over IPv4 (RFC 6555); 0 is 300 ms, negative turns the race off.
	DialFallbackDelay time.Duration
	// ResponseHeaderTimeout bounds the wait for response headers after the request was written; 0 is no bound.
	ResponseHeaderTimeout time.Duration
	// ExpectContinueTimeout is how long the body of a request with "Expect: 100-continue" is held back; 0 sends it at once.
	ExpectContinueTimeout time.Duration
	// MaxResponseHeaderSize is the size of response headers in bytes above which the response is an error; 0 is 10 MiB.
	MaxResponseHeaderSize int64
	// WriteBufferSize and ReadBufferSize are bytes per connection; 0 is 4 KiB.
	WriteBufferSize, ReadBufferSize int
	// ReadTimeout and WriteTimeout bound each single read and write of a TCP connection; 0 is no bound.
	ReadTimeout, WriteTimeout time.Duration
	// MaxConnsPerHost bounds the connections to one address, dialling, busy and idle; requests above it wait. 0 is no bound.
	MaxConnsPerHost int
	// LocalAddress is the [network/]host[:port] to connect from; "" leaves it to the system.
	LocalAddress string
	// KeepAlive uses a connection for more than one request; false sends "Connection: close".
	KeepAlive bool
	// ProbeInterval is the time between TCP keep-alive probes; 0 is the system's default, negative turns them off.
	ProbeInterval time.Duration
	// MaxIdleConns bounds the idle connections to all addresses; 0 is no bound.
	MaxIdleConns int
	// MaxIdleConnsPerHost bounds the idle connections to one address; 0 keeps none and acts like 2 in net/http, so give a number.
	MaxIdleConnsPerHost int
	// IdleTimeout is how long an idle connection is kept; 0 is forever.
	IdleTimeout time.Duration
	// Compression asks for gzip where the client does not state an Accept-Encoding, and decompresses the answer (REQ-18).
	Compression bool
	// H2C speaks HTTP/2 with prior knowledge to upstreams in clear text. A WebSocket is opened by extended CONNECT (RFC 8441)
	// where the upstream has it. Otherwise, and for other upgrades, HTTP/1.1 is used, unless HTTP2Only is set.
	H2C bool
	// TLS is how upstreams are spoken to securely, if they are.
	TLS TLSOptions
	// HTTP1Only does not offer HTTP/2 in the TLS handshake.
	HTTP1Only bool
	// HTTP2Only says that HTTP/1.1 was not asked for. In clear text, with H2C, it is not used then, not even for upgrades.
	// With TLS the upstream may still choose it in the handshake; a WebSocket tries HTTP/2 first.
	HTTP2Only bool
	// HTTP3 speaks HTTP/3 alone. It needs TLS, and knows neither forward proxies nor the PROXY protocol; DialTimeout bounds the
	// time until the upstream is heard of, and what belongs to TCP sockets has no meaning.
	HTTP3 bool
	// ProxyProtocol is the version of the PROXY protocol, 1 or 2, whose header begins each connection; 0 is none.
	ProxyProtocol int
	// Resolvers are DNS servers that names of upstreams are looked up with, as [ParseResolver] returns them and separated by
	// commas; "" is the system's way.
	Resolvers string
}

// DefaultHTTPOptions returns the settings of a handler that states none (reference section 12).
func DefaultHTTPOptions() HTTPOptions {
	return HTTPOptions{
		DialTimeout:         3 * time.Second,
		KeepAlive:           true,
		ProbeInterval:       30 * time.Second,
		MaxIdleConnsPerHost: 256, // fewer, and many clients at once make it dial again and again
		IdleTimeout:         2 * time.Minute,
		Compression:         true,
	}
}

// Validate reports what makes the options unusable: a local address that is none, is not of a stream network or names
// more than one port.
func (o HTTPOptions) Validate() error {
	if o.LocalAddress == "" {
		return nil
	}
	_, _, err := resolveLocal(o.LocalAddress)
	return err
}

// resolveLocal parses a local address. The host has to be an IP address, so that no name is looked up at load.
func resolveLocal(text string) (string, net.Addr, error) {
	fail := func(err error) (string, net.Addr, error) {
		return "", nil, fmt.Errorf("local address %q: %w", text, err)
	}
	parsed, err := netaddr.ParseDefault(text, "tcp", 0)
	if err != nil {
		return fail(err)
	}
	if n := parsed.Count(); n != 1 {
		return fail(fmt.Errorf("it names %d ports; exactly one is possible", n))
	}
	switch {
	case isTCP(parsed.Network):
		if ip, _, _ := strings.Cut(parsed.Host, "%"); parsed.Host != "" && net.ParseIP(ip) == nil {
			return fail(errors.New("its host has to be an IP address"))
		}
		address, err := net.ResolveTCPAddr(parsed.Network, parsed.JoinHostPort(0))
		if err != nil {
			return fail(err)
		}
		return parsed.Network, address, nil
	case strings.HasPrefix(parsed.Network, "unix"):
		return parsed.Network, &net.UnixAddr{Name: parsed.Host, Net: parsed.Network}, nil
	default:
		return fail(errors.New("its network has to be tcp, tcp4, tcp6 or unix"))
	}
}
