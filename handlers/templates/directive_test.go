package templates_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/templates"
)

func adapted(t *testing.T, body string) (*adapt.Document, error) {
	t.Helper()
	extension := module.New("http.handlers.templates.functions.ext", "For tests.", nil,
		func(*module.Env, *struct{}) (templates.Functions, error) { return nil, nil },
		module.Words(func(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
			d.Next()
			return map[string]any{"args": d.RemainingArgs()}, nil
		}))
	return adapttest.With(t, extension).Adapt(adapt.Source{Text: []byte(":80 {\n\t" + strings.ReplaceAll(body, "\n", "\n\t") + "\n}\n")})
}

func TestDirective(t *testing.T) {
	for _, c := range []struct{ name, text, want, warning string }{
		{"the reference's example", "templates /t {\n\tmime text/html text/plain\n\tbetween [[ ]]\n\troot /tpl\n}",
			`[{"match":[{"path":["/t"]}],"handle":[{"handler":"templates","mime_types":["text/html","text/plain"],"delimiters":["[[","]]"],"file_root":"/tpl"}]}]`, ""},
		{"nothing", "templates", `[{"handle":[{"handler":"templates"}]}]`, ""},
		{"a line twice", "templates {\n\tmime a\n\tmime b c\n}", `[{"handle":[{"handler":"templates","mime_types":["b","c"]}]}]`, ""},
		{"extensions", "templates {\n\textensions {\n\t\text a b\n\t}\n}", `[{"handle":[{"handler":"templates","match":{"ext":{"args":["a","b"]}}}]}]`, ""},
		{"an argument", "templates html", `[{"handle":[{"handler":"templates"}]}]`, "'html' is ignored"},
		{"an unknown line", "templates {\n\tcache 5 {\n\t\tmore\n\t}\n\troot /x\n}", `[{"handle":[{"handler":"templates","file_root":"/x"}]}]`, "'cache' is ignored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, err := adapted(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			adapttest.Same(t, adapttest.RoutesOf(doc), c.want)
			if got := len(doc.Warnings) > 0; got != (c.warning != "") || (got && !strings.Contains(doc.Warnings[0].Message, c.warning)) {
				t.Errorf("warnings %v, want %q", doc.Warnings, c.warning)
			}
		})
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"templates {\n\tmime\n}", "wrong argument count or unexpected line ending after 'mime'"},
		{"templates {\n\tbetween [[\n}", "wrong argument count"},
		{"templates {\n\tbetween a b c\n}", "wrong argument count"},
		{"templates {\n\troot\n}", "wrong argument count"},
		{"templates {\n\troot a b\n}", "wrong argument count"},
		{"templates {\n\textensions {\n\t\tnope\n\t}\n}", "module not registered: http.handlers.templates.functions.nope"},
	} {
		if _, err := adapted(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", c.text, err, c.want)
		}
	}
}
