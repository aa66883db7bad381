package adapt

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
)

func groupName(n int) string { return "group" + strconv.Itoa(n) }

// exclusive is the directives of which only the first that matches runs, in the
// order in which they get their groups.
var exclusive = []string{"handle", "rewrite", "root"}

// build makes the routes of a site or block: sorted if wanted, grouped, and
// joined where they can be. The values are not changed.
func (s *scope) build(values []value, ordered bool) []module.Route {
	values = slices.Clone(values)
	if ordered {
		s.sort(values)
	}
	for _, name := range exclusive {
		count := 0
		for i := range values {
			if values[i].directive == name {
				count++
			}
		}
		// A number is used up for rewrite whether there is one or not: group
		// names are part of what scripts compare.
		if count < 2 && name != "rewrite" {
			continue
		}
		group := s.Group()
		for i := range values {
			if values[i].directive == name && !values[i].together {
				values[i].route.Group = group
			}
		}
	}
	var routes []module.Route
	for i := range values {
		if values[i].together {
			routes = append(routes, values[i].list...)
		} else {
			routes = append(routes, values[i].route)
		}
	}
	return consolidate(routes)
}

// sort puts values in the order in which they run. The comparison is not a
// strict weak order where matchers of different kinds meet, so that the
// algorithm is part of the outcome: it is the one of sort.SliceStable.
func (s *scope) sort(values []value) {
	if len(values) < 2 {
		return
	}
	sort.SliceStable(values, func(i, j int) bool {
		a, b := &values[i], &values[j]
		if a.directive != b.directive {
			return s.rank[a.directive] < s.rank[b.directive]
		}
		if a.together || b.together {
			return false
		}
		less := moreSpecific(&a.route, &b.route)
		if a.directive == "vars" {
			return !less // so that the most specific is set last
		}
		return less
	})
}

// moreSpecific reports whether a stands before b, as far as their matchers
// decide.
func moreSpecific(a, b *module.Route) bool {
	pa, pb := onlyPath(a), onlyPath(b)
	if pa == "" || pb == "" {
		return len(a.Match) > 0 && len(b.Match) == 0
	}
	sa, sb := strings.TrimSuffix(pa, "*"), strings.TrimSuffix(pb, "*")
	switch {
	case sa == sb:
		return len(pa) < len(pb)
	case len(sa) == len(sb):
		return sa < sb
	}
	return len(sa) > len(sb)
}

// onlyPath is the path of a route whose matchers have exactly one.
func onlyPath(r *module.Route) string {
	if len(r.Match) != 1 {
		return ""
	}
	paths := r.Match[0].Get("path")
	if paths.Kind() != config.Array || paths.Len() != 1 {
		return ""
	}
	return paths.Index(0).Str()
}

// consolidate joins neighbours that match the same requests.
func consolidate(routes []module.Route) []module.Route {
	out := routes[:0]
	own := false // whether the last list of handlers is of this call
	for _, r := range routes {
		if n := len(out); n > 0 && joinable(&out[n-1], &r) {
			last := &out[n-1]
			if !own {
				last.Handle = slices.Clip(last.Handle) // so that append copies it
			}
			own = true
			last.Handle = append(last.Handle, r.Handle...)
			continue
		}
		own = false
		out = append(out, r)
	}
	return out
}

func joinable(a, b *module.Route) bool {
	return a.Terminal == b.Terminal && a.Group == b.Group && slices.EqualFunc(a.Match, b.Match, config.Equal)
}
