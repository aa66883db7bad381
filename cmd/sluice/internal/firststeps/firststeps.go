// Package firststeps says what to try first with a process that has just
// started.
package firststeps

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// firstPorts are the ports of the example, the first free one is shown.
const (
	firstPort = 8080
	lastPort  = 8099
)

// State is how the process is.
type State struct {
	// Admin is the addresses of the admin endpoints, Store the file with the
	// revisions, empty if there is none.
	Admin []string
	Store string
	// Trouble is why the process is not ready.
	Trouble []string
	// Serves says that the document has something to run.
	Serves bool
}

// Print says where things are and what to try, in commands that work as they
// stand.
func Print(out io.Writer, s State) {
	store := s.Store
	if store == "" {
		store = "none; nothing is kept"
	}
	fmt.Fprintf(out, "\nsluice is running.\n\n  admin API   %s\n  revisions   %s\n", strings.Join(s.Admin, ", "), store)
	if len(s.Trouble) > 0 {
		fmt.Fprintf(out, "\nIt is not ready: %s\n", strings.Join(s.Trouble, "\n  "))
		return
	}
	call, ok := curlBase(s.Admin)
	if !ok {
		return
	}
	if s.Serves {
		fmt.Fprintf(out, "\nIt serves the document that it served last. See it, and what led to it:\n\n  %s/config/\n  %s/revisions\n\n", call, call)
		return
	}
	port := freePort(firstPort, lastPort)
	fmt.Fprintf(out, `
Load a configuration with one route:

  %s/load -H 'Content-Type: application/json' -d '{"apps":{"http":{"servers":{"hello":{"listen":["127.0.0.1:%d"],"routes":[{"@id":"hi","handle":[{"handler":"static_response","body":"Hello from sluice!\n"}]}]}}}}}'

It serves at once, and is kept:

  curl http://127.0.0.1:%d/

Change it, and see the difference:

  %s/id/hi/handle/0/body -X PATCH -H 'Content-Type: application/json' -d '"Changed without a restart.\n"'
  %s/revisions

Ctrl-C stops it; the next start goes on where this one ended.

`, call, port, port, call, call)
}

// curlBase is how a curl command for one of the admin addresses begins.
func curlBase(addresses []string) (string, bool) {
	if len(addresses) == 0 {
		return "", false
	}
	a, err := netaddr.Parse(addresses[0])
	switch {
	case err != nil || a.IsFD():
		return "", false
	case a.IsUnix() && a.IsAbstract():
		return "curl --abstract-unix-socket " + a.Host[1:] + " http://127.0.0.1", true
	case a.IsUnix():
		return "curl --unix-socket " + a.Host + " http://127.0.0.1", true
	case a.IsWildcard():
		a.Host = "localhost"
	}
	return "curl http://" + a.JoinHostPort(0), true
}

// freePort is the first port that can be listened on; the first of all if none.
func freePort(from, to int) int {
	for port := from; port <= to; port++ {
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = ln.Close()
			return port
		}
	}
	return from
}
