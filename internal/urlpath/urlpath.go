// Package urlpath says which paths and hosts of requests are the same: one
// definition, shared by all that compare, index or rewrite them.
package urlpath

import "strings"

// Clean resolves the "." and ".." segments of a path and, with mergeSlashes,
// drops its empty segments. A trailing slash stays; a "." or ".." at the end
// does not leave one. Without mergeSlashes an empty segment is a segment like
// any other: ".." removes it. In a path that begins with a slash ".." never
// leads above the root; in one that does not, such leading ".." stay, and it
// never comes to begin with a slash. The empty path stays empty.
//
// Clean looks at bytes only, so it serves decoded paths and escaped ones alike;
// in an escaped path "%2e" and "%2f" are plain text. A clean path is returned as
// it is, without allocation.
func Clean(path string, mergeSlashes bool) string {
	if IsClean(path, mergeSlashes) {
		return path
	}
	rest, rooted := strings.CutPrefix(path, "/")
	out := make([]byte, 0, len(path)+1)
	floor := 0 // out[:floor] is leading ".." segments, which ".." cannot remove
	for more := true; more; {
		var seg string
		seg, rest, more = strings.Cut(rest, "/")
		switch {
		case seg == ".":
		case seg == "" && (mergeSlashes || !more || (!rooted && len(out) == 0)):
		case seg == "..":
			switch i := lastSlash(out); {
			case i >= floor && len(out) > floor:
				out = out[:i]
			case !rooted:
				out = append(out, "/.."...)
				floor = len(out)
			}
		default:
			out = append(append(out, '/'), seg...)
		}
	}
	if path[len(path)-1] == '/' && len(out) > 0 {
		out = append(out, '/')
	}
	switch {
	case !rooted && len(out) > 0:
		return string(out[1:])
	case rooted && len(out) == 0:
		return "/"
	}
	return string(out)
}

func lastSlash(b []byte) int {
	i := len(b) - 1
	for i >= 0 && b[i] != '/' {
		i--
	}
	return i
}

// IsClean reports whether Clean returns the path as it is.
func IsClean(path string, mergeSlashes bool) bool {
	if path == "" {
		return true
	}
	if path[0] != '/' {
		// Relative paths are rare: rewrites can make them.
		return path[0] != '.' && IsClean("/"+path, mergeSlashes)
	}
	for i := 0; ; {
		j := i + 1 // the first byte of a segment
		if j == len(path) {
			return true
		}
		switch path[j] {
		case '/':
			if mergeSlashes {
				return false
			}
		case '.':
			if end := j + 1; end == len(path) || path[end] == '/' ||
				(path[end] == '.' && (end+1 == len(path) || path[end+1] == '/')) {
				return false
			}
		}
		next := strings.IndexByte(path[j:], '/')
		if next < 0 {
			return true
		}
		i = j + next
	}
}

// Host is the name or address in a Host header, in lower case: without port,
// and without the brackets of an IPv6 address. What is not of the form
// host:port is taken as a whole. It does not allocate if the name is in lower
// case already.
func Host(hostport string) string {
	host := hostport
	if colon := strings.LastIndexByte(hostport, ':'); colon >= 0 {
		before := hostport[:colon]
		if strings.HasPrefix(before, "[") {
			if strings.IndexByte(before, ']') == len(before)-1 {
				host = before
			}
		} else if strings.IndexByte(before, ':') < 0 {
			host = before
		}
	}
	return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
}
