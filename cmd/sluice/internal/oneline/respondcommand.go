package oneline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/spf13/cobra"
)

func (p Program) respondCommand() *cobra.Command {
	var r Respond
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
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.Argument(args, cmd.Flags().Changed("status")); err != nil {
				return err
			}
			return p.respond(&r)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVarP(&r.Listen, "listen", "l", ":0", "address to listen on; its port may be a range, or 0 for one that is free")
	f.IntVarP(&r.Status, "status", "s", 200, "status of the answer")
	f.StringVarP(&r.Body, "body", "b", "", "body of the answer")
	f.StringArrayVarP(&r.Headers, "header", "H", nil, `header field of the answer, as "Field: value"; may be repeated`)
	f.BoolVar(&r.AccessLog, "access-log", false, accessLogUsage)
	debugFlag(cmd, &r.Debug)
	return cmd
}

// maxBody bounds the body that is read from standard input, in bytes.
const maxBody = 64 << 20

func (p Program) respond(r *Respond) error {
	if r.Body == "" && isPipe(p.Stdin) {
		text, err := io.ReadAll(io.LimitReader(p.Stdin, maxBody+1))
		if err == nil && len(text) > maxBody {
			err = errors.New("it is larger than 64 MiB")
		}
		if err != nil {
			return fmt.Errorf("reading the body from standard input: %w", err)
		}
		r.Body = string(text)
	}
	list, err := r.Servers()
	if err != nil {
		return err
	}
	doc, err := r.Document(list)
	if err != nil {
		return err
	}
	return p.Run(doc, func(s Running) error {
		found := listening(s.Sockets(), list)
		if r.Templated() { // the body may hold addresses that are known only now
			doc, err := r.Document(onePerServer(found))
			if err != nil {
				return err
			}
			if err := s.Replace(context.Background(), doc); err != nil {
				return fmt.Errorf("putting the addresses of the servers into the body: %w", err)
			}
		}
		for _, one := range found {
			fmt.Fprintf(p.Stdout, "Server address: %s\n", one.Address)
		}
		return nil
	})
}

// listening lists the open sockets of the servers.
func listening(open []listen.SocketInfo, servers []Server) []Server {
	var found []Server
	for _, socket := range open {
		i := slices.IndexFunc(servers, func(s Server) bool { return serverName(s.N) == socket.Owner })
		if i < 0 {
			continue
		}
		one := Server{N: i, Address: socket.Addr.String()}
		if a, ok := socket.Addr.(*net.TCPAddr); ok {
			one.Port = uint(a.Port)
		}
		found = append(found, one)
	}
	slices.SortFunc(found, func(a, b Server) int {
		if a.N != b.N {
			return a.N - b.N
		}
		return strings.Compare(a.Address, b.Address)
	})
	return found
}

// onePerServer leaves out further sockets of a server that has several.
func onePerServer(list []Server) []Server {
	return slices.CompactFunc(slices.Clone(list), func(a, b Server) bool { return a.N == b.N })
}
