package setvars

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/errorhandler"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

func TestVariables(t *testing.T) {
	s := handlertest.New(t, `{"routes": [{"handle": [{
		"handler": "vars", "@id": "v", "text": "plain \\{x\\}", "text2": "<{http.request.method}{nope}>", "{http.request.method}-name": "n",
		"number": 1.5, "bool": true, "list": ["{http.request.method}", 2], "object": {"k": "{x}"}, "null": null, "http.auth.user.id": "ann"
	}]}]}`, Spec())
	s.Exchanges = func(x *handlers.Exchange) {
		for name, want := range map[string]any{
			"text": "plain {x}", "text2": "<GET>", "GET-name": "n", "number": 1.5, "bool": true,
			"list": []any{"{http.request.method}", 2.0}, "object": map[string]any{"k": "{x}"}, "null": nil, "http.auth.user.id": "ann",
		} {
			got, known := x.Lookup("http.vars." + name)
			if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) || !known {
				t.Errorf("%s = %#v, want %#v", name, got, want)
			}
		}
		if _, set := x.LookupVar("null"); !set {
			t.Error("a null is not stored")
		}
		for _, name := range []string{"handler", "@id"} {
			if _, set := x.LookupVar(name); set {
				t.Errorf("%s became a variable", name)
			}
		}
		if v, known := x.Lookup("http.auth.user.id"); v != "ann" || !known {
			t.Errorf("{http.auth.user.id} = %v, %v", v, known)
		}
		if _, known := x.Lookup("text"); known {
			t.Error("other variables must not be placeholders by themselves")
		}
	}
	s.Get("/")
}

func TestVariablesLast(t *testing.T) {
	s := handlertest.New(t, `{"routes": [
			{"handle": [{"handler": "vars", "a": "1", "b": "1"}, {"handler": "vars", "b": "{http.vars.a}2"}]},
			{"handle": [{"handler": "error", "status_code": 400}]}],
		"errors": {"routes": [{"handle": [{"handler": "static_response", "body": "{http.vars.a} {http.vars.b}"}]}]}}`,
		Spec(), errorhandler.Spec(), staticresponse.Spec())
	if rec := s.Get("/"); rec.Body.String() != "1 12" {
		t.Errorf("body = %q", rec.Body)
	}
}

func TestTextThatIsNoTemplate(t *testing.T) {
	ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "vars", "a/b": "`+strings.Repeat("{", 200)+`"}]}]}`, Spec())
	if len(ps) != 1 || ps[0].Pointer != "/routes/0/handle/0/a~1b" {
		t.Errorf("problems = %v", ps)
	}
}
