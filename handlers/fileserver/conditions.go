package fileserver

import (
	"net/http"
	"strings"
	"time"
)

// verdict is what the conditions of a request come to.
type verdict uint8

const (
	proceed    verdict = iota
	unmodified         // 304
	unmet              // 412
)

// judge evaluates the conditions in the order of RFC 9110, 13.2.2.
func (c *content) judge() verdict {
	h := c.r.Header
	tag := first(c.w.Header()["Etag"])
	if lines := h["If-Match"]; len(lines) > 0 {
		if !anyTag(lines, tag, false) {
			return unmet
		}
	} else if t, ok := c.since(h["If-Unmodified-Since"]); ok && c.modified.Truncate(time.Second).After(t) {
		return unmet
	}
	safe := c.safe()
	if lines := h["If-None-Match"]; len(lines) > 0 {
		if !anyTag(lines, tag, true) {
			return proceed
		}
		if safe {
			return unmodified
		}
		return unmet
	}
	if t, ok := c.since(h["If-Modified-Since"]); ok && safe && !c.modified.Truncate(time.Second).After(t) {
		return unmodified
	}
	return proceed
}

func (c *content) safe() bool { return c.r.Method == http.MethodGet || c.r.Method == http.MethodHead }

// since reads a date that the modification time can be compared with.
func (c *content) since(lines []string) (time.Time, bool) {
	if len(lines) == 0 || c.modified.IsZero() {
		return time.Time{}, false
	}
	t, err := http.ParseTime(lines[0])
	return t, err == nil
}

// sameVersion evaluates If-Range (RFC 9110, 13.1.5); without it the answer is yes.
func (c *content) sameVersion() bool {
	cond := first(c.r.Header["If-Range"])
	if cond == "" {
		return true
	}
	if tag, _ := scanTag(cond); tag != "" {
		return sameTag(tag, first(c.w.Header()["Etag"]), false)
	}
	t, err := http.ParseTime(cond)
	return err == nil && !c.modified.IsZero() && t.Unix() == c.modified.Unix()
}

// anyTag reports whether a list of entity tags, or "*", has the given one.
func anyTag(lines []string, tag string, weak bool) bool {
	for _, line := range lines {
		for {
			line = strings.TrimLeft(line, ", \t")
			if line == "" {
				break
			}
			if line[0] == '*' {
				return true
			}
			var one string
			if one, line = scanTag(line); one == "" {
				break // the rest cannot be read
			}
			if sameTag(one, tag, weak) {
				return true
			}
		}
	}
	return false
}

// sameTag compares entity tags (RFC 9110, 8.8.3.2).
func sameTag(a, b string, weak bool) bool {
	if weak {
		a, b = strings.TrimPrefix(a, "W/"), strings.TrimPrefix(b, "W/")
	}
	return a == b && strings.HasPrefix(a, `"`)
}

// scanTag splits an entity tag from what begins with one; tag is "" if it does
// not.
func scanTag(s string) (tag, rest string) {
	s = strings.TrimLeft(s, " \t")
	start := 0
	if strings.HasPrefix(s, "W/") {
		start = 2
	}
	if len(s) < start+2 || s[start] != '"' {
		return "", s
	}
	for i := start + 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[:i+1], s[i+1:]
		case c < 0x21 || c == 0x7f:
			return "", s
		}
	}
	return "", s
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
