package journal

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/bolt"
)

// Held is a store that this process can let go of while another one tries to take over. It is a storage.Store; for as
// long as it is suspended whoever uses it waits. It is safe for concurrent use.
type Held struct {
	path    string
	onError func(error)

	mu        sync.RWMutex // held for writing while it is suspended
	store     *bolt.Store  // nil if it could not be opened again
	suspended bool         // guarded by turn
	gone      bool
	turn      sync.Mutex // one Suspend, Resume or Abandon
}

// Hold is Open for a store that can be suspended.
func Hold(path string, onError func(error)) (*Held, error) {
	s, err := Open(path, false, onError)
	if err != nil {
		return nil, err
	}
	return &Held{path: s.Path(), onError: onError, store: s}, nil
}

// Path returns the absolute path of the store's file.
func (h *Held) Path() string { return h.path }

// reopenTime is how long Resume waits for a process that is just ending.
const reopenTime = 10 * time.Second

// Suspend releases the file.
func (h *Held) Suspend() error {
	h.turn.Lock()
	defer h.turn.Unlock()
	h.mu.Lock()
	h.suspended = true
	if h.store == nil {
		return nil
	}
	err := h.store.Close() // what was committed is on disk, whatever it says
	h.store = nil
	if err != nil && h.onError != nil {
		h.onError(err)
	}
	return nil
}

// Resume opens the file again. If that fails each commit tries once more.
func (h *Held) Resume() error {
	h.turn.Lock()
	defer h.turn.Unlock()
	if !h.suspended {
		return nil
	}
	defer h.release()
	var err error
	for end := time.Now().Add(reopenTime); ; {
		h.store, err = Open(h.path, true, h.onError)
		var locked *storage.LockedError
		if err == nil || !errors.As(err, &locked) || time.Now().After(end) {
			return err
		}
	}
}

// Abandon leaves the file to another process.
func (h *Held) Abandon() {
	h.turn.Lock()
	defer h.turn.Unlock()
	if h.suspended {
		h.gone = true
		h.release()
	}
}

func (h *Held) release() {
	h.suspended = false
	h.mu.Unlock()
}

// use returns the store, and what must be called when it is not used any more.
func (h *Held) use() (*bolt.Store, func(), error) {
	h.mu.RLock()
	if h.store != nil {
		return h.store, h.mu.RUnlock, nil
	}
	gone := h.gone
	h.mu.RUnlock()
	if gone {
		return nil, nil, storage.ErrClosed
	}
	h.mu.Lock()
	var err error
	if h.store == nil && !h.gone {
		h.store, err = Open(h.path, true, h.onError)
	}
	h.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	return h.use()
}

// Load implements storage.Store.
func (h *Held) Load(ctx context.Context) (storage.Snapshot, error) {
	s, done, err := h.use()
	if err != nil {
		return storage.Snapshot{}, err
	}
	defer done()
	return s.Load(ctx)
}

// Commit implements storage.Store.
func (h *Held) Commit(ctx context.Context, base uint64, changes []storage.Change, document func() []byte) ([]storage.Revision, error) {
	s, done, err := h.use()
	if err != nil {
		return nil, err
	}
	defer done()
	return s.Commit(ctx, base, changes, document)
}

// History implements storage.Store.
func (h *Held) History(ctx context.Context, before uint64, limit int) ([]storage.Revision, error) {
	s, done, err := h.use()
	if err != nil {
		return nil, err
	}
	defer done()
	return s.History(ctx, before, limit)
}

// Revision implements storage.Store.
func (h *Held) Revision(ctx context.Context, n uint64) (storage.Snapshot, error) {
	s, done, err := h.use()
	if err != nil {
		return storage.Snapshot{}, err
	}
	defer done()
	return s.Revision(ctx, n)
}

// Watch implements storage.Store. Watches end when the store is suspended.
func (h *Held) Watch(ctx context.Context) <-chan storage.Revision {
	s, done, err := h.use()
	if err != nil {
		none := make(chan storage.Revision)
		close(none)
		return none
	}
	defer done()
	return s.Watch(ctx)
}

// Close implements storage.Store.
func (h *Held) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	if h.store == nil {
		return nil
	}
	s := h.store
	h.store = nil
	return s.Close()
}

var _ storage.Store = (*Held)(nil)
