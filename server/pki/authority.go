package pki

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

const (
	// maintainTimeout bounds one look at what needs to be renewed.
	maintainTimeout = 2 * time.Minute
	// warnInterval is the time between two warnings of the same.
	warnInterval = 24 * time.Hour
)

// Authority is a certificate authority. All methods are safe for concurrent use.
type Authority struct {
	process *Authorities
	d       *definition
	storage certmagic.Storage
	log     *zap.Logger

	state atomic.Pointer[state]
	turn  chan struct{} // holds one token while someone reads or writes the storage

	ctx    context.Context
	cancel context.CancelFunc

	running bool          // under process.mu
	poke    chan struct{} // holds a token while the loop should look now

	warned map[string]time.Time // by the goroutine of maintain only
}

// state is what an authority signs with. It is immutable.
type state struct {
	root   []*x509.Certificate // the root, and what follows it in its file
	chain  []*x509.Certificate // intermediates, the signer first
	signer crypto.Signer
	send   []*x509.Certificate // what a server sends after its leaf; set when the state is put to use
}

func (s *state) same(o *state) bool {
	equal := func(a, b *x509.Certificate) bool { return a.Equal(b) }
	return o != nil && slices.EqualFunc(s.root, o.root, equal) && slices.EqualFunc(s.chain, o.chain, equal)
}

// complete reports whether the state can sign.
func (s *state) complete() bool { return s.root != nil && s.chain != nil }

func newAuthority(s *Authorities, d *definition, storage certmagic.Storage) *Authority {
	a := &Authority{
		process: s, d: d, storage: storage, log: s.logger("pki.ca." + d.id),
		turn: make(chan struct{}, 1), poke: make(chan struct{}, 1), warned: map[string]time.Time{},
	}
	a.ctx, a.cancel = context.WithCancel(s.ctx)
	return a
}

func (a *Authority) stop() { a.cancel() }

// ID is the ID.
func (a *Authority) ID() string { return a.d.id }

// Name is what people call it.
func (a *Authority) Name() string { return a.d.name }

// Root is the root. It is nil for an authority of [Authorities.Upcoming] that is not prepared.
func (a *Authority) Root() *x509.Certificate {
	if s := a.state.Load(); s != nil {
		return s.root[0]
	}
	return nil
}

// Intermediate is the certificate that signs leafs. It is nil for an authority of [Authorities.Upcoming] that is not prepared.
func (a *Authority) Intermediate() *x509.Certificate {
	if s := a.state.Load(); s != nil {
		return s.chain[0]
	}
	return nil
}

// Chain is what a server sends after its leaf: the intermediates, the signer first, without the root. It must not be changed.
func (a *Authority) Chain() []*x509.Certificate {
	s := a.state.Load()
	if s == nil {
		return nil
	}
	return s.send
}

// withoutEnd is a chain without what every client has to know anyway, each certificate once.
func withoutEnd(chain []*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range chain {
		if !selfSigned(c) && !slices.ContainsFunc(out, c.Equal) {
			out = append(out, c)
		}
	}
	return out
}

// Managed reports whether the intermediate is generated and renewed, and IntermediateLifetime how long it is then valid.
func (a *Authority) Managed() bool { return a.d.intermediate == nil }

// IntermediateLifetime is how long intermediates are valid that are generated.
func (a *Authority) IntermediateLifetime() time.Duration { return a.d.lifetime }

// Prepare makes the authority able to sign: it generates what is not there.
func (a *Authority) Prepare(ctx context.Context) error {
	if _, err := a.ready(ctx); err != nil {
		return fmt.Errorf("certificate authority %q: %w", a.d.id, err)
	}
	return nil
}

// PrepareRoot returns the root, which it generates if it is not there.
func (a *Authority) PrepareRoot(ctx context.Context) (*x509.Certificate, error) {
	if a.d.root != nil {
		return a.d.root.certificates[0], nil
	}
	if err := a.Prepare(ctx); err != nil {
		return nil, err
	}
	return a.Root(), nil
}

