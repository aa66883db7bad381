package automation

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// index finds the first policy of a list whose subjects have a name.
type index struct {
	exact    map[string]int
	wild     map[pattern]int
	catchAll int // the policy without subjects, or -1
}

// pattern is a subject with leading stars: "*.*.example.com" is 2 of them before "example.com".
type pattern struct {
	stars int
	rest  string
}

// patternOf reads a subject with leading stars.
func patternOf(subject string) (pattern, bool) {
	p := pattern{rest: subject}
	for strings.HasPrefix(p.rest, "*.") {
		p.stars, p.rest = p.stars+1, p.rest[2:]
	}
	if p.rest == "*" {
		p.stars, p.rest = p.stars+1, ""
	}
	return p, p.stars > 0
}

func newIndex(policies []*Policy) *index {
	x := &index{exact: map[string]int{}, wild: map[pattern]int{}, catchAll: -1}
	for i, p := range policies {
		if len(p.subjects) == 0 && x.catchAll < 0 {
			x.catchAll = i
		}
		for _, s := range p.subjects {
			if _, ok := x.exact[s]; !ok {
				x.exact[s] = i
			}
			if w, ok := patternOf(s); ok {
				if _, ok := x.wild[w]; !ok {
					x.wild[w] = i
				}
			}
		}
	}
	return x
}

// find returns the position of the policy for a name, which must be normal, or -1. It does not allocate.
func (x *index) find(name string) int {
	best := x.catchAll
	better := func(i int, ok bool) {
		if ok && (best < 0 || i < best) {
			best = i
		}
	}
	i, ok := x.exact[name]
	better(i, ok)
	if len(x.wild) == 0 || isIP(name) {
		return best
	}
	rest := name
	for stars := 1; ; stars++ {
		label, after, more := strings.Cut(rest, ".")
		if label == "" {
			return best
		}
		i, ok := x.wild[pattern{stars, after}]
		better(i, ok)
		if !more {
			return best
		}
		rest = after
	}
}

// covering calls yield for each wildcard that covers a name, until it returns false.
func covering(name string, yield func(pattern) bool) {
	if isIP(name) {
		return
	}
	rest := name
	for stars := 1; ; stars++ {
		label, after, more := strings.Cut(rest, ".")
		if label == "" || !yield(pattern{stars, after}) || !more {
			return
		}
		rest = after
	}
}

// isIP reports whether a name is an IP address. It is cheap for host names.
func isIP(name string) bool {
	if name == "" || (!strings.Contains(name, ":") && (name[len(name)-1] < '0' || name[len(name)-1] > '9')) {
		return false
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

// normal is the form in which names are compared: in lower case and ASCII, without spaces and brackets around. A name that
// has it already is returned as it is, without allocation.
func normal(name string) string {
	for i := range len(name) {
		if c := name[i]; c >= 0x80 || c <= ' ' || c >= 'A' && c <= 'Z' || c == '[' {
			return normalize(name)
		}
	}
	return name
}

func normalize(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	if inner, ok := strings.CutPrefix(name, "["); ok && strings.HasSuffix(inner, "]") {
		name = inner[:len(inner)-1]
	}
	if ascii, err := idna.ToASCII(name); err == nil {
		return ascii
	}
	return name
}
