package handlers

import (
	"bytes"
	"strings"
)

// CleanPath resolves the "." and ".." segments of a path and, if merge is set,
// takes runs of slashes for one. Without merge, an empty segment counts like
// any other. A trailing slash stays, and the result begins with one.
func CleanPath(p string, merge bool) string {
	if isClean(p, merge) {
		return p
	}
	out := make([]byte, 0, len(p)+1)
	p = strings.TrimPrefix(p, "/")
	for more := true; more; {
		var seg string
		seg, p, more = strings.Cut(p, "/")
		switch {
		case seg == "." && more, seg == "" && more && merge:
		case seg == ".":
			return rooted(out)
		case seg == "..":
			out = out[:max(bytes.LastIndexByte(out, '/'), 0)]
			if !more {
				return rooted(out)
			}
		default:
			out = append(append(out, '/'), seg...)
		}
	}
	return rooted(out)
}

func rooted(p []byte) string {
	if len(p) == 0 {
		return "/"
	}
	return string(p)
}

// isClean is a quick test that errs on the side of cleaning.
func isClean(p string, merge bool) bool {
	if p == "" || p[0] != '/' {
		return false
	}
	for i := 1; i < len(p); i++ {
		if p[i-1] == '/' && (p[i] == '.' || merge && p[i] == '/') {
			return false
		}
	}
	return true
}
