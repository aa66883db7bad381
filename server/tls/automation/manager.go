package automation

import (
	"context"
	"crypto/tls"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"github.com/sluiceproxy/sluice/server/tls/automation/managers"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// Bus is where events go. It is safe for concurrent use.
type Bus interface {
	// Emit tells whoever wants to know. An error is the wish of one of them that what is about to happen does not.
	Emit(ctx context.Context, origin, name string, data map[string]any) error
	// Wanted reports whether anybody would be told.
	Wanted(origin, name string) bool
}

// Options is what a Manager needs. All but Metrics, Events and Challenges are required.
type Options struct {
	// Storage is the storage of the current document.
	Storage certmagic.Storage
	// Log is where the work on certificates is logged.
	Log *zap.Logger
	// Events is where events of certificates go.
	Events Bus
	// Public is who is asked for the certificates of public names where nothing else is said, and Internal for others.
	Public   []Issuer
	Internal Issuer
	// Authority is asked over ACME where a document names no authority; nil is Let's Encrypt.
	Authority *issuance.Authority
	// Metrics is where metrics are made.
	Metrics *metrics.Registry
	// Challenges is told of all configs whose challenges others, with whom a storage is shared, may have begun.
	Challenges interface {
		Use(configs []*certmagic.Config)
	}
}

// Manager is the certificates of the process. It is safe for concurrent use.
type Manager struct {
	storage  certmagic.Storage
	log      *zap.Logger
	refusals *zap.Logger
	// overheardLog is the log of certmagic.
	overheardLog *zap.Logger
	events       Bus
	public       []Issuer
	internal     Issuer
	authority    *issuance.Authority
	// challenges is nil if nobody wants to know.
	challenges interface{ Use([]*certmagic.Config) }
	ctx        context.Context
	cancel     context.CancelFunc
	running    sync.WaitGroup
	failures   *metrics.Counters

	// mu makes changes wait for each other. It may be held while the cache is asked.
	mu                  sync.Mutex
	closed              bool
	cache               *certmagic.Cache // made with the first app
	made                options          // with which the cache was made
	httpPort, httpsPort int
	storages            uint64
	names               names
	lingering           lingers
	current             atomic.Pointer[state]
	started             sync.Once

	// tableMu guards table and what is in it, for readers that must not wait for work. The cache is never asked under it,
	// since the cache asks here while it is locked.
	tableMu sync.RWMutex
	table   table

	loaded loaded
	queue  queue
	wake   chan struct{} // for the loop of maintenance
	ech    echKeys

	publishing publishing
}

// New makes the certificates of a process. Nothing runs until there is an app or a name.
func New(o Options) *Manager {
	m := &Manager{
		storage: o.Storage, log: o.Log, events: o.Events, public: o.Public, internal: o.Internal, wake: make(chan struct{}, 1),
		challenges: o.Challenges, authority: o.Authority,
	}
	m.refusals = o.Log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Second, 10, 0)
	}))
	m.overheardLog = m.overhear(o.Log)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.names.init()
	m.table.init()
	m.lingering.init()
	m.loaded.init()
	m.queue.init(m)
	m.publishing.init(m)
	m.register(o.Metrics)
	return m
}

// Close stops all work. What waits for a certificate authority is given up. Handshakes go on with what there is.
func (m *Manager) Close() {
	m.cancel()
	m.mu.Lock()
	again := m.closed
	m.closed = true
	cache := m.cache
	m.mu.Unlock()
	m.running.Wait()
	if cache != nil && !again {
		cache.Stop()
	}
	certmagic.CleanUpOwnLocks(context.Background(), m.log)
}

// noApp is what applies without an app.
func (m *Manager) noApp() *App { return &App{manager: m, options: defaultOptions()} }

