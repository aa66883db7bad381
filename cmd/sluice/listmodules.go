package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/spf13/cobra"
)

// moduleInfo is a line of list-modules --json.
type moduleInfo struct {
	Name    string `json:"module_name"`
	Type    string `json:"module_type"`
	Version string `json:"version"`
	Package string `json:"package_url"`
}

func (p *program) listModulesCommand() *cobra.Command {
	var packages, versions, skip, asJSON bool
	cmd := &cobra.Command{
		Use: "list-modules", Short: "List the modules of this program", Args: cobra.NoArgs,
		Long: "Lists the IDs of all modules that a document can name.",
		Example: `  sluice list-modules
  sluice list-modules --json`,
		RunE: own(func(*cobra.Command, []string) error {
			table, err := p.modules()
			if err != nil {
				return err
			}
			list := modulesOf(table)
			total := len(list)
			if skip {
				list = list[:0] // there are no others
			}
			if asJSON {
				enc := json.NewEncoder(p.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(list)
			}
			for _, m := range list {
				line := m.Name
				if versions {
					line += " " + m.Version
				}
				if packages {
					line += " " + m.Package
				}
				fmt.Fprintln(p.stdout, line)
			}
			if !skip {
				fmt.Fprintln(p.stdout)
			}
			fmt.Fprintf(p.stdout, "  Standard modules: %d\n", total)
			return nil
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&packages, "packages", false, "show the Go package of each")
	f.BoolVar(&versions, "versions", false, "show the version of each")
	f.BoolVarP(&skip, "skip-standard", "s", false, "leave out what ships with the program")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// modulesOf lists the modules that a document can name. The others stand at
// fixed places of it and have no name there.
func modulesOf(t *module.Table) []moduleInfo {
	list := []moduleInfo{}
	for _, id := range t.IDs() {
		switch {
		case strings.HasPrefix(id, name+"."), strings.Count(id, ".") == 1 && (strings.HasPrefix(id, "http.") || strings.HasPrefix(id, "tls.")):
			continue
		}
		pkg := ""
		if c := t.ConfigType(id); c != nil {
			pkg = c.PkgPath()
		}
		list = append(list, moduleInfo{id, "standard", versionText(), pkg})
	}
	return list
}
