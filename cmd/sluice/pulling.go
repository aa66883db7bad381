package main

import (
	"context"
	"errors"
	"strings"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/admin/pulled"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
	"go.uber.org/zap"
)

// pullHost is the process as a pulled.Puller sees it.
type pullHost struct {
	*admin.API
	host *host
}

// Document implements pulled.Host.
func (p pullHost) Document() (*config.Doc, uint64) { return p.host.Document() }

// Apply implements pulled.Host.
func (p pullHost) Apply(ctx context.Context, c server.Change) (server.Report, error) {
	return p.host.apply(ctx, c)
}

// pull is the pull that belongs to a change.
type pull struct {
	setting pulled.Setting
	pointer string // of the loader
	// late is set if the pull needs what the document has yet to put into force.
	late bool
	// before is the document until now.
	before *config.Doc
}

// pullOf finds out whether a change leads to a document that pulls another one
// in its load. What is wrong with the change, the engine says.
func (h *host) pullOf(c server.Change) (*pull, bool) {
	current, _ := h.Document()
	switch {
	case c.Edit.Whole:
		if _, ok := pulled.AtOnce(c.Edit.Value); !ok {
			return nil, false
		}
	case c.Place(current) != nil:
		return nil, false
	case len(c.Edit.Path) > 0 && !strings.EqualFold(c.Edit.Path[0], "admin") && !(c.Force && pulled.Wanted(current.Root())):
		return nil, false
	}
	next, err := current.Apply(c.Edit)
	if err != nil {
		return nil, false
	}
	pointer, ok := pulled.AtOnce(next.Root())
	if !ok || !c.Force && h.settled(c, current, next) {
		return nil, false
	}
	built := h.builder().Build(nil, endpoint.SpecID, pulled.AdminOf(next.Root()), module.Options{})
	if len(built.Problems) > 0 {
		return nil, false
	}
	p := &pull{setting: built.Root.Value().(*endpoint.Endpoint).Pulling(), pointer: pointer, before: current}
	if p.setting.Loader == nil || p.setting.Delay > 0 {
		return nil, false
	}
	p.late = p.setting.Loader.NeedsIdentity() && (!h.up.Load() || !config.Equal(identityOf(current), identityOf(next)))
	return p, true
}

// settled reports whether the pull of the next document is that of the current
// one, which was made. An edit elsewhere is not to be replaced by its result,
// nor to fail because of it.
func (h *host) settled(c server.Change, current, next *config.Doc) bool {
	if h.trouble.Load() != nil {
		return false
	}
	return next == current || !c.Edit.Whole && pulled.SameSetting(current.Root(), next.Root())
}

func identityOf(doc *config.Doc) *config.Node { return pulled.AdminOf(doc.Root()).Get("identity") }

// applyPulled makes a change to a document that pulls another one in its load.
// The pulled one is put into force in its place, so that what serves is not
// interrupted by a document that was never meant to serve. It is the document
// itself that is put into force if the pulled one does not load.
func (h *host) applyPulled(ctx context.Context, c server.Change, p *pull) (server.Report, error) {
	if p.late && !c.DryRun {
		return h.applyThenPull(ctx, c, p)
	}
	probe := c
	probe.DryRun, probe.Started = true, nil
	report, err := h.carryOut(ctx, probe)
	if err != nil || p.late {
		h.recordTry(c, report, err)
		return report, err
	}
	doc, err := h.puller.Pull(ctx, p.setting)
	if err != nil {
		err = p.failed(ctx, err)
		h.recordTry(c, report, err)
		return server.Report{}, err
	}
	if doc == nil {
		return h.applyAsIs(ctx, c)
	}
	defer doc.Release()
	next := doc.Change(c.Origin)
	next.Force, next.IfMatch, next.DryRun, next.Started = c.Force, c.IfMatch, c.DryRun, c.Started
	report, err = h.applyAsIs(ctx, next)
	var rejected *server.Rejected
	switch {
	case err == nil && !c.DryRun:
		h.puller.Applied(doc, report)
		return report, nil
	case !errors.As(err, &rejected):
		return report, err
	}
	problems := h.puller.Refused(doc, err)
	report, err = h.applyAsIs(ctx, c)
	report.Warnings = append(report.Warnings, schema.Problem{Pointer: p.pointer, Message: "the pulled config does not load: " + problems.Error()})
	return report, err
}

// applyThenPull makes the change first, and takes it back if nothing can be
// pulled.
func (h *host) applyThenPull(ctx context.Context, c server.Change, p *pull) (server.Report, error) {
	report, err := h.applyAsIs(ctx, c)
	if err != nil {
		return report, err
	}
	applied, _ := h.Document()
	doc, err := h.puller.Pull(ctx, p.setting)
	if err != nil {
		h.takeBack(ctx, p, applied)
		return server.Report{}, p.failed(ctx, err)
	}
	if doc == nil {
		return report, nil
	}
	defer doc.Release()
	next := doc.Change(c.Origin)
	next.Resolve = stillThere(applied)
	last, err := h.applyAsIs(ctx, next)
	switch {
	case errors.Is(err, errSuperseded):
	case err != nil:
		problems := h.puller.Refused(doc, err)
		report.Warnings = append(report.Warnings, schema.Problem{Pointer: p.pointer, Message: "the pulled config does not load: " + problems.Error()})
	default:
		h.puller.Applied(doc, last)
		return last, nil
	}
	return report, nil
}

// takeBack puts the document from before a failed load into force again.
func (h *host) takeBack(ctx context.Context, p *pull, applied *config.Doc) {
	if !h.up.Load() {
		return // the start fails
	}
	root := config.NewNull()
	if r := p.before.Root(); r != nil {
		root = r.Clone()
	}
	_, err := h.applyAsIs(context.WithoutCancel(ctx), server.Change{Edit: config.Edit{Whole: true, Value: root}, Verb: storage.VerbRestore,
		Origin: "a load whose pull failed", Resolve: stillThere(applied)})
	if err != nil && !errors.Is(err, errSuperseded) {
		h.log.Error("taking back a config that pulls another, which cannot be pulled", zap.Error(err))
	}
}

// errSuperseded is the error of a change whose document was replaced meanwhile.
var errSuperseded = errors.New("the config was changed meanwhile")

// stillThere is for server.Change.Resolve: the change is only made if its turn
// comes while doc says how to pull.
func stillThere(doc *config.Doc) func(*config.Doc) (config.Path, error) {
	return func(now *config.Doc) (config.Path, error) {
		if !pulled.SameSetting(now.Root(), doc.Root()) {
			return nil, errSuperseded
		}
		return nil, nil
	}
}

// failed is the error of a load whose pull has failed.
func (p *pull) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, server.ErrClosed) {
		return err
	}
	return &server.Rejected{Problems: schema.Problems{{Pointer: p.pointer, Message: err.Error()}}}
}

// recordTry is record for a change that went no further than a try.
func (h *host) recordTry(c server.Change, r server.Report, err error) {
	if !c.DryRun && err != nil {
		h.record(c, r, err)
	}
}
