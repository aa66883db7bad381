package server

import (
	"net/http"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/fsys"
	"go.uber.org/zap"
)

// A request is what its handlers see of the server: that of its generation, as
// long as it has one.

// Name implements handlers.Server.
func (q *request) Name() string { return q.server.name }

// NamedRoute implements handlers.Server.
func (q *request) NamedRoute(name string, w http.ResponseWriter, r *http.Request, next handlers.Next) (bool, error) {
	return q.server.NamedRoute(name, w, r, next)
}

// LogCredentials implements handlers.Server.
func (q *request) LogCredentials() bool { return q.server.LogCredentials() }

// Logger implements handlers.Server.
func (q *request) Logger(name string) *zap.Logger { return q.server.Logger(name) }

// ShutdownAt implements handlers.Server.
func (q *request) ShutdownAt() time.Time { return q.server.ShutdownAt() }

// FileSystems are those of the document. They are asked for here and not when a
// server is compiled, so that a change of one compiles no server again.
func (q *request) FileSystems() fsys.Registry {
	if q.pin.gen == nil {
		return nil
	}
	return q.pin.gen.root.files
}

// Include answers a request that a handler makes while this one is served, with
// all that belongs to one from outside.
func (q *request) Include(w http.ResponseWriter, r *http.Request) {
	if q.pin.gen == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	q.server.serve(w, r, q.pin.gen.pinNow(), q.exchange.Globals, time.Now())
}
