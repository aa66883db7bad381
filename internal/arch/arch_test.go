// Package arch is the house rules as a test: who may import whom, how large
// files and functions may grow, what must be documented.
package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/sluiceproxy/sluice/"

// floors gives each folder its floor. A package imports only lower ones. A
// trailing "/" means all folders below.
var floors = []struct {
	folder string
	floor  int
}{
	{"config", 0}, {"config/caddyfile", 0}, {"schema", 0}, {"storage", 0}, {"upstream", 1}, {"upstream/", 0}, {"internal/nameset", -1},
	{"handlers/vars", 0}, {"server/wire", 0},
	{"internal/seq", -1}, {"internal/netaddr", -1}, {"internal/urlpath", -1}, {"internal/fsys", -1}, {"internal/fsx", -1}, {"internal/metrics", -1}, {"internal/events", -1},
	{"internal/idleread", -1}, {"internal/http2connect", -1}, {"internal/memory", 1}, {"internal/porttest", -1}, {"internal/bench", 10}, {"internal/bench/", 9}, {"internal/", 10},
	{"handlers", 1}, {"storage/", 1}, {"config/module", 1}, {"server/listen", 1},
	{"server/proxyprotocol", 2}, {"server/logs/filtermod", 2}, {"server/logs/", 1}, {"server/logs", 2}, {"internal/telemetry", -1},
	{"handlers/route", 2}, {"handlers/clientip", 2}, {"server/logs", 2}, {"server/trust", 2}, {"server/pki", 2}, {"server/pki/pools", 3}, {"server/certstore", 2}, {"server/events", 2}, {"server/networkproxy", 2}, {"server/tls/dnsproviders", 2}, {"server/configloader", 3}, {"server/tls/handshake", 3}, {"server/tls/issuance", 3}, {"server/tls/automation/managers", 4}, {"server/tls/automation", 5}, {"server/tls/automation/", 3},
	{"handlers/headerops", 2}, {"handlers/rewriteops", 2}, {"handlers/match/respmatch", 1}, {"handlers/match/urlpattern", 2}, {"handlers/templates/engine", 2}, {"handlers/match/expression", 4}, {"handlers/reverseproxy/selection", 3}, {"handlers/reverseproxy/httptransport", 3}, {"handlers/reverseproxy", 4}, {"handlers/reverseproxy/", 2},
	{"handlers/standard", 6}, {"handlers/", 3},
	{"server", 4}, {"config/adapt", 5}, {"config/adapt/tlsadapt", 4}, {"config/adapt/", 1}, {"admin/pulled", 6}, {"admin/access", 6}, {"admin/identity", 6}, {"admin", 7}, {"admin/endpoint", 8}, {"admin/admintest", 8}, {"cmd/sluice/internal/", 8}, {"cmd/", 9},
}

// largeFiles and longFunctions are exceptions, each with its reason.
var (
	largeFiles    = map[string]string{}
	longFunctions = map[string]string{}
)

const (
	maxFileLines     = 400
	maxFunctionLines = 60
	maxPackageLines  = 3600
)

func floorOf(folder string) (int, bool) {
	for _, f := range floors {
		if f.folder == folder {
			return f.floor, true
		}
	}
	best, floor := -1, 0
	for _, f := range floors {
		if strings.HasSuffix(f.folder, "/") && strings.HasPrefix(folder+"/", f.folder) && len(f.folder) > best {
			best, floor = len(f.folder), f.floor
		}
	}
	return floor, best >= 0
}

type source struct {
	folder, path string
	test         bool
	file         *ast.File
	fset         *token.FileSet
}

func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var out []source
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		out = append(out, source{filepath.ToSlash(filepath.Dir(rel)), filepath.ToSlash(rel), isTest(path), file, fset})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("only %d files found", len(out))
	}
	return out
}

// isTest: test files, and the packages that are contracts as tests.
func isTest(path string) bool {
	return strings.HasSuffix(path, "_test.go") || strings.HasSuffix(filepath.Dir(path), "test")
}

