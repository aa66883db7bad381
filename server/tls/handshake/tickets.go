package handshake

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
)

// Defaults of [SessionTickets], and how long a failed look at the key source is not repeated.
const (
	defaultRotation  = 12 * time.Hour
	defaultMaxKeys   = 4
	ticketRetry      = time.Minute
	keySourceTimeout = time.Minute
	shortestTimer    = time.Second
)

// Ring is ticket keys, the newest first, which is the one that new tickets are encrypted with.
type Ring struct {
	Keys [][32]byte
	// LastRotation is when the newest key was made, and NextRotation when another one is due; zero if none is.
	LastRotation, NextRotation time.Time
}

// Rotation is how a Ring is kept.
type Rotation struct {
	// Interval is how long a key is the newest, and Max how many are kept.
	Interval time.Duration
	Max      int
	// Fixed says that the newest key stays.
	Fixed bool
	// Now is the time, and Rand where keys come from.
	Now  time.Time
	Rand io.Reader
}

// KeySource is where ticket keys come from. It is the value of modules in the namespace tls.stek.
type KeySource interface {
	// Refresh returns the keys to use from now on, at least one. It gets those that are in use and must not change them.
	Refresh(ctx context.Context, have Ring, r Rotation) (Ring, error)
	// Check reports whether Refresh can be expected to work; it is asked before the source is used.
	Check(ctx context.Context, r Rotation) error
}

// due reports whether the ring needs another key. One that was made by a clock far in the future does, too.
func (r Ring) due(o Rotation) bool {
	age := o.Now.Sub(r.LastRotation)
	return len(r.Keys) == 0 || (!o.Fixed && (age >= o.Interval || age <= -o.Interval))
}

// rotated is the ring with another key.
func (r Ring) rotated(o Rotation) (Ring, error) {
	var key [32]byte
	if _, err := io.ReadFull(o.Rand, key[:]); err != nil {
		return r, fmt.Errorf("making a key for session tickets: %w", err)
	}
	r.Keys = append([][32]byte{key}, r.Keys...)
	r.LastRotation = o.Now
	return r, nil
}

// kept is the ring with as many keys as there may be, and the time of the next rotation.
func (r Ring) kept(o Rotation) Ring {
	if len(r.Keys) > o.Max {
		r.Keys = slices.Clone(r.Keys[:o.Max])
	}
	r.NextRotation = time.Time{}
	if !o.Fixed {
		r.NextRotation = r.LastRotation.Add(o.Interval)
	}
	return r
}

// Tickets is the session tickets of the process: the keys that all policies share, which outlive documents. It is a service.
type Tickets struct {
	rand    io.Reader
	onError func(error)
	state   atomic.Pointer[ticketState]

	mu    sync.Mutex
	using *ticketUse
	ring  Ring
	timer *time.Timer
	stop  context.CancelFunc // ends the refresh that runs
	ended bool
}

// ticketState is what handshakes see. It is immutable.
type ticketState struct {
	version  uint64
	disabled bool
	keys     [][32]byte
}

// TicketsOptions are what Tickets needs of the process.
type TicketsOptions struct {
	// Rand is where keys come from. Default: crypto/rand.
	Rand io.Reader
	// OnError is told of keys that could not be renewed; the ones there are stay in use. It may be nil.
	OnError func(error)
}

// NewTickets makes the service, with a key and the default settings.
func NewTickets(o TicketsOptions) (*Tickets, error) {
	t := &Tickets{rand: o.Rand, onError: o.OnError}
	if t.rand == nil {
		t.rand = rand.Reader
	}
	if t.onError == nil {
		t.onError = func(error) {}
	}
	ring, err := standardKeys{}.Refresh(context.Background(), Ring{}, defaultUse().rotation(t.rand))
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.using = defaultUse()
	t.take(ring)
	return t, nil
}

// Close ends the rotation of keys.
func (t *Tickets) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.halt()
}

// Disabled reports whether session tickets are turned off.
func (t *Tickets) Disabled() bool { return t.state.Load().disabled }

// ticketUse is the settings of a document, as a resource of its module.
type ticketUse struct {
	tickets  *Tickets
	source   KeySource
	interval time.Duration
	max      int
	fixed    bool
	disabled bool
}

