// Package about is the commands that say what this program is: its version, its
// modules, the schema of its documents, its manual pages and completion scripts.
// What it is made of cannot be changed by itself, which other commands here say.
package about

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/spf13/cobra"
)

// name is the program's name in messages.
const name = "sluice"

// Program is what the commands tell about.
type Program struct {
	Stdout  io.Writer
	Version string
	// Modules lists the modules of the program.
	Modules func() (*module.Table, error)
}

// Tools are the commands about the program itself.
func (p Program) Tools() []*cobra.Command {
	return append([]*cobra.Command{p.versionCommand(), p.buildInfoCommand(), p.manpageCommand(), p.completionCommand()}, packageCommands()...)
}

// Documents are the commands about what documents may say.
func (p Program) Documents() []*cobra.Command {
	return []*cobra.Command{p.schemaCommand(), p.listModulesCommand()}
}

// Version is a version with the module's hash where it is known. An empty one is
// that of the build.
func Version(v string) string {
	sum := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" && info.Main.Version != "(devel)" {
			v = info.Main.Version
		}
		sum = info.Main.Sum
	}
	switch {
	case v == "":
		return "unknown"
	case sum != "":
		return v + " " + sum
	}
	return v
}

func (p Program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Long:    "Prints the version of this program, and the hash of its source where that is known.",
		Example: "  sluice version",
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(p.Stdout, p.Version)
			return nil
		},
	}
}

func (p Program) buildInfoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "build-info", Short: "Print what this program was built from", Args: cobra.NoArgs,
		Long:    "Prints the Go version, the modules and the settings that this program was built with.",
		Example: "  sluice build-info",
		RunE: func(*cobra.Command, []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return errors.New("this program was built without build information")
			}
			fmt.Fprint(p.Stdout, info)
			return nil
		},
	}
}
