package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/internal/netaddr"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/wire"

	"go.uber.org/zap"
)

// front stands between sockets and generations: it has one protocol server for
// each open socket, which outlives every generation that keeps the socket.
type front struct {
	engine *Engine
	mu     sync.Mutex
	entry  map[*listen.Socket]*entrance
	quic   map[*listen.Packet]*entrance
	leave  sync.WaitGroup
}

// socketPlan is the sockets of a candidate: those of streams and those of
// datagrams.
type socketPlan struct {
	*listen.Plan
	packets *listen.PacketPlan
}

// Undo closes what was opened.
func (p *socketPlan) Undo() {
	p.Plan.Undo()
	p.packets.Undo()
}

// entrance serves the connections of one socket.
type entrance struct {
	engine *Engine
	key    listen.Key
	wire   *wire.Server
	quic   *wire.QUIC // instead of wire at a UDP socket
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
	return &front{engine: e, entry: map[*listen.Socket]*entrance{}, quic: map[*listen.Packet]*entrance{}}
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
func (e *Engine) openSockets(ctx context.Context, next *candidate) (*socketPlan, error) {
	app := next.root.app
	plan, err := e.opt.Sockets.Plan(ctx, app.wants)
	if err == nil {
		err = plan.Prepare(ctx)
	}
	if err != nil {
		return nil, socketProblems(err)
	}
	addrs := make([]netaddr.Addr, len(app.datagrams))
	for i, d := range app.datagrams {
		addrs[i] = d.addr
	}
	packets, err := e.packets.Plan(ctx, addrs)
	if err != nil {
		plan.Undo()
		return nil, socketProblems(err)
	}
	b := &bindings{owner: map[listen.Key]bound{}}
	ports := map[*boundServer][]uint{}
	for _, d := range app.datagrams {
		if port := packets.Port(d.addr); !slices.Contains(ports[d.owner], port) {
			ports[d.owner] = append(ports[d.owner], port)
		}
		b.owner[listen.Key(d.addr.String())] = bound{server: d.owner.name, speak: d.speak}
	}
	for _, x := range plan.Bindings() {
		b.owner[x.Socket.Key()] = app.bind(app.owners[x.Want], app.spoken[x.Want], app.wants[x.Want].Addr, ports)
	}
	next.binds = b
	return &socketPlan{plan, packets}, nil
}

// bind says whose a socket is, and what responses on it tell of HTTP/3: that it is at the same port, or else at those
// where the server speaks it.
func (app *App) bind(b *boundServer, p spoken, at netaddr.Addr, ports map[*boundServer][]uint) bound {
	to := bound{server: b.name, speak: p}
	if _, beside := listen.DatagramAddr(at); p.h3 && beside {
		to.altSvc = altSvc(at.StartPort)
	} else if p.tls {
		to.altSvc = altSvc(ports[b]...)
	}
	return to
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
func (f *front) depart(plan *socketPlan, old *Generation) {
	for _, step := range plan.Close() {
		f.at(step.Socket).depart(old)
	}
	for _, p := range plan.packets.Leaving() {
		f.mu.Lock()
		en := f.quic[p]
		f.mu.Unlock()
		if en != nil {
			en.depart(old)
		}
	}
}

func (en *entrance) depart(old *Generation) {
	if b := old.serverAt(en.key); b != nil {
		en.last.Store(&departed{old.pinNow(), b, b.settingsAt(old.binds.owner[en.key].speak)})
	}
}

// take carries a prepared plan out, now that the new generation serves. Sockets
// that leave go on for the shutdown delay of the document that had them, which
// holds up the change.
func (f *front) take(plan *socketPlan, old *Generation) {
	if err := plan.packets.Commit(f.serveQUIC, f.goneQUIC); err != nil {
		f.engine.opt.Logs.Core("http").Error("HTTP/3 is not served", zap.Error(err))
	}
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
		<-en.wire.Gone()
	})
}

// serveQUIC serves HTTP/3 on a socket.
func (f *front) serveQUIC(p *listen.Packet) {
	en := &entrance{engine: f.engine, key: p.Key()}
	q, err := wire.NewQUIC(p.Conn, wire.QUICOptions{
		Handler: en, Settings: en.settings, Listener: p, Tag: f.engine.packets.Tag(),
		ErrorLog: f.engine.opt.Logs.StdLog("http.stdlib"),
	})
	if err != nil {
		f.engine.opt.Logs.Core("http").Error("HTTP/3 is not served", zap.String("address", p.Addr.String()), zap.Error(err))
		return
	}
	en.quic = q
	f.mu.Lock()
	f.quic[p] = en
	f.mu.Unlock()
}

// goneQUIC lets the requests at a socket that leaves finish. Others may listen at
// its address from now on, so its connections are told to go.
func (f *front) goneQUIC(p *listen.Packet, now bool) {
	f.mu.Lock()
	en := f.quic[p]
	delete(f.quic, p)
	f.mu.Unlock()
	if en == nil {
		_ = p.Conn.Close()
		return
	}
	if now {
		_ = en.quic.Close()
	}
	f.leave.Go(func() {
		_ = en.quic.Drain(context.Background(), quicLeave)
		if d := en.last.Swap(nil); d != nil {
			d.pin.Release()
		}
	})
}

// quicLeave is how long requests at a UDP socket that leaves may take.
const quicLeave = time.Minute

// close ends all connections: active requests may finish until ctx ends.
func (f *front) close(ctx context.Context) error {
	return f.endAll(func(en *entrance) error {
		if en.quic != nil {
			return en.quic.Drain(ctx, 0)
		}
		err := en.wire.Drain(ctx, 0)
		if err != nil {
			err = errors.Join(err, en.wire.Close())
		}
		return err
	})
}

// handOver ends all connections of sockets that another process has now, in their own time until ctx ends, or streams
// for those that handlers have taken over.
func (f *front) handOver(ctx, streams context.Context) error {
	err := f.endAll(func(en *entrance) error {
		if en.quic != nil {
			return en.quic.HandOver(ctx)
		}
		return en.wire.HandOver(ctx, streams)
	})
	left := make(chan struct{})
	go func() {
		f.leave.Wait() // for sockets that have left before
		close(left)
	}()
	select {
	case <-left:
	case <-ctx.Done():
	case <-streams.Done():
	}
	return err
}

// endAll lets go of all entrances.
func (f *front) endAll(end func(*entrance) error) error {
	f.mu.Lock()
	all := make([]*entrance, 0, len(f.entry)+len(f.quic))
	for _, en := range f.entry {
		all = append(all, en)
	}
	for _, en := range f.quic {
		all = append(all, en)
	}
	f.entry, f.quic = map[*listen.Socket]*entrance{}, map[*listen.Packet]*entrance{}
	f.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, en := range all {
		wg.Go(func() { errs[i] = end(en) })
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
		return b.settingsAt(g.binds.owner[en.key].speak)
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
	if alt := p.gen.binds.owner[en.key].altSvc; alt != nil && r.ProtoMajor < 3 {
		w.Header()["Alt-Svc"] = alt
	}
	b.serve(w, r, p, e.opt.Globals, e.opt.Now())
}