func defaultUse() *ticketUse {
	return &ticketUse{source: standardKeys{}, interval: defaultRotation, max: defaultMaxKeys}
}

func (u *ticketUse) rotation(rand io.Reader) Rotation {
	return Rotation{Interval: u.interval, Max: u.max, Fixed: u.fixed, Now: time.Now(), Rand: rand}
}

// Own makes the settings those of the process for as long as the module lives that is being compiled; nil is the defaults. The
// keys that there are stay.
func (c *SessionTickets) Own(env *module.Env) {
	u := defaultUse()
	u.tickets = module.Service[*Tickets](env)
	if c != nil {
		if c.KeySource.Set() {
			u.source = c.KeySource.Value()
		}
		if c.RotationInterval > 0 {
			u.interval = time.Duration(c.RotationInterval)
		}
		if c.MaxKeys > 0 {
			u.max = c.MaxKeys
		}
		u.fixed, u.disabled = c.DisableRotation, c.Disabled
	}
	env.Own(u)
}

// Prepare implements module.Resource.
func (u *ticketUse) Prepare() error {
	if u.disabled {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), keySourceTimeout)
	defer cancel()
	if err := u.source.Check(ctx, u.rotation(u.tickets.rand)); err != nil {
		return fmt.Errorf("looking at the keys of session tickets: %w", err)
	}
	return nil
}

// Start implements module.Resource.
func (u *ticketUse) Start() { u.tickets.use(u) }

// Close implements module.Resource. If no later document has its own settings, the defaults apply again.
func (u *ticketUse) Close() {
	t := u.tickets
	t.mu.Lock()
	inUse := t.using == u
	t.mu.Unlock()
	if inUse {
		t.use(defaultUse())
	}
}

// use puts settings to use, and brings the keys up to date soon.
func (t *Tickets) use(u *ticketUse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.halt()
	t.using = u
	t.publish()
	if u.disabled {
		return
	}
	if _, local := u.source.(standardKeys); !local {
		t.after(0)
		return
	}
	ring, err := u.source.Refresh(context.Background(), t.ring, u.rotation(t.rand))
	if err != nil {
		t.onError(err)
		t.after(ticketRetry)
		return
	}
	t.take(ring)
}

// halt stops what is under way. It is called with the lock.
func (t *Tickets) halt() {
	if t.timer != nil {
		t.timer.Stop()
	}
	if t.stop != nil {
		t.stop()
	}
	t.timer, t.stop = nil, nil
}

// after plans the next refresh. It is called with the lock.
func (t *Tickets) after(d time.Duration) {
	u := t.using
	t.timer = time.AfterFunc(d, func() { t.refresh(u) })
}

// take puts keys to use. It is called with the lock.
func (t *Tickets) take(ring Ring) {
	t.ring = ring
	t.publish()
	next := t.using.interval // where keys do not rotate here, others may have changed them
	if !ring.NextRotation.IsZero() {
		next = time.Until(ring.NextRotation)
	}
	t.after(max(next, shortestTimer))
}

// publish shows handshakes what is in use. It is called with the lock.
func (t *Tickets) publish() {
	now := t.state.Load()
	next := &ticketState{version: 1, disabled: t.using.disabled, keys: t.ring.Keys}
	if now != nil {
		next.version = now.version
		if now.disabled == next.disabled && slices.Equal(now.keys, next.keys) {
			return
		}
		if !slices.Equal(now.keys, next.keys) {
			next.version++
		}
	}
	t.state.Store(next)
}

// refresh asks the source for keys, without the lock since it may take long.
func (t *Tickets) refresh(u *ticketUse) {
	t.mu.Lock()
	if t.using != u || t.ended {
		t.mu.Unlock()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), keySourceTimeout)
	t.stop = cancel
	have := t.ring
	t.mu.Unlock()
	ring, err := u.source.Refresh(ctx, have, u.rotation(t.rand))
	cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.using != u || t.ended {
		return
	}
	if err != nil {
		t.onError(err)
		t.after(ticketRetry)
		return
	}
	t.take(ring)
}
