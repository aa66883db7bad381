package adapttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Cases runs the cases in the folder testdata. Each begins with "== " and a title;
// behind the Caddyfile and a line "--" stands the document, or a text that the
// error holds.
func Cases(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range strings.Split(string(text), "\n== ")[1:] {
			title, rest, _ := strings.Cut(c, "\n")
			input, want, ok := strings.Cut(rest, "\n--\n")
			if !ok {
				t.Fatalf("%s: %s: no line --", file, title)
			}
			t.Run(filepath.Base(file)+"/"+title, func(t *testing.T) {
				want := strings.TrimSpace(want)
				if strings.HasPrefix(want, "{") {
					Same(t, Full(t, input+"\n"), want)
				} else {
					Fails(t, input+"\n", want)
				}
			})
		}
	}
}
