package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/sluiceproxy/sluice/internal/fsx"
	"github.com/sluiceproxy/sluice/storage"
)

// unfinished is what the name of a file has at its end while it is being made.
const unfinished = ".tmp-new"

// Options say how a store is opened. The zero value can read what is stored
// as whole documents, and commit.
type Options struct {
	// Replay rebuilds documents from edits. Without it, revisions that need
	// it fail to load.
	Replay storage.Replay
	// Digest, if given, is checked against the digest of a revision whenever
	// its document is rebuilt.
	Digest storage.Digest
	// Limits bound the history.
	Limits storage.Limits
	// MustExist makes Open fail with storage.ErrNotFound where there is no
	// store yet, instead of creating one.
	MustExist bool
	// Now is the clock for Revision.Time. Default time.Now.
	Now func() time.Time
	// OnError is told what goes wrong in the background: a snapshot that
	// could not be written, history that could not be pruned. Nothing is lost
	// by it, and it is tried again. It is called from the store's goroutine.
	OnError func(error)
	// SnapshotEvery is the number of revisions after which a whole document
	// is written. Default 500, or half of Limits.MaxRevisions if that is
	// less, but at least 16.
	SnapshotEvery int
	// SnapshotBytes is the size of edits after which a whole document is
	// written, if it also exceeds that of the last one. Default 4 MiB.
	SnapshotBytes int64

	openFile func(name string, flag int, mode os.FileMode) (*os.File, error) // tests
}

func (o Options) withDefaults() Options {
	o.Limits = o.Limits.WithDefaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	if o.SnapshotEvery <= 0 {
		o.SnapshotEvery = min(500, max(16, o.Limits.MaxRevisions/2))
	}
	if o.SnapshotBytes <= 0 {
		o.SnapshotBytes = 4 << 20
	}
	if o.openFile == nil {
		o.openFile = os.OpenFile
	}
	return o
}

// Store is a storage.Store in a bbolt file. It is safe for concurrent use.
type Store struct {
	path string
	opts Options
	lock *os.File // nil if a read-only place has no lock file
	feed storage.Feed

	last  atomic.Uint64 // latest revision
	floor atomic.Uint64 // oldest revision that can be rebuilt

	wake    chan struct{} // to the keeper: there may be something to do
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed by the keeper

	dbmu sync.RWMutex // held for reading while db is read, for writing to replace it
	db   *bbolt.DB    // nil if the file can't be opened
	file *os.File     // the file in db

	mu     sync.Mutex // one writer: a Commit, or a step of the keeper
	closed bool
	failed error  // why nothing can be written until reopen succeeds
	tx     uint64 // id of the write transaction that was begun last
	book   book
}

var _ storage.Store = (*Store)(nil)

// lockPatience is how long Open waits for a process that is just ending.
const lockPatience = 500 * time.Millisecond

// Open opens the store in the file path, creating it (mode 0600) and its
// directory (mode 0700) if they don't exist. If another process has it, Open
// fails within a second with a *storage.LockedError. A file that can be read
// but not written is opened all the same, see the package comment. Errors:
// storage.ErrCorrupt if the file is damaged or isn't a store,
// storage.ErrNotFound with Options.MustExist, else the system's.
func Open(path string, o Options) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening store %s: %w", path, err)
	}
	s := &Store{
		path: abs, opts: o.withDefaults(),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if err := s.open(); err != nil {
		s.abandon()
		s.unlock()
		if locked := (*storage.LockedError)(nil); errors.As(err, &locked) {
			return nil, locked
		}
		return nil, fmt.Errorf("opening store %s: %w", abs, err)
	}
	go s.keep()
	return s, nil
}

func (s *Store) open() error {
	_, err := os.Stat(s.path)
	missing := errors.Is(err, os.ErrNotExist)
	if missing && s.opts.MustExist {
		return storage.ErrNotFound
	}
	if missing {
		if err := fsx.MkdirAll(filepath.Dir(s.path)); err != nil {
			return err
		}
	}
	if err := s.takeLock(); err != nil {
		return err
	}
	if _, err := os.Stat(s.path); errors.Is(err, os.ErrNotExist) { // again, now that nobody else can create it
		if err := s.create(); err != nil {
			return fmt.Errorf("creating it: %w", err)
		}
	}
	if err := s.openDB(); err != nil {
		return err
	}
	return s.view(s.book.load(s))
}

// create makes an empty store under a temporary name and renames it, so that
// a file of that name is complete whenever the process dies.
func (s *Store) create() error {
	temp := s.path + unfinished
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	defer os.Remove(temp)
	db, err := bbolt.Open(temp, 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, OpenFile: s.opts.openFile})
	if err != nil {
		return err
	}
	db.AllocSize = allocSize
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketStore, bucketRecords, bucketParts, bucketSnapshots, bucketPieces} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketStore).Put(keyFormat, formatNow)
	})
	if err == nil {
		err = db.Sync()
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, s.path); err != nil {
		return err
	}
	return fsx.SyncDir(filepath.Dir(s.path))
}

// Path returns the absolute path of the store's file.
func (s *Store) Path() string { return s.path }

// Watch implements storage.Store.
func (s *Store) Watch(ctx context.Context) <-chan storage.Revision {
	return s.feed.Watch(ctx, s.last.Load(), s.next)
}

// Close ends watches, lets the keeper finish (it writes a snapshot if
// starting without it would mean much replaying), and releases the file.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.stopped
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	<-s.stopped
	s.feed.Close()
	s.dbmu.Lock()
	defer s.dbmu.Unlock()
	var err error
	if s.db != nil {
		err = s.db.Close()
		s.db = nil
	}
	s.unlock()
	if err != nil {
		return fmt.Errorf("closing store %s: %w", s.path, err)
	}
	return nil
}
