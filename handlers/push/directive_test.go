package push_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/push"
	"github.com/sluiceproxy/sluice/handlers/standard"
)

// adapted adapts the directives of a site :80 and returns its routes.
func adapted(t *testing.T, body string) (string, error) {
	t.Helper()
	specs := standard.Specs()
	if own := push.Spec(); !slices.ContainsFunc(specs, func(s module.Spec) bool { return s.ID == own.ID }) {
		specs = append(specs, own)
	}
	table, err := module.NewTable(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := adapt.New(table, adapt.Words{Order: standard.DirectiveOrder()})
	doc, err := a.Adapt(adapt.Source{Text: []byte(":80 {\n" + body + "\n}\n"), Env: caddyfile.Env{LookupEnv: func(string) (string, bool) { return "", false }}})
	if err != nil {
		return "", err
	}
	return string(doc.Root.Get("apps").Get("http").Get("servers").Get("srv0").Get("routes").AppendJSON(nil)), nil
}

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
		got, err := adapted(t, c.text)
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
		if got, err := adapted(t, c.text); err == nil {
			t.Errorf("%s: no error but %s", c.text, got)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("error of %q\nis   %s\nwant %s", c.text, err, c.want)
		}
	}
}
