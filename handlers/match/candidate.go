package match

import (
	"net/url"
	"path"
	"runtime"
	"strings"

	"github.com/sluiceproxy/sluice/internal/urlpath"
)

// candidate is the path of one request in the forms that patterns are compared
// with, each made when first needed.
type candidate struct {
	url   *url.URL
	forms [4]string
	have  [4]bool
}

// merged is the decoded, cleaned path in lower case, without empty segments.
func (c *candidate) merged() string { return c.form(0, true, false) }

// unmerged is merged with its empty segments.
func (c *candidate) unmerged() string { return c.form(1, false, false) }

// escaped is the path as it was sent, cleaned and in lower case.
func (c *candidate) escaped(merge bool) string {
	if merge {
		return c.form(2, true, true)
	}
	return c.form(3, false, true)
}

func (c *candidate) form(i int, merge, escaped bool) string {
	if c.have[i] {
		return c.forms[i]
	}
	p := c.url.Path
	if escaped {
		p = c.url.EscapedPath()
	}
	c.forms[i], c.have[i] = strings.ToLower(cleanPath(p, merge, escaped)), true
	return c.forms[i]
}

// cleanPath cleans a decoded or an escaped path as the platform needs it.
func cleanPath(p string, merge, escaped bool) string {
	if runtime.GOOS == "windows" {
		p = windowsPath(p, escaped)
	}
	return urlpath.Clean(p, merge)
}

// windowsPath writes a path as Windows takes it: backslashes are slashes, and
// dots and spaces at the end of a name do not count.
func windowsPath(p string, escaped bool) string {
	p = strings.ReplaceAll(p, `\`, "/")
	ends := []string{".", " "}
	if escaped {
		p = strings.ReplaceAll(strings.ReplaceAll(p, "%5c", "/"), "%5C", "/")
		ends = append(ends, "%2e", "%2E", "%20")
	}
	segments := strings.Split(p, "/")
	for i, seg := range segments {
		if seg == "." || seg == ".." {
			continue
		}
		segments[i] = trimEnds(seg, ends)
	}
	return strings.Join(segments, "/")
}

func trimEnds(s string, ends []string) string {
	for cut := true; cut; {
		cut = false
		for _, end := range ends {
			if rest, ok := strings.CutSuffix(s, end); ok {
				s, cut = rest, true
			}
		}
	}
	return s
}

// matchEscaped compares a pattern that contains a percent escape with an escaped
// path. The pattern decides which parts of the path are decoded.
func matchEscaped(pattern, escaped string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "%*", "*"), strings.ToLower(inTermsOf(pattern, escaped)))
	return ok && err == nil
}

// inTermsOf walks along pattern and path and decodes the path but for the
// escapes that the pattern spells out and what "%*" spans.
func inTermsOf(pattern, escaped string) string {
	out := make([]byte, 0, len(escaped))
	for pattern != "" && escaped != "" {
		switch {
		case strings.HasPrefix(pattern, "%*"):
			pattern = pattern[2:]
			n := spanLen(pattern, escaped)
			out, escaped = append(out, escaped[:n]...), escaped[n:]
		case pattern[0] == '*':
			pattern = pattern[1:]
			n := spanLen(pattern, escaped)
			out, escaped = appendDecoded(out, escaped[:n]), escaped[n:]
		case pattern[0] == '%':
			pattern = pattern[min(3, len(pattern)):]
			if n := unitLen(escaped); n == 3 {
				out, escaped = append(out, escaped[:n]...), escaped[n:]
			}
		default:
			pattern = pattern[1:]
			n := unitLen(escaped)
			out, escaped = appendDecoded(out, escaped[:n]), escaped[n:]
		}
	}
	return string(appendDecoded(out, escaped))
}

// spanLen is how much of path lies before the next literal of the pattern.
func spanLen(pattern, escaped string) int {
	if pattern == "" {
		return len(escaped)
	}
	if i := strings.IndexByte(escaped, pattern[0]); i >= 0 {
		return i
	}
	return len(escaped)
}

// unitLen is 3 where s begins with an escape, else 1.
func unitLen(s string) int {
	if len(s) >= 3 && s[0] == '%' && isHex(s[1]) && isHex(s[2]) {
		return 3
	}
	return 1
}

func appendDecoded(dst []byte, s string) []byte {
	for s != "" {
		n := unitLen(s)
		if n == 3 {
			dst = append(dst, unhex(s[1])<<4|unhex(s[2]))
		} else {
			dst = append(dst, s[0])
		}
		s = s[n:]
	}
	return dst
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// wellEscaped reports whether each "%" begins an escape or "%*".
func wellEscaped(pattern string) bool {
	for i := range len(pattern) {
		if pattern[i] == '%' && unitLen(pattern[i:]) != 3 && !strings.HasPrefix(pattern[i:], "%*") {
			return false
		}
	}
	return true
}
