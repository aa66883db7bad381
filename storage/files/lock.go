package files

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/internal/fsx"
)

const (
	lockRenew = 5 * time.Second // how often a holder says that it lives
	lockStale = 2 * lockRenew   // when others stop believing it
	lockRetry = lockRenew / 20  // how soon it tries again if it can't
	lockPoll  = 1 * time.Second // how often a waiter looks
	lockMax   = 4 << 10         // no lock file is larger
)

// lockFile is the content of a lock file.
type lockFile struct {
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	// Owner tells holders apart, also in one process.
	Owner string `json:"owner,omitempty"`
}

// heldLock is a lock that this Blobs holds.
type heldLock struct {
	file    lockFile
	stop    chan struct{} // closed by Unlock
	stopped chan struct{} // closed by the renewer
}

const lockDir = "locks"

func lockName(name string) string { return lockDir + "/" + name + ".lock" }

// Lock implements storage.Blobs.
func (b *Blobs) Lock(ctx context.Context, name string) error {
	if err := begin(ctx, name); err != nil {
		return err
	}
	file := lockName(name)
	if err := b.mkdir(path.Dir(file)); err != nil {
		return b.failed("locking", name, full(err))
	}
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		got, err := b.tryLock(name, file)
		if err != nil {
			return b.failed("locking", name, full(err))
		}
		if got {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for lock %s in %s: %w", name, b.dir, ctx.Err())
		}
	}
}

// tryLock creates the lock file, or takes a stale one over.
func (b *Blobs) tryLock(name, file string) (bool, error) {
	now := time.Now().UTC()
	content := lockFile{Created: now, Updated: now, Owner: rand.Text()}
	f, err := b.root.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		// Nobody takes over a file this young, even while it is empty.
		err = errors.Join(writeLock(f, content), f.Close())
		if err != nil {
			_ = b.root.Remove(file)
			return false, err
		}
	case errors.Is(err, fs.ErrExist):
		got, err := b.takeOver(file, content)
		if !got || err != nil {
			return false, err
		}
	default:
		return false, err
	}
	h := &heldLock{file: content, stop: make(chan struct{}), stopped: make(chan struct{})}
	b.mu.Lock()
	b.held[name] = h
	b.mu.Unlock()
	go b.renew(file, h)
	return true, nil
}

// edit opens a lock file with its flock held, so that of several processes
// one at a time looks at it and changes it, and calls f if the file is still
// the one of that name. It reports false if someone else is at it, or if it
// is gone.
func (b *Blobs) edit(file string, f func(*os.File, lockFile) (bool, error)) (bool, error) {
	h, err := b.root.OpenFile(file, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer h.Close()
	if ok, err := fsx.TryLock(h); !ok {
		return false, err
	}
	info, err := h.Stat()
	if err != nil {
		return false, err
	}
	if current, err := b.root.Stat(file); err != nil || !os.SameFile(info, current) {
		return false, nil
	}
	return f(h, readLock(h, info))
}

// takeOver makes a stale lock file one's own. It looks first without flock, so
// that those who wait don't get in the way of the holder's renewals.
func (b *Blobs) takeOver(file string, content lockFile) (bool, error) {
	f, err := b.root.Open(file)
	if errors.Is(err, fs.ErrNotExist) { // released meanwhile
		return false, nil
	}
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	fresh := err == nil && content.Updated.Sub(readLock(f, info).Updated) <= lockStale
	f.Close()
	if fresh || err != nil {
		return false, err
	}
	return b.edit(file, func(f *os.File, now lockFile) (bool, error) {
		if content.Updated.Sub(now.Updated) <= lockStale {
			return false, nil
		}
		return true, writeLock(f, content)
	})
}

// renew keeps a held lock fresh until it is released. If it was lost, because
// the process stood still for too long, it is left to its new holder.
func (b *Blobs) renew(file string, h *heldLock) {
	defer close(h.stopped)
	timer := time.NewTimer(lockRenew)
	defer timer.Stop()
	for {
		select {
		case <-h.stop:
			return
		case <-timer.C:
		}
		lost := false
		done, err := b.edit(file, func(f *os.File, now lockFile) (bool, error) {
			if lost = now.Owner != h.file.Owner; lost {
				return false, nil
			}
			now.Updated = time.Now().UTC()
			return true, writeLock(f, now)
		})
		switch {
		case lost:
			return
		case done && err == nil:
			timer.Reset(lockRenew)
		default:
			timer.Reset(lockRetry)
		}
	}
}

// Unlock implements storage.Blobs.
func (b *Blobs) Unlock(_ context.Context, name string) error {
	b.mu.Lock()
	h, ok := b.held[name]
	delete(b.held, name)
	b.mu.Unlock()
	if !ok {
		return b.failed("unlocking", name, storage.ErrNotFound)
	}
	close(h.stop)
	<-h.stopped
	file := lockName(name)
	for deadline := time.Now().Add(lockPoll); ; time.Sleep(lockPoll / 100) {
		mine := false
		done, err := b.edit(file, func(_ *os.File, now lockFile) (bool, error) {
			if mine = now.Owner == h.file.Owner; mine {
				return true, b.root.Remove(file)
			}
			return true, nil
		})
		if done || err != nil || time.Now().After(deadline) {
			return b.failed("unlocking", name, err)
		}
		if _, err := b.root.Stat(file); err != nil { // already gone
			return nil
		}
	}
}

// readLock reads a lock file. One that is unfinished or damaged counts from
// when it was changed last.
func readLock(f *os.File, info fs.FileInfo) lockFile {
	var content lockFile
	text, err := io.ReadAll(io.LimitReader(f, lockMax))
	if err == nil {
		err = json.Unmarshal(text, &content)
	}
	if err != nil || content.Updated.IsZero() {
		content.Updated = info.ModTime()
	}
	return content
}

// writeLock replaces the content of a lock file. The text has the same length
// each time as far as a reader can tell: it is written first and cut after.
func writeLock(f *os.File, content lockFile) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(text, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}
