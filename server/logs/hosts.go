package logs

import (
	"net"
	"strings"
)

// wildcard is a host pattern whose first labels are "*": how many, and what
// follows them.
type wildcard struct {
	stars int
	rest  string
}

// hosts maps host patterns to values. A pattern is an exact name, or one that
// begins with labels "*", each of which stands for one label.
type hosts[T any] struct {
	exact map[string]T
	wild  map[wildcard]T
	stars int // the most of any pattern
}

func (h *hosts[T]) add(pattern string, v T) {
	w := wildcard{rest: pattern}
	for {
		label, rest, more := strings.Cut(w.rest, ".")
		if label != "*" {
			break
		}
		w.stars++
		w.rest = rest
		if !more {
			break
		}
	}
	if w.stars == 0 {
		if h.exact == nil {
			h.exact = map[string]T{}
		}
		h.exact[pattern] = v
		return
	}
	if h.wild == nil {
		h.wild = map[wildcard]T{}
	}
	h.wild[w] = v
	h.stars = max(h.stars, w.stars)
}

// find looks for the exact name, then for patterns with more and more of the
// labels from the left being stars.
func (h *hosts[T]) find(host string) (T, bool) {
	if v, ok := h.exact[host]; ok {
		return v, true
	}
	w := wildcard{rest: host}
	for more := true; more && w.stars < h.stars; {
		w.stars++
		_, w.rest, more = strings.Cut(w.rest, ".")
		if v, ok := h.wild[w]; ok {
			return v, true
		}
	}
	var zero T
	return zero, false
}

// withoutPort is the host part of a Host header, brackets of IPv6 addresses
// dropped.
func withoutPort(host string) string {
	if !strings.Contains(host, ":") {
		return host
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}
