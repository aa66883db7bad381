package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/about"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/adminclient"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// name is the program's name in paths and messages.
const name = "sluice"

// Exit codes (cli, section 2).
const (
	exitFailed     = 1
	exitForced     = 2
	exitFailedQuit = 3
)

// program is one run of the binary: what it shares with the world.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// defaultAdmin and notifySocket come from the environment as it was at the
	// start, before any file with variables was read.
	defaultAdmin string
	notifySocket string
	// modules lists the modules of the program; files reads config files.
	modules func() (*module.Table, error)
	files   *configfile.Reader
	// trust is the trust stores of the machine.
	trust pki.Installer
}

func thisProgram() *program {
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		defaultAdmin: adminclient.DefaultAddress(os.LookupEnv), notifySocket: os.Getenv("NOTIFY_SOCKET"),
		modules: sync.OnceValues(newTable), trust: pki.SystemTrust()}
	p.files = &configfile.Reader{Stdin: p.stdin, Adapter: sync.OnceValues(p.newAdapter), LookupEnv: os.LookupEnv, Files: caddyfile.OSFiles()}
	return p
}

// failure is a command's own error. What is not a failure is a mistake in the
// command line.
type failure struct {
	code int
	err  error // nil if everything is said
}

// Error returns the error's text.
func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit status %d", f.code)
	}
	return f.err.Error()
}

// Unwrap returns the error.
func (f *failure) Unwrap() error { return f.err }

// own makes every error of a command's function a failure.
func own(run func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		var f *failure
		var manual *about.ManualError
		switch {
		case err == nil || errors.As(err, &f):
			return err
		case errors.As(err, &manual):
			return &failure{exitFailedQuit, err}
		}
		return &failure{exitFailed, err}
	}
}

// owned does that for commands that other packages made.
func owned(commands ...*cobra.Command) []*cobra.Command {
	for _, cmd := range commands {
		if cmd.RunE != nil {
			cmd.RunE = own(cmd.RunE)
		}
		owned(cmd.Commands()...)
	}
	return commands
}

// execute runs the command line and returns the exit code.
func (p *program) execute(args []string) int {
	root := p.newRoot()
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		if f.err != nil {
			p.logError(f.err)
		}
		return f.code
	}
	fmt.Fprintf(p.stderr, "Error: %v\n", err)
	if strings.HasPrefix(err.Error(), "unknown command") {
		fmt.Fprintf(p.stderr, "Run '%s --help' for usage.\n", cmd.CommandPath())
	}
	return exitFailed
}

// logError writes a command's error: one log entry on standard error, for a
// person if it is a terminal.
func (p *program) logError(err error) {
	sw := logs.NewSwitch(p.logProcess())
	sw.Core("").Error(err.Error(), problemFields(err)...)
	_ = sw.Sync()
}

// logProcess is how logs see this run.
func (p *program) logProcess() logs.Process {
	lp := logs.ThisProcess()
	lp.Stdout, lp.Stderr = p.stdout, p.stderr
	return lp
}

// maxProblems is how many problems an entry lists.
const maxProblems = 100

// problemFields lists the problems of an error in the form that the admin API
// has for them, if there is more to say than the error's text does.
func problemFields(err error) []zap.Field {
	var ps schema.Problems
	var adapting adapt.Errors
	switch {
	case errors.As(err, &ps):
	case errors.As(err, &adapting):
		ps = adapting.Problems()
	}
	if len(ps) == 0 || len(ps) == 1 && (ps[0].Nearest == "" || ps[0].Expected == "") {
		return nil
	}
	return []zap.Field{zap.Reflect("problems", []schema.Problem(ps[:min(len(ps), maxProblems)]))}
}
