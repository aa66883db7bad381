package match

import (
	"cmp"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/schema"
)

// NotConfig is a list of matcher sets, like the match field of a route. It
// matches if none of the sets does: a set matches if all of its matchers do. An
// empty list matches every request.
type NotConfig []map[string]module.Ref[handlers.Matcher]

const matcherSlot reflect.StructTag = `module:"http.matchers" keyed:"true"`

// SlotTag says which modules stand in the sets, as the tag of a field does.
func (NotConfig) SlotTag() reflect.StructTag { return matcherSlot }

// JSONShape is a list of objects whose members are matchers.
func (NotConfig) JSONShape() schema.Schema {
	return schema.Schema{"type": "array", "items": map[string]any{
		"type":                 []any{"object", "null"},
		"additionalProperties": map[string]any(module.Ref[handlers.Matcher]{}.JSONShapeOf(matcherSlot)),
	}}
}

func notSpec() module.Spec {
	return module.New("http.matchers.not", "Matches what none of its matcher sets matches.", nil, compileNot, module.Words(notWords),
		module.Examples(module.Example{Title: "Everything but two trees", JSON: `[{"path": ["/static/*", "/assets/*"]}]`}))
}

type not [][]handlers.Matcher

func compileNot(_ *module.Env, cfg *NotConfig) (handlers.Matcher, error) {
	m := make(not, len(*cfg))
	for i, set := range *cfg {
		names := slices.SortedFunc(maps.Keys(set), func(a, b string) int {
			return cmp.Or(cmp.Compare(cost(a), cost(b)), cmp.Compare(a, b))
		})
		for _, name := range names {
			m[i] = append(m[i], set[name].Value())
		}
	}
	return m, nil
}

// cost orders the matchers of a set, cheap ones first.
func cost(name string) int {
	switch name {
	case "method", "protocol":
		return 0
	case "host", "path":
		return 1
	case "file", "expression":
		return 3
	}
	return 2
}

// Match implements handlers.Matcher.
func (m not) Match(r *http.Request) (bool, error) {
	for _, set := range m {
		if all, err := matchAll(set, r); all || err != nil {
			return false, err
		}
	}
	return true, nil
}

func matchAll(set []handlers.Matcher, r *http.Request) (bool, error) {
	for _, m := range set {
		if ok, err := m.Match(r); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}
