package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// maxBatch is how many changes may share one persist.
const maxBatch = 64

// ticket is a change on its way through the applier.
type ticket struct {
	ctx    context.Context
	change Change
	answer chan answer
}

type answer struct {
	report Report
	err    error
}

func (t *ticket) reply(r Report, err error) { t.answer <- answer{r, err} }

// applier makes changes one after the other. Those that wait together share one
// persist; each is checked against the document as the ones before it left it,
// and one that fails drops out alone.
func (e *Engine) applier() {
	defer close(e.done)
	for {
		select {
		case t := <-e.queue:
			e.applyAll(t)
		case <-e.closing:
			for {
				select {
				case t := <-e.queue:
					t.reply(Report{}, ErrClosed)
				default:
					return
				}
			}
		}
	}
}

func (e *Engine) applyAll(first *ticket) {
	b := e.newBatch()
	for t := first; t != nil; t = e.waiting() {
		b.add(t)
		if len(b.members) >= maxBatch {
			b.commit()
			b = e.newBatch()
		}
	}
	b.commit()
}

func (e *Engine) waiting() *ticket {
	select {
	case t := <-e.queue:
		return t
	default:
		return nil
	}
}

// batch is changes that will be persisted together.
type batch struct {
	engine  *Engine
	base    *Generation
	last    candidate // what the next member builds on
	members []*member
}

// candidate is a document that has been built.
type candidate struct {
	doc   *config.Doc
	tree  *module.Built
	root  *root
	binds *bindings
}

// member is an accepted change of a batch.
type member struct {
	ticket *ticket
	result module.Result
	report Report
	digest uint64
	doc    *config.Doc
}

func (e *Engine) newBatch() *batch {
	g := e.Current()
	return &batch{engine: e, base: g, last: candidate{g.doc, g.tree, g.root, g.binds}}
}

// add works one change in. What fails is answered at once.
func (b *batch) add(t *ticket) {
	if t.ctx.Err() != nil {
		t.reply(Report{}, context.Cause(t.ctx))
		return
	}
	if t.change.Started != nil {
		t.change.Started()
	}
	start := time.Now()
	c := &t.change
	doc, err := b.edit(c)
	if err != nil {
		t.reply(Report{}, err)
		return
	}
	if doc == b.last.doc && !c.Force && b.last.tree != nil {
		b.members = append(b.members, &member{ticket: t, doc: doc, report: Report{Duration: time.Since(start)}})
		return
	}
	m := &member{ticket: t, doc: doc, digest: doc.Root().Digest()}
	m.result = b.engine.builder.Build(b.last.tree, RootID, rootNode(doc), module.Options{Force: c.Force})
	m.report = Report{
		Changed: doc != b.last.doc, Reused: m.result.Reused, Built: len(m.result.New), Closed: len(m.result.Gone),
		Warnings: m.result.Warnings,
	}
	if len(m.result.Problems) > 0 {
		t.reply(Report{}, &Rejected{m.result.Problems})
		return
	}
	next := candidate{doc: doc, tree: m.result.Root, root: m.result.Root.Value().(*root), binds: b.last.binds}
	b.admit(m, next, start)
}

func rootNode(doc *config.Doc) *config.Node {
	if doc.Root() == nil {
		return config.NewNull()
	}
	return doc.Root()
}

func (b *batch) edit(c *Change) (*config.Doc, error) {
	if err := c.Place(b.last.doc); err != nil {
		return nil, err
	}
	if c.IfMatch != "" {
		if err := b.last.doc.CheckIfMatch(c.IfMatch); err != nil {
			return nil, err
		}
	}
	return b.last.doc.Apply(c.Edit)
}

// admit acquires what a member needs and makes it part of the batch. A member
// that changes sockets, the admin endpoint or the logs is committed by itself.
func (b *batch) admit(m *member, next candidate, start time.Time) {
	sockets := !sameWants(b.last.root.app, next.root.app)
	alone := sockets || !b.last.root.sameOutside(next.root)
	if alone && len(b.members) > 0 {
		b.commit()
		*b = *b.engine.newBatch()
	}
	b.engine.expect(next.root)
	accepted := false
	defer func() {
		if !accepted {
			b.engine.expect(b.last.root)
		}
	}()
	if err := prepareAll(m.result.New); err != nil {
		m.ticket.reply(Report{}, rejected(err))
		return
	}
	var plan *socketPlan
	if sockets {
		var err error
		if plan, err = b.engine.openSockets(m.ticket.ctx, &next); err != nil {
			closeAll(m.result.New)
			m.ticket.reply(Report{}, rejected(err))
			return
		}
	}
	m.report.Duration = time.Since(start)
	if m.ticket.change.DryRun {
		if plan != nil {
			plan.Undo()
		}
		closeAll(m.result.New)
		m.report.Revision = b.base.revision
		m.ticket.reply(m.report, nil)
		return
	}
	accepted = true
	b.members, b.last = append(b.members, m), next
	if alone {
		b.commitWith(plan)
		*b = *b.engine.newBatch()
	}
}

