package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
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

// ofConfigs keeps the comments of types that occur in the configs of the table,
// as prose about JSON. A field that a type has from an embedded one is entered
// under both names.
func ofConfigs(table *module.Table, all map[string]string) map[string]string {
	out := map[string]string{}
	keep := func(t reflect.Type) {
		if text := all[typeName(t)]; text != "" {
			out[typeName(t)] = sentence(text, t.Name(), "it")
		}
	}
	seen := map[reflect.Type]bool{}
	var visit func(t reflect.Type)
	visit = func(t reflect.Type) {
		if seen[t] {
			return
		}
		seen[t] = true
		if strings.HasPrefix(t.PkgPath(), modulePath) {
			keep(t)
		}
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(t.Elem())
		case reflect.Struct:
			for f := range schema.Fields(t) {
				owner := ownerOf(t, f)
				keep(owner)
				if text := all[typeName(owner)+"."+f.GoName]; text != "" {
					out[typeName(owner)+"."+f.GoName] = sentence(text, f.GoName, f.Name)
					out[typeName(t)+"."+f.GoName] = sentence(text, f.GoName, f.Name)
				}
				visit(f.Type)
			}
		}
	}
	for _, id := range table.IDs() {
		visit(table.ConfigType(id))
	}
	return out
}

// typeName is the name under which a type's comment is found.
func typeName(t reflect.Type) string { return t.PkgPath() + "." + t.Name() }

// ownerOf is the struct that declares a field of t: t or one embedded in it.
func ownerOf(t reflect.Type, f schema.Field) reflect.Type {
	if len(f.Index) == 1 {
		return t
	}
	return t.FieldByIndex(f.Index[:len(f.Index)-1]).Type
}
