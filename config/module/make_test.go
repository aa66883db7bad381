package module

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

type makerConfig struct {
	Files []string `json:"files"`
	ID    string   `json:"id"`
}

// makers is a world of modules that make others: one leaf for each file.
func makers(t *testing.T) (*Builder, *[]string) {
	t.Helper()
	var log []string
	table, err := NewTable([]Spec{
		New("t.leaf", "A leaf.", nil, func(env *Env, c *leafConfig) (string, error) {
			data, err := env.ReadFile(c.File)
			if err != nil {
				return "", err
			}
			env.Warn("/file", "read")
			env.Own(Acquired(func() error { log = append(log, "+"+string(data)); return nil }, func() { log = append(log, "-"+string(data)) }))
			return string(data), nil
		}),
		New("t.maker", "Makes leaves.", nil, func(env *Env, c *makerConfig) (string, error) {
			out := ""
			for _, f := range c.Files {
				leaf := map[string]any{"file": f}
				if f == "unknown" {
					leaf["x"] = f
				}
				n, err := config.FromGo(leaf)
				if err != nil {
					return "", err
				}
				v, err := env.Make(c.ID, n)
				if err != nil {
					return "", fmt.Errorf("making a leaf: %w", err)
				}
				out += v.(string)
			}
			return out, nil
		}),
	}, map[string]string{"t.later": "it comes later"})
	if err != nil {
		t.Fatal(err)
	}
	return &Builder{Table: table, Sources: Sources{ReadFile: os.ReadFile, Globals: vars.NewGlobal()}}, &log
}

func TestMake(t *testing.T) {
	b, _ := makers(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := write("one", "1"), write("two", "2")
	node, err := config.FromGo(map[string]any{"id": "t.leaf", "files": []any{one, two}})
	if err != nil {
		t.Fatal(err)
	}
	first := b.Build(nil, "t.maker", node, Options{})
	if len(first.Problems) > 0 || first.Root.Value() != "12" || first.Root.Size() != 3 || len(first.New) != 3 || first.New[2] != first.Root {
		t.Fatalf("made %v of %d modules, problems %v", first.Root.Value(), len(first.New), first.Problems)
	}
	if len(first.Warnings) != 2 || first.Warnings[0].Pointer != "" {
		t.Errorf("warnings %v", first.Warnings)
	}
	owned := 0
	for _, x := range first.Root.All() {
		owned += len(x.Owned())
	}
	if owned != 2 {
		t.Errorf("%d resources", owned)
	}
	if same := b.Build(first.Root, "t.maker", node, Options{Force: true}); len(same.New) != 0 || same.Root != first.Root {
		t.Errorf("nothing changed and %d modules are new", len(same.New))
	}
	write("two", "3")
	second := b.Build(first.Root, "t.maker", node, Options{Force: true})
	if len(second.Problems) > 0 || second.Root.Value() != "13" || len(second.New) != 3 || len(second.Gone) != 3 {
		t.Errorf("after a change: %v, %d new, %d gone, %v", second.Root.Value(), len(second.New), len(second.Gone), second.Problems)
	}
	for _, x := range first.Root.All() {
		if !slices.Contains(second.Gone, x) {
			t.Errorf("a module of %v is not gone", x.Node())
		}
	}
}

func TestMakeFails(t *testing.T) {
	b, _ := makers(t)
	for _, c := range []struct{ id, file, pointer, want string }{
		{"t.leaf", "/nowhere", "", "reading file"},
		{"t.leaf", "unknown", "/x", "unknown field"},
		{"t.nope", "/nowhere", "", "unknown module: t.nope"},
		{"t.later", "/nowhere", "", "it comes later"},
	} {
		node, err := config.FromGo(map[string]any{"id": c.id, "files": []any{c.file}})
		if err != nil {
			t.Fatal(err)
		}
		res := b.Build(nil, "t.maker", node, Options{})
		if res.Root != nil || !slices.ContainsFunc(res.Problems, problemIs(c.pointer, c.want)) {
			t.Errorf("%s %s: %v, want %q at %q", c.id, c.file, res.Problems, c.want, c.pointer)
		}
	}
}

func problemIs(pointer, part string) func(p schema.Problem) bool {
	return func(p schema.Problem) bool { return p.Pointer == pointer && strings.Contains(p.Message, part) }
}
