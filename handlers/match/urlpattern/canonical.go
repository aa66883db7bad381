package urlpattern

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/internal/urlpath"
	"golang.org/x/net/idna"
)

// The functions here write the fixed texts of patterns as the URLs that they are
// compared with are written.

func canonicalProtocol(s string) (string, error) {
	s = strings.ToLower(s)
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' {
			return "", fmt.Errorf("%q cannot be part of a scheme", s)
		}
	}
	return s, nil
}

func canonicalUser(s string) (string, error) { return encode(s, "\"#<>?^`{}/:;=@[\\]|"), nil }

func canonicalHost(s string) (string, error) {
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune("#/:<>?@[\\]^|%", r) {
			return "", fmt.Errorf("%q cannot be part of a host name", s)
		}
	}
	ascii, err := idna.ToASCII(strings.ToLower(s))
	if err != nil {
		return "", fmt.Errorf("converting %q to ASCII: %w", s, err)
	}
	return ascii, nil
}

func canonicalIPv6(s string) (string, error) {
	s = strings.ToLower(s)
	for _, r := range s {
		if !strings.ContainsRune("0123456789abcdef[]:", r) {
			return "", fmt.Errorf("%q cannot be part of an IPv6 address", s)
		}
	}
	return s, nil
}

func canonicalPort(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return "", fmt.Errorf("%q is not a port number", s)
	}
	return strconv.FormatUint(n, 10), nil
}

func canonicalPath(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	// What does not begin a segment is behind one that must stay.
	lead := ""
	if s[0] != '/' {
		lead = "/-"
	}
	return EncodePath(urlpath.Clean(lead+s, false)[len(lead):], false), nil
}

func canonicalOpaque(s string) (string, error) { return encode(s, ""), nil }

func canonicalSearch(s string) (string, error) { return EncodeSearch(s), nil }

func canonicalHash(s string) (string, error) { return encode(s, "\"<>`"), nil }

// EncodePath writes a path as URLs have it: with percent escapes for what cannot
// stand in one. If the path is decoded, a percent sign is escaped too.
func EncodePath(path string, decoded bool) string {
	if decoded {
		return encode(path, "\"#<>?^`{}\\%")
	}
	return encode(path, "\"#<>?^`{}\\")
}

// EncodeSearch writes a query, without its "?", as URLs have it.
func EncodeSearch(query string) string { return encode(query, "\"#<>'") }

// encode escapes control characters, spaces, what is not ASCII, and the bytes of
// set.
func encode(s, set string) string {
	i := 0
	for i < len(s) && !mustEncode(s[i], set) {
		i++
	}
	if i == len(s) {
		return s
	}
	const hex = "0123456789ABCDEF"
	out := append(make([]byte, 0, len(s)+8), s[:i]...)
	for ; i < len(s); i++ {
		if c := s[i]; mustEncode(c, set) {
			out = append(out, '%', hex[c>>4], hex[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

func mustEncode(c byte, set string) bool {
	return c <= ' ' || c >= 0x7f || strings.IndexByte(set, c) >= 0
}