func TestNoImportClimbs(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		own, ok := floorOf(s.folder)
		if !ok {
			t.Errorf("%s: folder %s has no floor; add it to the table, and to the plan", s.path, s.folder)
			continue
		}
		for _, imp := range s.file.Imports {
			folder, ours := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), modulePath)
			if !ours {
				continue
			}
			if other, _ := floorOf(folder); other >= own {
				t.Errorf("%s (floor %d) imports %s (floor %d)", s.path, own, folder, other)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	lines := map[string]int{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		n := s.fset.File(s.file.Pos()).LineCount()
		lines[s.folder] += n
		if n > maxFileLines && largeFiles[s.path] == "" {
			t.Errorf("%s has %d lines, more than %d", s.path, n, maxFileLines)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; n > maxFunctionLines && longFunctions[s.folder+"."+f.Name.Name] == "" {
				t.Errorf("%s: function %s has %d lines, more than %d", s.path, f.Name.Name, n, maxFunctionLines)
			}
		}
	}
	for folder, n := range lines {
		if n > maxPackageLines {
			t.Errorf("package %s has %d lines, more than %d", folder, n, maxPackageLines)
		}
	}
}

func TestDocumented(t *testing.T) {
	packages := map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		packages[s.folder] = packages[s.folder] || s.file.Doc != nil
		for _, d := range s.file.Decls {
			for _, name := range undocumented(d) {
				t.Errorf("%s: exported %s has no doc comment", s.path, name)
			}
		}
	}
	for folder, ok := range packages {
		if !ok {
			t.Errorf("package %s has no package comment", folder)
		}
	}
}

func undocumented(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		var out []string
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
					out = append(out, s.Name.Name)
				}
			case *ast.ValueSpec:
				if s.Names[0].IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					out = append(out, s.Names[0].Name)
				}
			}
		}
		return out
	}
	return nil
}

// exportedReceiver: a method of an unexported type is documented by the
// interface it implements.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

func TestNoRegisteringInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && !s.test {
				t.Errorf("%s has an init function; list things by hand instead", s.path)
			}
		}
	}
}

// TestNoMutablePackageVariables looks at package variables of composite kinds
// that code outside their declaration assigns to.
func TestNoMutablePackageVariables(t *testing.T) {
	vars := map[string]map[string]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				for _, n := range spec.(*ast.ValueSpec).Names {
					if vars[s.folder] == nil {
						vars[s.folder] = map[string]string{}
					}
					vars[s.folder][n.Name] = s.path
				}
			}
		}
	}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			a, ok := n.(*ast.AssignStmt)
			if !ok || a.Tok == token.DEFINE {
				return true
			}
			for _, lhs := range a.Lhs {
				if id, ok := lhs.(*ast.Ident); ok && id.Obj == nil && id.Name != "_" && vars[s.folder][id.Name] != "" {
					t.Errorf("%s assigns to package variable %s", s.path, id.Name)
				}
			}
			return true
		})
	}
}

// listedByParent reports whether a part of a handler is among the modules of the
// handler: its parent folder names what it describes.
func listedByParent(folder string) bool {
	parent, name := filepath.Split(folder)
	files, _ := filepath.Glob(filepath.Join("..", "..", parent, "*.go"))
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && !isTest(f) &&
			(strings.Contains(string(text), name+".Spec()") || strings.Contains(string(text), name+".Specs()")) {
			return true
		}
	}
	return false
}

// TestEveryHandlerIsListed: a folder under handlers that describes modules must
// be in the table.
func TestEveryHandlerIsListed(t *testing.T) {
	table, err := os.ReadFile("../../handlers/standard/standard.go")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, s := range sources(t) {
		if s.test || !strings.HasPrefix(s.folder, "handlers/") || s.folder == "handlers/standard" || slices.Contains(folders, s.folder) {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && (f.Name.Name == "Spec" || f.Name.Name == "Specs") {
				folders = append(folders, s.folder)
				if !strings.Contains(string(table), `"`+modulePath+s.folder+`"`) && !listedByParent(s.folder) {
					t.Errorf("%s describes modules but handlers/standard does not list it", s.folder)
				}
			}
		}
	}
	if len(folders) < 5 {
		t.Errorf("only %d folders with specs found", len(folders))
	}
}
