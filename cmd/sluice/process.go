package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/autosave"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/environment"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/firststeps"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/handover"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/journal"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/service"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/internal/memory"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/storage"
	"go.uber.org/zap"
)

// process is a running server.
type process struct {
	*program
	*world
	succession
	opts     runOptions
	dirs     environment.Directories
	log      *zap.Logger
	store    *journal.Held // nil if there is none
	stores   string        // its path
	notify   service.Notifier
	host     *host
	spare    *spareEndpoint
	source   *source
	autosave *autosave.File
	stop     chan struct{} // POST /stop
	stopOnce sync.Once
}

// run starts the server and returns when it has stopped.
func (p *program) run(o runOptions) error {
	signals := service.Trap()
	before, err := handover.New()
	if err != nil {
		return err
	}
	if err = p.runAfter(before, o, signals); err != nil {
		before.Failed(err)
	}
	return err
}

// runAfter is run, perhaps in the place of another process.
func (p *program) runAfter(before *handover.Successor, o runOptions, signals <-chan os.Signal) error {
	s := &process{program: p, opts: o, stop: make(chan struct{}), notify: service.Notifier{Socket: p.notifySocket}, source: &source{},
		succession: succession{executable: handover.Program(os.Args), env: os.Environ(), turn: handover.NewTurn(), before: before}}
	if err := environment.Load(o.envFiles); err != nil { // first, since it may say where things are kept
		return err
	}
	w, err := p.newWorld()
	if err != nil {
		return err
	}
	w.logs.Buffer()
	s.world, s.log = w, w.logs.Core("")
	s.spare = &spareEndpoint{world: w}
	memory.Tune(s.log)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- s.start(ctx) }()
	code, err := s.live(ctx, started, signals)
	if code != 0 || err != nil {
		_ = s.logs.Sync()
		return &failure{max(code, exitFailed), err}
	}
	return nil
}

// start does all that comes before the server is up.
func (p *process) start(ctx context.Context) error {
	p.dirs = environment.These()
	if p.opts.environ {
		p.printEnvironment(p.dirs)
	}
	if environment.HomeMissing(runtime.GOOS, os.Getenv) {
		p.log.Warn("neither the home directory nor all of XDG_CONFIG_HOME, XDG_DATA_HOME and XDG_CACHE_HOME are set; files may end up in unexpected places",
			zap.String("data", p.dirs.Data), zap.String("config", p.dirs.Config))
	}
	if dir := p.dirs.Storage(); dir != p.dirs.Data {
		p.log.Info("the data directory holds no certificates and that of Caddy does, so certificates are kept there unless the config says otherwise",
			zap.String("data", p.dirs.Data), zap.String("caddy", dir))
	}
	if err := p.inherit(); err != nil {
		return err
	}
	if err := p.openStore(); err != nil {
		return err
	}
	last, err := p.lastDocument(ctx)
	if err != nil {
		return err
	}
	first, err := p.chooseStart(ctx, last)
	if err != nil {
		return fmt.Errorf("loading initial config: %w", err)
	}
	if p.estate == nil {
		p.writePidFile()
	}
	p.autosave = autosave.New(p.dirs.AutosaveFile(), p.logs.Core(""))
	if err := p.boot(ctx, last, first); err != nil {
		return err
	}
	if err := p.takeOver(); err != nil {
		return err
	}
	p.logs.Flush()
	if p.opts.started != nil {
		if err := p.opts.started(p); err != nil {
			return err
		}
	}
	p.afterStart(ctx, first)
	return nil
}

// openStore opens the store, if there is to be one.
func (p *process) openStore() error {
	p.stores = storePath(p.opts.store, p.dirs)
	if p.stores == noStore {
		return nil
	}
	store, err := journal.Hold(p.stores, func(err error) {
		p.logs.Core("storage").Error("keeping the store in order", zap.Error(err))
	})
	var locked *storage.LockedError
	if errors.As(err, &locked) {
		return fmt.Errorf("%w; stop that process, or give this one another store with --store", err)
	}
	if err != nil {
		return err
	}
	p.store, p.stores = store, store.Path()
	return nil
}

