package match

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/schema"
)

// Regexp is a regular expression in RE2 syntax. It is not anchored: it may match
// anywhere in the text unless it begins with ^ or ends with $. An empty pattern
// matches any text.
type Regexp struct {
	// Name gives the captures names of their own: with the name "x" capture 1 is
	// {http.regexp.x.1} as well as {http.regexp.1}, and the group (?P<id>...) is
	// {http.regexp.x.id} as well as {http.regexp.id}.
	Name string `json:"name,omitempty"`
	// Pattern is the expression. Placeholders are not expanded in it.
	Pattern string `json:"pattern,omitempty"`
}

// pattern is a compiled Regexp with the placeholders that each capture sets.
type pattern struct {
	re    *regexp.Regexp
	names [][]string
}

func (c Regexp) compile(pointer string) (*pattern, *schema.Problem) {
	if c.Name != "" && !strings.ContainsFunc(c.Name, isWord) {
		return nil, &schema.Problem{Pointer: pointer + "/name", Found: c.Name,
			Message:  fmt.Sprintf("invalid regular expression name %q: it has no letter, digit or underscore", c.Name),
			Expected: "a name of letters, digits and underscores"}
	}
	re, err := regexp.Compile(c.Pattern)
	if err != nil {
		return nil, &schema.Problem{Pointer: pointer + "/pattern", Found: c.Pattern,
			Message: fmt.Sprintf("compiling the regular expression: %v", err), Expected: "an expression in RE2 syntax"}
	}
	p := &pattern{re: re, names: make([][]string, re.NumSubexp()+1)}
	for i, group := range re.SubexpNames() {
		keys := []string{strconv.Itoa(i)}
		if group != "" {
			keys = append(keys, group)
		}
		for _, key := range keys {
			p.names[i] = append(p.names[i], "http.regexp."+key)
			if c.Name != "" {
				p.names[i] = append(p.names[i], "http.regexp."+c.Name+"."+key)
			}
		}
	}
	return p, nil
}

func isWord(r rune) bool {
	return r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// match reports whether the text matches, and if so stores the captures.
func (p *pattern) match(x *handlers.Exchange, text string) bool {
	if x == nil {
		return p.re.MatchString(text)
	}
	var found []int
	if len(p.names) == 1 {
		found = p.re.FindStringIndex(text)
	} else {
		found = p.re.FindStringSubmatchIndex(text)
	}
	if found == nil {
		return false
	}
	for i, names := range p.names {
		var value any = ""
		if start := found[2*i]; start >= 0 {
			value = text[start:found[2*i+1]]
		}
		for _, name := range names {
			x.Set(name, value)
		}
	}
	return true
}

// keyed is a pattern for a header field or a variable.
type keyed struct {
	key string
	*pattern
}

// compileKeyed compiles the patterns of an object in the order of their keys.
func compileKeyed(cfg map[string]Regexp, rename func(string) string) ([]keyed, error) {
	var problems schema.Problems
	out := make([]keyed, 0, len(cfg))
	for _, key := range slices.Sorted(maps.Keys(cfg)) {
		p, problem := cfg[key].compile(pointerTo(key))
		if problem != nil {
			problems = append(problems, *problem)
			continue
		}
		out = append(out, keyed{rename(key), p})
	}
	return out, failed(problems)
}

// PathRegexpConfig is a regular expression for the request's path, decoded and
// cleaned (no empty segments, no "." or ".."), in the case that it was sent in.
type PathRegexpConfig struct{ Regexp }

func pathRegexpSpec() module.Spec {
	return module.New("http.matchers.path_regexp", "Matches the path of a request with a regular expression.", nil, compilePathRegexp, module.Words(pathRegexpWords),
		module.Examples(module.Example{Title: "Capture a part of the path", JSON: `{"name": "user", "pattern": "^/users/([^/]+)/"}`}))
}

type pathRegexp struct{ *pattern }

func compilePathRegexp(_ *module.Env, cfg *PathRegexpConfig) (handlers.Matcher, error) {
	p, problem := cfg.compile("")
	if problem != nil {
		return nil, schema.Problems{*problem}
	}
	return pathRegexp{p}, nil
}

// Match implements handlers.Matcher.
func (m pathRegexp) Match(r *http.Request) (bool, error) {
	return m.match(handlers.Of(r), cleanPath(r.URL.Path, true, false)), nil
}
