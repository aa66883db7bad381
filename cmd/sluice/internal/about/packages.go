package about

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// packageCommands are those with which Caddy replaces its own program by one
// that its build service makes. There is no such service for this program, and
// they say what to do instead.
func packageCommands() []*cobra.Command {
	const none = "There is no service that builds this program with other modules, so this command\nonly says what to do instead; it is here for scripts that call it."
	upgrade := &cobra.Command{
		Use: "upgrade", Short: "Say how to get a newer version", Args: cobra.NoArgs,
		Long: none + `

To upgrade, put the newer program in the place of this one, with the package
manager or by hand, and restart the service.`,
		Example: "  sluice upgrade",
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("%s does not replace itself: nobody builds it on demand; install the newer version with the package manager, or put the program in the place of the old one, and restart the service", name)
		},
	}
	add := &cobra.Command{
		Use: "add-package PACKAGE...", Short: "Say how to get further modules", Args: cobra.ArbitraryArgs,
		Long: none + `

To add a module, write it as a Go package, add it to the table in the package
handlers/standard, and build the program.`,
		Example: "  sluice add-package example.com/module@v1.0.0",
		RunE: func(_ *cobra.Command, args []string) error {
			return fmt.Errorf("%s cannot add %s to itself: nobody builds it on demand, and modules of Caddy do not fit; add the Go package to the table in handlers/standard, and build the program", name, packages(args))
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	remove := &cobra.Command{
		Use: "remove-package PACKAGE...", Short: "Say how to leave modules out", Args: cobra.ArbitraryArgs,
		Long: none + `

A module that no document names does nothing. To leave one out all the same, take
it out of the table in the package handlers/standard, and build the program.`,
		Example: "  sluice remove-package example.com/module",
		RunE: func(_ *cobra.Command, args []string) error {
			return fmt.Errorf("%s cannot remove %s from itself: nobody builds it on demand; take the Go package out of the table in handlers/standard, and build the program", name, packages(args))
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	list := []*cobra.Command{upgrade, add, remove}
	for _, cmd := range list {
		cmd.Flags().BoolP("keep-backup", "k", false, "accepted, without effect")
	}
	return list
}

func packages(args []string) string {
	if len(args) == 0 {
		return "a package"
	}
	return strings.Join(args, ", ")
}
