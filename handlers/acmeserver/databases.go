package acmeserver

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Options of the databases of a process.
type Options struct {
	// Dir is the data directory. The database of an authority is acme_server/ID/db in it, which is made when a handler for the
	// authority is first in use. Required.
	Dir string
	// Resolvers returns the DNS servers of the current document for handlers that name none, as in the field resolvers. None,
	// or no function, means those of the system.
	Resolvers func() []string
	// Logger returns the logger of a name. Default: nothing is logged.
	Logger func(name string) *zap.Logger

	now   func() time.Time // default: the clock
	check checks           // what is different for tests
}

// Databases is what all ACME servers of a process share: it opens the database of each authority once, for as long as a
// handler for the authority is in use. It is a service, and safe for concurrent use.
type Databases struct {
	options Options
	checker *checker

	mu   sync.Mutex
	open map[string]*state // by path

	suspending sync.Mutex
	suspended  []*store // their locks are held
}

// NewDatabases makes the service. Nothing is opened before it is needed.
func NewDatabases(o Options) *Databases {
	if o.now == nil {
		o.now = time.Now
	}
	if o.Logger == nil {
		o.Logger = func(string) *zap.Logger { return zap.NewNop() }
	}
	return &Databases{options: o, checker: newChecker(o.check), open: map[string]*state{}}
}

// state is the open database of an authority, with what is in memory and what is done in the background.
type state struct {
	key    string // in Databases
	users  int    // under its lock
	store  *store
	nonces *nonces
	log    *zap.Logger
	now    func() time.Time

	ctx    context.Context // ends when it is closed
	cancel context.CancelFunc
	work   sync.WaitGroup
	slots  chan struct{} // one for each check that is being made
	full   chan struct{} // says that there is no more room

	mu   sync.Mutex
	busy map[string]bool // what is being done
}

const (
	// maxChecks is how many challenges are checked at a time.
	maxChecks = 32
	// maxWaiting is how many may wait for that, and be finalized.
	maxWaiting = 1024
)

// acquire opens the database of an authority, or shares it.
func (d *Databases) acquire(id string) (*state, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	path := filepath.Join(d.options.Dir, "acme_server", certmagic.StorageKeys.Safe(id), "db")
	key := path + "\x00" + id
	if s := d.open[key]; s != nil {
		s.users++
		return s, nil
	}
	nonces, err := newNonces()
	if err != nil {
		return nil, err
	}
	store, err := openStore(path, id)
	if err != nil {
		return nil, err
	}
	s := &state{
		key: key, users: 1, store: store, nonces: nonces, log: d.options.Logger(moduleID), now: d.options.now,
		slots: make(chan struct{}, maxChecks), full: make(chan struct{}, 1), busy: map[string]bool{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	d.open[key] = s
	s.work.Go(s.maintain)
	return s, nil
}

// release gives the database up; the last one to do so closes it.
func (d *Databases) release(s *state) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	delete(d.open, s.key)
	s.cancel()
	s.work.Wait()
	if err := s.store.close(); err != nil {
		s.log.Error("closing the database of an ACME server", zap.Error(err))
	}
}

// resolver is the resolver of handlers that name none.
func (d *Databases) resolver() *resolver {
	if d.options.Resolvers == nil {
		return nil
	}
	list := d.options.Resolvers()
	if len(list) == 0 {
		return nil
	}
	r, problems := newResolver(list)
	if len(problems) > 0 {
		return nil // the app tls says what is wrong with them
	}
	return r
}

// begin reports whether nobody is at work at something, who then is until end is called. It fails if too much is being done.
func (s *state) begin(what string) (bool, *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[what] {
		return false, nil
	}
	if len(s.busy) >= maxWaiting {
		p := rateLimited("the server has too much to check")
		p.retryAfter = "10"
		return false, p
	}
	s.busy[what] = true
	return true, nil
}

func (s *state) end(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, what)
}

// hurry has old records deleted soon.
func (s *state) hurry() {
	select {
	case s.full <- struct{}{}:
	default:
	}
}

const (
	cleanInterval = time.Hour
	// hurryInterval is the least time between two passes.
	hurryInterval = time.Minute
	// cleanBatch is how many records are looked at, and at most deleted, in one transaction.
	cleanBatch = 500
)

// maintain deletes what is no longer needed, from time to time.
func (s *state) maintain() {
	for {
		if err := s.clean(); err != nil && !errors.Is(err, context.Canceled) {
			s.log.Error("deleting old records of an ACME server", zap.Error(err))
		}
		if !wait(s.ctx, hurryInterval) {
			return
		}
		select {
		case <-s.ctx.Done():
			return
		case <-s.full:
		case <-time.After(cleanInterval - hurryInterval):
		}
	}
}

// checks is how challenges are checked, where tests have it otherwise.
type checks struct {
	httpPort, tlsPort string          // default: 80 and 443
	waits             []time.Duration // before each further attempt
	dial              func(ctx context.Context, network, address string) (net.Conn, error)
}
