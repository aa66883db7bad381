package certstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/internal/fsx"
)

// A lock is the file locks/NAME.lock with the times {"created","updated"}, as
// certmagic.FileStorage has them. Its holder renews it, and one that was not
// renewed is taken over, so that locks hold across processes, and across machines
// whose clocks agree to within a few seconds. Whoever changes such a file holds
// its flock meanwhile, and the holder is named in it: so a lock has one holder
// also when several find it stale, and nobody renews a lock that is another's.
const (
	lockRenew = 5 * time.Second // how often a holder says that it lives
	lockStale = 2 * lockRenew   // when others stop believing it
	lockRetry = lockRenew / 20  // how soon it tries again if it cannot
	lockPoll  = 1 * time.Second // how often a waiter looks
	lockMax   = 4 << 10         // no lock file is larger
)

// lockFolder is the key under which the lock files are.
const lockFolder = "locks"

// lockFile is the content of a lock file.
type lockFile struct {
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	// Owner tells holders apart, also in one process.
	Owner string `json:"owner,omitempty"`
}

// of reports whether a lock file is that of a holder. Programs that know nothing
// of owners may have left it out when they renewed the file.
func (l lockFile) of(holder lockFile) bool {
	return l.Owner == holder.Owner || l.Owner == "" && l.Created.Equal(holder.Created)
}

// heldLock is a lock that this storage holds.
type heldLock struct {
	file    lockFile
	stop    chan struct{} // closed by Unlock
	stopped chan struct{} // closed by the renewer
}

// lockFilename is the file of a lock. A name that is too long for one is shortened.
func (s *FileSystem) lockFilename(name string) string {
	const suffix = ".lock"
	safe := certmagic.StorageKeys.Safe(name)
	if len(safe) > MaxKeySegment-len(suffix) {
		sum := sha256.Sum256([]byte(safe))
		safe = safe[:128] + "-" + hex.EncodeToString(sum[:])
	}
	return filepath.Join(s.root, lockFolder, safe+suffix)
}

// Lock implements certmagic.Locker.
func (s *FileSystem) Lock(ctx context.Context, name string) error {
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		got, err := s.TryLock(ctx, name)
		if err != nil || got {
			return err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for lock %s in storage %s: %w", name, s, ctx.Err())
		}
	}
}

// TryLock implements certmagic.TryLocker.
func (s *FileSystem) TryLock(ctx context.Context, name string) (bool, error) {
	file := s.lockFilename(name)
	err := ctx.Err()
	if err == nil {
		err = makeFolders(filepath.Dir(file))
	}
	var got bool
	if err == nil {
		got, err = s.tryLock(file)
	}
	if err != nil {
		return false, s.failed("taking lock", name, err)
	}
	return got, nil
}

// tryLock creates a lock file, or takes a stale one over.
func (s *FileSystem) tryLock(file string) (bool, error) {
	now := time.Now().UTC()
	content := lockFile{Created: now, Updated: now, Owner: rand.Text()}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		// Nobody takes over a file this young, even while it is empty.
		if err = errors.Join(writeLock(f, content), f.Close()); err != nil {
			_ = os.Remove(file)
			return false, err
		}
	case errors.Is(err, fs.ErrExist):
		got, err := takeOver(file, content)
		if !got || err != nil {
			return false, err
		}
	default:
		return false, err
	}
	h := &heldLock{file: content, stop: make(chan struct{}), stopped: make(chan struct{})}
	s.mu.Lock()
	s.held[file] = h
	s.mu.Unlock()
	go h.renew(file)
	return true, nil
}

// editLock opens a lock file with its flock held, so that of several processes one
// at a time looks at it and changes it, and calls f if the file is still the one
// of that name. It reports false if someone else is at it, or if it is gone.
func editLock(file string, f func(*os.File, lockFile) (bool, error)) (bool, error) {
	h, err := os.OpenFile(file, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer h.Close() // which releases the flock
	if ok, err := fsx.TryLock(h); !ok {
		return false, err
	}
	info, err := h.Stat()
	if err != nil {
		return false, err
	}
	if current, err := os.Stat(file); err != nil || !os.SameFile(info, current) {
		return false, nil
	}
	return f(h, readLock(h, info))
}

// takeOver makes a stale lock file one's own. It looks first without flock, so
// that those who wait do not get in the way of the holder's renewals.
func takeOver(file string, content lockFile) (bool, error) {
	f, err := os.Open(file)
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
	return editLock(file, func(f *os.File, now lockFile) (bool, error) {
		if content.Updated.Sub(now.Updated) <= lockStale {
			return false, nil
		}
		return true, writeLock(f, content)
	})
}

// renew keeps a held lock fresh until it is released. If it was lost, because the
// process stood still for too long, it is left to its new holder.
func (h *heldLock) renew(file string) {
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
		done, err := editLock(file, func(f *os.File, now lockFile) (bool, error) {
			if lost = !now.of(h.file); lost {
				return false, nil
			}
			renewed := h.file
			renewed.Updated = time.Now().UTC()
			return true, writeLock(f, renewed)
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

// Unlock implements certmagic.Locker. A lock that was not taken through s is
// fs.ErrNotExist.
func (s *FileSystem) Unlock(_ context.Context, name string) error {
	file := s.lockFilename(name)
	s.mu.Lock()
	h, ok := s.held[file]
	delete(s.held, file)
	s.mu.Unlock()
	if !ok {
		return s.failed("releasing lock", name, fs.ErrNotExist)
	}
	close(h.stop)
	<-h.stopped
	for deadline := time.Now().Add(lockPoll); ; time.Sleep(lockPoll / 100) {
		done, err := editLock(file, func(_ *os.File, now lockFile) (bool, error) {
			if now.of(h.file) {
				return true, os.Remove(file)
			}
			return true, nil // it was taken over
		})
		if err != nil {
			return s.failed("releasing lock", name, err)
		}
		if _, err := os.Stat(file); done || err != nil {
			return nil
		}
		if time.Now().After(deadline) {
			return s.failed("releasing lock", name, errors.New("another process does not let go of the lock file; it will be stale soon"))
		}
	}
}

// readLock reads a lock file. One that is unfinished or damaged counts from when
// it was changed last.
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

// writeLock replaces the content of a lock file. A reader finds a whole one, as
// the text is written first and what was longer cut off after.
func writeLock(f *os.File, content lockFile) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(append(text, '\n'), 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)) + 1)
}
