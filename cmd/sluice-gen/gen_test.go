package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/schema"
)

const checkout = "../.."

func made(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := generate(checkout)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What is on disk is what the code gives.
func TestNothingIsStale(t *testing.T) {
	files := made(t)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		got, err := os.ReadFile(filepath.Join(checkout, path))
		if err != nil || !bytes.Equal(got, files[path]) {
			t.Errorf("%s is stale (%v): run `make generate` and commit what it writes", path, err)
		}
	}
	old, err := leftovers(checkout, files)
	if err != nil || len(old) > 0 {
		t.Errorf("pages of modules that are gone: %v, %v: run `make generate`", old, err)
	}
}

func TestDeterministic(t *testing.T) {
	first, second := made(t), made(t)
	for path := range first {
		if !bytes.Equal(first[path], second[path]) {
			t.Errorf("%s differs from run to run", path)
		}
	}
}

// Every field that a user can set is explained.
func TestEveryFieldHasProse(t *testing.T) {
	for path, text := range made(t) {
		lines := strings.SplitAfter(string(text), "\n")
		for i, line := range lines {
			if i+1 < len(lines) && strings.HasPrefix(lines[i+1], strings.Repeat(" ", 2+len(line)-len(strings.TrimLeft(line, " ")))) &&
				!strings.HasPrefix(strings.TrimSpace(lines[i+1]), "- ") {
				continue // the prose follows on the next line
			}
			if strings.HasPrefix(path, pagesPath) && strings.HasPrefix(strings.TrimSpace(line), "- **`") && strings.HasSuffix(line, ".\n") &&
				strings.Count(line, ". ") == 0 && strings.Contains(line, " — ") {
				t.Errorf("%s: no prose: %s", path, line)
			}
		}
	}
}

// The published schema is a schema, is closed, and its references lead somewhere.
func TestPublishedSchema(t *testing.T) {
	text := made(t)[schemaPath]
	var s schema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if _, err := schema.Compile("published", s); err != nil {
		t.Error(err)
	}
	if n := bytes.Count(text, []byte(`"x-module"`)); n > 0 {
		t.Errorf("%d slots are left open: whatever stands there is accepted", n)
	}
}

// The published schema accepts every example, and not with an unknown field.
func TestPublishedSchemaAcceptsExamples(t *testing.T) {
	var s schema.Schema
	if err := json.Unmarshal(made(t)[schemaPath], &s); err != nil {
		t.Fatal(err)
	}
	table, err := module.NewTable(slices.Concat(standard.Specs(), []module.Spec{endpoint.Spec()}), standard.Refused())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, id := range table.IDs() {
		spec, _ := table.Spec(id)
		s["$ref"] = "#/$defs/" + id
		v, err := schema.Compile("published", s)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range spec.Examples {
			var value any
			if err := json.Unmarshal([]byte(e.JSON), &value); err != nil {
				t.Fatalf("%s: %s: %v", id, e.Title, err)
			}
			if ps := v.Validate(value); len(ps) > 0 {
				t.Errorf("%s: %s: %v", id, e.Title, ps)
			}
			n++
		}
	}
	if n < 40 {
		t.Errorf("only %d examples", n)
	}
	s["$ref"] = "#/$defs/" + rootModule
	v, err := schema.Compile("published", s)
	if err != nil {
		t.Fatal(err)
	}
	for text, good := range map[string]bool{
		`{"apps":{"http":{"servers":{"a":{"routes":[{"@id":"x","match":[{"path":["/"]}],"handle":[{"@id":1,"handler":"headers"}]}]}}}}}`: true,
		`{"apps":{"http":{"servers":{"a":{"routes":[{"handle":[{"handler":"headers","nope":1}]}]}}}}}`:                                   false,
		`{"apps":{"http":{"servers":{"a":{"routes":[{"handle":[{"handler":"nope"}]}]}}}}}`:                                               false,
		`{"apps":{"http":{"servers":{"a":{"routes":[{"match":[{"nope":[]}]}]}}}}}`:                                                       false,
		`{"apps":{"nope":{}}}`: false,
	} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if ps := v.Validate(value); (len(ps) == 0) != good {
			t.Errorf("%s: %v", text, ps)
		}
	}
}

