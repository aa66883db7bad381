// Package server is the engine: it turns the document into running servers,
// changes one for the other while requests flow, and serves them.
package server

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"github.com/sluiceproxy/sluice/internal/telemetry"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/tls/handshake"

	"github.com/caddyserver/certmagic"
)

// Options are what an engine is made of.
type Options struct {
	// Table is all modules. Required.
	Table *module.Table
	// Services are what compile functions find by type; the engine adds its own.
	Services module.Services
	// ReadFile and Globals are the world outside the document. Required.
	ReadFile func(string) ([]byte, error)
	Globals  vars.Scope
	// Journal keeps accepted changes; nil keeps none.
	Journal Journal
	// Sockets are the process's listening sockets. Required.
	Sockets *listen.Manager
	// Packets are its UDP sockets; nil is none yet.
	Packets *listen.Packets
	// Logs is where loggers come from. Required.
	Logs *logs.Switch
	// Certificates is where certificates come from, and Tickets the keys of session
	// tickets; without them nothing is served with TLS.
	Certificates Certificates
	Tickets      *handshake.Tickets
	// UseStorage, if set, is told of the storage that each generation names, nil
	// for none, before its modules start.
	UseStorage func(certmagic.Storage)
	// ExpectStorage, if set, is told of the storage of a document that is about to
	// be prepared; if it is not accepted, of the one before again.
	ExpectStorage func(certmagic.Storage)
	// Started, if set, is called when a document has begun to serve, and Stopping
	// when one is about to be replaced or the process to stop. The applier waits
	// for them.
	Started, Stopping func()
	// Metrics is the process's metrics, and Telemetry where they and traces may
	// be sent; nil is one of the engine's own. Both become services.
	Metrics   *metrics.Registry
	Telemetry *telemetry.Telemetry
	// Now is the clock; nil is the real one.
	Now func() time.Time
	// QueueLimit bounds how many changes may wait. Default: 1024.
	QueueLimit int
	// Doc and Revision are what the document is before the first change, as far
	// as the journal is concerned. It does not run until a change applies it.
	Doc      *config.Doc
	Revision uint64
}

// Engine runs one document at a time and changes it on request. All methods are
// safe for concurrent use.
type Engine struct {
	opt     Options
	builder *module.Builder
	process *Process
	current atomic.Pointer[Generation]
	front   *front

	packets *listen.Packets
	names   nameKeeper
	queue   chan *ticket
	closing chan struct{}
	done    chan struct{}
	once    sync.Once

	reclaim reclaimer
	// textSize is how long the document was as JSON when it was last needed.
	textSize atomic.Int64
}

// New makes an engine that runs an empty document, and starts its applier.
func New(opt Options) (*Engine, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.QueueLimit == 0 {
		opt.QueueLimit = 1024
	}
	if opt.Services == nil {
		opt.Services = module.Services{}
	}
	if opt.Packets == nil {
		opt.Packets = listen.NewPackets()
	}
	if err := opt.addMetrics(); err != nil {
		return nil, err
	}
	e := &Engine{opt: opt, packets: opt.Packets, process: &Process{Logs: opt.Logs, requests: opt.Metrics.Requests(), telemetry: opt.Telemetry}, queue: make(chan *ticket, opt.QueueLimit), closing: make(chan struct{}), done: make(chan struct{})}
	e.names = nameKeeper{certificates: opt.Certificates, globals: opt.Globals, servers: map[string]servedNames{}}
	e.process.use(opt.Certificates, opt.Tickets)
	module.Provide(opt.Services, e.process)
	e.builder = &module.Builder{
		Table:   opt.Table,
		Sources: module.Sources{ReadFile: opt.ReadFile, Globals: opt.Globals, Services: opt.Services},
		Workers: runtime.GOMAXPROCS(0),
	}
	e.front = newFront(e)
	doc := opt.Doc
	if doc == nil {
		var err error
		if doc, err = config.NewDoc(nil); err != nil {
			return nil, fmt.Errorf("making an empty document: %w", err)
		}
	}
	e.current.Store(&Generation{doc: doc, root: &root{app: &App{}}, revision: opt.Revision, started: opt.Now(), binds: &bindings{}})
	go e.applier()
	return e, nil
}

