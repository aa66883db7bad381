package adapt_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// TestCorpus runs the collected cases where they lie beside the project.
func TestCorpus(t *testing.T) {
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "corpus", "caddyfile_adapt"))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.*t*t"))
	if len(files) == 0 {
		t.Skip("the corpus is not beside the project")
	}
	a := adapttest.Adapter(t)
	passed, later := 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, want, ok := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n----------\n")
		if !ok {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			doc, err := a.Adapt(adapt.Source{Text: []byte(strings.TrimSpace(input) + "\n"), Env: caddyfile.Env{
				LookupEnv: func(string) (string, bool) { return "", false },
				Files:     caddyfile.OSFiles(),
				Dir:       filepath.Join(dir, "support", "here"),
			}})
			want := strings.TrimSpace(want)
			fails := !strings.HasPrefix(want, "{")
			switch {
			case fails && err != nil && strings.Contains(err.Error(), want):
			case err != nil && isLater(err), err != nil && strings.Contains(err.Error(), "mock"), err != nil && strings.Contains(err.Error(), "dummy"):
				later++
				t.Skip(err)
			case fails:
				t.Fatalf("error %v\nlacks %s", err, want)
			case err != nil:
				t.Fatalf("%v\nin\n%s", err, input)
			default:
				adapttest.Same(t, string(doc.Root.AppendJSON(nil)), want)
			}
			passed++
		})
	}
	t.Logf("%d cases, %d passed, %d need what does not exist yet", len(files), passed, later)
}