// Links between pages, those written by hand among them, lead somewhere.
func TestLinks(t *testing.T) {
	files := made(t)
	for _, path := range []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "api-docs/deviations.md"} {
		text, err := os.ReadFile(filepath.Join(checkout, path))
		if err != nil {
			t.Fatal(err)
		}
		files[path] = text
	}
	for path, text := range files {
		if !strings.HasSuffix(path, ".md") {
			continue
		}
		for _, part := range strings.Split(string(text), "](")[1:] {
			link, _, _ := strings.Cut(part, ")")
			name, anchorName, _ := strings.Cut(link, "#")
			target := filepath.ToSlash(filepath.Join(filepath.Dir(path), name))
			body, ok := files[target]
			if !ok {
				var err error
				if body, err = os.ReadFile(filepath.Join(checkout, target)); err != nil {
					t.Errorf("%s links to %s: %v", path, link, err)
					continue
				}
			}
			if anchorName != "" && !slices.ContainsFunc(strings.Split(string(body), "\n"), func(line string) bool {
				h, ok := strings.CutPrefix(line, "## ")
				return ok && anchor(h) == anchorName
			}) {
				t.Errorf("%s links to %s, which has no such heading", path, link)
			}
		}
	}
}

func TestSentence(t *testing.T) {
	for _, c := range []struct{ comment, goName, name, want string }{
		{"Listen is the one address.", "Listen", "listen", "The one address."},
		{"Hosts are names.", "Hosts", "hosts", "Names."},
		{"Abort closes it.", "Abort", "abort", "Closes it."},
		{"Routes run at the end.", "Routes", "routes", "`routes` run at the end."},
		{"Strict, if positive, reads.", "Strict", "strict", "`strict`, if positive, reads."},
		{"Method of the request.", "Method", "method", "The method of the request."},
		{"IP addresses.", "Ranges", "ranges", "IP addresses."},
		{"", "Ranges", "ranges", ""},
	} {
		if got := sentence(c.comment, c.goName, c.name); got != c.want {
			t.Errorf("%q: %q, want %q", c.comment, got, c.want)
		}
	}
}

func TestCutDefault(t *testing.T) {
	for _, c := range []struct{ text, rest, def string }{
		{"How long. Default: 1m.", "How long.", "1m"},
		{"How long. Default: 1m; negative means no limit.", "How long. Negative means no limit.", "1m"},
		{"Default: 1.1 and 2. More.", "More.", "1.1 and 2"},
		{"None here.", "None here.", ""},
		{"Default: " + strings.Repeat("x", 41) + ".", "Default: " + strings.Repeat("x", 41) + ".", ""},
	} {
		if rest, def := cutDefault(c.text); rest != c.rest || def != c.def {
			t.Errorf("%q: %q, %q", c.text, rest, def)
		}
	}
}

func TestMarkdown(t *testing.T) {
	for _, c := range [][2]string{
		{`Placeholders {env.*}, {file.*} and {system.*} are expanded.`, "Placeholders `{env.*}`, `{file.*}` and `{system.*}` are expanded."},
		{`"*" stands for all, as in *.example.com.`, "`\"*\"` stands for all, as in `*.example.com`."},
		{`the group (?P<id>...) is {x}`, "the group `(?P<id>...)` is `{x}`"},
		{"the `logs` object of x_y", "the `logs` object of `x_y`"},
		{`100 % of it (an integer)`, `100 % of it (an integer)`},
	} {
		if got := markdown(c[0]); got != c[1] {
			t.Errorf("%q: %q, want %q", c[0], got, c[1])
		}
	}
}

func TestPretty(t *testing.T) {
	got, err := pretty(`{"z":1,"a":[{"long":"` + strings.Repeat("x", 90) + `"},{"b":{}}]}`)
	want := "{\n  \"z\": 1,\n  \"a\": [\n    {\n      \"long\": \"" + strings.Repeat("x", 90) + "\"\n    },\n    {\"b\": {}}\n  ]\n}"
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
	var a any
	for path, text := range made(t) {
		for _, part := range strings.Split(string(text), "```json\n")[1:] {
			block, _, _ := strings.Cut(part, "\n```")
			if err := json.Unmarshal([]byte(block), &a); err != nil {
				t.Errorf("%s: an example is no JSON: %v", path, err)
			}
		}
	}
}
