package tracing_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirective(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"tracing", `[{"handle":[{"handler":"tracing"}]}]`},
		{"tracing /api/* {\n\tspan shop\n}", `[{"match":[{"path":["/api/*"]}],"handle":[{"handler":"tracing","span":"shop"}]}]`},
		{"tracing {\n\tspan_attributes {\n\t\ta 1\n\t\tb {host}\n\t\ta 2\n\t}\n\tspan {path}\n}", `[{"handle":[{"handler":"tracing","span":"{http.request.uri.path}","span_attributes":{"a":"2","b":"{http.request.host}"}}]}]`},
		{"tracing {\n}", `[{"handle":[{"handler":"tracing"}]}]`},
	} {
		got, err := adapttest.Routes(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		adapttest.Same(t, got, c.want)
	}
	for _, text := range []string{"tracing now", "tracing /a now", "tracing {\n\tspan\n}", "tracing {\n\tspan a b\n}", "tracing {\n\tspans a\n}",
		"tracing {\n\tspan_attributes a\n}", "tracing {\n\tspan_attributes {\n\t\ta\n\t}\n}", "tracing {\n\tspan_attributes {\n\t\ta b c\n\t}\n}"} {
		if got, err := adapttest.Routes(t, text); err == nil || !strings.Contains(err.Error(), "wrong argument count or unexpected line ending") {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}
