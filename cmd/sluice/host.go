package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/internal/memory"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
)

// host stands between the engine and everybody who changes the document, and
// does what belongs to an accepted change: metrics, the service manager, the
// autosave file, readiness. It implements admin.Engine.
type host struct {
	*process
	engine *server.Engine

	// partial is the whole document of a best-effort start, while only a part
	// of it runs. repairing is held by whoever tries to run the whole one.
	partial   atomic.Pointer[partial]
	repairing sync.Mutex
	// trouble is why the process is not ready; nil if it is.
	trouble atomic.Pointer[[]string]
	// up is set once the start is over; until then it is not for a load to say
	// that the process is ready.
	up atomic.Bool

	successful, successTime prometheus.Gauge
}

// partial is a document that runs in part only.
type partial struct {
	doc      *config.Doc
	revision uint64
}

func newHost(p *process, eng *server.Engine, r *metrics.Registry) *host {
	return &host{process: p, engine: eng,
		successful: r.Gauge(metrics.Opts{Subsystem: "config", Name: "last_reload_successful",
			Help: "Whether the last change of the configuration was accepted."}),
		successTime: r.Gauge(metrics.Opts{Subsystem: "config", Name: "last_reload_success_timestamp_seconds",
			Help: "When the last change of the configuration was accepted."}),
	}
}

// Document implements admin.Engine. Of a document that runs in part it is the
// whole.
func (h *host) Document() (*config.Doc, uint64) {
	if d := h.partial.Load(); d != nil {
		return d.doc, d.revision
	}
	g := h.engine.Current()
	return g.Doc(), g.Revision()
}

// ready says whether all of the document runs.
func (h *host) ready() (bool, []string) {
	if why := h.trouble.Load(); why != nil {
		return false, *why
	}
	return true, nil
}

// Apply implements admin.Engine: a change that comes through the admin API.
func (h *host) Apply(ctx context.Context, c server.Change) (server.Report, error) {
	report, err := h.apply(ctx, c)
	if err == nil && !c.DryRun {
		h.source.changed(h.program, c)
	}
	return report, err
}

// apply makes a change, whoever wants it, and pulls if its document says so.
func (h *host) apply(ctx context.Context, c server.Change) (server.Report, error) {
	return h.puller.Apply(ctx, c)
}

// applyAsIs makes a change whose document pulls nothing in its load, or has
// done so.
func (h *host) applyAsIs(ctx context.Context, c server.Change) (server.Report, error) {
	if !h.gate.Enter() {
		return server.Report{}, &admin.Error{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"1"}},
			Msg: "another process is about to take over, or has done so; try again in a moment"}
	}
	defer h.gate.Leave()
	return h.applyNow(ctx, c)
}

// applyNow is applyAsIs, whoever is about to take over.
func (h *host) applyNow(ctx context.Context, c server.Change) (server.Report, error) {
	if c.DryRun {
		return h.carryOut(ctx, c)
	}
	if c.Verb == storage.VerbLoad || c.Verb == storage.VerbRestore {
		h.notify.Send("RELOADING=1")
	}
	if c.Edit.Whole {
		defer memory.BuildLarge(c.Edit.Value)()
	}
	report, err := h.carryOut(ctx, c)
	if h.up.Load() && (c.Verb == storage.VerbLoad || c.Verb == storage.VerbRestore) {
		h.notify.Loaded(err)
	}
	h.record(c, report, err)
	return report, err
}

// carryOut hands a change to the engine, or to the repair of a document that
// runs in part.
func (h *host) carryOut(ctx context.Context, c server.Change) (server.Report, error) {
	if h.partial.Load() == nil {
		return h.engine.Apply(ctx, c)
	}
	h.repairing.Lock()
	defer h.repairing.Unlock()
	d := h.partial.Load()
	if d == nil {
		return h.engine.Apply(ctx, c)
	}
	return h.repair(ctx, d, c)
}

// repair edits the whole document and tries to run all of it. The engine knows
// only the part that runs, so it gets the result as a whole.
func (h *host) repair(ctx context.Context, d *partial, c server.Change) (server.Report, error) {
	if c.IfMatch != "" {
		if err := d.doc.CheckIfMatch(c.IfMatch); err != nil {
			return server.Report{}, err
		}
		c.IfMatch = ""
	}
	if err := c.Place(d.doc); err != nil {
		return server.Report{}, err
	}
	c.Resolve = nil // it would look in the part that runs
	next, err := d.doc.Apply(c.Edit)
	if err != nil {
		return server.Report{}, err
	}
	c.Edit = config.Edit{Whole: true, RequestPath: c.Edit.RequestPath}
	if next.Root() != nil {
		c.Edit.Value = next.Root().Clone()
	}
	if c.Verb != storage.VerbRestore {
		c.Verb = storage.VerbLoad
	}
	report, err := h.engine.Apply(ctx, c)
	if err == nil && !c.DryRun {
		h.partial.Store(nil)
	}
	return report, err
}

// record does what follows a change.
func (h *host) record(c server.Change, r server.Report, err error) {
	var rejected *server.Rejected
	var unstored *server.NotStored
	switch {
	case errors.As(err, &rejected), errors.As(err, &unstored):
		h.successful.Set(0)
		return
	case err != nil:
		return
	}
	if !r.Changed && !c.Force {
		h.log.Info("config is unchanged")
		return
	}
	h.successful.Set(1)
	h.successTime.Set(float64(time.Now().UnixMilli()) / 1e3)
	h.trouble.Store(nil)
	h.spare.release()
	if r.Changed {
		h.autosave.Changed(h.engine.Current().Doc())
	}
	memory.GiveBack(r.Built)
}

// load puts the document of a file into force. It is for signals and the
// watcher; requests go through Apply.
func (h *host) load(ctx context.Context, f *configfile.File, force bool) error {
	c := server.Change{Edit: config.Edit{Whole: true, Value: f.Root.Clone()}, Verb: storage.VerbLoad, Origin: f.Origin(), Force: force}
	c.Source, c.SourceType = f.Source()
	_, err := h.apply(ctx, c)
	var rejected *server.Rejected
	if errors.As(err, &rejected) {
		return f.Locate(rejected.Problems)
	}
	return err
}

var _ admin.Engine = (*host)(nil)
