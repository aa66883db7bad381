// Package upstreamaddr reads the addresses of upstreams as people write them, in a Caddyfile or on a command line:
//
//	scheme://host[:port]
//	[network/]host[:port]
//
// A port may be a range, and without a scheme both parts may hold placeholders. What a document has instead is the dial
// texts that such an address makes, and settings of the transport for its scheme.
package upstreamaddr

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// Addr is one address. It stands for several upstreams if it has a range of ports.
type Addr struct {
	// Scheme is "http", "https" or "h2c"; empty if there is none.
	Scheme string
	// Network is in lower case; empty if there is none.
	Network string

	host string // without the brackets of IPv6; of unix sockets and descriptors all after the network
	port string // decimal or with placeholders; "" where there is none
	last uint64 // of a range, where port is the first one; else 0
}

const (
	httpPort  = "80"
	httpsPort = "443"

	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

var errBrackets = errors.New("the brackets are not around the host; want [IPv6]:port")

// Parse reads one address. What it returns can be dialled, unless placeholders make it something else.
func Parse(text string) (Addr, error) {
	switch {
	case text == "":
		return Addr{}, errors.New("the address is empty; give one such as 10.20.0.1:8080")
	case len(text) > netaddr.MaxLen:
		return Addr{}, fmt.Errorf("the address is longer than %d bytes", netaddr.MaxLen)
	case !utf8.ValidString(text):
		return Addr{}, errors.New("the address is not UTF-8")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return Addr{}, errors.New("the address holds a control character")
	}
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		return parseURL(strings.ToLower(scheme), rest)
	}
	return parseNetwork(text)
}

// parseURL reads what has a scheme.
func parseURL(scheme, rest string) (Addr, error) {
	if strings.Contains(scheme, "{") || strings.Contains(rest, "{") {
		return Addr{}, errors.New("due to parsing difficulties, placeholders are not allowed when an upstream address contains a scheme")
	}
	standard := httpPort
	switch scheme {
	case "http", "h2c":
	case "https":
		standard = httpsPort
	case "ws", "wss":
		return Addr{}, fmt.Errorf("the scheme %s:// is only supported in browsers; use %s:// instead", scheme, "http"+scheme[2:])
	default:
		return Addr{}, fmt.Errorf("unsupported URL scheme %s://", scheme)
	}
	if strings.ContainsAny(rest, "/?#@") {
		return Addr{}, errors.New("for now, URLs for proxy upstreams only support scheme, host, and port components")
	}
	if i := strings.IndexAny(rest, " %\\\"<>^`|"); i >= 0 {
		return Addr{}, fmt.Errorf("the host of a URL cannot contain %q", rest[i])
	}
	a := Addr{Scheme: scheme}
	var err error
	if a.host, a.port, err = splitHostPort(rest); err != nil {
		return Addr{}, err
	}
	if strings.Contains(a.host, ":") && rest[0] != '[' {
		return Addr{}, errors.New("an IPv6 address with a scheme needs brackets, as in http://[2001:db8::5]:8080")
	}
	switch {
	case a.port == "":
		a.port = standard
	case scheme != "https" && a.port == httpsPort:
		return Addr{}, fmt.Errorf("upstream address has conflicting scheme (%s://) and port (:443, the HTTPS port)", scheme)
	case scheme == "https" && a.port == httpPort:
		return Addr{}, errors.New("upstream address has conflicting scheme (https://) and port (:80, the HTTP port)")
	}
	return a.finish()
}

// parseNetwork reads what has no scheme.
func parseNetwork(text string) (Addr, error) {
	var a Addr
	rest := text
	if network, after, ok := strings.Cut(text, "/"); ok && !strings.Contains(network, "{") {
		a.Network, rest = strings.ToLower(network), after
		switch {
		case network == "":
			return Addr{}, errors.New("the network before the / is missing; a unix socket is written unix//run/name.sock")
		case strings.Trim(network, letters+"0123456789+-_") != "":
			return Addr{}, errors.New("the text before the / is no network; want [network/]host[:port] without a path")
		case a.Network == "unix+h2c":
			a.Network, a.Scheme = "unix", "h2c"
		}
		if a.IsFile() {
			a.host = rest
			return a.finish()
		}
	}
	var err error
	if a.host, a.port, err = splitHostPort(rest); err != nil {
		return Addr{}, err
	}
	if !strings.Contains(a.host, "{") {
		switch {
		case strings.Contains(a.host, "/"):
			return Addr{}, errors.New("an upstream address has no path; want [network/]host[:port]")
		case strings.ContainsAny(a.host, "[]"):
			return Addr{}, errBrackets
		case a.port == "":
			a.port = httpPort
		}
	}
	return a.finish()
}

