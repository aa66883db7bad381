package pki

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"go.uber.org/zap"
)

// useTimeout bounds how long whoever needs an authority waits for it to be made.
const useTimeout = time.Minute

// Options of the authorities of a process.
type Options struct {
	// Storage is where authorities are kept that name no storage. Required. If it has a method Current() certmagic.Storage,
	// it stands for the storage that this returns; if it also has Upcoming() certmagic.Storage, that is the storage of a
	// document which is being prepared.
	Storage certmagic.Storage
	// Globals resolves the placeholders in the names of the authority local. Default: {time.now.*} only.
	Globals vars.Scope
	// Logger returns the logger of a name such as "pki.ca.local". Default: nothing is logged.
	Logger func(name string) *zap.Logger
	// Trust is the trust stores that roots are put into. Default: none.
	Trust Installer
}

// Authorities is the certificate authorities of a process. It is a service: one for a process. All methods are safe for
// concurrent use.
type Authorities struct {
	storage certmagic.Storage
	logger  func(name string) *zap.Logger
	trust   Installer
	local   *definition // of DefaultID where a document does not define it
	ctx     context.Context
	cancel  context.CancelFunc
	loops   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	current *App   // nil for that of a document without the app
	pending []*App // prepared and not started, newest last
	live    map[key]*Authority
	wanted  map[string]bool // digests of definitions whose roots are to be installed
	tried   map[string]bool // fingerprints of roots that were, or could not be
}

// key is what makes two authorities the same.
type key struct {
	digest  string
	storage certmagic.Storage
}

// Unknown says that no authority has an ID.
type Unknown struct {
	// ID is the ID.
	ID string
}

// Error implements error.
func (e *Unknown) Error() string { return "no certificate authority configured with id: " + e.ID }

// NewAuthorities makes the authorities of a process, of which none is used yet. Close ends what they do in the background.
func NewAuthorities(o Options) *Authorities {
	s := &Authorities{
		storage: o.Storage, logger: o.Logger, trust: o.Trust,
		live: map[key]*Authority{}, wanted: map[string]bool{}, tried: map[string]bool{},
	}
	if s.logger == nil {
		s.logger = func(string) *zap.Logger { return zap.NewNop() }
	}
	if o.Globals == nil {
		o.Globals = &vars.Global{Now: time.Now}
	}
	s.local = definitionOf(DefaultID, &CA{}, o.Globals)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close ends all that is done in the background and waits for it, but for what a trust store still does.
func (s *Authorities) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.loops.Wait()
}

// Get returns the authority with an ID of the document that is in use; "" is [DefaultID]. If the authority is not there yet
// it is generated. An ID that stands for none is an [*Unknown]. The authority should not be kept beyond what it is needed
// for: after an edit the ID may stand for another.
func (s *Authorities) Get(id string) (*Authority, error) {
	a, err := s.find(id, false)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, useTimeout)
	defer cancel()
	if _, err := a.ready(ctx); err != nil {
		return nil, fmt.Errorf("certificate authority %q: %w", a.ID(), err)
	}
	s.mu.Lock()
	s.activate(a)
	s.mu.Unlock()
	return a, nil
}

// Check reports whether the document that is being prepared, or else the one in use, has an authority with an ID, as an
// [*Unknown] if not. It makes nothing. "" is [DefaultID].
func (s *Authorities) Check(id string) error {
	_, err := s.find(id, true)
	return err
}

// Upcoming returns the authority with an ID of the document that is being prepared, or else of the one in use. It makes
// nothing: see [Authority.Prepare].
func (s *Authorities) Upcoming(id string) (*Authority, error) { return s.find(id, true) }

// Need is the resource of a module that signs with the authority of an ID: the document is refused if there is none, and the
// authority is made and its root put into the trust stores, as configured, when the document takes effect.
func (s *Authorities) Need(id string) module.Resource { return &need{s, id} }

type need struct {
	process *Authorities
	id      string
}

func (n *need) Prepare() error { return n.process.Check(n.id) }
func (n *need) Close()         {}

func (n *need) Start() {
	// The app of the same document may start after this.
	if a, err := n.process.find(n.id, true); err == nil {
		n.process.announce(a)
	}
}

