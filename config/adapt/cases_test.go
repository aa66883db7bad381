package adapt_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

// TestCases runs the cases in testdata.
func TestCases(t *testing.T) {
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
					adapttest.Same(t, adapttest.Full(t, input+"\n"), want)
				} else {
					adapttest.Fails(t, input+"\n", want)
				}
			})
		}
	}
}