// expect tells of the storage that a document names.
func (e *Engine) expect(r *root) {
	if e.opt.ExpectStorage != nil {
		e.opt.ExpectStorage(r.storage)
	}
}

func rejected(err error) error {
	var ps schema.Problems
	if errors.As(err, &ps) {
		return &Rejected{ps}
	}
	return &Rejected{schema.Problems{{Message: err.Error()}}}
}

// sameWants reports whether two apps listen alike, so that no socket changes.
func sameWants(a, b *App) bool {
	return a == b || (slices.Equal(a.wants, b.wants) && slices.Equal(a.spoken, b.spoken) && sameDatagrams(a, b))
}

func (b *batch) commit() { b.commitWith(nil) }

// commitWith persists the batch, swaps the generation, and answers.
func (b *batch) commitWith(plan *socketPlan) {
	if len(b.members) == 0 {
		return
	}
	e := b.engine
	revision, err := b.persist()
	if err != nil {
		if plan != nil {
			plan.Undo()
		}
		for _, m := range slices.Backward(b.members) {
			closeAll(m.result.New)
			m.ticket.reply(Report{}, &NotStored{err})
		}
		e.expect(b.base.root)
		return
	}
	if b.last.tree != b.base.tree {
		e.swap(b, revision, plan)
	}
	number := b.base.revision
	for _, m := range b.members {
		if m.report.Changed {
			number++
		}
		m.report.Revision = number
		m.ticket.reply(m.report, nil)
	}
}

// persist stores the changes that changed the document.
func (b *batch) persist() (revision uint64, err error) {
	var entries []Entry
	for _, m := range b.members {
		if m.report.Changed {
			entries = append(entries, entryOf(m))
		}
	}
	revision = b.base.revision + uint64(len(entries))
	journal := b.engine.opt.Journal
	if len(entries) == 0 || journal == nil {
		return revision, nil
	}
	doc, size := b.last.doc, &b.engine.textSize
	return revision, journal.Commit(context.Background(), b.base.revision, entries, func() []byte {
		text := rootNode(doc).AppendJSON(make([]byte, 0, size.Load()*9/8))
		size.Store(int64(len(text)))
		return text
	})
}

func entryOf(m *member) Entry {
	c := m.ticket.change
	path := c.Edit.Path.Pointer()
	if c.Edit.Whole {
		path = ""
	}
	return Entry{Verb: c.Verb, Path: path, Value: c.Edit.Value, Origin: c.Origin, Source: c.Source, SourceType: c.SourceType, Digest: m.digest}
}

// swap makes the batch's last candidate the current generation.
func (e *Engine) swap(b *batch, revision uint64, plan *socketPlan) {
	old := b.base
	g := &Generation{
		doc: b.last.doc, tree: b.last.tree, root: b.last.root, binds: b.last.binds,
		seq: old.seq + 1, revision: revision, started: e.opt.Now(),
	}
	if e.opt.Stopping != nil && old.tree != nil {
		e.opt.Stopping()
	}
	l := e.expectDrain(old)
	for _, m := range b.members {
		l.gone = append(l.gone, m.result.Gone...)
	}
	if plan != nil {
		e.front.depart(plan, old)
	}
	e.opt.Logs.Use(g.root.logs)
	e.current.Store(g)
	e.process.requests.Use(g.root.app.metering.view, g.root.app.metering.series)
	if e.opt.UseStorage != nil {
		e.opt.UseStorage(g.root.storage)
	}
	for _, m := range b.members {
		startAll(m.result.New)
	}
	for _, m := range b.members {
		leaveAll(m.result.Gone)
	}
	e.names.update(g.root.app)
	if plan != nil {
		e.front.take(plan, old)
	}
	old.retire()
	if e.opt.Started != nil {
		e.opt.Started()
	}
}
