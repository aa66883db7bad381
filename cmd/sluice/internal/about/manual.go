package about

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// ManualError is why there are no manual pages.
type ManualError struct{ err error }

// Error returns the error's text.
func (e *ManualError) Error() string { return e.err.Error() }

// Unwrap returns the error.
func (e *ManualError) Unwrap() error { return e.err }

func (p Program) manpageCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "manpage", Short: "Write the manual pages", Args: cobra.NoArgs,
		Long:    "Writes a manual page of section 8 for each command into a directory, which is\nmade if it does not exist.",
		Example: "  sluice manpage --directory /usr/local/share/man/man8",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.writeManual(cmd.Root(), dir); err != nil {
				return &ManualError{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&dir, "directory", "o", "", "directory for the pages")
	_ = cmd.MarkFlagDirname("directory")
	return cmd
}

func (p Program) writeManual(root *cobra.Command, dir string) error {
	if dir == "" {
		return errors.New("name the directory for the manual pages (use --directory)")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the directory for the manual pages: %w", err)
	}
	header := &doc.GenManHeader{Title: strings.ToUpper(name), Section: "8", Source: name + " " + p.Version, Manual: name}
	root.DisableAutoGenTag = true
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("writing the manual pages: %w", err)
	}
	return nil
}

func (p Program) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion {bash|zsh|fish|powershell}", Short: "Print a completion script for a shell",
		Long: "Prints a script that lets a shell complete the commands and flags of this program.",
		Example: `  source <(sluice completion bash)
  sluice completion zsh > "${fpath[1]}/_sluice"
  sluice completion fish > ~/.config/fish/completions/sluice.fish`,
		ValidArgs:             []string{"bash", "zsh", "fish", "powershell"},
		Args:                  cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			var err error
			switch args[0] {
			case "bash":
				err = root.GenBashCompletionV2(p.Stdout, true)
			case "zsh":
				err = root.GenZshCompletion(p.Stdout)
			case "fish":
				err = root.GenFishCompletion(p.Stdout, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(p.Stdout)
			}
			if err != nil {
				return fmt.Errorf("printing the completion script: %w", err)
			}
			return nil
		},
	}
}
