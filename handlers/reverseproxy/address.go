package reverseproxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// address is an upstream as a Caddyfile writes it: scheme://host[:port], or [network/]host[:port]. It may stand for a
// range of ports.
type address struct {
	scheme  string // "http", "https", "h2c", or "" if it does not say
	network string // in lower case, or "" if it does not say
	host    string // without the brackets of IPv6; of unix sockets and descriptors all after the network
	port    string // decimal or with placeholders; "" where there is none
	last    uint64 // of a range, where port is the first one; else 0
}

const (
	httpPort  = "80"
	httpsPort = "443"

	// maxRange is how many upstreams the ranges of one handler may make.
	maxRange = 4096
)

var errBrackets = errors.New("the brackets are not around the host; want [IPv6]:port")

// parseAddress reads one upstream.
func parseAddress(text string) (address, error) {
	switch {
	case text == "":
		return address{}, errors.New("the address is empty; give one such as 10.20.0.1:8080")
	case len(text) > netaddr.MaxLen:
		return address{}, fmt.Errorf("the address is longer than %d bytes", netaddr.MaxLen)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return address{}, errors.New("the address holds a control character")
	}
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		return parseURL(strings.ToLower(scheme), rest)
	}
	return parseNetwork(text)
}

// parseURL reads what has a scheme.
func parseURL(scheme, rest string) (address, error) {
	if strings.Contains(scheme, "{") || strings.Contains(rest, "{") {
		return address{}, errors.New("due to parsing difficulties, placeholders are not allowed when an upstream address contains a scheme")
	}
	standard := httpPort
	switch scheme {
	case "http", "h2c":
	case "https":
		standard = httpsPort
	case "ws", "wss":
		return address{}, fmt.Errorf("the scheme %s:// is only supported in browsers; use %s:// instead", scheme, "http"+scheme[2:])
	default:
		return address{}, fmt.Errorf("unsupported URL scheme %s://", scheme)
	}
	if strings.ContainsAny(rest, "/?#@") {
		return address{}, errors.New("for now, URLs for proxy upstreams only support scheme, host, and port components")
	}
	if i := strings.IndexAny(rest, " %\\\"<>^`|"); i >= 0 {
		return address{}, fmt.Errorf("the host of a URL cannot contain %q", rest[i])
	}
	a := address{scheme: scheme}
	var err error
	if a.host, a.port, err = splitHostPort(rest); err != nil {
		return address{}, err
	}
	if strings.Contains(a.host, ":") && rest[0] != '[' {
		return address{}, errors.New("an IPv6 address with a scheme needs brackets, as in http://[2001:db8::5]:8080")
	}
	switch {
	case a.port == "":
		a.port = standard
	case scheme != "https" && a.port == httpsPort:
		return address{}, fmt.Errorf("upstream address has conflicting scheme (%s://) and port (:443, the HTTPS port)", scheme)
	case scheme == "https" && a.port == httpPort:
		return address{}, errors.New("upstream address has conflicting scheme (https://) and port (:80, the HTTP port)")
	}
	return a.finish()
}

// parseNetwork reads what has no scheme.
func parseNetwork(text string) (address, error) {
	var a address
	rest := text
	if network, after, ok := strings.Cut(text, "/"); ok && !strings.Contains(network, "{") {
		a.network, rest = strings.ToLower(strings.TrimSpace(network)), after
		switch a.network {
		case "":
			return address{}, errors.New("the network before the / is missing; a unix socket is written unix//run/name.sock")
		case "unix+h2c":
			a.network, a.scheme = "unix", "h2c"
		}
		if a.isFile() {
			a.host = rest
			return a.finish()
		}
	}
	var err error
	if a.host, a.port, err = splitHostPort(rest); err != nil {
		return address{}, err
	}
	if !strings.Contains(a.host, "{") {
		switch {
		case strings.Contains(a.host, "/"):
			return address{}, errors.New("an upstream address has no path; want [network/]host[:port]")
		case strings.ContainsAny(a.host, "[]"):
			return address{}, errBrackets
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
func (a address) finish() (address, error) {
	if err := a.ports(); err != nil {
		return address{}, err
	}
	if !strings.Contains(a.host+a.port, "{") {
		if _, err := netaddr.Parse(a.dial(a.port)); err != nil {
			return address{}, err
		}
	}
	return a, nil
}

// ports splits a range.
func (a *address) ports() error {
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
	a.network, a.port, a.last = "", from, last
	return nil
}

func parsePort(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number from 0 to 65535", s)
	}
	return n, nil
}

// isFile reports whether the host is a path or the number of a descriptor.
func (a *address) isFile() bool {
	return strings.HasPrefix(a.network, "unix") || strings.HasPrefix(a.network, "fd")
}

// count returns how many upstreams the address stands for.
func (a *address) count() int {
	if a.last == 0 {
		return 1
	}
	return int(a.last-a.first()) + 1
}

// first returns the first port of a range.
func (a *address) first() uint64 {
	n, _ := strconv.ParseUint(a.port, 10, 16) // ports has read it before
	return n
}

// dials returns the dial text of each upstream.
func (a *address) dials() []string {
	if a.last == 0 {
		return []string{a.dial(a.port)}
	}
	list := make([]string, 0, a.count())
	for p := a.first(); p <= a.last; p++ {
		list = append(list, a.dial(strconv.FormatUint(p, 10)))
	}
	return list
}

// dial returns the dial text with a port.
func (a *address) dial(port string) string {
	text := a.host
	switch {
	case a.isFile():
	case strings.Contains(a.host, "{"):
		if port != "" {
			text += ":" + port
		}
	default:
		text = net.JoinHostPort(a.host, port)
	}
	if a.network != "" {
		text = a.network + "/" + text
	}
	return text
}

// isSRV reports whether an upstream is the name of SRV records, _service._proto.name, and not of a host.
func isSRV(text string) bool {
	if strings.ContainsAny(text, ":/") || !strings.HasPrefix(text, "_") {
		return false
	}
	_, rest, _ := strings.Cut(text, ".")
	_, name, _ := strings.Cut(rest, ".")
	return strings.HasPrefix(rest, "_") && name != ""
}
