package admin

import (
	"fmt"
	"strings"
	"sync"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/schema"
)

// fakeCaddyfile reads as much of Caddyfiles as the scenarios need, and some
// lines that no other adapter knows:
//
//	odd       gives a warning
//	nope      makes an app that does not exist
//	env       makes the text depend on its environment
//	many N    makes N routes
type fakeCaddyfile struct {
	mu    sync.Mutex
	files []string // the names of all that was adapted
	// hold, if set, is called by Adapt.
	hold func()
}

// fakeErrors is how an adapter reports several problems.
type fakeErrors []schema.Problem

func (e fakeErrors) Error() string {
	var texts []string
	for _, p := range e {
		texts = append(texts, fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message))
	}
	return strings.Join(texts, "\n")
}

func (e fakeErrors) Problems() schema.Problems { return schema.Problems(e) }

func (l *fakeCaddyfile) seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.files...)
}

func (l *fakeCaddyfile) Adapt(body []byte, filename string) (*Adapted, error) {
	l.mu.Lock()
	l.files = append(l.files, filename)
	l.mu.Unlock()
	if l.hold != nil {
		l.hold()
	}
	out := &Adapted{Pure: true}
	places := map[string]int{}
	var errs fakeErrors
	listen, routes, apps := []any{}, []any{}, map[string]any{}
	matcher := map[string]any{}
	for i, text := range strings.Split(string(body), "\n") {
		words := strings.Fields(strings.TrimSuffix(text, "{"))
		if len(words) == 0 || words[0] == "}" || words[0][0] == '#' {
			continue
		}
		route := "/apps/http/servers/srv0/routes/" + fmt.Sprint(len(routes))
		switch word := words[0]; {
		case word[0] == ':':
			listen = append(listen, word)
			places[""] = i + 1
		case word == "@a":
			matcher = map[string]any{"name": "a", "pattern": words[2]}
			places[route+"/match"] = i + 1
		case word == "respond":
			r := map[string]any{"handle": []any{map[string]any{"handler": "static_response", "body": strings.Trim(words[len(words)-1], `"`)}}}
			if words[1] == "@a" {
				r["match"] = []any{map[string]any{"path_regexp": matcher}}
			}
			places[route] = i + 1
			routes = append(routes, r)
		case word == "odd":
			out.Warnings = append(out.Warnings, AdaptWarning{File: filename, Line: i + 1, Directive: "odd", Message: "is odd"})
		case word == "nope":
			apps["nope"] = map[string]any{}
			places["/apps/nope"] = i + 1
		case word == "env":
			out.Pure = false
		case word == "many":
			var n int
			fmt.Sscan(words[1], &n)
			for range n {
				routes = append(routes, map[string]any{})
			}
		default:
			errs = append(errs, schema.Problem{File: filename, Line: i + 1, Message: "unrecognized directive: " + word})
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	if line := caddyfile.Unformatted(body); line > 0 {
		out.Warnings = append(out.Warnings, AdaptWarning{File: filename, Line: line, Message: "Caddyfile input is not formatted; run 'sluice fmt --overwrite' to fix inconsistencies"})
	}
	server := map[string]any{"listen": listen}
	if len(routes) > 0 {
		server["routes"] = routes
	}
	apps["http"] = map[string]any{"servers": map[string]any{"srv0": server}}
	var err error
	if out.Root, err = config.FromGo(map[string]any{"apps": apps}); err != nil {
		return nil, err
	}
	out.Place = func(ps schema.Problems) schema.Problems {
		placed := append(schema.Problems(nil), ps...)
		for i := range placed {
			for at := placed[i].Pointer; placed[i].File == ""; at = at[:strings.LastIndexByte(at, '/')] {
				if line := places[at]; line > 0 {
					placed[i].File, placed[i].Line = filename, line
				}
				if at == "" {
					break
				}
			}
		}
		return placed
	}
	return out, nil
}
