package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

const modulePath = "github.com/sluiceproxy/sluice"

// commentsOf collects the doc comments of all config structs below root: types
// that have fields with json tags, and those fields.
func commentsOf(root string) (map[string]string, error) {
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return fmt.Errorf("reading comments: %w", err)
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := modulePath
		if rel != "." {
			pkg += "/" + filepath.ToSlash(rel)
		}
		collect(file, pkg, out)
		return nil
	})
	return out, err
}

func collect(file *ast.File, pkg string, out map[string]string) {
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, spec := range g.Specs {
			t := spec.(*ast.TypeSpec)
			doc := t.Doc
			if doc == nil {
				doc = g.Doc
			}
			name := pkg + "." + t.Name.Name
			s, ok := t.Type.(*ast.StructType)
			if !ok {
				if strings.HasSuffix(t.Name.Name, "Config") {
					put(out, name, doc)
				}
				continue
			}
			if fieldsOf(s, name, out) {
				put(out, name, doc)
			}
		}
	}
}

func fieldsOf(s *ast.StructType, name string, out map[string]string) (config bool) {
	for _, f := range s.Fields.List {
		if f.Tag == nil || len(f.Names) == 0 {
			continue
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
		if tag.Get("json") == "" {
			continue
		}
		config = true
		put(out, name+"."+f.Names[0].Name, f.Doc)
	}
	return config
}

func put(out map[string]string, name string, doc *ast.CommentGroup) {
	if doc != nil {
		out[name] = strings.Join(strings.Fields(doc.Text()), " ")
	}
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	return writeFile(path, append(text, '\n'))
}

func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the folder of %s: %w", path, err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
