package adapt

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// maxAddress is the longest address of a site, in bytes.
const maxAddress = 4096

// address is a key of a site: [scheme://][host][:port][/path].
type address struct {
	original                 string
	scheme, host, port, path string
	token                    caddyfile.Token
	index                    int // among the keys of its site
}

func parseAddress(t caddyfile.Token) (address, error) {
	a := address{original: t.Text, token: t}
	text := strings.TrimSpace(t.Text)
	if len(text) > maxAddress {
		return a, fmt.Errorf("address is too long: %d bytes, at most %d are allowed", len(text), maxAddress)
	}
	rest := text
	if scheme, after, ok := strings.Cut(text, "://"); ok {
		a.scheme, rest = strings.ToLower(scheme), after
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		rest, a.path = rest[:i], rest[i:]
	}
	a.host, a.port = splitHostPort(rest)
	if a.port != "" {
		n, err := strconv.Atoi(a.port)
		if err != nil {
			return a, fmt.Errorf("invalid port '%s'", caddyfile.Shorten(a.port))
		}
		if n < 0 || n > 65535 {
			return a, fmt.Errorf("port %d is out of range", n)
		}
	}
	switch a.scheme {
	case "", "http", "https":
	case "ws", "wss":
		return a, fmt.Errorf("the scheme %s:// is only supported in browsers; use http%s:// instead", a.scheme, a.scheme[2:])
	default:
		return a, fmt.Errorf("unsupported URL scheme %s://", caddyfile.Shorten(a.scheme))
	}
	a.host = canonicalHost(a.host)
	return a, nil
}

func splitHostPort(s string) (host, port string) {
	if s == "" {
		return "", ""
	}
	if h, p, err := net.SplitHostPort(s); err == nil {
		return h, p
	}
	if h, p, err := net.SplitHostPort(s + ":"); err == nil {
		return h, p
	}
	return strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), ""
}

// canonicalHost is in lower case outside of placeholders; an IPv6 address is in
// its shortest form.
func canonicalHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && !ip.Is4In6() {
		return ip.String()
	}
	if strings.IndexByte(host, '{') < 0 {
		return strings.ToLower(host)
	}
	var b strings.Builder
	depth, escaped := 0, false
	for _, c := range host {
		switch {
		case escaped:
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		}
		escaped = c == '\\' && !escaped
		if depth == 0 {
			b.WriteString(strings.ToLower(string(c)))
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// listenPort is the port that the address is served on.
func (a *address) listenPort(o *options) (string, error) {
	port := a.port
	if port == "" {
		port = o.httpsPort()
		if a.scheme == "http" {
			port = o.httpPort()
		}
	}
	if (a.scheme == "http" && port == o.httpsPort()) || (a.scheme == "https" && port == o.httpPort()) {
		return "", fmt.Errorf("[%s] scheme and port violate convention", caddyfile.Shorten(a.original))
	}
	return port, nil
}
