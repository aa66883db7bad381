package oneline

import (
	"context"
	"io"
	"os"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// name is the program's name in messages.
const name = "sluice"

// Program is what runs the servers.
type Program struct {
	Stdin  io.Reader
	Stdout io.Writer
	// Modules lists the modules of the program.
	Modules func() (*module.Table, error)
	// Run serves a document until it is told to stop. It calls started when the
	// document is served, and gives up if that fails.
	Run func(doc *config.Node, started func(Running) error) error
}

// Running is a server that serves a document.
type Running interface {
	// Logger is where it logs.
	Logger() *zap.Logger
	// Sockets are the open ones.
	Sockets() []listen.SocketInfo
	// Replace serves another document instead.
	Replace(ctx context.Context, doc *config.Node) error
}

// Commands are those that start the servers.
func (p Program) Commands() []*cobra.Command {
	return []*cobra.Command{p.respondCommand(), p.filesCommand(), p.proxyCommand()}
}

// debugFlag is a flag of all of them.
func debugFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVarP(to, "debug", "v", false, "log more, at level DEBUG")
}

const accessLogUsage = "log each request"

// isPipe reports whether somebody writes to standard input.
func isPipe(stdin io.Reader) bool {
	f, ok := stdin.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// tell logs what of the flags has no effect.
func tell(log *zap.Logger, notes []string) {
	for _, note := range notes {
		log.Warn(note)
	}
}
