package logs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

const (
	allModules  = "*" // in exclude: no module logger
	unnamedCore = "." // in exclude: not the unnamed core logger
)

// selection says which logger names a log takes.
type selection struct {
	include, exclude []string
}

// covers reports whether a list entry stands for a name: it equals the name, or
// the name continues it after a dot.
func covers(entry, name string) bool {
	return strings.HasPrefix(name, entry) && (len(name) == len(entry) || name[len(entry)] == '.')
}

// longest is the length of the longest entry that covers name, -1 if none does.
func longest(list []string, name string) int {
	best := -1
	for _, entry := range list {
		if len(entry) > best && covers(entry, name) {
			best = len(entry)
		}
	}
	return best
}

// takes decides for the entries of one logger. Core says that it is a core
// logger.
func (s *selection) takes(name string, core bool) bool {
	if len(s.include) == 0 && len(s.exclude) == 0 {
		return true
	}
	if !core && slices.Contains(s.exclude, allModules) {
		return false
	}
	if core && name == "" && slices.Contains(s.exclude, unnamedCore) {
		return false
	}
	in, out := longest(s.include, name), longest(s.exclude, name)
	if len(s.include) > 0 {
		return in >= 0 && in > out
	}
	return out < 0
}

// mayTake reports whether name, or a logger below it, is taken.
func (s *selection) mayTake(name string, core bool) bool {
	if name == "" || s.takes(name, core) {
		return true
	}
	return slices.ContainsFunc(s.include, func(entry string) bool {
		return covers(name, entry) && s.takes(entry, core)
	})
}

// check finds entries of the two lists that contradict each other.
func (s *selection) check() schema.Problems {
	var ps schema.Problems
	for i, name := range s.include {
		if slices.Contains(s.exclude, name) {
			ps = append(ps, module.Problem("/include/"+strconv.Itoa(i), fmt.Sprintf(
				"include and exclude must not intersect, but found %s in both lists", name))...)
		}
	}
	if len(s.include) == 0 || len(s.exclude) == 0 {
		return ps
	}
	related := func(name string, list []string) bool {
		return slices.ContainsFunc(list, func(o string) bool { return covers(o, name) || covers(name, o) })
	}
	unrelated := func(list string, i int, name string) {
		ps = append(ps, module.Problem("/"+list+"/"+strconv.Itoa(i), fmt.Sprintf(
			"when both include and exclude are populated, each element must be a superspace or subspace of one in the other list; check '%s' in %s", name, list))...)
	}
	for i, name := range s.include {
		if !related(name, s.exclude) {
			unrelated("include", i, name)
		}
	}
	for i, name := range s.exclude {
		if !related(name, s.include) {
			unrelated("exclude", i, name)
		}
	}
	return ps
}