// ready returns a state that can sign now.
func (a *Authority) ready(ctx context.Context) (*state, error) {
	if s := a.state.Load(); s != nil && time.Until(s.chain[0].NotAfter) >= MinLifetime {
		return s, nil
	}
	err := a.refresh(ctx)
	if s := a.state.Load(); s != nil && time.Now().Before(s.chain[0].NotAfter) {
		return s, nil
	}
	if err == nil {
		err = errors.New("the intermediate has expired; give one that is valid, or let it be generated")
	}
	return nil, err
}

// refresh reads the storage, generates what is not there, and renews what is due. What can sign is put to use even if there
// is an error.
func (a *Authority) refresh(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the authority to be made: %w", context.Cause(ctx))
	}
	defer func() { <-a.turn }()
	s, err := a.load(ctx)
	if err != nil {
		return err
	}
	if s.complete() {
		a.adopt(s)
		if !a.lacks(s) {
			return nil
		}
	}
	lock := lockName(a.d.safe)
	if err := a.storage.Lock(ctx, lock); err != nil {
		return fmt.Errorf("waiting for the lock %s of storage %v: %w", lock, a.storage, err)
	}
	defer func() {
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), prepareTimeout)
		defer cancel()
		if err := a.storage.Unlock(release, lock); err != nil {
			a.log.Error("releasing a lock of the storage", zap.String("lock", lock), zap.Error(err))
		}
	}()
	if s, err = a.load(ctx); err != nil { // another process may have been here
		return err
	}
	err = a.fill(ctx, s)
	if s.complete() {
		a.adopt(s)
	}
	return err
}

// lacks reports whether something has to be generated.
func (a *Authority) lacks(s *state) bool {
	return !s.complete() || (a.Managed() && a.d.due(s.chain[0], time.Now()))
}

// adopt puts a state to use.
func (a *Authority) adopt(s *state) {
	old := a.state.Load()
	if s.same(old) {
		return
	}
	s.send = withoutEnd(slices.Concat(s.chain, s.root)) // the root too, if it is signed by another
	a.state.Store(s)
	if old != nil && !old.root[0].Equal(s.root[0]) {
		a.log.Warn("the storage has another root than before; it is used from now on", zap.String("subject", s.root[0].Subject.CommonName))
	}
}

// check refuses settings that do not fit what the storage holds. It makes nothing.
func (a *Authority) check(ctx context.Context) error {
	s, err := a.load(ctx)
	if err != nil {
		return err
	}
	if !a.Managed() || s.root == nil {
		return nil
	}
	if s.chain == nil && a.d.root != nil && a.d.root.key == nil {
		return errNoRootKey
	}
	return a.d.checkLifetime(time.Until(s.root[0].NotAfter))
}

var errNoRootKey = errors.New("the root has no private key, so it cannot sign an intermediate; name the file of its key as private_key, or give an intermediate as well")

// maintain makes the authority ready and keeps it so until it is stopped.
func (a *Authority) maintain() {
	for {
		a.look()
		a.installOnce()
		timer := time.NewTimer(a.d.interval)
		select {
		case <-timer.C:
		case <-a.poke:
			timer.Stop()
		case <-a.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// look renews what is due and warns of what cannot be renewed.
func (a *Authority) look() {
	ctx, cancel := context.WithTimeout(a.ctx, maintainTimeout)
	defer cancel()
	err := a.refresh(ctx)
	if a.ctx.Err() != nil {
		return
	}
	if err != nil {
		a.log.Error("maintaining the certificate authority", zap.Error(err))
	}
	s := a.state.Load()
	if s == nil {
		return
	}
	now := time.Now()
	if c := s.root[0]; a.d.due(c, now) {
		a.warn(now, "the root certificate expires soon and is not renewed; make a new one and have clients trust it in time", c)
	}
	if c := s.chain[0]; !a.Managed() && a.d.due(c, now) {
		a.warn(now, "the intermediate certificate expires soon and is not renewed, because the document names it; replace its files", c)
	}
}

// warn logs a warning about a certificate, once a day.
func (a *Authority) warn(now time.Time, message string, c *x509.Certificate) {
	if last, ok := a.warned[message]; ok && now.Sub(last) < warnInterval {
		return
	}
	a.warned[message] = now
	a.log.Warn(message, zap.String("subject", c.Subject.CommonName), zap.Time("expires", c.NotAfter))
}
