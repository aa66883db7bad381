package match

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/urlpath"
	"github.com/sluiceproxy/sluice/schema"
	"golang.org/x/net/idna"
)

// HostConfig is a list of host names; the request's host must be one of them.
// Case does not count, nor does the port of the request. A label that is "*"
// stands for any one label: *.example.com matches a.example.com but neither
// example.com nor a.b.example.com. International names may be written as they
// are, in lower case. Placeholders are expanded for each request. IPv6
// addresses are written without brackets, and no entry has a port. An empty
// list matches nothing; two equal entries are an error.
type HostConfig []string

func hostSpec() module.Spec {
	return module.New("http.matchers.host", "Matches the host that a request is for.", nil, compileHost, module.Words(list[HostConfig]),
		module.Examples(
			module.Example{Title: "Two names", JSON: `["example.com", "www.example.com"]`},
			module.Example{Title: "All direct subdomains", JSON: `["*.example.com"]`},
			module.Example{Title: "A name from the environment", JSON: `["{env.DOMAIN}"]`},
		))
}

type host struct {
	exact     stringSet
	under     stringSet // what follows "*." of patterns with one wildcard
	wild      []string  // other patterns with wildcards
	templates []vars.Text
	templated []string // the same as text
	patterns  []string
	exactOnly bool
}

func compileHost(_ *module.Env, cfg *HostConfig) (handlers.Matcher, error) {
	m := &host{}
	var exact, under []string
	var problems schema.Problems
	seen := make(map[string]int, len(*cfg))
	for i, entry := range *cfg {
		name, err := idna.ToASCII(entry)
		if err != nil {
			problems = append(problems, schema.Problem{Pointer: at("", i), Found: entry,
				Message: fmt.Sprintf("converting host %q to ASCII: %v", entry, err), Expected: "a host name"})
			continue
		}
		lower := strings.ToLower(name)
		if first, twice := seen[lower]; twice {
			problems = append(problems, schema.Problem{Pointer: at("", i), Found: entry,
				Message: fmt.Sprintf("host at index %d is repeated at index %d: %s", first, i, entry), Expected: "each host once"})
			continue
		}
		seen[lower] = i
		t, p := parseText(at("", i), name)
		if p != nil {
			problems = append(problems, *p)
			continue
		}
		literal, ok := t.Literal()
		if !ok {
			m.templates, m.templated = append(m.templates, t), append(m.templated, t.Source())
			continue
		}
		literal = strings.ToLower(literal)
		m.patterns = append(m.patterns, literal)
		rest, wild := strings.CutPrefix(literal, "*.")
		switch {
		case !hasWildcard(literal):
			exact = append(exact, literal)
		case wild && !hasWildcard(rest):
			under = append(under, rest)
		default:
			m.wild = append(m.wild, literal)
		}
	}
	m.exact, m.under = newStringSet(exact), newStringSet(under)
	m.exactOnly = len(m.patterns) == len(exact) && len(m.templates) == 0
	m.patterns = append(m.patterns, m.templated...)
	return m, failed(problems)
}

// Match implements handlers.Matcher.
func (m *host) Match(r *http.Request) (bool, error) {
	name := urlpath.Host(r.Host)
	if m.exact.has(name) {
		return true, nil
	}
	if m.exactOnly {
		return false, nil
	}
	if _, rest, ok := strings.Cut(name, "."); ok && m.under.has(rest) {
		return true, nil
	}
	for _, pattern := range m.wild {
		if matchLabels(pattern, name) {
			return true, nil
		}
	}
	if len(m.templates) == 0 {
		return false, nil
	}
	scope := scopeOf(r)
	for i := range m.templates {
		pattern := strings.ToLower(m.templates[i].Expand(scope, vars.All, ""))
		if pattern == name || (hasWildcard(pattern) && matchLabels(pattern, name)) {
			return true, nil
		}
	}
	return false, nil
}

// Hosts implements handlers.HostMatcher.
func (m *host) Hosts() (patterns []string, complete bool) {
	return m.patterns, len(m.templates) == 0
}

// hasWildcard reports whether a label of the pattern is "*".
func hasWildcard(pattern string) bool {
	for more := strings.IndexByte(pattern, '*') >= 0; more; {
		var label string
		label, pattern, more = strings.Cut(pattern, ".")
		if label == "*" {
			return true
		}
	}
	return false
}

// matchLabels compares label by label, where "*" is any one.
func matchLabels(pattern, name string) bool {
	for {
		p, restPattern, morePattern := strings.Cut(pattern, ".")
		n, restName, moreName := strings.Cut(name, ".")
		if (p != n && p != "*") || morePattern != moreName {
			return false
		}
		if !morePattern {
			return true
		}
		pattern, name = restPattern, restName
	}
}
