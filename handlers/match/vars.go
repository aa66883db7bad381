package match

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// VarsConfig names variables, or placeholders as {name}, and texts to compare
// them with. It matches as soon as one text equals the value of its variable,
// whichever it is: unlike header and query, not all need to match. Values that
// are not text are compared in their text form, one that is not set as the empty
// text. The texts may hold placeholders. An empty object matches every request.
type VarsConfig map[string][]string

func varsSpec() module.Spec {
	return module.New("http.matchers.vars", "Matches values of variables and placeholders.", nil, compileVars, module.Words(varsWords),
		module.Examples(
			module.Example{Title: "A variable set by an earlier route", JSON: `{"section": ["admin", "staff"]}`},
			module.Example{Title: "A placeholder", JSON: `{"{http.request.scheme}": ["https"]}`},
		))
}

type varTexts struct {
	name  string
	texts []vars.Text
}

type varsMatcher []varTexts

func compileVars(_ *module.Env, cfg *VarsConfig) (handlers.Matcher, error) {
	var problems schema.Problems
	m := make(varsMatcher, 0, len(*cfg))
	for _, key := range slices.Sorted(maps.Keys(*cfg)) {
		texts, ps := parseTexts(pointerTo(key), (*cfg)[key])
		problems = append(problems, ps...)
		m = append(m, varTexts{variable(key), texts})
	}
	return m, failed(problems)
}

// Match implements handlers.Matcher.
func (m varsMatcher) Match(r *http.Request) (bool, error) {
	if len(m) == 0 {
		return true, nil
	}
	scope := scopeOf(r)
	for i := range m {
		value := lookupText(scope, m[i].name)
		for j := range m[i].texts {
			if m[i].texts[j].Expand(scope, vars.All, "") == value {
				return true, nil
			}
		}
	}
	return false, nil
}

// variable is the placeholder that a key of vars and vars_regexp stands for.
func variable(key string) string {
	if strings.HasPrefix(key, "{") && strings.HasSuffix(key, "}") && strings.Count(key, "{") == 1 {
		return key[1 : len(key)-1]
	}
	return "http.vars." + key
}

// lookupText is the text form of a value, empty if there is none.
func lookupText(scope vars.Scope, name string) string {
	if s, ok := scope.(vars.StringScope); ok {
		if text, _, ok := s.LookupString(name); ok {
			return text
		}
	}
	v, _ := scope.Lookup(name)
	return vars.ToString(v)
}

// VarsRegexpConfig names variables, or placeholders as {name}, and regular
// expressions for their values. It matches as soon as one of them does. A value
// that is not set is the empty text. An empty object matches nothing.
type VarsRegexpConfig map[string]Regexp

func varsRegexpSpec() module.Spec {
	return module.New("http.matchers.vars_regexp", "Matches values of variables and placeholders with regular expressions.", nil, compileVarsRegexp, module.Words(varsRegexpWords),
		module.Examples(module.Example{Title: "A placeholder by pattern", JSON: `{"{http.request.uri.query.id}": {"name": "id", "pattern": "^[0-9]+$"}}`}))
}

type varsRegexp []keyed

func compileVarsRegexp(_ *module.Env, cfg *VarsRegexpConfig) (handlers.Matcher, error) {
	list, err := compileKeyed(*cfg, variable)
	return varsRegexp(list), err
}

// Match implements handlers.Matcher.
func (m varsRegexp) Match(r *http.Request) (bool, error) {
	x, scope := handlers.Of(r), scopeOf(r)
	for _, p := range m {
		if p.match(x, lookupText(scope, p.key)) {
			return true, nil
		}
	}
	return false, nil
}
