// Package urlpattern matches URLs with patterns in the syntax of the URL Pattern
// standard (urlpattern.spec.whatwg.org): /users/:id, /files/*, /:n(\d+),
// https://{:sub.}?example.com/*. Regular expressions within a pattern are in RE2
// syntax.
//
// A component that is made of fixed texts, named segments and a wildcard at its
// end, which nearly all are, is matched without a regular expression.
package urlpattern

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// MaxLen is how many bytes a pattern, and a base URL, may have.
const MaxLen = 4 << 10

// Options of a pattern.
type Options struct {
	// BaseURL is the absolute URL that gives what the pattern leaves out. Without
	// it, and if the pattern has no "://", the pattern is one of a path, a query
	// and a fragment on any host.
	BaseURL string
	// IgnoreCase makes letters match in either case.
	IgnoreCase bool
}

// BaseError says what is wrong with the base URL, not with the pattern.
type BaseError string

// Error implements error.
func (e BaseError) Error() string { return string(e) }

// URL is the components of a URL, each as the standard writes it, without the
// characters that separate it from others.
type URL [count]string

// Pattern is a compiled pattern. It is immutable and safe for concurrent use.
type Pattern struct {
	components [count]*component
	order      []Component // those that do not match everything, by cost
	values     int         // how many groups they have
	offset     [count]int
	keepsEmpty bool
}

// Compile reads a pattern.
func Compile(pattern string, o Options) (*Pattern, error) {
	switch {
	case len(pattern) > MaxLen:
		return nil, fmt.Errorf("the pattern has %d bytes, more than %d", len(pattern), MaxLen)
	case len(o.BaseURL) > MaxLen:
		return nil, BaseError(fmt.Sprintf("the base URL has %d bytes, more than %d", len(o.BaseURL), MaxLen))
	}
	s, err := complete(pattern, o.BaseURL)
	if err != nil {
		return nil, err
	}
	p := &Pattern{keepsEmpty: strings.Contains(s.text[Pathname], "//")}
	special := true
	for c := range count {
		text := "*"
		if s.given[c] {
			text = s.text[c]
		}
		if p.components[c], err = compileComponent(c, text, special, o.IgnoreCase); err != nil {
			return nil, fmt.Errorf("the %s: %w", c, err)
		}
		if c == Protocol {
			special = p.components[c].matchesSpecial()
			dropDefaultPort(&s)
		}
	}
	p.arrange()
	return p, nil
}

// arrange sorts out the components that are always true.
func (p *Pattern) arrange() {
	for _, c := range []Component{Pathname, Hostname, Protocol, Port, Search, Hash, Username, Password} {
		if !p.components[c].any {
			p.order = append(p.order, c)
			p.offset[c] = p.values
			p.values += len(p.components[c].names)
		}
	}
	slices.SortStableFunc(p.order, func(a, b Component) int { return p.components[a].cost() - p.components[b].cost() })
}

// complete divides a pattern and adds what the base has.
func complete(pattern, base string) (split, error) {
	if base == "" && !strings.Contains(pattern, "://") {
		return relative(pattern)
	}
	s, err := splitPattern(pattern, false)
	if err != nil || base == "" {
		return s, err
	}
	u, err := url.Parse(base)
	if err != nil {
		return s, BaseError("the base URL cannot be parsed")
	}
	if u.Scheme == "" || u.Host == "" {
		return s, BaseError("the base URL must be absolute, as https://example.com is")
	}
	from := s
	if !from.given[Protocol] {
		s.set(Protocol, escape(u.Scheme))
	}
	if from.none(Protocol, Hostname, Port) {
		name := u.Hostname()
		if strings.Contains(name, ":") {
			name = "[" + name + "]"
		}
		s.set(Hostname, escape(name))
		s.set(Port, u.Port())
	}
	if from.none(Protocol, Hostname, Port, Pathname) {
		s.set(Pathname, escape(rooted(u.EscapedPath())))
		if !from.given[Search] {
			s.set(Search, escape(u.RawQuery))
			if !from.given[Hash] {
				s.set(Hash, escape(u.EscapedFragment()))
			}
		}
	} else if from.none(Protocol, Hostname, Port) && !isAbsolute(s.text[Pathname]) {
		dir := rooted(u.EscapedPath())
		s.text[Pathname] = escape(dir[:strings.LastIndexByte(dir, '/')+1]) + s.text[Pathname]
	}
	return s, nil
}

// relative divides a pattern that holds for every host.
func relative(pattern string) (split, error) {
	if pattern == "" {
		return split{}, nil
	}
	s, err := splitPattern(pattern, true)
	if err != nil {
		return s, err
	}
	if s.given[Pathname] && !isAbsolute(s.text[Pathname]) {
		s.text[Pathname] = "/" + s.text[Pathname]
	}
	return s, nil
}

func rooted(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

func isAbsolute(path string) bool {
	return strings.HasPrefix(path, "/") || strings.HasPrefix(path, `\/`) || strings.HasPrefix(path, "{/")
}

func dropDefaultPort(s *split) {
	if s.given[Protocol] && s.given[Port] && s.text[Port] != "" && s.text[Port] == defaultPort(s.text[Protocol]) {
		s.text[Port] = ""
	}
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	case "ftp":
		return "21"
	}
	return ""
}

// KeepsEmpty reports whether empty segments of a path count.
func (p *Pattern) KeepsEmpty() bool { return p.keepsEmpty }

// Match matches a URL, and appends the values of all groups to values, for
// Value. If it does not match, what it returns is of no use but as a buffer.
func (p *Pattern) Match(u *URL, values []string) ([]string, bool) {
	start := len(values)
	values = slices.Grow(values, p.values)[:start+p.values]
	clear(values[start:])
	for _, c := range p.order {
		x := p.components[c]
		if !x.match(u[c], values[start+p.offset[c]:][:len(x.names)]) {
			return values, false
		}
	}
	return values, true
}

// Value is what a group of a component took from a URL that Match has given the
// values for.
func (p *Pattern) Value(u *URL, values []string, c Component, group string) (string, bool) {
	x := p.components[c]
	if x.any {
		if group == x.names[0] {
			return u[c], true
		}
		return "", false
	}
	if i := slices.Index(x.names, group); i >= 0 {
		return values[p.offset[c]+i], true
	}
	return "", false
}
