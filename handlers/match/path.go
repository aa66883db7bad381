package match

import (
	"net/http"
	"path"
	"runtime"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// PathConfig is a list of path patterns; one must match the request's path.
// The path is decoded and cleaned first (no empty segments, no "." or ".."),
// case does not count, and the query is not looked at.
//
// "/api/*" is everything that begins with "/api/", "*.php" all that ends so,
// "*/x/*" all that contains "/x/", and "*" any path. A "*" elsewhere stands for
// any text without a slash, "?" for one character, "[a-z]" for one of a class.
// All else must be the whole path. Where a pattern contains "//", empty segments
// count. Where it contains a percent escape, that escape must stand in the
// request as well, and "%*" is a "*" that spans escaped slashes too.
// Placeholders are expanded for each request; since patterns are lower-cased
// when the config is loaded, a value with capitals matches nothing. An empty
// list matches nothing.
type PathConfig []string

func pathSpec() module.Spec {
	return module.New("http.matchers.path", "Matches the path of a request.", nil, compilePath, module.Words(list[PathConfig]),
		module.Examples(
			module.Example{Title: "A tree and one page", JSON: `["/api/*", "/status"]`},
			module.Example{Title: "All PHP files", JSON: `["*.php"]`},
			module.Example{Title: "An escaped slash", JSON: `["/bands/%*/albums"]`},
		))
}

type pathKind uint8

const (
	neverPath pathKind = iota
	anyPath
	exactPath
	prefixPath
	suffixPath
	insidePath
	globPath
	escapedPath
)

// pathPattern is one parsed entry.
type pathPattern struct {
	kind  pathKind
	text  string // without the "*" of a prefix, suffix or substring
	merge bool   // compare with the path in which empty segments are gone
}

// parsePath finds the kind of a pattern in lower case.
func parsePath(s string) pathPattern {
	p := pathPattern{exactPath, s, !strings.Contains(s, "//")}
	stars := strings.Count(s, "*")
	first, last := strings.HasPrefix(s, "*"), strings.HasSuffix(s, "*")
	switch {
	case s == "*":
		p.kind = anyPath
	case strings.Contains(s, "%"):
		p.kind = escapedPath
	case stars == 2 && first && last:
		p.kind, p.text = insidePath, s[1:len(s)-1]
	case stars == 1 && first:
		p.kind, p.text = suffixPath, s[1:]
	case stars == 1 && last:
		p.kind, p.text = prefixPath, s[:len(s)-1]
	case strings.ContainsAny(s, globChars):
		p.kind = globPath
		if _, err := path.Match(s, ""); err != nil {
			p.kind = neverPath
		}
	}
	return p
}

const globChars = `*?[\`

type pathMatcher struct {
	exact     stringSet     // merged, exact
	patterns  []pathPattern // the others
	templates []vars.Text
	index     []handlers.PathPattern
	complete  bool
}

func compilePath(env *module.Env, cfg *PathConfig) (handlers.Matcher, error) {
	m := &pathMatcher{complete: runtime.GOOS != "windows"}
	var exact []string
	var problems schema.Problems
	for i, entry := range *cfg {
		t, p := parseText(at("", i), lowerText(entry))
		if p != nil {
			problems = append(problems, *p)
			continue
		}
		literal, ok := t.Literal()
		if !ok {
			m.templates, m.complete = append(m.templates, t), false
			continue
		}
		if strings.Contains(literal, "%") && !wellEscaped(literal) {
			warn(env, at("", i), "a % that no two hexadecimal digits or * follow matches nothing; %25 is a literal percent sign")
		}
		pattern := parsePath(literal)
		switch {
		case pattern.kind == anyPath:
			return anyPathMatcher(), failed(problems)
		case pattern.kind == exactPath && pattern.merge:
			exact = append(exact, literal)
		default:
			m.patterns = append(m.patterns, pattern)
		}
		m.file(pattern)
	}
	m.exact = newStringSet(exact)
	return m, failed(problems)
}

func anyPathMatcher() *pathMatcher { return &pathMatcher{patterns: []pathPattern{{kind: anyPath}}} }

// file notes which paths the pattern can match.
func (m *pathMatcher) file(p pathPattern) {
	text, prefix := p.text, p.kind == prefixPath
	switch p.kind {
	case neverPath:
		return
	case globPath:
		text, prefix = text[:strings.IndexAny(text, globChars)], true
	case suffixPath, insidePath, escapedPath:
		text, prefix = "", true
	}
	if !p.merge || (prefix && text == "") {
		m.complete = false
		return
	}
	m.index = append(m.index, handlers.PathPattern{Text: text, Prefix: prefix})
}

// Match implements handlers.Matcher.
func (m *pathMatcher) Match(r *http.Request) (bool, error) {
	c := candidate{url: r.URL}
	if m.exact.has(c.merged()) {
		return true, nil
	}
	for i := range m.patterns {
		if m.patterns[i].match(&c) {
			return true, nil
		}
	}
	if len(m.templates) == 0 {
		return false, nil
	}
	scope := scopeOf(r)
	for i := range m.templates {
		p := parsePath(m.templates[i].Expand(scope, vars.All, ""))
		if p.match(&c) {
			return true, nil
		}
	}
	return false, nil
}

// Paths implements handlers.PathMatcher.
func (m *pathMatcher) Paths() (patterns []handlers.PathPattern, complete bool) {
	return m.index, m.complete
}

func (p *pathPattern) match(c *candidate) bool {
	switch p.kind {
	case anyPath:
		return true
	case neverPath:
		return false
	case escapedPath:
		return matchEscaped(p.text, c.escaped(p.merge))
	}
	have := c.merged()
	if !p.merge {
		have = c.unmerged()
	}
	switch p.kind {
	case exactPath:
		return have == p.text
	case prefixPath:
		return strings.HasPrefix(have, p.text)
	case suffixPath:
		return strings.HasSuffix(have, p.text)
	case insidePath:
		return strings.Contains(have, p.text)
	}
	ok, err := path.Match(p.text, have)
	return ok && err == nil
}

// lowerText is the text in lower case but for its placeholders.
func lowerText(s string) string {
	var out strings.Builder
	for _, name := range vars.Parse(s).Names() {
		before, after, found := strings.Cut(s, "{"+name+"}")
		if !found {
			continue
		}
		out.WriteString(strings.ToLower(before))
		out.WriteString(s[len(before) : len(s)-len(after)])
		s = after
	}
	out.WriteString(strings.ToLower(s))
	return out.String()
}
