// Package match holds the request matchers, the modules of the namespace
// http.matchers. Each decides about one request from what the request, its
// connection and its variables say. What can be decided when a config is loaded
// is decided then: patterns are parsed, names are built, lists become sets.
//
// Matchers are safe for concurrent use. They have no effect but to store the
// captures of regular expressions. A matcher that is given a request outside of
// a server works as if no placeholder and no variable were known.
package match

import (
	"net/http"
	"strconv"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// Specs are all request matchers.
func Specs() []module.Spec {
	return []module.Spec{
		hostSpec(), pathSpec(), pathRegexpSpec(), methodSpec(), querySpec(), headerSpec(), headerRegexpSpec(),
		protocolSpec(), remoteIPSpec(), clientIPSpec(), notSpec(), varsSpec(), varsRegexpSpec(), urlPatternSpec(), tlsSpec(),
	}
}

// scopeOf is what placeholders are looked up in for a request.
func scopeOf(r *http.Request) vars.Scope {
	if x := handlers.Of(r); x != nil {
		return x
	}
	return vars.Map(nil)
}

// parseText reads a text with placeholders that stands at pointer.
func parseText(pointer, text string) (vars.Text, *schema.Problem) {
	t := vars.Parse(text)
	if err := t.Err(); err != nil {
		return t, &schema.Problem{Pointer: pointer, Message: err.Error()}
	}
	return t, nil
}

// parseTexts reads the elements of a list that stands at pointer.
func parseTexts(pointer string, list []string) ([]vars.Text, schema.Problems) {
	var problems schema.Problems
	texts := make([]vars.Text, 0, len(list))
	for i, s := range list {
		t, p := parseText(at(pointer, i), s)
		if p != nil {
			problems = append(problems, *p)
			continue
		}
		texts = append(texts, t)
	}
	return texts, problems
}

func pointerTo(key string) string { return config.JoinPointer("", key) }

func at(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }

// failed makes an error of problems, nil if there are none.
func failed(problems schema.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	return problems
}

// stringSet is a set of texts: a list while it is short, where that is faster.
type stringSet struct {
	few  []string
	many map[string]struct{}
}

const few = 12

func newStringSet(list []string) stringSet {
	if len(list) <= few {
		return stringSet{few: list}
	}
	s := stringSet{many: make(map[string]struct{}, len(list))}
	for _, e := range list {
		s.many[e] = struct{}{}
	}
	return s
}

func (s *stringSet) has(text string) bool {
	if s.many != nil {
		_, ok := s.many[text]
		return ok
	}
	for _, e := range s.few {
		if e == text {
			return true
		}
	}
	return false
}
