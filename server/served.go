package server

import (
	"iter"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/listen"
)

// ServedNames is who wants to know what is served with TLS.
type ServedNames interface {
	// Serves says which names are served with TLS, and what is spoken there, as in
	// ALPN, the best first; a name may come more than once. It is called at each
	// swap. The sequence may be read later, any number of times.
	Serves(names iter.Seq2[string, []string])
}

// served is the names of servers with TLS, and the protocols there. It costs
// nothing before it is read.
func (app *App) served(globals vars.Scope) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		for _, b := range app.servers {
			alpn := b.alpn(app)
			if len(alpn) == 0 {
				continue
			}
			for name := range b.Server.routes.Hosts().All() {
				if strings.Contains(name, "{") {
					name = strings.ToLower(vars.Parse(name).Expand(globals, vars.Known, ""))
				}
				if !slices.Contains(b.https.Skip, name) && !yield(name, alpn) {
					return
				}
			}
		}
	}
}

// alpn is the protocols that are spoken with TLS at any of its addresses.
func (b *boundServer) alpn(app *App) (list []string) {
	var all spoken
	for _, a := range b.addrs {
		if !b.decision.tls || int(a.addr.StartPort) == app.httpPort {
			continue
		}
		_, datagrams := listen.DatagramAddr(a.addr)
		all.h1, all.h2, all.h3 = all.h1 || a.names.h1, all.h2 || a.names.h2, all.h3 || a.names.h3 && datagrams
	}
	if all.h3 {
		list = append(list, "h3")
	}
	return append(list, all.alpn()...)
}
