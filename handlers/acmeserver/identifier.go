package acmeserver

import (
	"fmt"
	"net/netip"
	"strings"
)

// Kinds of identifiers, RFC 8555 section 9.7.7 and RFC 8738.
const (
	typeDNS = "dns"
	typeIP  = "ip"
)

// identifier is a name that a certificate is for.
type identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// check returns the identifier in its only form, or why there can be no certificate for it.
func (id identifier) check() (identifier, *problem) {
	switch id.Type {
	case typeDNS:
		id.Value = strings.ToLower(id.Value)
		if !isHostName(strings.TrimPrefix(id.Value, "*.")) {
			return id, rejected(id, fmt.Sprintf("%s is not a DNS name; an international name is given in its ASCII form", quote(id.Value)))
		}
		return id, nil
	case typeIP:
		addr, err := netip.ParseAddr(id.Value)
		if err != nil || addr.Zone() != "" || addr.Is4In6() {
			return id, rejected(id, fmt.Sprintf("%s is not an IP address", quote(id.Value)))
		}
		id.Value = addr.String()
		return id, nil
	}
	return id, newProblem("unsupportedIdentifier", 400, fmt.Sprintf("identifiers of type %s are not supported; want dns or ip", quote(id.Type))).of(id)
}

// isHostName reports whether a text is a DNS name in ASCII and lower case, without a dot at its end. Underscores are let
// through, because inside of networks there are hosts of such names.
func isHostName(name string) bool {
	if len(name) == 0 || len(name) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// quote is a text of a client as it may stand in a message.
func quote(text string) string {
	if len(text) > 100 {
		text = text[:100] + "..."
	}
	return fmt.Sprintf("%q", text)
}
