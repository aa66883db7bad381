package expression_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

// TestWords is section 4.5 of the Caddyfile's reference.
func TestWords(t *testing.T) {
	const handle = `,"handle":[{"handler":"static_response","body":"x"}]}]`
	for _, c := range []struct{ definition, want string }{
		{`@a expression {method} == "GET"`, `"{http.request.method} == \"GET\""`},
		{"@a expression `{method} == \"GET\"`", `{"expr":"{http.request.method} == \"GET\"","name":"a"}`},
		{"@a `path('/c*')`", `{"expr":"path('/c*')","name":"a"}`},
		{`@a "path('/c*')" ignored`, `{"expr":"path('/c*')","name":"a"}`},
		{"@a expression path('/d')", `{"expr":"path('/d')","name":"a"}`},
		{"@a expression {path} == `/d` || path('/e')", "\"{http.request.uri.path} == `/d` || path('/e')\""},
		{"@a <<CEL\n\tpath('/f')\n\tCEL", `{"expr":"path('/f')","name":"a"}`},
		{"@a {\n expression path('/d')\n expression path('/e')\n}", `{"expr":"path('/d')","name":"a"}`},
	} {
		got := adapttest.Body(t, c.definition+"\nrespond @a x")
		adapttest.Same(t, got, `[{"match":[{"expression":`+c.want+`}]`+handle)
	}
	adapttest.Same(t, adapttest.Body(t, "@a not `path('/z')`\nrespond @a x"), `[{"match":[{"not":[{"expression":"path('/z')"}]}]`+handle)
	adapttest.Same(t, adapttest.Body(t, "@a {\n expression path('/d')\n method GET\n}\nrespond @a x"),
		`[{"match":[{"expression":{"expr":"path('/d')","name":"a"},"method":["GET"]}]`+handle)
}

func TestWordErrors(t *testing.T) {
	for _, c := range []struct{ definition, want string }{
		{"@a expression", "wrong argument count"},
		{"@a expression path('/d') {\n x\n}", "blocks are not supported"},
	} {
		_, err := adapttest.Site(t, c.definition+"\nrespond @a x")
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), c.want) {
			t.Errorf("%s: %v; want %q", c.definition, err, c.want)
		}
	}
}
