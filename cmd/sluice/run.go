package main

import (
	"errors"
	"os"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/environment"
	"github.com/sluiceproxy/sluice/config"
	"github.com/spf13/cobra"
)

// runOptions are the flags of run.
type runOptions struct {
	config, adapter string
	envFiles        []string
	environ         bool
	resume, watch   bool
	pidFile         string
	pingback        string
	store           string
	revision        uint64
	bestEffort      bool
	firstSteps      bool
	// document, if not nil, is what runs, instead of all that flags could name.
	document *config.Node
	// started, if not nil, is called when the document runs.
	started func(p *process) error
}

const runHelp = `Starts the server and runs it until it is told to stop.

It starts with the file given by --config, which is JSON or a Caddyfile; or else
with the Caddyfile in the working directory; or else with the last revision in
its store, which has every change that was accepted; or else empty, with the
admin endpoint only.

If the last revision no longer starts, because a port is taken or a variable is
gone, the admin endpoint comes up all the same, so that the document can be
repaired. Or go back to an earlier revision with --revision, or run what can be
run with --best-effort.`

const runExample = `  sluice run
  sluice run --config sluice.json
  sluice run --config Caddyfile --watch
  sluice run --resume --environ
  sluice run --revision 12
  sluice run --store none --config sluice.json    keep no revisions`

func (p *program) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use: "run", Short: "Start the server and run it in the foreground", Args: cobra.NoArgs,
		Long: runHelp, Example: runExample,
		RunE: own(func(*cobra.Command, []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return p.run(o)
		}),
	}
	o.sharedFlags(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.environ, "environ", "e", false, "print the environment first")
	f.BoolVarP(&o.resume, "resume", "r", false, "start with the last revision or the autosaved document, whatever --config and a Caddyfile say")
	f.StringVar(&o.pingback, "pingback", "", "address to send standard input to when the server is up")
	f.Uint64Var(&o.revision, "revision", 0, "start with this revision of the store")
	f.BoolVar(&o.bestEffort, "best-effort", false, "if the last revision does not start, run it without the servers and routes that have problems")
	f.BoolVar(&o.firstSteps, "first-steps", false, "print what to try first when the server is up")
	_ = f.MarkHidden("pingback")
	return cmd
}

// sharedFlags are the flags that start has, too.
func (o *runOptions) sharedFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&o.config, "config", "c", "", `config file to start with; "-" is standard input`)
	adapterFlag(cmd, &o.adapter, "")
	environment.FilesFlag(cmd, &o.envFiles)
	f.BoolVarP(&o.watch, "watch", "w", false, "load the config file again whenever it changes (for development)")
	f.StringVar(&o.pidFile, "pidfile", "", "file to write the process id to")
	f.StringVar(&o.store, "store", "", `file that keeps the revisions, or "none" (default $SLUICE_STORE, else sluice.db in the data directory)`)
}

// check finds flags that contradict each other.
func (o *runOptions) check() error {
	switch {
	case o.config == "" && o.adapter != "":
		return errors.New("cannot adapt config without config file (use --config)")
	case o.revision != 0 && (o.config != "" || o.resume):
		return errors.New("--revision cannot be used with --config or --resume: each says what to start with")
	case o.revision != 0 && o.bestEffort:
		return errors.New("--best-effort is for the last revision and cannot be used with --revision")
	case o.bestEffort && o.config != "" && !o.resume:
		return errors.New("--best-effort is for the last revision and cannot be used with --config")
	case o.pingback != "" && o.config == "-":
		return errors.New("--pingback needs standard input, so the config cannot be read from there")
	}
	return nil
}

// noStore is the name of the store that keeps nothing.
const noStore = "none"

// storePath is where the revisions are kept: the flag, else SLUICE_STORE, else
// the default of the data directory.
func storePath(flag string, d environment.Directories) string {
	if flag != "" {
		return flag
	}
	if env := os.Getenv("SLUICE_STORE"); env != "" {
		return env
	}
	return d.StoreFile()
}
