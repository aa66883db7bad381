package pulled

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/configloader"
	"github.com/sluiceproxy/sluice/storage"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
)

// maxAtOnce is how many loads may pull at the same time. Their texts are in
// memory.
const maxAtOnce = 2

// Host is what a Puller needs of the process. It is safe for concurrent use.
type Host interface {
	// Limit is the longest text in bytes that is read.
	Limit() int64
	// Read makes a document of a text, by the rules of POST /load.
	Read(ctx context.Context, contentType string, text []byte) (*Document, error)
	// Document is what is in force.
	Document() (*config.Doc, uint64)
	// Apply makes a change and pulls nothing.
	Apply(ctx context.Context, c server.Change) (server.Report, error)
	// Failed is told of changes that are given up before they are made.
	Failed(c server.Change, err error)
	// Setting compiles an admin object; ok is false if that fails.
	Setting(admin *config.Node) (s Setting, ok bool)
	// Up reports whether the start of the process is over, and Whole whether all
	// of the document runs.
	Up() bool
	Whole() bool
	// KeepText is told of the texts in other languages than JSON whose documents
	// have come into force.
	KeepText(language string, text []byte, root *config.Node, report server.Report)
}

// Document is a text that has been read.
type Document struct {
	// Root belongs to whoever gets the Document.
	Root *config.Node
	// Language is "json" or the name of the adapter.
	Language string
	// Pure is set if the text alone made the document, so that it makes the same
	// one again.
	Pure bool
	// Warnings are about what is accepted but likely not meant.
	Warnings schema.Problems
	// Locate adds to problems of Root where in the text they are.
	Locate func(schema.Problems) schema.Problems
	// Release gives back the room that reading it has taken.
	Release func()

	source, kind string
	text         []byte
}

// JSON is the language that needs no adapter.
const JSON = "json"

// Puller pulls for the documents of a process. It is safe for concurrent use.
type Puller struct {
	log      *zap.Logger
	identity configloader.Identity
	room     *semaphore.Weighted
	ctx      context.Context
	stop     context.CancelCauseFunc

	mu      sync.Mutex
	host    Host
	current *loop
	loops   sync.WaitGroup
}

// New makes a Puller for the logger "admin.config"; nil logs nothing. The
// identity is for loaders that need one; it may be nil if none does.
func New(log *zap.Logger, identity configloader.Identity) *Puller {
	if log == nil {
		log = zap.NewNop()
	}
	p := &Puller{log: log, identity: identity, room: semaphore.NewWeighted(maxAtOnce)}
	p.ctx, p.stop = context.WithCancelCause(context.Background())
	return p
}

// Connect names the host. It is called before any other method.
func (p *Puller) Connect(h Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.host = h
}

// Stop ends all pulls, those of loads among them, whose error is then
// server.ErrClosed. It returns at once.
func (p *Puller) Stop() { p.stop(server.ErrClosed) }

// Close is Stop, and waits until the loop has ended.
func (p *Puller) Close() {
	p.Stop()
	p.mu.Lock() // no loop begins after this
	p.current = nil
	p.mu.Unlock()
	p.loops.Wait()
}

// Use follows the settings of a document that has just come into force. It
// returns at once: it is called by the applier. A change that the loop before
// has asked for but that was not taken up yet is not made any more.
func (p *Puller) Use(s Setting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.current; l != nil {
		if l.setting == s {
			return
		}
		p.current = nil
		l.cancel()
		p.log.Info("stopping dynamic config loading", zap.String("source", l.setting.Loader.Source()))
	}
	if s.Loader == nil || s.Delay <= 0 || p.ctx.Err() != nil || p.host == nil {
		return
	}
	p.current = p.newLoop(s)
	p.log.Info("the config will be pulled", zap.String("source", s.Loader.Source()), zap.Duration("load_delay", s.Delay))
	p.loops.Go(p.current.run)
}

// pull gets and reads the document that another one asks for in its load. The
// error says so and names the source. The result is nil if the source has
// nothing to say. Its Release must be called.
func (p *Puller) pull(ctx context.Context, s Setting) (*Document, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.ctx, func() { cancel(server.ErrClosed) })()
	if err := p.room.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	defer p.room.Release(1)
	doc, err := p.fetch(ctx, s.Loader, nil)
	switch {
	case err == nil:
		return doc, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, fmt.Errorf("loading dynamic config from %s: %w", s.Loader.Source(), err)
}

