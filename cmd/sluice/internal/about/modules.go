package about

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/spf13/cobra"
)

// Module is an element of what list-modules --json prints.
type Module struct {
	Name    string `json:"module_name"`
	Type    string `json:"module_type"`
	Version string `json:"version"`
	Package string `json:"package_url"`
}

func (p Program) listModulesCommand() *cobra.Command {
	var packages, versions, skip, asJSON bool
	cmd := &cobra.Command{
		Use: "list-modules", Short: "List the modules of this program", Args: cobra.NoArgs,
		Long: `Lists the IDs of all modules that a document can name. All of them ship with the
program, so there are none that are not standard.`,
		Example: `  sluice list-modules
  sluice list-modules --packages --versions
  sluice list-modules --json`,
		RunE: func(*cobra.Command, []string) error {
			table, err := p.Modules()
			if err != nil {
				return err
			}
			list := p.modules(table)
			total := len(list)
			if skip {
				list = list[:0] // there are no others
			}
			if asJSON {
				return printJSON(p.Stdout, list)
			}
			for _, m := range list {
				line := m.Name
				if versions {
					line += " " + m.Version
				}
				if packages {
					line += " " + m.Package
				}
				fmt.Fprintln(p.Stdout, line)
			}
			if !skip {
				fmt.Fprintln(p.Stdout)
			}
			fmt.Fprintf(p.Stdout, "  Standard modules: %d\n", total)
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&packages, "packages", false, "show the Go package of each")
	f.BoolVar(&versions, "versions", false, "show the version of each")
	f.BoolVarP(&skip, "skip-standard", "s", false, "leave out what ships with the program")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// modules lists the modules that a document can name. The others stand at fixed
// places of it and have no name there.
func (p Program) modules(t *module.Table) []Module {
	list := []Module{}
	for _, id := range t.IDs() {
		switch {
		case strings.HasPrefix(id, name+"."), strings.Count(id, ".") == 1 && (strings.HasPrefix(id, "http.") || strings.HasPrefix(id, "tls.")):
			continue
		}
		pkg := ""
		if c := t.ConfigType(id); c != nil {
			pkg = c.PkgPath()
		}
		list = append(list, Module{id, "standard", p.Version, pkg})
	}
	return list
}

// DocumentSchema is the schema of a whole document.
func DocumentSchema(t *module.Table) schema.Schema {
	return t.Document(server.RootID, name+" document", schema.Comments())
}

func (p Program) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema [MODULE]", Short: "Print the JSON Schema of documents or of a module", Args: cobra.MaximumNArgs(1),
		Long: `Prints the JSON Schema (draft 2020-12) of documents, for editors and for programs
that write documents; or that of the config of one module.`,
		Example: `  sluice schema > sluice.schema.json
  sluice schema http.handlers.reverse_proxy`,
		RunE: func(_ *cobra.Command, args []string) error {
			table, err := p.Modules()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return printJSON(p.Stdout, DocumentSchema(table))
			}
			s, ok := table.Schema(args[0])
			if !ok {
				return unknownModule(table, args[0])
			}
			return printJSON(p.Stdout, s)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			table, err := p.Modules()
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return table.IDs(), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func printJSON(to io.Writer, v any) error {
	enc := json.NewEncoder(to)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func unknownModule(t *module.Table, id string) error {
	ids := t.IDs()
	slices.Sort(ids)
	if near := schema.Nearest(id, ids); near != "" {
		return fmt.Errorf("unknown module: %s; did you mean %s?", id, near)
	}
	return fmt.Errorf("unknown module: %s; `%s list-modules` lists those that there are", id, name)
}
