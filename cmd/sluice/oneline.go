package main

import (
	"context"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/oneline"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/storage"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// oneLineCommands are those whose document is made of their flags.
func (p *program) oneLineCommands() []*cobra.Command {
	return owned(oneline.Program{Stdin: p.stdin, Stdout: p.stdout, Modules: p.modules,
		Run: func(doc *config.Node, started func(oneline.Running) error) error {
			return p.run(runOptions{document: doc, store: noStore, started: func(s *process) error { return started(oneLine{s}) }})
		}}.Commands()...)
}

// oneLine is a process whose document came from a command line. It implements
// oneline.Running.
type oneLine struct{ *process }

// Logger implements oneline.Running.
func (s oneLine) Logger() *zap.Logger { return s.log }

// Sockets implements oneline.Running.
func (s oneLine) Sockets() []listen.SocketInfo { return s.host.engine.Sockets() }

// Replace implements oneline.Running.
func (s oneLine) Replace(ctx context.Context, doc *config.Node) error {
	_, err := s.host.apply(ctx, server.Change{Edit: config.Edit{Whole: true, Value: doc}, Verb: storage.VerbLoad})
	return err
}