// change is what puts a pulled document into force. Behalf is the origin of the
// change that asked for it, if one did.
func (d *Document) change(behalf string) server.Change {
	c := server.Change{Edit: config.Edit{Whole: true, Value: d.Root}, Verb: storage.VerbLoad, Origin: originOf(d.source, behalf)}
	if d.Language != JSON {
		c.Source, c.SourceType = d.text, d.Language
	}
	return c
}

// originPrefix begins what the history says about documents that were pulled.
const originPrefix = "pulled from "

func originOf(source, behalf string) string {
	if behalf == "" {
		return originPrefix + source
	}
	return originPrefix + source + " for " + behalf
}

// IsOrigin reports whether the history says of a document that it was pulled.
func IsOrigin(origin string) bool { return strings.HasPrefix(origin, originPrefix) }

// errAgain refuses a document that would be replaced before it has run, perhaps
// for ever.
var errAgain = errors.New("the pulled config again pulls one with no load_delay; set admin.config.load_delay in it, or leave admin.config.load out")

// fetch pulls and reads. Skip, if not nil, is asked whether a text needs no
// reading; then the result is nil, as it is for no text.
func (p *Puller) fetch(ctx context.Context, l configloader.Loader, skip func(configloader.Text) bool) (*Document, error) {
	text, err := l.Load(ctx, configloader.Call{Limit: p.host.Limit(), Identity: p.identity})
	if err != nil {
		return nil, err
	}
	if len(text.Body) == 0 {
		p.log.Warn("the pulled config is empty; nothing is changed", zap.String("source", l.Source()))
		return nil, nil
	}
	if skip != nil && skip(text) {
		return nil, nil
	}
	doc, err := p.host.Read(ctx, text.ContentType, text.Body)
	if err != nil {
		return nil, err
	}
	if _, again := AtOnce(doc.Root); again {
		doc.Release()
		return nil, errAgain
	}
	doc.source, doc.kind, doc.text = l.Source(), text.ContentType, text.Body
	p.warn(doc.source, doc.Warnings)
	return doc, nil
}

// applied does what follows when a pulled document is in force. It returns the
// report with the places of its warnings.
func (p *Puller) applied(d *Document, r server.Report) server.Report {
	if d.Locate != nil && len(r.Warnings) > 0 {
		r.Warnings = d.Locate(r.Warnings)
	}
	for i := range r.Warnings {
		if w := &r.Warnings[i]; w.File == "" {
			w.File = d.source
		}
	}
	if d.Language != JSON {
		p.host.KeepText(d.Language, d.text, d.Root, r)
	}
	if r.Changed {
		p.log.Info("the pulled config is in force", zap.String("source", d.source), zap.Uint64("revision", r.Revision))
	}
	return r
}

// maxWarnings is how many warnings of a document are logged.
const maxWarnings = 100

func (p *Puller) warn(source string, list schema.Problems) {
	for _, w := range list[:min(len(list), maxWarnings)] {
		p.log.Warn("config warning", zap.String("source", source), zap.String("pointer", w.Pointer), zap.String("file", w.File),
			zap.Int("line", w.Line), zap.Int("column", w.Column), zap.String("warning", w.Message))
	}
}

// refused logs that a pulled document does not load, and returns its problems
// with their places in the text, if that is the error.
func (p *Puller) refused(d *Document, err error) schema.Problems {
	var rejected *server.Rejected
	fields := []zap.Field{zap.String("source", d.source)}
	var problems schema.Problems
	if errors.As(err, &rejected) {
		if problems = rejected.Problems; d.Locate != nil {
			problems = d.Locate(problems)
		}
		err = problems
		if len(problems) > 0 {
			fields = append(fields, zap.String("pointer", problems[0].Pointer), zap.Int("problems", len(problems)))
		}
	}
	p.log.Error("the pulled config does not load", append(fields, zap.Error(err))...)
	return problems
}