// newEngine makes an engine that continues from a document of the store.
func (p *process) newEngine(doc *config.Doc, revision uint64) (*server.Engine, error) {
	p.listening = listen.NewManager(listen.Options{Inherited: p.inherited})
	p.packets = listen.InheritPackets(p.inherited)
	opt := server.Options{Table: p.table, Services: p.services, ReadFile: readFile, Globals: p.globals,
		Sockets: p.listening, Packets: p.packets, Logs: p.logs, Doc: doc, Revision: revision,
		Metrics: p.metrics, Telemetry: p.telemetry, Started: p.certificates.bus.Teller("started"), Stopping: p.certificates.bus.Teller("stopping"),
		Certificates: p.certificates, Tickets: p.certificates.tickets, UseStorage: p.certificates.UseStorage, ExpectStorage: p.certificates.storage.Expect}
	if p.store != nil {
		opt.Journal = journal.Journal{Store: p.store}
	}
	eng, err := server.New(opt)
	if err != nil {
		return nil, fmt.Errorf("making the engine: %w", err)
	}
	return eng, nil
}

// serveAdmin gives the admin sockets an API over the engine.
func (p *process) serveAdmin(eng *server.Engine) error {
	p.host = newHost(p, eng, p.metrics)
	var store storage.Store // not one that is nil and says otherwise
	if p.store != nil {
		store = p.store
	}
	api := admin.New(admin.Deps{
		Engine:       p.host,
		Store:        store,
		Table:        p.table,
		Schema:       func() schema.Schema { return documentSchema(p.table) },
		Metrics:      p.metrics,
		Upstreams:    p.pool,
		Authorities:  p.certificates.authorities,
		Certificates: p.certificates,
		Adapters:     map[string]admin.Adapter{configfile.Caddyfile: apiAdapter{p.files}},
		Upgrade:      p.upgrade,
		Stop:         func() { p.stopOnce.Do(func() { close(p.stop) }) },
		Ready:        p.host.ready,
		Log:          p.logs.Core("admin.api"),
		Version:      versionText(),
	})
	p.puller.Connect(pullHost{api, p.host})
	p.sockets.Serve(api)
	return nil
}

// afterStart does what waits for the server to be up.
func (p *process) afterStart(ctx context.Context, first *beginning) {
	p.log.Info("serving initial configuration", zap.Uint64("revision", p.host.engine.Current().Revision()))
	p.host.up.Store(true)
	if ok, why := p.host.ready(); !ok {
		p.notify.Status(why[0])
	}
	p.notify.Send("READY=1")
	if p.opts.pingback != "" && p.estate == nil {
		if err := service.Confirm(p.stdin, p.opts.pingback); err != nil {
			p.log.Error("confirming the start to the process that began it", zap.Error(err))
		}
	}
	if p.opts.firstSteps && p.estate == nil {
		state := firststeps.State{Admin: p.sockets.Addresses()}
		if p.store != nil {
			state.Store = p.stores
		}
		_, state.Trouble = p.host.ready()
		doc, _ := p.host.Document()
		state.Serves = doc.Root().Get("apps").Len() > 0
		firststeps.Print(p.stdout, state)
	}
	if p.opts.watch {
		if p.estate != nil {
			first = &beginning{file: p.watched()}
		}
		if first.file == nil || !first.file.Watch().Possible() {
			p.log.Warn("there is no config file to watch", zap.Bool("resume", p.opts.resume))
			return
		}
		go p.watch(ctx, first.file)
	}
}

// adminStopTime is how long requests to the admin endpoint may take when the
// process stops.
const adminStopTime = 10 * time.Second

// shutdown stops everything in order (cli, section 10.1) and returns the exit
// code.
func (p *process) shutdown() int {
	code := 0
	failed := func(what string, err error) {
		if err != nil {
			p.log.Error(what, zap.Error(err))
			code = exitFailedQuit
		}
	}
	p.puller.Close()
	if p.host != nil {
		failed("stopping the servers", p.host.engine.Shutdown(context.Background()))
	}
	p.certificates.Close()
	if p.autosave != nil {
		p.autosave.Close()
	}
	if p.store != nil {
		failed("closing the store", p.store.Close())
	}
	if p.opts.pidFile != "" {
		failed("removing pid file", os.Remove(p.opts.pidFile))
	}
	p.spare.close()
	ctx, cancel := context.WithTimeout(context.Background(), adminStopTime)
	defer cancel()
	if err := p.sockets.Shutdown(ctx); err != nil {
		p.log.Error("stopping the admin endpoint", zap.Error(err))
	}
	msg := "shutdown complete"
	if code != 0 {
		msg = "unclean shutdown"
	}
	p.log.Info(msg, zap.Int("exit_code", code))
	_ = p.logs.Sync()
	return code
}
