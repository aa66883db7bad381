package push_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirective(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"push * /foo.txt", `[{"handle":[{"handler":"push","resources":[{"target":"/foo.txt"}]}]}]`},
		{"push", `[{"handle":[{"handler":"push"}]}]`},
		{"push /x", `[{"match":[{"path":["/x"]}],"handle":[{"handler":"push"}]}]`},
		{"push {\n\tGET /foo.txt\n\tHEAD /foo.txt\n}", `[{"handle":[{"handler":"push","resources":[{"method":"GET","target":"/foo.txt"},{"method":"HEAD","target":"/foo.txt"}]}]}]`},
		{"push {\n\tPOST\n\tget\n}", `[{"handle":[{"handler":"push","resources":[{"target":"POST"},{"target":"get"}]}]}]`},
		{"push {\n\theaders {\n\t\tFoo bar\n\t}\n}", `[{"handle":[{"handler":"push","headers":{"set":{"Foo":["bar"]}}}]}]`},
		{"push /p {\n\tHEAD /h\n\t/g\n\theaders {\n\t\tX-P 1\n\t\t-X-Q\n\t}\n}",
			`[{"match":[{"path":["/p"]}],"handle":[{"handler":"push","resources":[{"method":"HEAD","target":"/h"},{"target":"/g"}],"headers":{"set":{"X-P":["1"]},"delete":["X-Q"]}}]}]`},
		{"push * {path}.css {\n\theaders {\n\t\t+a 1\n\t\t+A 2\n\t\tB x y\n\t}\n\theaders {\n\t\tc\n\t}\n}",
			`[{"handle":[{"handler":"push","resources":[{"target":"{http.request.uri.path}.css"}],"headers":{"add":{"A":["1","2"]},"set":{"C":[""]},"replace":{"B":[{"search_regexp":"x","replace":"y"}]}}}]}]`},
	} {
		got, err := adapttest.Routes(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		adapttest.Same(t, got, c.want)
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"push * /a /b", "wrong argument count"},
		{"push {\n\tGET\n}", "wrong argument count"},
		{"push {\n\tHEAD /a /b\n}", "wrong argument count"},
		{"push {\n\tPOST /a\n}", "wrong argument count"},
		{"push {\n\theaders A b\n}", "wrong argument count"},
		{"push {\n\theaders {\n\t\tA b c d\n\t}\n}", "wrong argument count"},
		{"push {\n\theaders {\n\t\t- b\n\t}\n}", "the name of the header field is missing"},
	} {
		if got, err := adapttest.Routes(t, c.text); err == nil {
			t.Errorf("%s: no error but %s", c.text, got)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("error of %q\nis   %s\nwant %s", c.text, err, c.want)
		}
	}
}
