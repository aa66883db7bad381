package match

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// QueryConfig names query parameters and the values they may have. Each
// parameter must be there with one of its values; "*" is any value. Case counts.
// Names and values may hold placeholders. A parameter with an empty list never
// matches. An empty object matches requests without a query. A query that is
// malformed, as with a semicolon or a bad percent escape, matches nothing.
type QueryConfig map[string][]string

func querySpec() module.Spec {
	return module.New("http.matchers.query", "Matches parameters of the query.", nil, compileQuery, module.Words(queryWords),
		module.Examples(
			module.Example{Title: "A parameter with one of two values", JSON: `{"sort": ["asc", "desc"]}`},
			module.Example{Title: "A parameter with any value", JSON: `{"debug": ["*"]}`},
		))
}

type queryParam struct {
	name   vars.Text
	values []vars.Text
}

type query []queryParam

func compileQuery(_ *module.Env, cfg *QueryConfig) (handlers.Matcher, error) {
	var problems schema.Problems
	m := make(query, 0, len(*cfg))
	for _, key := range slices.Sorted(maps.Keys(*cfg)) {
		name, p := parseText(pointerTo(key), key)
		if p != nil {
			problems = append(problems, *p)
		}
		values, ps := parseTexts(pointerTo(key), (*cfg)[key])
		problems = append(problems, ps...)
		m = append(m, queryParam{name, values})
	}
	return m, failed(problems)
}

// Match implements handlers.Matcher.
func (m query) Match(r *http.Request) (bool, error) {
	if len(m) == 0 {
		empty := true
		ok := eachParam(r.URL.RawQuery, func(string, string) { empty = false })
		return ok && empty, nil
	}
	scope := scopeOf(r)
	var space [16]bool
	met := space[:0]
	for range m {
		met = append(met, false)
	}
	ok := eachParam(r.URL.RawQuery, func(name, value string) {
		for i := range m {
			met[i] = met[i] || m[i].meets(scope, name, value)
		}
	})
	return ok && !slices.Contains(met, false), nil
}

func (p *queryParam) meets(scope vars.Scope, name, value string) bool {
	if p.name.Expand(scope, vars.All, "") != name {
		return false
	}
	for i := range p.values {
		if want := p.values[i].Expand(scope, vars.All, ""); want == "*" || want == value {
			return true
		}
	}
	return false
}

// eachParam visits the decoded parameters of a query and reports whether all are
// well-formed, as url.ParseQuery would.
func eachParam(raw string, visit func(name, value string)) bool {
	for more := raw != ""; more; {
		var pair string
		pair, raw, more = strings.Cut(raw, "&")
		if strings.IndexByte(pair, ';') >= 0 {
			return false
		}
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return false
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return false
		}
		visit(name, value)
	}
	return true
}
