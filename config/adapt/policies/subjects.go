package policies

import (
	"slices"
	"strings"
)

// subjects is a set of names and wildcards; the empty one has every name.
type subjects struct {
	names map[string]struct{}
	wild  bool
	list  []string
}

func newSubjects(list []string) *subjects {
	s := &subjects{names: make(map[string]struct{}, len(list))}
	for _, name := range list {
		s.add(name)
	}
	return s
}

func (s *subjects) add(name string) {
	name = strings.ToLower(name)
	if _, ok := s.names[name]; ok {
		return
	}
	s.names[name] = struct{}{}
	s.list = append(s.list, name)
	s.wild = s.wild || strings.Contains(name, "*")
}

// covers reports whether each of the other subjects is one of these, or fits a
// wildcard of these.
func (s *subjects) covers(other *subjects) bool {
	if len(s.list) == 0 || len(other.list) == 0 {
		return len(s.list) == 0
	}
	return !slices.ContainsFunc(other.list, func(name string) bool { return !s.has(name) })
}

func (s *subjects) has(name string) bool {
	if _, ok := s.names[name]; ok || !s.wild {
		return ok
	}
	found := false
	wildcards(name, func(w string) bool {
		_, found = s.names[w]
		return !found
	})
	return found
}

// maxLabels is the most labels that a name in the DNS has.
const maxLabels = 127

// wildcards gives each wildcard that a name fits: its first labels are "*".
func wildcards(name string, yield func(wildcard string) bool) {
	if strings.Count(name, ".") >= maxLabels {
		return
	}
	prefix := ""
	for rest := name; rest != ""; {
		label, after, more := strings.Cut(rest, ".")
		if label == "" {
			prefix += "."
		} else {
			prefix += "*"
			tail := prefix
			if more {
				tail += "." + after
			}
			if !yield(tail) {
				return
			}
			if more {
				prefix += "."
			}
		}
		rest = after
	}
}

// index finds the policies that cover one.
type index struct {
	all []int            // those for every name, ascending
	by  map[string][]int // by a subject
}

func (x *index) add(name string, position int) {
	name = strings.ToLower(name)
	x.by[name] = append(x.by[name], position)
}

// after returns the positions behind i of policies that may cover the subjects:
// they cover the first one.
func (x *index) after(s *subjects, i int) []int {
	var out []int
	take := func(list []int) {
		for _, p := range list {
			if p > i {
				out = append(out, p)
			}
		}
	}
	take(x.all)
	if len(s.list) > 0 {
		take(x.by[s.list[0]])
		wildcards(s.list[0], func(w string) bool {
			if w != s.list[0] {
				take(x.by[w])
			}
			return true
		})
	}
	slices.Sort(out)
	return slices.Compact(out)
}
