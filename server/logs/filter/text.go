package filter

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// IPMask sets the host part of IP addresses to zero: v4 and v6 are how many bits
// are kept. It takes single addresses, such with a port, and lists with commas;
// what is no address is left alone.
func IPMask(v4, v6 int) *Filter {
	return always(func(s string) string { return maskList(s, v4, v6) })
}

func maskList(s string, v4, v6 int) string {
	if !strings.Contains(s, ",") {
		return maskOne(s, v4, v6)
	}
	parts := strings.Split(s, ",")
	for i, p := range parts {
		parts[i] = maskOne(strings.TrimSpace(p), v4, v6)
	}
	return strings.Join(parts, ", ")
}

func maskOne(s string, v4, v6 int) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host = s
		if inner, ok := strings.CutPrefix(s, "["); ok {
			host = strings.TrimSuffix(inner, "]")
		}
	}
	addr, parseErr := netip.ParseAddr(strings.TrimSpace(host))
	if parseErr != nil {
		return s
	}
	addr = addr.Unmap().WithZone("")
	bits := v6
	if addr.Is4() {
		bits = v4
	}
	prefix, prefixErr := addr.Prefix(bits)
	if prefixErr != nil {
		return s
	}
	masked := prefix.Addr().String()
	switch {
	case err == nil:
		return net.JoinHostPort(masked, port)
	case host != s:
		return "[" + masked + "]"
	}
	return masked
}

// Query changes the parameters of the query of a URI. The query is encoded
// anew, its names sorted; what was malformed in it is left out.
func Query(actions []Action) *Filter {
	return always(func(s string) string { return query(s, actions) })
}

func query(s string, actions []Action) string {
	rest, fragment, hasFragment := strings.Cut(s, "#")
	path, raw, ok := strings.Cut(rest, "?")
	if !ok {
		return s
	}
	values, _ := url.ParseQuery(raw)
	for i := range actions {
		a := &actions[i]
		list, ok := values[a.Name]
		switch {
		case !ok:
		case a.Verb == DeleteValue:
			delete(values, a.Name)
		default:
			for k := range list {
				list[k] = a.apply(list[k])
			}
		}
	}
	if encoded := values.Encode(); encoded != "" {
		path += "?" + encoded
	}
	if hasFragment {
		path += "#" + fragment
	}
	return path
}

// Cookie changes the cookies of a Cookie header. The first action that names a
// cookie counts, for all cookies of the name.
func Cookie(actions []Action) *Filter {
	return always(func(s string) string {
		var out strings.Builder
		for part := range strings.SplitSeq(s, ";") {
			part, ok := oneCookie(strings.TrimSpace(part), actions)
			if !ok || part == "" {
				continue
			}
			if out.Len() > 0 {
				out.WriteString("; ")
			}
			out.WriteString(part)
		}
		return out.String()
	})
}

// SetCookie changes the cookie of a Set-Cookie header, whose attributes are
// kept, or removes the header. What is no cookie is left alone.
func SetCookie(actions []Action) *Filter {
	return &Filter{text: func(s string) (string, bool) {
		pair, attributes, more := strings.Cut(s, ";")
		if !strings.Contains(pair, "=") {
			return s, true
		}
		pair, ok := oneCookie(strings.TrimSpace(pair), actions)
		if !ok {
			return "", false
		}
		if more {
			pair += ";" + attributes
		}
		return pair, true
	}}
}

// oneCookie applies the first action for the cookie; false removes it. A value
// in quotes stays in quotes.
func oneCookie(pair string, actions []Action) (string, bool) {
	name, value, _ := strings.Cut(pair, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	for i := range actions {
		a := &actions[i]
		if a.Name != name {
			continue
		}
		if a.Verb == DeleteValue {
			return "", false
		}
		if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			return name + `="` + a.apply(value[1:len(value)-1]) + `"`, true
		}
		return name + "=" + a.apply(value), true
	}
	return pair, true
}
