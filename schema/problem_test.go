package schema

import (
	"strings"
	"testing"
)

func TestProblemString(t *testing.T) {
	for _, c := range []struct {
		problem Problem
		want    string
	}{
		{Problem{Message: "m"}, "/: m"},
		{Problem{Pointer: "/a", Message: "m", Nearest: "n"}, `/a: m; did you mean "n"?`},
		{Problem{Message: "m", Expected: "a number"}, "/: m (expected: a number)"},
		{Problem{Message: "m", Nearest: "n", Expected: "one of n, o"}, `/: m; did you mean "n"?`},
		{Problem{Message: "want a number, not x", Expected: "a number"}, "/: want a number, not x"},
		{Problem{Message: "m", Expected: strings.Repeat("abcdef, ", 100)}, "/: m (expected: " + strings.Repeat("abcdef, ", 30) + "...)"},
		{Problem{Message: "m", Expected: strings.Repeat("é", 200)}, "/: m (expected: " + strings.Repeat("é", 120) + ", ...)"},
		{Problem{Pointer: "/a", Line: 3, Column: 4, Message: "m"}, "/a (line 3, column 4): m"},
		{Problem{Pointer: "/a", Line: 3, Column: 4, File: "x.json", Message: "m"}, "/a (line 3, column 4): m"},
		{Problem{Pointer: "/a", Line: 3, File: "sites/Caddyfile", Message: "m"}, "/a (sites/Caddyfile:3): m"},
		{Problem{Line: 3, File: "Caddyfile", Message: "m"}, "/ (Caddyfile:3): m"},
		{Problem{Pointer: "/a", Line: 3, Message: "m"}, "/a (line 3): m"},
		{Problem{Pointer: "/a", File: "Caddyfile", Message: "m"}, "/a: m"},
	} {
		if got := c.problem.String(); got != c.want {
			t.Errorf("%+v prints %q, want %q", c.problem, got, c.want)
		}
	}
	many := Problems{{Pointer: "/a", Line: 1, File: "f", Message: "x"}, {Message: "2"}, {Message: "3"}, {Message: "4"}, {Message: "5"}, {Message: "6"}}
	if got, want := many.Error(), "/a (f:1): x; /: 2; /: 3; /: 4; /: 5; and 1 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
