// Command sluice-gen writes what is derived from the code: the field comments
// for schemas, the published schema, the OpenAPI description of the admin API,
// and a page for each module. Run it as `make generate`; a test of this package
// fails when its output is stale.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
)

// Paths of what is written, below the root of the checkout.
const (
	commentsPath = "schema/comments.json"
	schemaPath   = "api-docs/schema.json"
	openapiPath  = "api-docs/openapi.json"
	pagesPath    = "api-docs/config"
)

// rootModule is the fixed module that a document is.
const rootModule = "sluice.config"

// schemaTitle is the title of the published schema.
const schemaTitle = "sluice configuration"

func main() {
	root := flag.String("root", ".", "the root of the checkout")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "sluice-gen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := writeFile(filepath.Join(root, path), files[path]); err != nil {
			return err
		}
	}
	old, err := leftovers(root, files)
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(filepath.Join(root, path)); err != nil {
			return fmt.Errorf("removing the page of a module that is gone: %w", err)
		}
	}
	return nil
}

// generate returns every file that this program writes, by path below root.
func generate(root string) (map[string][]byte, error) {
	table, err := module.NewTable(slices.Concat(standard.Specs(), []module.Spec{endpoint.Spec()}), standard.Refused())
	if err != nil {
		return nil, fmt.Errorf("making the table of modules: %w", err)
	}
	all, err := commentsOf(root)
	if err != nil {
		return nil, err
	}
	comments := ofConfigs(table, all)
	book := newBook(table, comments, standard.Refused())
	files := map[string][]byte{}
	for name, text := range book.pages() {
		files[pagesPath+"/"+name] = []byte(text)
	}
	for path, value := range map[string]any{
		commentsPath: comments,
		schemaPath:   table.Document(rootModule, schemaTitle, book.comment),
		openapiPath:  describeAPI(admin.Routes()),
	} {
		if files[path], err = encode(value); err != nil {
			return nil, fmt.Errorf("encoding %s: %w", path, err)
		}
	}
	return files, nil
}

// leftovers lists pages on disk that are not generated any more.
func leftovers(root string, files map[string][]byte) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(root, pagesPath))
	if err != nil {
		return nil, fmt.Errorf("listing the pages: %w", err)
	}
	var old []string
	for _, e := range entries {
		path := pagesPath + "/" + e.Name()
		if _, made := files[path]; !made && strings.HasSuffix(path, ".md") {
			old = append(old, path)
		}
	}
	return old, nil
}

// encode prints JSON for people: indented, keys of maps sorted, no HTML escapes.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(v)
	return b.Bytes(), err
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
