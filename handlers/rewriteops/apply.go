package rewriteops

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// Apply rewrites r in place, its URL included, and reports whether anything is
// different now. The request URI follows the URL. The scope should read from r
// if placeholders are to see what earlier operations did.
func (c *Compiled) Apply(r *http.Request, s vars.Scope) (changed bool) {
	if c == nil {
		return false
	}
	method, before := r.Method, *r.URL
	if c.method != nil {
		if m := strings.ToUpper(c.method.Expand(s, vars.All, "")); m != "" {
			r.Method = m
		}
	}
	if c.uri != nil {
		c.uri.apply(r.URL, s)
	}
	c.changePath(r.URL, s)
	if c.query != nil {
		c.query.apply(r.URL, s)
	}
	if *r.URL != before {
		r.RequestURI = r.URL.RequestURI()
		return true
	}
	return r.Method != method
}

// names whose values come percent-encoded into a path.
const (
	pathName     = "http.request.uri.path"
	relativeName = "http.matchers.file.relative"
	queryName    = "http.request.uri.query"
)

// uri is a new URI in its parts, each nil if it is to stay.
type uri struct {
	path     *vars.Text
	fixed    string // the path, decoded, if it has no placeholders
	encodes  bool   // the path has a placeholder that comes percent-encoded
	query    []component
	hasQuery bool
	fragment *vars.Text
}

// component is one key or value of a query.
type component struct {
	text  vars.Text
	value bool // stands behind a "=", which is written before it
}

// parseURI splits before anything is expanded.
func parseURI(s string) *uri {
	if s == "" {
		return nil
	}
	u := &uri{}
	s, fragment, has := strings.Cut(s, "#")
	if has {
		t := vars.Parse(fragment)
		u.fragment = &t
	}
	path, query, has := strings.Cut(s, "?")
	u.hasQuery = has
	u.query = components(query)
	if u.path = textOf(path); u.path == nil {
		return u
	}
	if lit, ok := u.path.Literal(); ok {
		u.fixed = decode(lit)
	}
	for _, name := range u.path.Names() {
		u.encodes = u.encodes || name == pathName || name == relativeName
	}
	return u
}

func components(query string) []component {
	var list []component
	value := false
	for more := query != ""; more; {
		end := strings.IndexAny(query, "=&")
		if more = end >= 0; !more {
			end = len(query)
		}
		list = append(list, component{vars.Parse(query[:end]), value})
		if more {
			value = query[end] == '='
			query = query[end+1:]
		}
	}
	return list
}

// apply makes all parts before it changes any, so that they are made of what
// was there before.
func (u *uri) apply(target *url.URL, s vars.Scope) {
	path, injected := u.makePath(target, s)
	query := target.RawQuery
	if u.hasQuery {
		parts := u.query
		if len(parts) == 0 && injected != "" {
			parts = components(withoutBraces(injected))
		}
		query = makeQuery(parts, s)
	}
	if u.fragment != nil {
		target.Fragment, target.RawFragment = u.fragment.Expand(s, vars.All, ""), ""
	}
	if u.path != nil {
		target.Path, target.RawPath = path, ""
	}
	if u.hasQuery {
		target.RawQuery, target.ForceQuery = query, false
	}
}

// makePath returns the new path, decoded, and a query that placeholders have
// brought with them.
func (u *uri) makePath(target *url.URL, s vars.Scope) (path, query string) {
	if u.path == nil {
		return "", ""
	}
	if _, ok := u.path.Literal(); ok {
		return u.fixed, ""
	}
	if u.encodes {
		s = &pathScope{s, target.EscapedPath()}
	}
	path, query, _ = strings.Cut(u.path.Expand(s, vars.All, ""), "?")
	return decode(path), query
}

// withoutBraces keeps inserted text from being expanded.
func withoutBraces(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "{", "%7B"), "}", "%7D")
}

// decode leaves a path that is not well escaped as it is.
func decode(path string) string {
	if p, err := url.PathUnescape(path); err == nil {
		return p
	}
	return path
}

// pathScope encodes the paths that are inserted into a path.
type pathScope struct {
	vars.Scope
	escaped string
}

func (p *pathScope) Lookup(name string) (any, bool) {
	switch name {
	case pathName:
		return p.escaped, true
	case relativeName:
		v, known := p.Scope.Lookup(name)
		return (&url.URL{Path: vars.ToString(v)}).EscapedPath(), known
	}
	return p.Scope.Lookup(name)
}

// makeQuery expands each component by itself and joins them. Literal text stays
// as it is, values are escaped.
func makeQuery(parts []component, s vars.Scope) string {
	if len(parts) == 1 {
		if lit, ok := parts[0].text.Literal(); ok {
			return lit
		}
	}
	escape := &queryScope{inner: s}
	var b []byte
	for i, p := range parts {
		escape.inKey = !p.value
		if p.value {
			b = append(b, '=')
			b = p.text.AppendExpand(b, escape, vars.All, "")
			continue
		}
		before := len(b)
		if before > 0 {
			b = append(b, '&')
		}
		start := len(b)
		b = p.text.AppendExpand(b, escape, vars.All, "")
		if len(b) == start && (i+1 == len(parts) || !parts[i+1].value) {
			b = b[:before]
		}
	}
	return string(b)
}

// queryScope escapes what is inserted into a query, but for a whole query that
// stands where a key is due.
type queryScope struct {
	inner vars.Scope
	inKey bool
}

func (q *queryScope) Lookup(name string) (any, bool) {
	v, known := q.inner.Lookup(name)
	if name == queryName && q.inKey {
		return v, known
	}
	return url.QueryEscape(vars.ToString(v)), known
}
