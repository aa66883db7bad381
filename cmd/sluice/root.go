package main

import (
	"github.com/spf13/cobra"
)

const rootHelp = `sluice is a proxy and web server that is steered through a REST API.

It takes Caddy's JSON config model and Caddyfiles, validates them, keeps every
accepted change as a revision on disk, and puts it into force without dropping a
connection.`

const rootExample = `  sluice run                                   start with what ran last
  sluice run --config Caddyfile                start with a file
  curl localhost:2019/config/                  see what runs
  sluice reload --config Caddyfile             load a changed file
  sluice history                               list the revisions
  sluice rollback 12                           go back to one`

// newRoot makes the command tree.
func (p *program) newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: name, Short: "A proxy and web server that is steered through a REST API",
		Long: rootHelp, Example: rootExample, Version: versionText(),
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.AddCommand(
		p.runCommand(), p.startCommand(), p.stopCommand(), p.reloadCommand(),
		p.adaptCommand(), p.validateCommand(), p.fmtCommand(),
		p.respondCommand(), p.reverseProxyCommand(), p.hashPasswordCommand(),
		p.apiCommand(), p.diffCommand(), p.historyCommand(), p.rollbackCommand(),
		p.trustCommand(), p.untrustCommand(), p.storageCommand(),
		p.schemaCommand(), p.listModulesCommand(),
		p.environCommand(), p.versionCommand(), p.buildInfoCommand(),
		p.manpageCommand(), p.completionCommand(),
	)
	return root
}
