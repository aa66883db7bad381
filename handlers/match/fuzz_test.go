package match

import (
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// FuzzSet: whatever stands behind the name of a matcher, there is a set that
// is an object, or an error with a place; and reading goes on behind it.
func FuzzSet(f *testing.F) {
	for _, seed := range []string{
		"@m path /a", "@m {\nnot {\nheader A b\n}\nquery a=b\n}", "@m `x` y {\nz\n}", "@m not not \"x\"", "@m {\n{\n}\n}", "@m path {\n}\n", "@m }\n{", "@m <<E\n\tx\n\tE y",
		"@m vars_regexp a b c\nmethod GET", "@m not\n{\n}", "\"\n\" \"{\" {\n}",
	} {
		f.Add(seed)
	}
	table, err := module.NewTable(Specs(), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := caddyfile.Lex(text, &caddyfile.Origin{File: "Caddyfile"})
		if err != nil || len(tokens) == 0 {
			return
		}
		a := &assembly{table: table, placed: map[*config.Node]caddyfile.Token{}}
		d := caddyfile.NewDispenser(tokens)
		for d.Next() {
			n, err := Set(&module.Use{Assembly: a}, d, "m")
			switch e, placed := err.(*caddyfile.Error); {
			case err == nil && n.Kind() != config.Object:
				t.Errorf("%q is a set of kind %s", text, n.Kind())
			case err != nil && (!placed || e.Line == 0):
				t.Errorf("%q: an error without a place: %v", text, err)
			}
		}
	})
}
