package main

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionText is the version with the module's hash where it is known.
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	v, sum := version, ""
	if ok {
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

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Long:    "Prints the version of this program, and the hash of its source where that is known.",
		Example: "  sluice version",
		RunE: own(func(*cobra.Command, []string) error {
			fmt.Fprintln(p.stdout, versionText())
			return nil
		}),
	}
}

func (p *program) buildInfoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "build-info", Short: "Print what this program was built from", Args: cobra.NoArgs,
		Long:    "Prints the Go version, the modules and the settings that this program was built with.",
		Example: "  sluice build-info",
		RunE: own(func(*cobra.Command, []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return errors.New("this program was built without build information")
			}
			fmt.Fprint(p.stdout, info)
			return nil
		}),
	}
}
