package logs_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/logs/filtermod"
)

// adapter knows what ships, and the modules of this folder.
func adapter(t *testing.T) *adapt.Adapter {
	t.Helper()
	specs, own := standard.Specs(), slices.Concat(logs.Specs(), filtermod.Specs())
	refused := maps.Clone(standard.Refused())
	for _, s := range own {
		specs = slices.DeleteFunc(specs, func(o module.Spec) bool { return o.ID == s.ID })
		delete(refused, s.ID)
	}
	table, err := module.NewTable(append(specs, own...), refused)
	if err != nil {
		t.Fatal(err)
	}
	return adapt.New(table, adapt.Words{Order: standard.DirectiveOrder(), Refused: standard.RefusedDirectives()})
}

// TestCorpus runs the collected cases about logs, where they lie beside the
// project.
func TestCorpus(t *testing.T) {
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "corpus", "caddyfile_adapt"))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*log*.*t*t"))
	if len(files) == 0 {
		t.Skip("the corpus is not beside the project")
	}
	a := adapter(t)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, want, _ := strings.Cut(string(text), "\n----------\n")
		t.Run(filepath.Base(file), func(t *testing.T) {
			doc, err := a.Adapt(adapt.Source{Text: []byte(strings.TrimSpace(input) + "\n"), Env: caddyfile.Env{
				LookupEnv: func(string) (string, bool) { return "", false }, Files: caddyfile.OSFiles(), Dir: dir,
			}})
			if err != nil {
				if !strings.Contains(err.Error(), "caddy.logging") || strings.Contains(err.Error(), "cores.mock") {
					t.Skip(err) // about something else
				}
				t.Fatal(err)
			}
			adapttest.Same(t, string(doc.Root.AppendJSON(nil)), want)
		})
	}
}
