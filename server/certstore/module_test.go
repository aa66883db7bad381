package certstore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// holder is a document with a storage.
type holder struct {
	Storage module.Ref[certmagic.Storage] `json:"storage" module:"caddy.storage" inline:"module"`
}

func table(t *testing.T) *module.Table {
	t.Helper()
	table, err := module.NewTable(append(Specs(), module.New("holder", "Holds a storage.", nil, func(_ *module.Env, c *holder) (certmagic.Storage, error) { return c.Storage.Value(), nil })), nil)
	must(t, err)
	return table
}

func build(t *testing.T, stores *Stores, storage string) module.Result {
	t.Helper()
	services := module.Services{}
	module.Provide(services, stores)
	b := &module.Builder{Table: table(t), Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.Map{"env.ROOT": "/srv", "env.NONE": ""}, Services: services}}
	node, _, err := config.Parse([]byte(`{"storage":`+storage+`}`), config.Limits{})
	must(t, err)
	return b.Build(nil, "holder", node, module.Options{})
}

func TestModules(t *testing.T) {
	dir := t.TempDir()
	stores := NewStores(dir)
	for doc, want := range map[string]string{
		`{"module":"file_system"}`:                         "file_system:" + dir,
		`{"module":"file_system","root":"{env.ROOT}/x/"}`:  "file_system:/srv/x",
		`{"module":"bolt"}`:                                "bolt:" + filepath.Join(dir, "storage.db"),
		`{"module":"bolt","path":"{env.ROOT}/a/../s.db"}`:  "bolt:/srv/s.db",
		`{"module":"file_system","root":"{env.NONE}/x"}`:   "!/storage/root",
		`{"module":"bolt","path":"{env.UNKNOWN}/x"}`:       "!/storage/path",
		`{"module":"bolt","root":"/x"}`:                    "!/storage/root",
		`{"module":"file_system","root":"/x","size":"10"}`: "!/storage/size",
		`{"module":"redis"}`:                               "!/storage",
	} {
		res := build(t, stores, doc)
		at, bad := strings.CutPrefix(want, "!")
		if bad != (len(res.Problems) > 0) {
			t.Errorf("%s: %v", doc, res.Problems)
			continue
		}
		if bad && !strings.HasPrefix(res.Problems[0].Pointer, at) {
			t.Errorf("%s: %v, want it at %s", doc, res.Problems, at)
		}
		if s, ok := res.Root, !bad; ok && s.Value().(interface{ String() string }).String() != want {
			t.Errorf("%s is %v, want %s", doc, s.Value(), want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("compiling made %v", entries)
	}
	if stores.Default().Root() != dir {
		t.Error("the default is somewhere else")
	}

	// A bolt file is opened when the document is prepared, shared by the documents
	// that follow one another, and closed with the last.
	first, second := build(t, stores, `{"module":"bolt"}`), build(t, stores, `{"module":"bolt","path":"`+dir+`/storage.db"}`)
	own := func(r module.Result, f func(module.Resource)) {
		for _, b := range r.New {
			for _, o := range b.Owned() {
				f(o)
			}
		}
	}
	prepare := func(o module.Resource) { must(t, o.Prepare()); o.Start() }
	own(first, prepare)
	store(t, first.Root.Value().(certmagic.Storage), "k")
	own(second, prepare)
	own(first, module.Resource.Close)
	if v, err := second.Root.Value().(certmagic.Storage).Load(bg, "k"); string(v) != "value of k" {
		t.Errorf("after the first document has gone: %q, %v", v, err)
	}
	own(build(t, NewStores(dir), `{"module":"bolt"}`), func(o module.Resource) {
		if err := o.Prepare(); err == nil || !strings.Contains(err.Error(), "has it open") {
			t.Errorf("prepared while another has it: %v", err)
		}
	})
	own(second, module.Resource.Close)
}

func TestExamples(t *testing.T) {
	for _, spec := range Specs() {
		for _, e := range spec.Examples {
			if res := build(t, NewStores(t.TempDir()), e.JSON); len(res.Problems)+len(res.Warnings) > 0 {
				t.Errorf("%s: %v %v", e.Title, res.Problems, res.Warnings)
			}
		}
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"file_system":                           `{}`,
		"file_system /var/lib/data":             `{"root":"/var/lib/data"}`,
		"file_system {\n root /d\n}":            `{"root":"/d"}`,
		"bolt":                                  `{}`,
		"bolt /s.db":                            `{"path":"/s.db"}`,
		"bolt {\n path /s.db\n}":                `{"path":"/s.db"}`,
		"bolt /a /b":                            "!wrong argument count",
		"bolt /a {\n path /b\n}":                "!path already set",
		"file_system {\n root\n}":               "!wrong argument count",
		"file_system {\n path /x\n}":            "!unrecognized subdirective path",
		"file_system {\n root /x {\n y\n }\n}":  "!",
		"file_system {\n root /x\n root /y\n }": "!root already set",
	} {
		name, _, _ := strings.Cut(text, " ")
		spec, _ := table(t).Spec(Namespace + "." + strings.TrimSpace(name))
		tokens, err := caddyfile.Lex(text, &caddyfile.Origin{})
		must(t, err)
		cfg, err := spec.Words(&module.Use{}, caddyfile.NewDispenser(tokens))
		if sentence, bad := strings.CutPrefix(want, "!"); bad {
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), sentence) {
				t.Errorf("%s: %v, want %q", text, err, sentence)
			}
			continue
		}
		must(t, err)
		node, err := table(t).Encode(spec.ID, cfg)
		must(t, err)
		if got := string(node.AppendJSON(nil)); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}