// splitHostPort splits host[:port], [IPv6]:port or a bare IPv6 address. Colons in placeholders do not count.
func splitHostPort(s string) (host, port string, err error) {
	if s != "" && s[0] == '[' {
		host, rest, ok := strings.Cut(s[1:], "]")
		if !ok || rest != "" && rest[0] != ':' {
			return "", "", errBrackets
		}
		if strings.Contains(host, "{") {
			host = "[" + host + "]" // only whoever expands it knows whether it needs them
		}
		return host, strings.TrimPrefix(rest, ":"), nil
	}
	colons, at, depth := 0, 0, 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth = max(depth-1, 0)
		case ':':
			if depth == 0 {
				colons++
				at = i
			}
		}
	}
	switch {
	case colons == 0:
		return s, "", nil
	case colons == 1:
		return s[:at], s[at+1:], nil
	}
	if _, err := netip.ParseAddr(s); err == nil || strings.Contains(s, "{") {
		return s, "", nil
	}
	return "", "", errors.New("there are too many colons; want host:port, host:first-last or [IPv6]:port")
}

// finish reads the range of ports, if there is one, and checks that what has no placeholders can be dialled.
func (a Addr) finish() (Addr, error) {
	if err := a.ports(); err != nil {
		return Addr{}, err
	}
	if !strings.Contains(a.host+a.port, "{") {
		if _, err := netaddr.Parse(a.dial(a.port)); err != nil {
			return Addr{}, err
		}
	}
	return a, nil
}

// ports splits a range.
func (a *Addr) ports() error {
	if a.port == "" || strings.Contains(a.port, "{") {
		return nil
	}
	from, to, isRange := strings.Cut(a.port, "-")
	first, err := parsePort(from)
	if err != nil {
		return fmt.Errorf("invalid start port: %w", err)
	}
	if !isRange {
		return nil
	}
	last, err := parsePort(to)
	if err != nil {
		return fmt.Errorf("invalid end port: %w", err)
	}
	if last < first {
		return errors.New("end port must not be less than start port")
	}
	a.Network, a.port, a.last = "", from, last
	return nil
}

func parsePort(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number from 0 to 65535", s)
	}
	return n, nil
}

// IsFile reports whether the host is a path or the number of a descriptor.
func (a *Addr) IsFile() bool {
	return strings.HasPrefix(a.Network, "unix") || strings.HasPrefix(a.Network, "fd")
}

// Count returns how many upstreams the address stands for.
func (a *Addr) Count() int {
	if a.last == 0 {
		return 1
	}
	return int(a.last-a.first()) + 1
}

// first returns the first port of a range.
func (a *Addr) first() uint64 {
	n, _ := strconv.ParseUint(a.port, 10, 16) // ports has read it before
	return n
}

// Dials returns the dial text of each upstream.
func (a *Addr) Dials() []string {
	if a.last == 0 {
		return []string{a.dial(a.port)}
	}
	list := make([]string, 0, a.Count())
	for p := a.first(); p <= a.last; p++ {
		list = append(list, a.dial(strconv.FormatUint(p, 10)))
	}
	return list
}

// dial returns the dial text with a port.
func (a *Addr) dial(port string) string {
	text := a.host
	switch {
	case a.IsFile():
	case strings.Contains(a.host, "{"):
		if port != "" {
			text += ":" + port
		}
	default:
		text = net.JoinHostPort(a.host, port)
	}
	if a.Network != "" {
		text = a.Network + "/" + text
	}
	return text
}

// IsSRV reports whether an upstream is the name of SRV records, _service._proto.name, and not of a host.
func IsSRV(text string) bool {
	if strings.ContainsAny(text, ":/") || !strings.HasPrefix(text, "_") {
		return false
	}
	_, rest, _ := strings.Cut(text, ".")
	_, name, _ := strings.Cut(rest, ".")
	return strings.HasPrefix(rest, "_") && name != ""
}
