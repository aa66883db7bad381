package pulled

import (
	"context"
	"errors"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"

	"go.uber.org/zap"
)

// pull is the pull that belongs to a change.
type pull struct {
	setting Setting
	pointer string // of the loader
	// late is set if the pull needs what the document has yet to put into force.
	late bool
	// before is the document until now.
	before *config.Doc
}

// Apply makes a change. If that leads to a document that pulls another one in
// its load, it is the pulled one that comes into force, in its place, so that
// what serves is not interrupted by a document that was never meant to serve.
// The change itself is made if the pulled document does not load. If nothing can
// be pulled the error is a *server.Rejected, and the document is as it was.
//
// The applier of the engine is not held up by a pull.
func (p *Puller) Apply(ctx context.Context, c server.Change) (server.Report, error) {
	w, ok := p.pullOf(c)
	switch {
	case !ok:
		return p.host.Apply(ctx, c)
	case w.late && !c.DryRun:
		return p.applyThenPull(ctx, c, w)
	}
	probe := c
	probe.DryRun, probe.Started = true, nil
	report, err := p.host.Apply(ctx, probe)
	if err != nil || w.late {
		return report, p.fail(c, err)
	}
	doc, err := p.pull(ctx, w.setting)
	if err != nil {
		return server.Report{}, p.fail(c, w.failed(ctx, err))
	}
	if doc == nil {
		return p.host.Apply(ctx, c)
	}
	defer doc.Release()
	next := doc.change(c.Origin)
	next.Force, next.IfMatch, next.DryRun, next.Started = c.Force, c.IfMatch, c.DryRun, c.Started
	report, err = p.host.Apply(ctx, next)
	var rejected *server.Rejected
	switch {
	case err == nil && !c.DryRun:
		return p.applied(doc, report), nil
	case !errors.As(err, &rejected):
		return report, err
	}
	problems := p.refused(doc, err)
	report, err = p.host.Apply(ctx, c)
	return w.warn(report, problems), err
}

// pullOf finds out whether a change leads to a document that pulls another one
// in its load. What is wrong with the change, the engine says.
func (p *Puller) pullOf(c server.Change) (*pull, bool) {
	current, _ := p.host.Document()
	switch {
	case c.Edit.Whole:
		if _, ok := AtOnce(c.Edit.Value); !ok {
			return nil, false
		}
	case c.Place(current) != nil:
		return nil, false
	case len(c.Edit.Path) > 0 && !strings.EqualFold(c.Edit.Path[0], adminKey) && !(c.Force && Wanted(current.Root())):
		return nil, false
	}
	next, err := current.Apply(c.Edit)
	if err != nil {
		return nil, false
	}
	pointer, ok := AtOnce(next.Root())
	if !ok || !c.Force && p.settled(c, current, next) {
		return nil, false
	}
	w := &pull{pointer: pointer, before: current}
	w.setting, ok = p.host.Setting(adminOf(next.Root()))
	if !ok || w.setting.Loader == nil || w.setting.Delay > 0 {
		return nil, false
	}
	w.late = w.setting.Loader.NeedsIdentity() && (!p.host.Up() || !config.Equal(identityOf(current), identityOf(next)))
	return w, true
}

// settled reports whether the pull of the next document is that of the current
// one, which was made. An edit elsewhere is not to be replaced by its result,
// nor to fail because of it.
func (p *Puller) settled(c server.Change, current, next *config.Doc) bool {
	return p.host.Whole() && (next == current || !c.Edit.Whole && sameSetting(current.Root(), next.Root()))
}

// applyThenPull makes the change first, and takes it back if nothing can be
// pulled.
func (p *Puller) applyThenPull(ctx context.Context, c server.Change, w *pull) (server.Report, error) {
	report, err := p.host.Apply(ctx, c)
	if err != nil {
		return report, err
	}
	made, _ := p.host.Document()
	doc, err := p.pull(ctx, w.setting)
	if err != nil {
		p.takeBack(ctx, w, made)
		return server.Report{}, p.fail(c, w.failed(ctx, err))
	}
	if doc == nil {
		return report, nil
	}
	defer doc.Release()
	next := doc.change(c.Origin)
	next.Resolve = while(made)
	last, err := p.host.Apply(ctx, next)
	switch {
	case err == nil:
		return p.applied(doc, last), nil
	case errors.Is(err, errSuperseded):
		return report, nil
	}
	return w.warn(report, p.refused(doc, err)), nil
}

// takeBack puts the document from before a failed load into force again.
func (p *Puller) takeBack(ctx context.Context, w *pull, made *config.Doc) {
	if !p.host.Up() {
		return // the start fails
	}
	root := config.NewNull()
	if r := w.before.Root(); r != nil {
		root = r.Clone()
	}
	_, err := p.host.Apply(context.WithoutCancel(ctx), server.Change{Edit: config.Edit{Whole: true, Value: root}, Verb: storage.VerbRestore,
		Origin: "a load whose pull failed", Resolve: while(made)})
	if err != nil && !errors.Is(err, errSuperseded) {
		p.log.Error("taking back a config that pulls another, which cannot be pulled", zap.Error(err))
	}
}

// errSuperseded is the error of a change whose document was replaced meanwhile.
var errSuperseded = errors.New("the config was changed meanwhile")

// while is for server.Change.Resolve: the change is only made if its turn comes
// while doc says how to pull.
func while(doc *config.Doc) func(*config.Doc) (config.Path, error) {
	return func(now *config.Doc) (config.Path, error) {
		if !sameSetting(now.Root(), doc.Root()) {
			return nil, errSuperseded
		}
		return nil, nil
	}
}

// fail tells the host of a change that went no further than a try.
func (p *Puller) fail(c server.Change, err error) error {
	if err != nil && !c.DryRun {
		p.host.Failed(c, err)
	}
	return err
}

// failed is the error of a load whose pull has failed.
func (w *pull) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, server.ErrClosed) {
		return err
	}
	return &server.Rejected{Problems: schema.Problems{{Pointer: w.pointer, Message: err.Error()}}}
}

// warn adds to a report that what was pulled is not in force.
func (w *pull) warn(r server.Report, problems schema.Problems) server.Report {
	r.Warnings = append(r.Warnings, schema.Problem{Pointer: w.pointer, Message: "the pulled config does not load: " + problems.Error()})
	return r
}
