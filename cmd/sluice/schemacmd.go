package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/spf13/cobra"
)

// documentSchema is the schema of a whole document.
func documentSchema(t *module.Table) schema.Schema {
	return t.Document(server.RootID, name+" document", schema.Comments())
}

func (p *program) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema [MODULE]", Short: "Print the JSON Schema of documents or of a module", Args: cobra.MaximumNArgs(1),
		Long: `Prints the JSON Schema (draft 2020-12) of documents, for editors and for programs
that write documents; or that of the config of one module.`,
		Example: `  sluice schema > sluice.schema.json
  sluice schema http.handlers.reverse_proxy`,
		RunE: own(func(_ *cobra.Command, args []string) error {
			table, err := p.modules()
			if err != nil {
				return err
			}
			s := documentSchema(table)
			if len(args) == 1 {
				var ok bool
				if s, ok = table.Schema(args[0]); !ok {
					return unknownModule(table, args[0])
				}
			}
			enc := json.NewEncoder(p.stdout)
			enc.SetIndent("", "  ")
			return enc.Encode(s)
		}),
	}
}

func unknownModule(t *module.Table, id string) error {
	ids := t.IDs()
	slices.Sort(ids)
	if near := schema.Nearest(id, ids); near != "" {
		return fmt.Errorf("unknown module: %s; did you mean %s?", id, near)
	}
	return fmt.Errorf("unknown module: %s; `%s list-modules` lists those that there are", id, name)
}
