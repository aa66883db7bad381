package certstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
)

// Switch is the storage of the current document, for whoever has none of its own.
// A lock is released where it was taken, also if the document has another storage
// by then. It is safe for concurrent use.
type Switch struct {
	otherwise certmagic.Storage
	current   atomic.Pointer[certmagic.Storage]
	upcoming  atomic.Pointer[certmagic.Storage]

	// locks lets one holder of a name through, so that it is known where the lock
	// of that name was taken.
	locks names
	mu    sync.Mutex
	held  map[string]certmagic.Storage
}

var (
	_ certmagic.Storage          = (*Switch)(nil)
	_ certmagic.TryLocker        = (*Switch)(nil)
	_ certmagic.LockLeaseRenewer = (*Switch)(nil)
)

// NewSwitch makes a switch that uses a storage where a document names none.
func NewSwitch(otherwise certmagic.Storage) *Switch {
	return &Switch{otherwise: otherwise, held: map[string]certmagic.Storage{}}
}

// Use makes s the storage from now on; nil is the one that the switch was made with.
func (sw *Switch) Use(s certmagic.Storage) {
	sw.Expect(s)
	sw.current.Store(sw.upcoming.Load())
}

// Expect says which storage a document names that is being prepared, nil for none.
func (sw *Switch) Expect(s certmagic.Storage) {
	if s == nil {
		sw.upcoming.Store(nil)
		return
	}
	sw.upcoming.Store(&s)
}

// Upcoming is the storage of the document that is being prepared, or else of the one in use.
func (sw *Switch) Upcoming() certmagic.Storage {
	if s := sw.upcoming.Load(); s != nil {
		return *s
	}
	return sw.otherwise
}

// Current is the storage that is used now.
func (sw *Switch) Current() certmagic.Storage {
	if s := sw.current.Load(); s != nil {
		return *s
	}
	return sw.otherwise
}

// String names the storage that is used now.
func (sw *Switch) String() string { return fmt.Sprint(sw.Current()) }

// Store implements certmagic.Storage.
func (sw *Switch) Store(ctx context.Context, key string, value []byte) error {
	return sw.Current().Store(ctx, key, value)
}

// Load implements certmagic.Storage.
func (sw *Switch) Load(ctx context.Context, key string) ([]byte, error) {
	return sw.Current().Load(ctx, key)
}

// Delete implements certmagic.Storage.
func (sw *Switch) Delete(ctx context.Context, key string) error {
	return sw.Current().Delete(ctx, key)
}

// Exists implements certmagic.Storage.
func (sw *Switch) Exists(ctx context.Context, key string) bool {
	return sw.Current().Exists(ctx, key)
}

// List implements certmagic.Storage.
func (sw *Switch) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	return sw.Current().List(ctx, path, recursive)
}

// Stat implements certmagic.Storage.
func (sw *Switch) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	return sw.Current().Stat(ctx, key)
}

// Lock implements certmagic.Locker.
func (sw *Switch) Lock(ctx context.Context, name string) error {
	if err := sw.locks.lock(ctx, name); err != nil {
		return err
	}
	s := sw.Current()
	if err := s.Lock(ctx, name); err != nil {
		_ = sw.locks.unlock(name)
		return err
	}
	sw.hold(name, s)
	return nil
}

// TryLock implements certmagic.TryLocker.
func (sw *Switch) TryLock(ctx context.Context, name string) (bool, error) {
	s := sw.Current()
	locker, ok := s.(certmagic.TryLocker)
	if !ok {
		return false, fmt.Errorf("taking lock %s: the storage %v can only wait for locks", name, s)
	}
	if !sw.locks.tryLock(name) {
		return false, nil
	}
	got, err := locker.TryLock(ctx, name)
	if !got || err != nil {
		_ = sw.locks.unlock(name)
		return false, err
	}
	sw.hold(name, s)
	return true, nil
}

func (sw *Switch) hold(name string, s certmagic.Storage) {
	sw.mu.Lock()
	sw.held[name] = s
	sw.mu.Unlock()
}

// Unlock implements certmagic.Locker.
func (sw *Switch) Unlock(ctx context.Context, name string) error {
	sw.mu.Lock()
	s, ok := sw.held[name]
	delete(sw.held, name)
	sw.mu.Unlock()
	if !ok {
		return sw.locks.unlock(name) // says that nobody holds it
	}
	err := s.Unlock(ctx, name)
	_ = sw.locks.unlock(name)
	return err
}

// RenewLockLease implements certmagic.LockLeaseRenewer. Storages that renew their
// locks by themselves need nothing done.
func (sw *Switch) RenewLockLease(ctx context.Context, name string, lease time.Duration) error {
	sw.mu.Lock()
	s := sw.held[name]
	sw.mu.Unlock()
	if r, ok := s.(certmagic.LockLeaseRenewer); ok {
		return r.RenewLockLease(ctx, name, lease)
	}
	return nil
}
