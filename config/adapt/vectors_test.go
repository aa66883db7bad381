package adapt_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

var fence = regexp.MustCompile("(?s)```(caddy-[a-z-]+)\n(.*?)\n?```\n```(json|text)\n(.*?)\n?```")

// TestReferenceVectors runs the examples of the reference where it lies beside
// the project.
func TestReferenceVectors(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "reference", "caddyfile.md"))
	if err != nil {
		t.Skip("the reference is not beside the project")
	}
	found := fence.FindAllStringSubmatchIndex(string(text), -1)
	if len(found) < 100 {
		t.Fatalf("only %d examples found", len(found))
	}
	for _, m := range found {
		part := func(i int) string { return string(text[m[2*i]:m[2*i+1]]) }
		kind, input, want := part(1), part(2)+"\n", part(4)
		line := 1 + strings.Count(string(text[:m[0]]), "\n")
		t.Run(kind+"/"+"line"+itoa(line), func(t *testing.T) {
			if kind == "caddy-body" || kind == "caddy-body-errors" {
				input = ":80 {\n" + input + "}\n"
			}
			doc, err := adapttest.Adapt(t, input)
			switch {
			case kind == "caddy-error":
				if err == nil {
					t.Fatalf("no error for\n%s", input)
				}
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q\nlacks %q", err, want)
				}
				return
			case err != nil:
				t.Fatalf("%v\nin\n%s", err, input)
			}
			n := doc.Root
			if kind != "caddy-full" {
				n = n.Get("apps").Get("http").Get("servers").Get("srv0")
			}
			switch kind {
			case "caddy-body":
				n = n.Get("routes")
			case "caddy-body-errors":
				n = n.Get("errors").Get("routes")
			}
			adapttest.Same(t, string(n.AppendJSON(nil)), want)
		})
	}
	t.Logf("%d examples", len(found))
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}
