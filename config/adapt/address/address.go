// Package address reads the addresses of sites in a Caddyfile.
package address

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

// Address is a key of a site: [scheme://][host][:port][/path]. What is not said
// is empty. The scheme is http or https; the host is in canonical form.
type Address struct {
	Scheme, Host, Port, Path string
	// Original is the text as it was written.
	Original string
	// Token is where it was written.
	Token caddyfile.Token
	// Index is for the caller: its position among the keys of a site.
	Index int
}

// Parse reads an address.
func Parse(t caddyfile.Token) (Address, error) {
	a := Address{Original: t.Text, Token: t}
	text := strings.TrimSpace(t.Text)
	if len(text) > maxAddress {
		return a, fmt.Errorf("address is too long: %d bytes, at most %d are allowed", len(text), maxAddress)
	}
	rest := text
	if scheme, after, ok := strings.Cut(text, "://"); ok {
		a.Scheme, rest = strings.ToLower(scheme), after
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		rest, a.Path = rest[:i], rest[i:]
	}
	a.Host, a.Port = splitHostPort(rest)
	if a.Port != "" {
		n, err := strconv.Atoi(a.Port)
		if err != nil {
			return a, fmt.Errorf("invalid port '%s'", caddyfile.Shorten(a.Port))
		}
		if n < 0 || n > 65535 {
			return a, fmt.Errorf("port %d is out of range", n)
		}
	}
	switch a.Scheme {
	case "", "http", "https":
	case "ws", "wss":
		return a, fmt.Errorf("the scheme %s:// is only supported in browsers; use http%s:// instead", a.Scheme, a.Scheme[2:])
	default:
		return a, fmt.Errorf("unsupported URL scheme %s://", caddyfile.Shorten(a.Scheme))
	}
	a.Host = canonicalHost(a.Host)
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

// Ports are those that HTTP and HTTPS are served on.
type Ports struct{ HTTP, HTTPS string }

// ListenPort is the port that the address is served on.
func (a *Address) ListenPort(p Ports) (string, error) {
	port := a.Port
	if port == "" {
		port = p.HTTPS
		if a.Scheme == "http" {
			port = p.HTTP
		}
	}
	if (a.Scheme == "http" && port == p.HTTPS) || (a.Scheme == "https" && port == p.HTTP) {
		return "", fmt.Errorf("[%s] scheme and port violate convention", caddyfile.Shorten(a.Original))
	}
	return port, nil
}

// Hosts are the different hosts of keys, in order; none if a key has no host.
func Hosts(keys []Address) []string {
	var out []string
	seen := map[string]bool{}
	for i := range keys {
		h := keys[i].Host
		if h == "" {
			return nil
		}
		if !seen[h] {
			seen[h] = true
			out = append(out, h)
		}
	}
	return out
}