// Use makes an app the one that counts; nil is for a document without one. Names whose policy has changed are worked on.
func (m *Manager) Use(app *App) {
	if app == nil {
		app = m.noApp()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.use(app)
}

// use needs the lock.
func (m *Manager) use(app *App) {
	if m.closed {
		return
	}
	old := m.current.Load()
	m.prepareCache(app.options)
	s := m.newState(app, old)
	m.current.Store(s)
	if m.challenges != nil && (old == nil || !slices.Equal(s.configs(), old.configs())) {
		m.challenges.Use(s.configs())
	}
	m.loaded.use(m, s, app.loaded)
	var before []string
	if old != nil {
		before = old.app.listed()
	}
	m.listed(before, app.listed())
	if old != nil && (len(old.app.loaded) > 0 || len(app.loaded) > 0) {
		m.decide(slices.Collect(maps.Keys(m.names.wanted)))
	}
	m.rebind(s)
	m.ech.use(m, app.ech)
	m.publishing.use(app.publications)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// release takes an app back. If it still counts there is none from then on.
func (m *Manager) release(app *App) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.current.Load(); s != nil && s.app == app {
		m.use(m.noApp())
	}
}

// SetPorts says where ports 80 and 443 of the outside arrive, which certificate authorities ask. 0 is these.
func (m *Manager) SetPorts(http, https int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if http == m.httpPort && https == m.httpsPort {
		return
	}
	m.httpPort, m.httpsPort = http, https
	if s := m.current.Load(); s != nil {
		m.use(s.app)
	}
}

// upcomingStorage is the storage of the document that is being prepared.
func (m *Manager) upcomingStorage() certmagic.Storage {
	if sw, ok := m.storage.(interface{ Upcoming() certmagic.Storage }); ok {
		return sw.Upcoming()
	}
	return m.storage
}

// StorageChanged says that the storage of the document is another one. Certificates that are kept there are looked for in it, and
// obtained if it has none; those before serve until then.
func (m *Manager) StorageChanged() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.storages++
	if s := m.current.Load(); s != nil {
		m.use(s.app)
	}
}

// prepareCache makes the cache, or changes its options. It needs the lock.
func (m *Manager) prepareCache(o options) {
	c := certmagic.CacheOptions{
		GetConfigForCert: m.configOf, Capacity: o.capacity, OCSPCheckInterval: o.ocsp, RenewCheckInterval: o.renew, Logger: m.log,
	}
	if m.cache != nil {
		m.cache.SetOptions(c)
		return
	}
	m.cache, m.made = certmagic.NewCache(c), o
	m.running.Go(m.maintain)
}

// ocspInterval is the time between looks at OCSP responses, 0 if that is still open: certmagic reads it once.
func (m *Manager) ocspInterval() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.made.ocsp
}

// state returns what counts, after making it if there was none.
func (m *Manager) state() *state {
	if s := m.current.Load(); s != nil {
		return s
	}
	m.started.Do(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.current.Load() == nil {
			m.use(m.noApp())
		}
	})
	return m.current.Load()
}

// configOf is what certmagic asks for the config of a certificate, while it has locked its cache.
func (m *Manager) configOf(c certmagic.Certificate) (*certmagic.Config, error) {
	s := m.current.Load()
	if m.loaded.has(c.Hash()) || len(c.Names) == 0 {
		return s.loaded, nil
	}
	return m.find(s, c.Names[0]).config, nil
}

// Config returns what applies to a name. It is cheap, for each handshake.
func (m *Manager) Config(serverName string) *certmagic.Config {
	return m.find(m.state(), normal(serverName)).config
}

func (m *Manager) find(s *state, name string) *binding {
	m.tableMu.RLock()
	var b *binding
	if n := m.table.managed[name]; n != nil {
		b = n.binding
	}
	m.tableMu.RUnlock()
	if b != nil {
		return b
	}
	return s.lookup(name)
}

// Covers reports whether a loaded certificate of the current document is for the name.
func (m *Manager) Covers(name string) bool { return m.state().app.Covers(name) }

// ECHKeys returns the keys of Encrypted ClientHello, the newest of each name first. Its type is that of
// [crypto/tls.Config.GetEncryptedClientHelloKeys].
func (m *Manager) ECHKeys(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
	if keys := m.ech.keys.Load(); keys != nil {
		return *keys, nil
	}
	return nil, nil
}

func isTailscale(name string) bool { return strings.HasSuffix(name, managers.Suffix) }
