package main

import (
	"strings"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/about"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/environment"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/password"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
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
	itself := about.Program{Stdout: p.stdout, Version: versionText(), Modules: p.modules}
	group := func(title string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = title
			completeNoFiles(cmd)
		}
		root.AddGroup(&cobra.Group{ID: title, Title: title + ":"})
		root.AddCommand(commands...)
	}
	group("Run", p.runCommand(), p.startCommand(), p.stopCommand(), p.restartCommand())
	group("Steer what runs", p.reloadCommand(), p.apiCommand(), p.diffCommand(), p.historyCommand(), p.rollbackCommand())
	group("Serve in one line", p.oneLineCommands()...)
	group("Config files", append([]*cobra.Command{p.adaptCommand(), p.validateCommand(), p.fmtCommand()}, owned(itself.Documents()...)...)...)
	group("Certificates", p.trustCommand(), p.untrustCommand(), p.storageCommand())
	const tools = "Tools"
	group(tools, owned(append(itself.Tools(), password.Command(p.stdin, p.stdout, p.stderr), environment.Command(p.stdout, versionText()))...)...)
	root.SetHelpCommandGroupID(tools)
	return root
}

// completeNoFiles keeps shells from offering files as arguments of commands that
// take none.
func completeNoFiles(cmd *cobra.Command) {
	if !strings.Contains(cmd.Use, " ") {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, one := range cmd.Commands() {
		completeNoFiles(one)
	}
}

// printEnvironment prints what the process finds around it.
func (p *program) printEnvironment(d environment.Directories) { d.Print(p.stdout, versionText()) }

// documentSchema is the schema of a whole document.
func documentSchema(t *module.Table) schema.Schema { return about.DocumentSchema(t) }
