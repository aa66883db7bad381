package push

import (
	"iter"
	"strings"
)

// links walks the targets of a Link field (RFC 8288, section 3) that are to be
// pushed: those of this host, and not marked with nopush.
func links(line string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line != "" {
			var link string
			link, line = cut(line, ',')
			target, params := cut(link, ';')
			if uri, ok := uriOf(target); ok && !isRemote(uri) && !hasNoPush(params) && !yield(uri) {
				return
			}
		}
	}
}

// cut splits at the first separator that is neither within <> nor quoted.
func cut(s string, sep byte) (before, after string) {
	quoted, angle := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && !angle:
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == sep && !angle:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// uriOf is the text within <>.
func uriOf(s string) (string, bool) {
	_, s, ok := strings.Cut(s, "<")
	if !ok {
		return "", false
	}
	uri, _, ok := strings.Cut(s, ">")
	uri = strings.TrimSpace(uri)
	return uri, ok && uri != ""
}

func isRemote(uri string) bool {
	return strings.HasPrefix(uri, "//") || hasPrefixFold(uri, "http://") || hasPrefixFold(uri, "https://")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func hasNoPush(params string) bool {
	for params != "" {
		var param string
		param, params = cut(params, ';')
		name, _, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "nopush") {
			return true
		}
	}
	return false
}
