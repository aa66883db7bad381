package handlers

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// requestURI is the current path and query as they would be sent.
func requestURI(r *http.Request) string {
	u := r.URL
	if u.RawQuery == "" || u.Opaque != "" {
		return u.RequestURI()
	}
	p := u.EscapedPath()
	if p == "" {
		p = "/"
	}
	if s := r.RequestURI; len(s) == len(p)+1+len(u.RawQuery) && s[len(p)] == '?' &&
		strings.HasPrefix(s, p) && strings.HasSuffix(s, u.RawQuery) {
		return s
	}
	return u.RequestURI()
}

// findURI resolves {http.request.uri.NAME}.
func findURI(u *url.URL, name string) found {
	switch name {
	case "path_escaped":
		return textOf(url.QueryEscape(u.Path))
	case "path.file.base":
		file := pathFile(u.Path)
		return textOf(strings.TrimSuffix(file, path.Ext(file)))
	case "path.file.ext":
		return textOf(path.Ext(u.Path))
	case "query_escaped":
		return textOf(url.QueryEscape(u.RawQuery))
	}
	if key, ok := strings.CutPrefix(name, "query."); ok {
		return textOf(queryText(u.RawQuery, key))
	}
	return findOriginal(u, name)
}

// findOriginal resolves the names that the original URI has as well.
func findOriginal(u *url.URL, name string) found {
	switch name {
	case "path":
		return textOf(u.Path)
	case "path.dir":
		return textOf(u.Path[:strings.LastIndexByte(u.Path, '/')+1])
	case "path.file":
		return textOf(pathFile(u.Path))
	case "query":
		return textOf(u.RawQuery)
	case "prefixed_query":
		if u.RawQuery == "" {
			return textOf("")
		}
		return textOf("?" + u.RawQuery)
	}
	n, ok := strings.CutPrefix(name, "path.")
	if !ok {
		return found{}
	}
	i, ok := index(n)
	if !ok {
		return found{}
	}
	return textOf(pathPart(u.Path, i))
}

func pathFile(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// pathPart is segment i, empty behind the last.
func pathPart(p string, i int) string {
	p = strings.TrimPrefix(p, "/")
	for ; i > 0; i-- {
		slash := strings.IndexByte(p, '/')
		if slash < 0 {
			return ""
		}
		p = p[slash+1:]
	}
	part, _, _ := strings.Cut(p, "/")
	return part
}

// queryText is the decoded values of a key, joined with commas. As url.ParseQuery
// does, it skips pairs that are malformed.
func queryText(query, key string) string {
	first, many := "", []string(nil)
	n := 0
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if pair == "" || strings.IndexByte(pair, ';') >= 0 {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		if !unescapesTo(k, key) {
			continue
		}
		v, err := url.QueryUnescape(v)
		if err != nil {
			continue
		}
		switch n++; n {
		case 1:
			first = v
		case 2:
			many = append(many, first, v)
		default:
			many = append(many, v)
		}
	}
	if n < 2 {
		return first
	}
	return strings.Join(many, ",")
}

// unescapesTo compares what url.QueryUnescape makes of s.
func unescapesTo(s, want string) bool {
	i := 0
	for ; s != "" && i < len(want); i++ {
		c := s[0]
		switch {
		case c == '+':
			c, s = ' ', s[1:]
		case c != '%':
			s = s[1:]
		case len(s) < 3:
			return false
		default:
			hi, lo := unhex(s[1]), unhex(s[2])
			if hi > 15 || lo > 15 {
				return false
			}
			c, s = hi<<4|lo, s[3:]
		}
		if c != want[i] {
			return false
		}
	}
	return s == "" && i == len(want)
}

// unhex is the value of a hexadecimal digit, or more than 15.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
