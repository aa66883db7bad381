package match

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
)

// MethodConfig is a list of HTTP methods; the request's must be one of them.
// Entries may be written in lower case; methods of requests are in upper case.
// An empty list matches nothing.
type MethodConfig []string

func methodSpec() module.Spec {
	return module.New("http.matchers.method", "Matches the method of a request.", nil, compileMethod, module.Words(list[MethodConfig]),
		module.Examples(module.Example{Title: "Requests that only read", JSON: `["GET", "HEAD"]`}))
}

type method []string

func compileMethod(_ *module.Env, cfg *MethodConfig) (handlers.Matcher, error) {
	m := make(method, len(*cfg))
	for i, name := range *cfg {
		m[i] = strings.ToUpper(name)
	}
	return m, nil
}

// Match implements handlers.Matcher.
func (m method) Match(r *http.Request) (bool, error) { return slices.Contains(m, r.Method), nil }