// find returns the authority with an ID, which may not be ready.
func (s *Authorities) find(id string, upcoming bool) (*Authority, error) {
	if id == "" {
		id = DefaultID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	app := s.current
	if upcoming && len(s.pending) > 0 {
		app = s.pending[len(s.pending)-1]
	}
	d := s.defined(app, id)
	if d == nil {
		return nil, &Unknown{ID: id}
	}
	return s.ofLocked(d, upcoming), nil
}

// defined returns the definition of an ID in a document, nil if there is none.
func (s *Authorities) defined(app *App, id string) *definition {
	if app != nil {
		if d := app.definitions[id]; d != nil {
			return d
		}
	}
	if id == DefaultID {
		return s.local
	}
	return nil
}

// of returns the authority of a definition.
func (s *Authorities) of(d *definition, upcoming bool) *Authority {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ofLocked(d, upcoming)
}

func (s *Authorities) ofLocked(d *definition, upcoming bool) *Authority {
	storage := d.storage
	if storage == nil {
		storage = s.storageNow(upcoming)
	}
	k := key{d.digest, storage}
	a := s.live[k]
	if a == nil {
		s.sweep()
		a = newAuthority(s, d, storage)
		s.live[k] = a
	}
	return a
}

func (s *Authorities) storageNow(upcoming bool) certmagic.Storage {
	if upcoming {
		if sw, ok := s.storage.(interface{ Upcoming() certmagic.Storage }); ok {
			return sw.Upcoming()
		}
	}
	if sw, ok := s.storage.(interface{ Current() certmagic.Storage }); ok {
		return sw.Current()
	}
	return s.storage
}

// propose notes the authorities of a document that is being prepared.
func (s *Authorities) propose(app *App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, app)
}

// use makes the authorities of a document those of the process.
func (s *Authorities) use(app *App) {
	s.mu.Lock()
	s.current = app
	s.dropPending(app)
	s.sweep()
	s.mu.Unlock()
	for _, id := range app.IDs() {
		s.announce(s.of(app.definitions[id], false))
	}
}

// leave forgets the authorities of a document.
func (s *Authorities) leave(app *App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == app {
		s.current = nil
	}
	s.dropPending(app)
	s.sweep()
}

func (s *Authorities) dropPending(app *App) {
	s.pending = slices.DeleteFunc(s.pending, func(p *App) bool { return p == app })
}

// StorageChanged is called after the storage of the document has changed. The authorities that are kept in it end, and those
// that were at work are made in the new one if they are not there.
func (s *Authorities) StorageChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	if len(s.pending) > 0 {
		return // it starts with the new storage
	}
	all := map[string]*definition{DefaultID: s.local}
	if s.current != nil {
		maps.Copy(all, s.current.definitions)
	}
	for _, d := range all {
		if s.wanted[d.digest] {
			s.activate(s.ofLocked(d, false))
		}
	}
}

// sweep ends the authorities that no document means any more, or whose storage is no longer that of the process. Whoever
// still holds one can go on signing.
func (s *Authorities) sweep() {
	for k, a := range s.live {
		if !s.meant(a) || (a.d.storage == nil && a.storage != s.storageNow(false) && a.storage != s.storageNow(true)) {
			a.stop()
			delete(s.live, k)
		}
	}
	for digest := range s.wanted {
		if digest != s.local.digest && !s.meansDigest(digest) {
			delete(s.wanted, digest)
		}
	}
}

func (s *Authorities) meansDigest(digest string) bool {
	for _, app := range append(slices.Clone(s.pending), s.current) {
		if app == nil {
			continue
		}
		for _, d := range app.definitions {
			if d.digest == digest {
				return true
			}
		}
	}
	return false
}

func (s *Authorities) meant(a *Authority) bool {
	for _, app := range append(slices.Clone(s.pending), s.current) {
		if d := s.defined(app, a.d.id); d != nil && d.digest == a.d.digest {
			return true
		}
	}
	return false
}

// announce makes an authority work in the background, and installs its root if that is configured.
func (s *Authorities) announce(a *Authority) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted[a.d.digest] = true
	if a.running {
		select {
		case a.poke <- struct{}{}:
		default:
		}
	}
	s.activate(a)
}

// activate starts what an authority does in the background, if it does not do so yet. The caller holds the lock.
func (s *Authorities) activate(a *Authority) {
	if s.closed || s.live[key{a.d.digest, a.storage}] != a {
		return
	}
	if !a.running {
		a.running = true
		s.loops.Go(a.maintain)
	}
}

// wantsTrust reports whether the root of an authority is to be put into trust stores, and notes that this has been tried: it is
// once in the life of the process for each root.
func (s *Authorities) wantsTrust(a *Authority, root *x509.Certificate) bool {
	id := fingerprint(root)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trust == nil || !a.d.install || !s.wanted[a.d.digest] || s.tried[id] {
		return false
	}
	s.tried[id] = true
	return true
}
