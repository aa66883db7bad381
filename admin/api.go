package admin

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/upstream"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
)

// Limits bound what clients can make the process hold.
type Limits struct {
	// MaxBody is the longest request body in bytes. Default: 100 MiB.
	MaxBody int64
	// BufferedBodies is how many bytes of bodies all requests together may hold.
	// Default: 256 MiB.
	BufferedBodies int64
	// Parsing is how many bytes of bodies may be in the form of parsed documents
	// that are not yet accepted or refused; a longer body is alone. A parsed
	// document is much larger than its text. Default: 16 MiB.
	Parsing int64
}

func (l Limits) withDefaults() Limits {
	if l.MaxBody <= 0 {
		l.MaxBody = 100 << 20
	}
	if l.BufferedBodies <= 0 {
		l.BufferedBodies = 256 << 20
	}
	if l.Parsing <= 0 {
		l.Parsing = 16 << 20
	}
	return l
}

// Deps is what the API works on.
type Deps struct {
	// Engine is required.
	Engine Engine
	// Store is where revisions are read; without it they are not available.
	Store storage.Store
	// Table is the module kinds, of which the published schema is made.
	Table *module.Table
	// Schema returns the published schema, if it is not to be made of Table. It
	// is called once. With neither, /schema is not available.
	Schema func() schema.Schema
	// Metrics is what /metrics shows, and where the API counts its requests.
	Metrics *metrics.Registry
	// Upstreams is what /reverse_proxy/ is about; nil means that there are none.
	Upstreams *upstream.Pool
	// Authorities is what /pki/ is about, and Certificates what /tls/ is; nil
	// means that there are none.
	Authorities  Authorities
	Certificates Certificates
	// Adapters are the languages that /load and /adapt take beside JSON, by the
	// second part of their content type, such as "caddyfile". "json" is not for
	// them.
	Adapters map[string]Adapter
	// Stop begins the shutdown of the process. It is called in a goroutine of
	// its own, after the answer to POST /stop was sent.
	Stop func()
	// Upgrade replaces the process by a new one. An *Error keeps its status, others
	// are 500.
	Upgrade func(ctx context.Context, u Upgrade) (Upgraded, error)
	// Ready says whether the process serves what it should, and if not, why
	// not. Without it the process is always ready.
	Ready func() (bool, []string)
	// Log is the logger "admin.api"; nil logs nothing.
	Log *zap.Logger
	// Version of the program, shown by /healthz.
	Version string
	// Limits; zero fields take their default.
	Limits Limits
}

// API answers admin requests. It is safe for concurrent use.
type API struct {
	deps   Deps
	limits Limits
	log    *zap.Logger
	router *chi.Mux
	// trees holds the paths that are redirected to the same with a slash.
	trees map[string]bool
	any   map[string]handler
	stats *stats

	bodies   budget
	parsing  *semaphore.Weighted
	adapting *semaphore.Weighted
	texts    textKeeper
	schema   func() ([]byte, error)
	stopping atomic.Bool
}

// New makes the API. It registers its metrics, so it is called once for a
// registry.
func New(d Deps) *API {
	a := &API{deps: d, limits: d.Limits.withDefaults(), log: d.Log, trees: map[string]bool{}, any: map[string]handler{}}
	if a.log == nil {
		a.log = zap.NewNop()
	}
	if a.deps.Upstreams == nil {
		a.deps.Upstreams = upstream.NewPool(nil)
	}
	a.bodies.max = a.limits.BufferedBodies
	a.parsing = semaphore.NewWeighted(a.limits.Parsing)
	a.adapting = semaphore.NewWeighted(maxAdapting)
	a.stats = newStats(d.Metrics)
	a.schema = sync.OnceValues(a.encodeSchema)
	a.router = a.newRouter()
	return a
}

// Handler serves the API under the rules of a Guard.
func (a *API) Handler(g *Guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.Serve(w, r, g) })
}
