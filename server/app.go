package server

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/internal/fsys"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"github.com/sluiceproxy/sluice/internal/netaddr"
	"github.com/sluiceproxy/sluice/internal/telemetry"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/wire"
	"go.uber.org/zap"

	"github.com/caddyserver/certmagic"
)

// RootConfig is the whole document.
type RootConfig struct {
	// Admin is the admin endpoint, through which this document can be changed.
	Admin module.Ref[any] `json:"admin" module:"=sluice.admin" always:"true"`
	// Logging is the process's logs. By default one log goes to standard error.
	Logging module.Ref[*logs.Set] `json:"logging" module:"=sluice.logging" always:"true"`
	// Storage is where certificates, keys and accounts are kept. Default: files in
	// the data directory.
	Storage module.Ref[certmagic.Storage] `json:"storage" module:"caddy.storage" inline:"module"`
	// Apps are what the process runs, by module name.
	Apps map[string]module.Ref[any] `json:"apps" module:"" keyed:"true"`
}

// root is the compiled document.
type root struct {
	admin *config.Node
	logs  *logs.Set
	app   *App
	files fsys.Registry // the named file systems

	storage certmagic.Storage // nil for the default
}

// sameOutside reports whether two documents have the same admin endpoint, logs
// and storage.
func (r *root) sameOutside(o *root) bool {
	return r.admin == o.admin && r.logs == o.logs && r.storage == o.storage
}

// Specs describes the modules of this package: the document, the http app, its
// servers.
func Specs() []module.Spec {
	return []module.Spec{
		module.New(RootID, "The whole document.", nil, compileRoot),
		module.New(httpID, "HTTP servers and their routes.", nil, compileApp),
		module.New(serverID, "One HTTP server: where it listens and what it does with requests.", nil, compileServer),
		tlsWrapperSpec(),
		redirectWrapperSpec(),
	}
}

func compileRoot(_ *module.Env, c *RootConfig) (*root, error) {
	r := &root{admin: c.Admin.Node(), logs: c.Logging.Value(), app: &App{}, storage: c.Storage.Value()}
	if http, ok := c.Apps[httpID]; ok {
		r.app = http.Value().(*App)
	}
	if files, ok := c.Apps["caddy.filesystems"]; ok {
		r.files, _ = files.Value().(fsys.Registry)
	}
	return r, nil
}

// App is the compiled http app.
type App struct {
	httpPort, httpsPort int
	grace, delay        time.Duration
	servers             map[string]*boundServer
	wants               []listen.Want
	spoken              []spoken       // what is spoken at each of wants
	owners              []*boundServer // whose each of wants is
	datagrams           []datagramWant
	certificates        Certificates
	defaults            *handshake.Policies // of servers that say nothing of them
	metering            metering
}

// boundServer is a server under its name within one app.
type boundServer struct {
	*Server
	name     string
	process  *Process
	decision decision
	expanded map[string]bool // what the host patterns with placeholders say
	routes   *route.List     // those of the server, and what is laid over them
	settings map[spoken]*wire.Settings
	meter    *serverMeter // nil if its requests are not measured
	// leaveAt is when a socket of the server will leave, in Unix nanoseconds; 0
	// while none is about to.
	leaveAt atomic.Int64
}

// Process is what the servers of all generations share.
type Process struct {
	// Logs is where loggers come from.
	Logs *logs.Switch
	// requests is the metrics of requests, and telemetry where they may be pushed
	// to; nil where nothing runs.
	requests  *metrics.Requests
	telemetry *telemetry.Telemetry
	// certificates is nil where nothing is served with TLS, and defaults the
	// policies of servers that say nothing of them.
	certificates Certificates
	defaults     *handshake.Policies
	// stopAt is when the process will stop serving, in Unix nanoseconds; 0 while
	// it is not about to.
	stopAt atomic.Int64
}

// NewProcess returns what documents are compiled against where nothing serves
// them, as when they are only checked. Without certificates what wants TLS is
// refused.
func NewProcess(l *logs.Switch, c Certificates, t *handshake.Tickets) *Process {
	p := &Process{Logs: l}
	p.use(c, t)
	return p
}

func (p *Process) use(c Certificates, t *handshake.Tickets) {
	if p.certificates = c; c != nil {
		p.defaults = handshake.NewPolicies(handshake.DefaultPolicy(t))
	}
}

