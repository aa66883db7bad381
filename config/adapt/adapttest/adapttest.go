// Package adapttest adapts Caddyfiles in tests.
package adapttest

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
)

// standardAdapter is made once: making the table takes longer than most tests.
var standardAdapter = sync.OnceValues(func() (*adapt.Adapter, error) { return adapterOf(standard.Specs()) })

func adapterOf(specs []module.Spec) (*adapt.Adapter, error) {
	table, err := module.NewTable(specs, standard.Refused())
	if err != nil {
		return nil, err
	}
	return adapt.New(table, adapt.Words{Order: standard.DirectiveOrder(), Directives: standard.Directives(), Refused: standard.RefusedDirectives()}), nil
}

// Adapter returns the adapter of everything that ships.
func Adapter(t testing.TB) *adapt.Adapter {
	t.Helper()
	a, err := standardAdapter()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Adapt adapts a text that is named Caddyfile and can import nothing.
func Adapt(t testing.TB, text string) (*adapt.Document, error) {
	t.Helper()
	return Adapter(t).Adapt(adapt.Source{Text: []byte(text), Env: caddyfile.Env{
		LookupEnv: func(string) (string, bool) { return "", false },
		Files:     caddyfile.FSFiles(fstest.MapFS{}),
		Dir:       "/",
	}})
}

// Full returns the document of a whole Caddyfile as JSON.
func Full(t testing.TB, text string) string {
	t.Helper()
	doc, err := Adapt(t, text)
	if err != nil {
		t.Fatalf("adapting:\n%s\n%v", text, err)
	}
	return string(doc.Root.AppendJSON(nil))
}

// Site adapts a site :80 with the directives of body.
func Site(t testing.TB, body string) (*adapt.Document, error) {
	t.Helper()
	return Adapt(t, siteText(body))
}

// siteText is formatted if body is.
func siteText(body string) string {
	return ":80 {\n\t" + strings.ReplaceAll(body, "\n", "\n\t") + "\n}\n"
}

// Routes returns the routes of a site :80 with the directives of body as JSON.
func Routes(t testing.TB, body string) (string, error) {
	t.Helper()
	doc, err := Site(t, body)
	if err != nil {
		return "", err
	}
	return RoutesOf(doc), nil
}

// RoutesOf returns the routes of a document's first server as JSON.
func RoutesOf(doc *adapt.Document) string {
	return string(server(doc.Root).Get("routes").AppendJSON(nil))
}

// Handler returns the last handler of a site :80 with the directives of body.
func Handler(t testing.TB, body string) (*config.Node, error) {
	t.Helper()
	doc, err := Site(t, body)
	if err != nil {
		return nil, err
	}
	var last *config.Node
	for _, r := range server(doc.Root).Get("routes").Elements() {
		for _, h := range r.Get("handle").Elements() {
			last = h
		}
	}
	return last, nil
}

// Warns checks that a site :80 with the directives of body makes one warning in
// a line, or none if want is empty.
func Warns(t testing.TB, body string, line int, want string) {
	t.Helper()
	doc, err := Site(t, body)
	if err != nil {
		t.Fatalf("adapting:\n%s\n%v", body, err)
	}
	warnings := []caddyfile.Warning{{File: adapt.DefaultFilename, Line: line, Message: want}}
	if want == "" {
		warnings = nil
	}
	if !slices.Equal(doc.Warnings, warnings) {
		t.Errorf("warnings of\n%s\nare  %v\nwant %v", body, doc.Warnings, warnings)
	}
}

// With returns the adapter of everything that ships and of modules that only a
// test has.
func With(t testing.TB, specs ...module.Spec) *adapt.Adapter {
	t.Helper()
	a, err := adapterOf(slices.Concat(standard.Specs(), specs))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Body returns the routes of a site :80 with the directives of body as JSON;
// null if there are none.
func Body(t testing.TB, body string) string {
	t.Helper()
	doc, err := Adapt(t, ":80 {\n"+body+"\n}\n")
	if err != nil {
		t.Fatalf("adapting:\n%s\n%v", body, err)
	}
	return RoutesOf(doc)
}

// Errors returns the error routes of a site :80 with the directives of body.
func Errors(t testing.TB, body string) string {
	t.Helper()
	doc, err := Adapt(t, ":80 {\n"+body+"\n}\n")
	if err != nil {
		t.Fatalf("adapting:\n%s\n%v", body, err)
	}
	return string(server(doc.Root).Get("errors").Get("routes").AppendJSON(nil))
}

func server(root *config.Node) *config.Node {
	return root.Get("apps").Get("http").Get("servers").Get("srv0")
}

// Error returns the error of a whole Caddyfile, which must have one.
func Error(t testing.TB, text string) string {
	t.Helper()
	doc, err := Adapt(t, text)
	if err == nil {
		t.Fatalf("no error for:\n%s\nbut %s", text, doc.Root.AppendJSON(nil))
	}
	return err.Error()
}

// Fails checks that a whole Caddyfile has an error with the text want in it.
func Fails(t testing.TB, text, want string) {
	t.Helper()
	if got := Error(t, text); !strings.Contains(got, want) {
		t.Errorf("error of\n%s\nis   %s\nwant %s", text, got, want)
	}
}

// Same compares JSON by meaning.
func Same(t testing.TB, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("not JSON: %v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("want is not JSON: %v: %s", err, want)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
