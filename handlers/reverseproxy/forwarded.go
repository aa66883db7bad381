package reverseproxy

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

const (
	forwardedFor   = "X-Forwarded-For"
	forwardedProto = "X-Forwarded-Proto"
	forwardedHost  = "X-Forwarded-Host"
)

// forwarded fills in the X-Forwarded fields of an outgoing header (REQ-8 to REQ-11). trusted is the server's verdict on
// the peer; the handler's own list of trusted proxies is asked besides.
func (h *Handler) forwarded(out *header, r *http.Request, trusted bool) {
	peer := r.RemoteAddr
	if peer == "@" { // a client on a unix socket
		if !trusted {
			dropForwarded(out.fields)
			return
		}
		peer = ""
	} else {
		host, _, err := net.SplitHostPort(peer)
		if err != nil {
			dropForwarded(out.fields)
			return
		}
		peer, _, _ = strings.Cut(host, "%")
		trusted = trusted || h.trusts(peer)
	}
	if peer != "" && !blocked(out.fields, forwardedFor) {
		value := peer
		if trusted {
			if prior := strings.Join(out.fields[forwardedFor], ", "); prior != "" {
				value = prior + ", " + peer
			}
		}
		out.set(forwardedFor, value)
	}
	proto := "http"
	if r.TLS != nil {
		proto = "https"
	}
	out.forward(forwardedProto, proto, trusted)
	out.forward(forwardedHost, r.Host, trusted)
}

// forward sets a field to value, unless a trusted peer has sent one: then its last line stays.
func (h *header) forward(name, value string, trusted bool) {
	if blocked(h.fields, name) {
		return
	}
	if prior := h.fields[name]; trusted && len(prior) > 0 && prior[len(prior)-1] != "" {
		value = prior[len(prior)-1]
	}
	h.set(name, value)
}

// blocked reports whether an earlier handler has forbidden to generate the field: it is there without values.
func blocked(h http.Header, name string) bool {
	values, ok := h[name]
	return ok && values == nil
}

func dropForwarded(h http.Header) {
	delete(h, forwardedFor)
	delete(h, forwardedProto)
	delete(h, forwardedHost)
}

// trusts reports whether the handler's own list has the peer.
func (h *Handler) trusts(peer string) bool {
	if len(h.trusted) == 0 {
		return false
	}
	ip, err := netip.ParseAddr(peer)
	if err != nil {
		return false
	}
	for _, prefix := range h.trusted {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

// parsePrefixes reads a list of IP addresses and CIDR prefixes. The index is that of the entry that is neither.
func parsePrefixes(texts []string) (prefixes []netip.Prefix, bad int, err error) {
	for i, text := range texts {
		var p netip.Prefix
		if strings.Contains(text, "/") {
			p, err = netip.ParsePrefix(text)
		} else {
			var ip netip.Addr
			ip, err = netip.ParseAddr(text)
			p = netip.PrefixFrom(ip, ip.BitLen())
		}
		if err != nil {
			return nil, i, err
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes, 0, nil
}
