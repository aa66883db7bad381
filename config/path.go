package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Path leads from the root of a document to a value: object keys, and array indexes in decimal, decoded. The word "config"
// that begins the paths of the admin API is not part of it.
type Path []string

// ParsePath splits the part of a URL path after "/config", percent-decoded, into segments. One slash at each end is dropped.
// An empty segment is an *Error with status 400.
func ParsePath(s string) (Path, error) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "/"), "/")
	if s == "" {
		return nil, nil
	}
	p := Path(strings.Split(s, "/"))
	for i, seg := range p {
		if seg == "" {
			return nil, &Error{Status: statusBadRequest, Pointer: p[:i].Pointer(),
				Msg: fmt.Sprintf("malformed path '/%s': segment %d is empty", s, i+1)}
		}
	}
	return p, nil
}

// String returns the path with a slash before each segment, and "" for the root. It is the inverse of ParsePath if no
// segment is empty or holds a slash.
func (p Path) String() string {
	var b strings.Builder
	for _, seg := range p {
		b.WriteByte('/')
		b.WriteString(seg)
	}
	return b.String()
}

// Pointer returns the path as a JSON Pointer (RFC 6901).
func (p Path) Pointer() string { return JoinPointer("", p...) }

// JoinPointer returns the JSON Pointer (RFC 6901) that goes on from base by the given segments, escaping them.
func JoinPointer(base string, segments ...string) string {
	b := []byte(base)
	for _, seg := range segments {
		b = append(b, '/')
		for i := 0; i < len(seg); i++ {
			switch seg[i] {
			case '~':
				b = append(b, "~0"...)
			case '/':
				b = append(b, "~1"...)
			default:
				b = append(b, seg[i])
			}
		}
	}
	return string(b)
}

// SplitPointer is the inverse of JoinPointer: the segments of a JSON Pointer, unescaped. It is false if s is neither empty
// nor begins with a slash, or has a tilde that escapes nothing.
func SplitPointer(s string) (Path, bool) {
	if s == "" {
		return nil, true
	}
	if s[0] != '/' {
		return nil, false
	}
	p := Path(strings.Split(s[1:], "/"))
	for i, seg := range p {
		if !strings.Contains(seg, "~") {
			continue
		}
		if rest := strings.NewReplacer("~0", "", "~1", "").Replace(seg); strings.Contains(rest, "~") {
			return nil, false
		}
		p[i] = strings.NewReplacer("~0", "~", "~1", "/").Replace(seg)
	}
	return p, true
}

// parseIndex reads an array index in its canonical form. Numbers out of the range of any array are accepted.
func parseIndex(seg string) (int, error) {
	i, err := strconv.Atoi(seg)
	if err != nil {
		return 0, fmt.Errorf("invalid array index '%s': %w", seg, err)
	}
	if strconv.Itoa(i) != seg {
		return 0, fmt.Errorf("invalid array index '%s': non-canonical array index", seg)
	}
	return i, nil
}