func compileApp(env *module.Env, c *AppConfig) (any, error) {
	app := &App{
		httpPort: c.HTTPPort, httpsPort: c.HTTPSPort,
		grace: time.Duration(c.GracePeriod), delay: time.Duration(c.ShutdownDelay),
		servers: map[string]*boundServer{},
	}
	process := module.Service[*Process](env)
	app.certificates, app.defaults = process.certificates, process.defaults
	if app.httpPort == 0 {
		app.httpPort = 80
	}
	if app.httpsPort == 0 {
		app.httpsPort = 443
	}
	var ps schema.Problems
	claimed := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Servers)) {
		s := c.Servers[name].Value()
		b := &boundServer{Server: s, name: name, process: process, routes: s.routes, settings: map[spoken]*wire.Settings{}}
		app.servers[name] = b
		at := config.JoinPointer("", "servers", name)
		ps = append(ps, b.expand(env, app, config.JoinPointer(at, "routes"))...)
		b.decision = b.decide(app)
		if b.decision.tls && app.certificates == nil {
			ps = append(ps, schema.Problem{Pointer: at, Message: fmt.Sprintf("server %q would be served with TLS, and this process has no certificates", name)})
			continue
		}
		ps = append(ps, app.claim(b, at, claimed)...)
	}
	if len(ps) > 0 {
		return nil, ps
	}
	app.addRedirects(process)
	app.warn(env)
	app.metered(c)
	if c.Metrics != nil && c.Metrics.OTLP && process.requests != nil {
		env.Own(process.telemetry.Metrics(process.requests.Gatherer()))
	}
	return app, nil
}

// claim enters a server's addresses, each of which only one server may have.
func (app *App) claim(b *boundServer, at string, claimed map[string]string) schema.Problems {
	var ps schema.Problems
	for _, a := range b.addrs {
		pointer := at + "/listen/" + strconv.Itoa(a.index)
		p := a.names
		p.tls = b.decision.tls
		if _, ok := listen.DatagramAddr(a.addr); a.addr.IsDatagram() && (p.stream() || !p.h3 || !p.tls || !ok) {
			ps = append(ps, schema.Problem{Pointer: pointer, Message: fmt.Sprintf("%s is a datagram address; HTTP/1 and HTTP/2 need a stream (tcp, unix or fd), and HTTP/3 alone needs TLS and udp or fdgram", a.addr)})
			continue
		}
		text := a.addr.String()
		if other, ok := claimed[text]; ok && !anyPort(a.addr) {
			ps = append(ps, schema.Problem{Pointer: pointer, Message: fmt.Sprintf("listener address repeated: %s (already claimed by server '%s')", text, other)})
			continue
		}
		claimed[text] = b.name
		app.want(b, a)
	}
	return ps
}

// want enters the sockets for one address of a server.
func (app *App) want(b *boundServer, a listenAddr) {
	p := a.names
	p.tls = b.decision.tls && int(a.addr.StartPort) != app.httpPort
	p.h3 = p.h3 && p.tls
	b.prepareSettings(p, app.certificates)
	if p.stream() {
		app.wants = append(app.wants, listen.Want{Addr: a.addr, Owner: b.name, KeepAlive: b.keepAlive})
		app.spoken = append(app.spoken, p)
		app.owners = append(app.owners, b)
	}
	if at, ok := listen.DatagramAddr(a.addr); ok && p.h3 {
		app.datagrams = append(app.datagrams, datagramWant{at, b, p})
	}
}

// inOrder is the servers in order of their names.
func (app *App) inOrder() []*boundServer {
	list := make([]*boundServer, 0, len(app.servers))
	for _, name := range slices.Sorted(maps.Keys(app.servers)) {
		list = append(list, app.servers[name])
	}
	return list
}

// warn tells of what is left out.
func (app *App) warn(env *module.Env) {
	for _, b := range app.inOrder() {
		for _, a := range b.addrs {
			if p := a.names; b.name != redirectServer && !b.decision.tls && !p.h1 && p.h2 && !p.h2c {
				env.Warn(config.JoinPointer("", "servers", b.name)+"/listen/"+strconv.Itoa(a.index),
					"HTTP/2 skipped because it requires TLS; nothing is served on this address (h2c is HTTP/2 without TLS)")
			}
		}
	}
}

// anyPort reports whether the system chooses the port, so that the address may
// be listed more than once.
func anyPort(a netaddr.Addr) bool { return a.StartPort == 0 && !a.IsUnix() && !a.IsFD() }

// Name implements handlers.Server.
func (b *boundServer) Name() string { return b.name }

// NamedRoute implements handlers.Server.
func (b *boundServer) NamedRoute(name string, w http.ResponseWriter, r *http.Request, next handlers.Next) (bool, error) {
	route := b.named[name]
	if route == nil {
		return false, nil
	}
	return true, route.Serve(w, r, next)
}

// LogCredentials implements handlers.Server.
func (b *boundServer) LogCredentials() bool { return b.access.Credentials() }

// Logger implements handlers.Server.
func (b *boundServer) Logger(name string) *zap.Logger { return b.process.Logs.Current().Logger(name) }

// ShutdownAt implements handlers.Server.
func (b *boundServer) ShutdownAt() time.Time {
	ns := b.process.stopAt.Load()
	if ns == 0 {
		ns = b.leaveAt.Load()
	}
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
