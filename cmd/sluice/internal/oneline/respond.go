package oneline

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"text/template"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// Respond is the flags of the command `respond`: servers that always give the
// same answer.
type Respond struct {
	// Listen is an address, or a range of ports for as many servers.
	Listen string
	Status int
	// Body is a template, see Server.
	Body      string
	Headers   []string
	AccessLog bool
	Debug     bool
}

// Server is a server of a Respond, and what the template of the body is about.
type Server struct {
	// N is the server's number, from 0.
	N int
	// Port is 0 for a socket that has none.
	Port    uint
	Address string
}

// Argument takes the argument without a flag. It is the status if it looks like
// one and the flag --status is not given, else the body.
func (r *Respond) Argument(args []string, statusGiven bool) error {
	if len(args) > 1 {
		return errors.New("too many unflagged arguments")
	}
	if len(args) == 0 {
		return nil
	}
	n, err := strconv.Atoi(args[0])
	switch {
	case err == nil && !statusGiven:
		if n >= 100 && n <= 999 {
			r.Status = n
		}
	case r.Body != "":
		return fmt.Errorf("unflagged argument %q is overridden by flags", args[0])
	default:
		r.Body = args[0]
	}
	return nil
}

// Templated reports whether the body needs to know the server's address.
func (r *Respond) Templated() bool { return bytes.Contains([]byte(r.Body), []byte("{{")) }

// maxServers bounds how many servers a range of ports makes.
const maxServers = 1000

// Servers lists the servers as Listen names them, where a port may be 0.
func (r *Respond) Servers() ([]Server, error) {
	a, err := netaddr.Parse(r.Listen)
	if err != nil {
		return nil, fmt.Errorf("parsing the listen address: %w", err)
	}
	if a.Count() > maxServers {
		return nil, fmt.Errorf("the listen address %s is for %d servers; at most %d are possible", r.Listen, a.Count(), maxServers)
	}
	list := make([]Server, a.Count())
	for i := range list {
		one := a.At(i)
		list[i] = Server{N: i, Port: one.StartPort, Address: one.JoinHostPort(0)}
	}
	return list, nil
}

// serverName is the name of server n in the document.
func serverName(n int) string { return "static" + strconv.Itoa(n) }

// Document makes the document. The servers are those of Servers, but with the
// address and the port that each really has, if that is known.
func (r *Respond) Document(list []Server) (*config.Node, error) {
	a, err := netaddr.Parse(r.Listen)
	if err != nil {
		return nil, fmt.Errorf("parsing the listen address: %w", err)
	}
	if r.Status < 100 || r.Status > 999 {
		return nil, fmt.Errorf("--status is %d; it must be from 100 to 999", r.Status)
	}
	headers, err := fields("header", r.Headers)
	if err != nil {
		return nil, err
	}
	body, err := template.New("body").Parse(r.Body)
	if err != nil {
		return nil, fmt.Errorf("parsing the template of the body: %w", err)
	}
	all := object{}
	for i, s := range list {
		var text bytes.Buffer
		if err := body.Execute(&text, s); err != nil {
			return nil, fmt.Errorf("executing the template of the body: %w", err)
		}
		handler := object{"handler": "static_response", "status_code": strconv.Itoa(r.Status)}
		if text.Len() > 0 {
			handler["body"] = text.String()
		}
		if len(headers) > 0 {
			handler["headers"] = headers
		}
		one := shortServer(a.At(i).String(), routeTo("", handler), r.AccessLog)
		one["automatic_https"] = object{"disable": true}
		all[serverName(s.N)] = one
	}
	return document(servers(all), r.Debug)
}
