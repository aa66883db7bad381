package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion {bash|zsh|fish|powershell}", Short: "Print a completion script for a shell",
		Long: "Prints a script that lets a shell complete the commands and flags of this program.",
		Example: `  source <(sluice completion bash)
  sluice completion zsh > "${fpath[1]}/_sluice"
  sluice completion fish > ~/.config/fish/completions/sluice.fish`,
		ValidArgs:             []string{"bash", "zsh", "fish", "powershell"},
		Args:                  cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		DisableFlagsInUseLine: true,
		RunE: own(func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			var err error
			switch args[0] {
			case "bash":
				err = root.GenBashCompletionV2(p.stdout, true)
			case "zsh":
				err = root.GenZshCompletion(p.stdout)
			case "fish":
				err = root.GenFishCompletion(p.stdout, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(p.stdout)
			}
			if err != nil {
				return fmt.Errorf("printing the completion script: %w", err)
			}
			return nil
		}),
	}
}
