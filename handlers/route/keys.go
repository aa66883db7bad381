package route

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
)

// key is one place of the index where a route is filed. A route is filed under
// every host and path that one of its matcher sets is about; what no set can
// match is never looked at, and what is found is matched in full.
type key struct {
	hostKind hostKind
	host     string // an exact name, or what follows "*." of a wildcard
	pathKind pathKind
	path     string
}

type hostKind uint8

const (
	anyHost hostKind = iota
	exactHost
	wildHost
)

type pathKind uint8

const (
	anyPath pathKind = iota
	exactPath
	prefixPath
)

// maxKeys bounds how many places one route is filed at; beyond it the route is
// tried for every request.
const maxKeys = 256

// orderSet puts cheap matchers first, then by name, so that the order does not
// depend on the order of a map.
func orderSet(set map[string]module.Ref[handlers.Matcher]) matcherSet {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	cost := func(name string) int {
		switch name {
		case "method", "protocol":
			return 0
		case "host":
			return 1
		case "path":
			return 2
		case "file", "expression":
			return 9
		}
		return 5
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(cost(a), cost(b)), strings.Compare(a, b))
	})
	out := make(matcherSet, len(names))
	for i, name := range names {
		out[i] = set[name].Value()
	}
	return out
}

func keysOf(sets []matcherSet) []key {
	if len(sets) == 0 {
		return []key{{}}
	}
	var keys []key
	for _, set := range sets {
		keys = append(keys, set.keys()...)
		if len(keys) > maxKeys {
			return []key{{}}
		}
	}
	slices.SortFunc(keys, compareKeys)
	return slices.Compact(keys)
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.hostKind, b.hostKind), strings.Compare(a.host, b.host),
		cmp.Compare(a.pathKind, b.pathKind), strings.Compare(a.path, b.path))
}

func (s matcherSet) keys() []key {
	hosts, paths := []key{{}}, []key{{}}
	for _, m := range s {
		switch m := m.(type) {
		case handlers.HostMatcher:
			if patterns, complete := m.Hosts(); complete {
				hosts = hostKeys(patterns)
			}
		case handlers.PathMatcher:
			if patterns, complete := m.Paths(); complete {
				paths = pathKeys(patterns)
			}
		}
	}
	if len(hosts)*len(paths) > maxKeys {
		return []key{{}}
	}
	out := make([]key, 0, len(hosts)*len(paths))
	for _, h := range hosts {
		for _, p := range paths {
			h.pathKind, h.path = p.pathKind, p.path
			out = append(out, h)
		}
	}
	return out
}

func hostKeys(patterns []string) []key {
	keys := make([]key, 0, len(patterns))
	for _, p := range patterns {
		rest, wild := strings.CutPrefix(p, "*.")
		switch {
		case !strings.Contains(p, "*"):
			keys = append(keys, key{hostKind: exactHost, host: p})
		case wild && !strings.Contains(rest, "*"):
			keys = append(keys, key{hostKind: wildHost, host: rest})
		default:
			keys = append(keys, key{})
		}
	}
	return keys
}

func pathKeys(patterns []handlers.PathPattern) []key {
	keys := make([]key, 0, len(patterns))
	for _, p := range patterns {
		kind := exactPath
		if p.Prefix {
			kind = prefixPath
		}
		keys = append(keys, key{pathKind: kind, path: p.Text})
	}
	return keys
}

// hosts is the host patterns that the matchers of a route name.
func (r *Route) hosts() []string {
	var out []string
	for _, set := range r.sets {
		for _, m := range set {
			if h, ok := m.(handlers.HostMatcher); ok {
				patterns, _ := h.Hosts()
				out = append(out, patterns...)
			}
		}
	}
	return out
}
