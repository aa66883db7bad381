package access

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// connection remembers what was found for a client as long as it is connected, under the rules that were asked.
type connection struct {
	mu    sync.Mutex
	rules *Rules
	grant *Grant
	err   error
}

type connectionKey struct{}

// OnConnection returns the context for a new connection, in which Of remembers what it finds. For [http.Server.ConnContext].
func OnConnection(ctx context.Context) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{})
}

// Of finds the rule for whoever sent a request. Certificates are verified once for each connection and Rules, and anew when
// they have expired: so new rules are in force for the next request of connections that are open already, also where they no
// longer let the client in. The error is a *Denied.
func (r *Rules) Of(req *http.Request, now time.Time) (*Grant, error) {
	if req.TLS == nil {
		return nil, errIdentity
	}
	known, ok := req.Context().Value(connectionKey{}).(*connection)
	if !ok {
		return r.Find(req.TLS.PeerCertificates, now)
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	if known.rules != r || known.err == nil && now.After(known.grant.until) {
		known.grant, known.err = r.Find(req.TLS.PeerCertificates, now)
		known.rules = r
	}
	return known.grant, known.err
}
