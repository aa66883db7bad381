// Package setvars sets request variables. Its module is named vars.
package setvars

import (
	"maps"
	"net/http"
	"slices"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// Config is the handler vars: each key is the name of a variable, which gets the
// value. Names and text values may hold placeholders; other values are taken as
// they are. Later matchers and handlers see the variables, as {http.vars.NAME}.
type Config map[string]any

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.vars", "Sets request variables.", nil, compile, module.Examples(
		module.Example{Title: "Set variables", JSON: `{"handler": "vars", "area": "api", "who": "{http.request.header.X-User}", "level": 3}`},
		module.Example{Title: "Leave requests out of the access log", JSON: `{"handler": "vars", "log_skip": true}`},
	), directives())
}

// userName is the variable that is a placeholder as well.
const userName = "http.auth.user.id"

type handler struct{ list []variable }

type variable struct {
	name  vars.Text
	text  vars.Text
	fixed any  // the value if it is not a text with placeholders
	isVar bool // text is the value
}

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{}
	for _, name := range slices.Sorted(maps.Keys(*cfg)) {
		v := variable{name: vars.Parse(name), fixed: (*cfg)[name]}
		if s, ok := v.fixed.(string); ok {
			v.text = vars.Parse(s)
			if err := v.text.Err(); err != nil {
				return nil, module.Problem(config.JoinPointer("", name), err.Error())
			}
			if lit, ok := v.text.Literal(); ok {
				v.fixed = lit
			} else {
				v.isVar = true
			}
		}
		h.list = append(h.list, v)
	}
	return h, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	x := handlers.Of(r)
	for i := range h.list {
		v := &h.list[i]
		name, value := v.name.Expand(x, vars.All, ""), v.fixed
		if v.isVar {
			value = v.text.Expand(x, vars.All, "")
		}
		x.SetVar(name, value)
		if name == userName {
			x.Set(userName, value)
		}
	}
	return next.ServeHTTP(w, r)
}