// addMetrics makes what was left to the engine.
func (o *Options) addMetrics() error {
	if o.Metrics == nil {
		var err error
		if o.Metrics, err = metrics.New(metrics.Config{}); err != nil {
			return fmt.Errorf("making the registry of metrics: %w", err)
		}
	}
	if o.Telemetry == nil {
		o.Telemetry = telemetry.New(telemetry.Config{})
	}
	module.Provide(o.Services, o.Metrics)
	module.Provide(o.Services, o.Telemetry)
	return nil
}

// Current is what serves now. It never waits for a change under way.
func (e *Engine) Current() *Generation { return e.current.Load() }

// Sockets lists the open listening sockets.
func (e *Engine) Sockets() []listen.SocketInfo { return e.opt.Sockets.List() }

// Draining is how many replaced generations still have requests.
func (e *Engine) Draining() int { return e.reclaim.pending() }

// pin takes hold of the current generation.
func (e *Engine) pin() pin {
	for {
		g := e.current.Load()
		if p, ok := g.tryPin(&e.current); ok {
			return p
		}
	}
}

// Apply makes a change and returns when it serves and is stored. The error is a
// *config.Error (the edit is not possible), a *Rejected (the document would not
// run), a *NotStored, ErrOverload, ErrClosed, or ctx's; in each case the
// document is as it was. When ctx ends before the applier has taken the change
// to the journal, the change is dropped; after that it is made all the same,
// and Apply returns what became of it.
func (e *Engine) Apply(ctx context.Context, c Change) (Report, error) {
	t := &ticket{ctx: ctx, change: c, answer: make(chan answer, 1)}
	select {
	case <-e.closing:
		return Report{}, ErrClosed
	default:
	}
	select {
	case e.queue <- t:
	default:
		return Report{}, ErrOverload
	}
	select {
	case a := <-t.answer:
		return a.report, a.err
	case <-e.done:
	}
	select {
	case a := <-t.answer:
		return a.report, a.err
	default:
		return Report{}, ErrClosed
	}
}

// Shutdown stops taking changes, waits the shutdown delay of the document while
// still serving, stops listening, and lets requests finish for as long as the
// grace period says, or until ctx ends.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.once.Do(func() { close(e.closing) })
	<-e.done
	g := e.Current()
	if e.opt.Stopping != nil && g.tree != nil {
		e.opt.Stopping()
	}
	if d := g.root.app.delay; d > 0 {
		e.process.stopAt.Store(e.opt.Now().Add(d).UnixNano())
		wait(ctx, d)
	}
	e.process.stopAt.Store(e.opt.Now().UnixNano())
	if grace := g.root.app.grace; grace > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, grace)
		defer cancel()
	}
	return e.end(ctx, errors.Join(e.opt.Sockets.Close(ctx), e.front.close(ctx)))
}

// GracePeriod is how long requests may take when the process stops, as the document
// says; 0 is as long as they take.
func (e *Engine) GracePeriod() time.Duration { return e.Current().root.app.grace }

// HandOver is Shutdown for an engine whose sockets another process has inherited
// and serves: they stay as they are, no shutdown delay is waited for, and
// connections get the time until ctx ends. Those that handlers have taken over are
// waited for, too, until streams ends.
func (e *Engine) HandOver(ctx, streams context.Context) error {
	e.once.Do(func() { close(e.closing) })
	<-e.done
	e.process.stopAt.Store(e.opt.Now().UnixNano())
	return e.end(ctx, errors.Join(e.opt.Sockets.Leave(ctx), e.front.handOver(ctx, streams)))
}

// end closes what is left when nothing is served any more.
func (e *Engine) end(ctx context.Context, err error) error {
	e.retireLast()
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	return errors.Join(err, e.opt.Telemetry.Wait(flush))
}

// flushTime is how long the last traces and metrics may take to be sent when the
// process stops.
const flushTime = 5 * time.Second

// pause waits in the applier, until the engine shuts down at most.
func (e *Engine) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.closing:
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// retireLast replaces the last generation by an empty one, so that all it owns
// is closed.
func (e *Engine) retireLast() {
	old := e.current.Load()
	if old.tree == nil {
		return
	}
	empty := &Generation{doc: old.doc, root: &root{app: &App{}}, seq: old.seq + 1, revision: old.revision, started: e.opt.Now(), binds: &bindings{}}
	l := e.expectDrain(old)
	l.gone = old.tree.All()
	e.current.Store(empty)
	old.retire()
}

func (e *Engine) expectDrain(g *Generation) *leftover {
	l := e.reclaim.expect()
	g.onDrain = func() { e.reclaim.drain(l) }
	return l
}
