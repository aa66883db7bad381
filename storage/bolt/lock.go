package bolt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluiceproxy/sluice/internal/fsx"
	"github.com/sluiceproxy/sluice/storage"
)

// takeLock takes the lock file, or says who has it.
func (s *Store) takeLock() error {
	f, err := openLock(s.path + ".lock")
	if err != nil || f == nil {
		return err
	}
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 25) {
		ok, err := fsx.TryLock(f)
		if ok {
			break
		}
		if err != nil {
			f.Close()
			return fmt.Errorf("locking it: %w", err)
		}
		if time.Now().After(deadline) {
			pid := readPID(f)
			f.Close()
			return &storage.LockedError{Path: s.path, PID: pid}
		}
	}
	s.lock = f
	// Only a message suffers if this fails, on a full disk for instance. The
	// width is fixed so that a shorter pid leaves nothing of a longer one.
	_, _ = fmt.Fprintf(io.NewOffsetWriter(f, 0), "%-19d\n", os.Getpid())
	return nil
}

// openLock opens the lock file, for reading if that is all it can be opened
// for. In a read-only place it may be missing: the result is nil, and bbolt's
// own lock on the store has to do.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil || !unwritable(err) {
		return f, err
	}
	f, rerr := os.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(rerr, os.ErrNotExist) {
		return nil, nil
	}
	if rerr != nil {
		return nil, err
	}
	return f, nil
}

// unwritable reports whether opening for writing failed where opening for
// reading may work.
func unwritable(err error) bool {
	return errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.ETXTBSY)
}

func readPID(f *os.File) int {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return 0
	}
	return pid
}

func (s *Store) unlock() {
	if s.lock != nil {
		s.lock.Close() // releases it
		s.lock = nil
	}
}
