package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/oneline"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
	"github.com/spf13/cobra"
)

func (p *program) respondCommand() *cobra.Command {
	var r oneline.Respond
	cmd := &cobra.Command{
		Use: "respond [BODY|STATUS]", Short: "Start a server that always gives the same answer", Args: cobra.ArbitraryArgs,
		Long: `Starts a server for trying things out, which always gives the same answer, and
prints its address. A range of ports makes a server for each.

An argument is the status if it is a number of three digits, else the body; with
--status it is always the body. Without either, the body is read from standard
input if that is a pipe. The body is a Go template: {{.N}} is the number of the
server from 0, {{.Port}} and {{.Address}} are what it listens on.

There is no admin endpoint, and nothing is kept.`,
		Example: `  sluice respond
  sluice respond --listen :8080 "Hello"
  sluice respond 404
  sluice respond --listen :2000-2004 --header "X-From: sluice" "I am server {{.N}} on port {{.Port}}"`,
		RunE: own(func(cmd *cobra.Command, args []string) error {
			if err := r.Argument(args, cmd.Flags().Changed("status")); err != nil {
				return err
			}
			return p.respond(&r)
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&r.Listen, "listen", "l", ":0", "address to listen on; its port may be a range, or 0 for one that is free")
	f.IntVarP(&r.Status, "status", "s", 200, "status of the answer")
	f.StringVarP(&r.Body, "body", "b", "", "body of the answer")
	f.StringArrayVarP(&r.Headers, "header", "H", nil, `header field of the answer, as "Field: value"; may be repeated`)
	oneLineFlags(cmd, &r.AccessLog, &r.Debug)
	return cmd
}

// oneLineFlags are the flags of all commands that are a server in one line.
func oneLineFlags(cmd *cobra.Command, accessLog, debug *bool) {
	cmd.Flags().BoolVar(accessLog, "access-log", false, "log each request")
	cmd.Flags().BoolVarP(debug, "debug", "v", false, "log more, at level DEBUG")
}

// runDocument runs a document that comes from the command line.
func (p *program) runDocument(doc *config.Node, started func(*process) error) error {
	return p.run(runOptions{document: doc, started: started, store: noStore})
}

func (p *program) respond(r *oneline.Respond) error {
	if r.Body == "" && isPipe(p.stdin) {
		text, err := readAll(p.stdin)
		if err != nil {
			return fmt.Errorf("reading the body from standard input: %w", err)
		}
		r.Body = string(text)
	}
	servers, err := r.Servers()
	if err != nil {
		return err
	}
	doc, err := r.Document(servers)
	if err != nil {
		return err
	}
	if !r.Templated() {
		return p.runDocument(doc, func(s *process) error {
			s.printServers(s.listening(servers))
			return nil
		})
	}
	// The body may hold addresses that are known only once the servers listen.
	return p.runDocument(doc, func(s *process) error {
		found := s.listening(servers)
		doc, err := r.Document(onePerServer(found))
		if err != nil {
			return err
		}
		if _, err = s.host.apply(context.Background(), server.Change{Edit: config.Edit{Whole: true, Value: doc}, Verb: storage.VerbLoad}); err != nil {
			return fmt.Errorf("putting the addresses of the servers into the body: %w", err)
		}
		s.printServers(found)
		return nil
	})
}

// isPipe reports whether somebody writes to standard input.
func isPipe(stdin io.Reader) bool {
	f, ok := stdin.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// listening lists the open sockets of the servers.
func (p *process) listening(servers []oneline.Server) []oneline.Server {
	var found []oneline.Server
	for _, socket := range p.host.engine.Sockets() {
		i := slices.IndexFunc(servers, func(s oneline.Server) bool { return oneline.Name(s.N) == socket.Owner })
		if i < 0 {
			continue
		}
		one := oneline.Server{N: i, Address: socket.Addr.String()}
		if a, ok := socket.Addr.(*net.TCPAddr); ok {
			one.Port = uint(a.Port)
		}
		found = append(found, one)
	}
	slices.SortFunc(found, func(a, b oneline.Server) int {
		if a.N != b.N {
			return a.N - b.N
		}
		return strings.Compare(a.Address, b.Address)
	})
	return found
}

// onePerServer leaves out further sockets of a server that has several.
func onePerServer(list []oneline.Server) []oneline.Server {
	return slices.CompactFunc(slices.Clone(list), func(a, b oneline.Server) bool { return a.N == b.N })
}

func (p *process) printServers(list []oneline.Server) {
	for _, s := range list {
		fmt.Fprintf(p.stdout, "Server address: %s\n", s.Address)
	}
}
