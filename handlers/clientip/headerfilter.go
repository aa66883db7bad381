package clientip

import (
	"fmt"
	"net/http"
	"strings"
)

// HeaderFilter removes request headers whose names contain "_" or ".", which
// many applications cannot tell from names with "-", unless they are expected.
// A nil HeaderFilter expects none. It is immutable and safe for concurrent use.
type HeaderFilter struct {
	underscore, dot names
	// hyphen is how the expected names look with "-" in place of the separator;
	// those are removed.
	hyphen names
}

// names is a set of canonical header names and prefixes of them.
type names struct {
	exact    map[string]bool
	prefixes []string
}

func (n *names) add(name string, prefix bool) {
	if prefix {
		n.prefixes = append(n.prefixes, name)
		return
	}
	if n.exact == nil {
		n.exact = map[string]bool{}
	}
	n.exact[name] = true
}

func (n *names) has(name string) bool {
	if n.exact[name] {
		return true
	}
	for _, p := range n.prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// NewHeaderFilter makes a filter of the lists expected_underscore_headers and
// expected_dot_headers. An entry is a name, in any case, that contains the
// list's separator; a "*" at its end makes it a prefix. Anything else is an
// error.
func NewHeaderFilter(underscore, dot []string) (*HeaderFilter, error) {
	f := &HeaderFilter{}
	if err := f.expect(&f.underscore, "expected_underscore_headers", "_", underscore); err != nil {
		return nil, err
	}
	if err := f.expect(&f.dot, "expected_dot_headers", ".", dot); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *HeaderFilter) expect(list *names, field, separator string, entries []string) error {
	for i, entry := range entries {
		name, prefix := strings.CutSuffix(entry, "*")
		fail := func(what string) error {
			return fmt.Errorf("%s: entry %d (%q) %s", field, i, entry, what)
		}
		switch {
		case strings.IndexFunc(entry, func(r rune) bool { return r >= 0x80 }) >= 0:
			return fail("has a character that is not ASCII; header names are ASCII")
		case strings.Contains(name, "*"):
			return fail("has a * before its end; only a * at the end has a meaning")
		case !strings.Contains(name, separator):
			return fail(fmt.Sprintf("has no %q; other names pass without being listed", separator))
		}
		list.add(http.CanonicalHeaderKey(name), prefix)
		f.hyphen.add(http.CanonicalHeaderKey(strings.ReplaceAll(name, separator, "-")), prefix)
	}
	return nil
}

// Filter removes what is not expected from h, whose names must be canonical, as
// those of a server's requests are. It calls drop, if that is not nil, with each
// name removed and whether the name was expected but had more than one value.
// When nothing is expected and no name has a separator it is one scan of the
// names.
func (f *HeaderFilter) Filter(h http.Header, drop func(name string, repeated bool)) {
	if f == nil {
		f = &HeaderFilter{}
	}
	hyphens := f.hyphen.exact != nil || f.hyphen.prefixes != nil
	for name, values := range h {
		underscore, dot := separators(name)
		if !underscore && !dot && (!hyphens || !f.hyphen.has(name)) {
			continue
		}
		expected := (underscore || dot) && f.expects(name, underscore, dot)
		if expected && len(values) == 1 {
			continue
		}
		delete(h, name)
		if drop != nil {
			drop(name, expected)
		}
	}
}

func (f *HeaderFilter) expects(name string, underscore, dot bool) bool {
	switch {
	case underscore && dot:
		return f.underscore.exact[name] || f.dot.exact[name]
	case underscore:
		return f.underscore.has(name)
	}
	return f.dot.has(name)
}

func separators(name string) (underscore, dot bool) {
	for i := range len(name) {
		switch name[i] {
		case '_':
			underscore = true
		case '.':
			dot = true
		}
	}
	return underscore, dot
}
