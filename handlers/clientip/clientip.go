// Package clientip decides what a server believes about where a request comes
// from: which peers are trusted proxies, what the client's address is when one
// of them forwarded the request, and which header names are let in at all.
package clientip

import (
	"net/http"
	"net/netip"
	"strings"
)

// UnixPeer is the remote address of a peer on a Unix socket.
const UnixPeer = "@"

// Options say how the client's address is found behind a trusted proxy.
type Options struct {
	// Headers are the fields that proxies report addresses in, in order of
	// preference (client_ip_headers). With none the peer is the client.
	Headers []string
	// Strict reads a field from right to left and takes the first address that
	// is not a trusted proxy's (trusted_proxies_strict); otherwise the first
	// address from the left counts, which the client can forge where a proxy
	// appends to what it got.
	Strict bool
	// Unix trusts peers on Unix sockets (trusted_proxies_unix).
	Unix bool
}

// Find returns the client's IP address in its usual text form, without port and
// zone, and whether the peer is a trusted proxy. The address is that of the peer
// if there is no better one, "@" for a trusted peer on a Unix socket, and empty
// if the peer has none that can be read. An IPv4 address within IPv6 is not
// taken for IPv4. The arguments are not changed; remoteAddr is as in
// http.Request.
func Find(remoteAddr string, h http.Header, trusted []netip.Prefix, o Options) (client string, trustedProxy bool) {
	if remoteAddr == UnixPeer {
		if !o.Unix {
			return "", false
		}
		client = UnixPeer
	} else {
		text := host(remoteAddr)
		peer, err := netip.ParseAddr(text)
		if err != nil {
			return "", false
		}
		client = textOf(peer, text)
		if !contains(trusted, peer) {
			return client, false
		}
	}
	forwarded := leftmost
	if o.Strict {
		forwarded = rightmost
	}
	for _, name := range o.Headers {
		if ip := forwarded(h.Values(name), trusted); ip != "" {
			return ip, true
		}
	}
	return client, true
}

// leftmost is the first address in the list of all values.
func leftmost(values []string, _ []netip.Prefix) string {
	for _, rest := range values {
		for more := true; more; {
			var part string
			part, rest, more = strings.Cut(rest, ",")
			if ip, text, ok := parse(part); ok {
				return textOf(ip, text)
			}
		}
	}
	return ""
}

// rightmost is the last address in the list of all values that is not trusted.
func rightmost(values []string, trusted []netip.Prefix) string {
	for i := len(values) - 1; i >= 0; i-- {
		for rest := values[i]; ; {
			comma := strings.LastIndexByte(rest, ',')
			if ip, text, ok := parse(rest[comma+1:]); ok && !contains(trusted, ip) {
				return textOf(ip, text)
			}
			if comma < 0 {
				break
			}
			rest = rest[:comma]
		}
	}
	return ""
}

func parse(part string) (ip netip.Addr, text string, ok bool) {
	text = strings.Trim(part, " \t")
	if text == "" || len(text) > 128 {
		return ip, "", false
	}
	text = strings.TrimSpace(host(text))
	ip, err := netip.ParseAddr(text)
	return ip, text, err == nil
}

// textOf is the normal form of ip; text is what it was read from.
func textOf(ip netip.Addr, text string) string {
	var buf [64]byte
	if string(ip.AppendTo(buf[:0])) == text {
		return text
	}
	return ip.String()
}

// host is what stands before the port, if there is one, without a zone.
func host(s string) string {
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		switch h := s[:i]; {
		case strings.HasPrefix(h, "[") && strings.IndexByte(h, ']') == len(h)-1:
			s = h[1 : len(h)-1]
		case strings.IndexByte(h, ':') < 0:
			s = h
		}
	}
	s, _, _ = strings.Cut(s, "%")
	return s
}

func contains(prefixes []netip.Prefix, ip netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
