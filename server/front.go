package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/wire"
)

// front stands between sockets and generations: it has one protocol server for
// each open socket, which outlives every generation that keeps the socket.
type front struct {
	engine *Engine
	mu     sync.Mutex
	entry  map[*listen.Socket]*entrance
	leave  sync.WaitGroup
}

// entrance serves the connections of one socket.
type entrance struct {
	engine *Engine
	key    listen.Key
	wire   *wire.Server
	// last is what a server was like before its socket left the document; the
	// connections that are still open end with it.
	last atomic.Pointer[departed]
}

// departed keeps the last generation that had a socket.
type departed struct {
	pin      pin
	server   *boundServer
	settings *wire.Settings
}

func newFront(e *Engine) *front {
	return &front{engine: e, entry: map[*listen.Socket]*entrance{}}
}

// at finds or makes the entrance of a socket.
func (f *front) at(s *listen.Socket) *entrance {
	f.mu.Lock()
	defer f.mu.Unlock()
	if en := f.entry[s]; en != nil {
		return en
	}
	en := &entrance{engine: f.engine, key: s.Key()}
	en.wire = wire.NewServer(wire.Options{
		Handler:  en,
		Settings: en.settings,
		Listener: s,
		ErrorLog: f.engine.opt.Logs.StdLog("http.stdlib"),
	})
	f.entry[s] = en
	return en
}

// openSockets opens what a candidate needs and works out which server is meant
// by which socket. The plan is prepared: it must be committed or undone.
func (e *Engine) openSockets(ctx context.Context, next *candidate) (*listen.Plan, error) {
	app := next.root.app
	plan, err := e.opt.Sockets.Plan(ctx, app.wants)
	if err == nil {
		err = plan.Prepare(ctx)
	}
	if err != nil {
		return nil, socketProblems(err)
	}
	b := &bindings{owner: map[listen.Key]bound{}}
	for _, x := range plan.Bindings() {
		b.owner[x.Socket.Key()] = bound{app.owners[x.Want].name, app.spoken[x.Want]}
	}
	next.binds = b
	return plan, nil
}

// socketProblems lists joined errors one by one.
func socketProblems(err error) schema.Problems {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return schema.Problems{socketProblem(err)}
	}
	var ps schema.Problems
	for _, each := range joined.Unwrap() {
		ps = append(ps, socketProblem(each))
	}
	return ps
}

// socketProblem stands at the addresses of the server that it is about.
func socketProblem(err error) schema.Problem {
	p := schema.Problem{Pointer: "/apps/http", Message: err.Error()}
	var of *listen.OwnerError
	if errors.As(err, &of) {
		p.Pointer = config.JoinPointer("/apps/http/servers", of.Owner) + "/listen"
	}
	return p
}

// depart notes the last server of each socket that is to leave, before the new
// generation serves. The old one is still pinned by whoever calls.
func (f *front) depart(plan *listen.Plan, old *Generation) {
	for _, step := range plan.Close() {
		en := f.at(step.Socket)
		if b := old.serverAt(en.key); b != nil {
			en.last.Store(&departed{old.pinNow(), b, b.settingsFor(old.binds.owner[en.key].protocols)})
		}
	}
}

// take carries a prepared plan out, now that the new generation serves. Sockets
// that leave go on for the shutdown delay of the document that had them, which
// holds up the change.
func (f *front) take(plan *listen.Plan, old *Generation) {
	plan.Begin(func(s *listen.Socket, c net.Conn) { f.at(s).wire.Serve(c) })
	if delay := old.root.app.delay; delay > 0 {
		end, leaving := f.engine.opt.Now().Add(delay), false
		for _, step := range plan.Close() {
			if d := f.at(step.Socket).last.Load(); d != nil {
				d.server.leaveAt.Store(end.UnixNano())
				leaving = true
			}
		}
		if leaving {
			f.engine.pause(delay)
		}
	}
	plan.End(f.gone)
}

// gone lets the connections of a socket that has closed finish.
func (f *front) gone(s *listen.Socket) {
	f.mu.Lock()
	en := f.entry[s]
	delete(f.entry, s)
	f.mu.Unlock()
	if en == nil {
		return
	}
	f.leave.Go(func() {
		_ = en.wire.Drain(context.Background(), 0)
		if d := en.last.Swap(nil); d != nil {
			d.pin.Release()
		}
	})
}

// close ends all connections: active requests may finish until ctx ends.
func (f *front) close(ctx context.Context) error {
	f.mu.Lock()
	all := make([]*entrance, 0, len(f.entry))
	for _, en := range f.entry {
		all = append(all, en)
	}
	f.entry = map[*listen.Socket]*entrance{}
	f.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, en := range all {
		wg.Go(func() {
			if errs[i] = en.wire.Drain(ctx, 0); errs[i] != nil {
				errs[i] = errors.Join(errs[i], en.wire.Close())
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

var noSettings = wire.Settings{
	ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	Protocols: wire.Protocols{HTTP1: true},
}

// settings are those of the server that the socket belongs to now.
func (en *entrance) settings() *wire.Settings {
	g := en.engine.current.Load()
	if b := g.serverAt(en.key); b != nil {
		return b.settingsFor(g.binds.owner[en.key].protocols)
	}
	if d := en.last.Load(); d != nil {
		return d.settings
	}
	return &noSettings
}

// ServeHTTP finds the server of the current generation and lets it answer.
func (en *entrance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := en.engine
	p := e.pin()
	b := p.gen.serverAt(en.key)
	if b == nil {
		p.Release()
		d := en.last.Load()
		if d == nil {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		b, p = d.server, d.pin.gen.pinNow()
	}
	b.serve(w, r, p, e.opt.Globals, e.opt.Now())
}
