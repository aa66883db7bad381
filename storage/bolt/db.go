package bolt

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/sluiceproxy/sluice/internal/fsx"
	"github.com/sluiceproxy/sluice/storage"
)

var (
	bucketStore     = []byte("store")
	bucketRecords   = []byte("records")
	bucketParts     = []byte("parts")
	bucketSnapshots = []byte("snapshots")
	bucketPieces    = []byte("pieces")

	keyFormat = []byte("format")
	formatNow = []byte("1")
)

// allocSize is by how much the file grows at least.
const allocSize = 2 << 20

// mapSize is how much address space is reserved, so that the file can grow
// without being mapped anew, which would wait for readers. It costs no memory.
func mapSize(limit int64) int {
	if math.MaxInt == math.MaxInt32 || runtime.GOOS == "windows" { // too little of it; the file would get that size
		return 0
	}
	return int(max(1<<30, min(4*limit, 1<<40)))
}

// openDB opens the database for writing, or else for reading with s.failed
// saying why. It checks that the file can be used.
func (s *Store) openDB() error {
	s.failed = nil
	err := s.tryOpen(false)
	if err != nil && unwritable(err) {
		if rerr := s.tryOpen(true); rerr != nil {
			return rerr
		}
		s.failed = err
		return nil
	}
	return err
}

func (s *Store) tryOpen(readOnly bool) error {
	if err := preflight(s.path); err != nil {
		return err
	}
	o := &bbolt.Options{
		Timeout: lockPatience / 2, ReadOnly: readOnly, NoStatistics: true,
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
		InitialMmapSize: mapSize(s.opts.Limits.MaxBytes),
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			f, err = s.opts.openFile(name, flag&^os.O_CREATE, mode) // a file that vanished must not become an empty store
			s.file = f
			return f, err
		},
	}
	err := guard(func() (err error) {
		s.db, err = bbolt.Open(s.path, 0o600, o)
		if err != nil && errors.Is(err, syscall.ENOMEM) {
			o.InitialMmapSize = 0 // address space is limited
			s.db, err = bbolt.Open(s.path, 0o600, o)
		}
		return err
	})
	if err == nil {
		s.db.AllocSize = allocSize
		if err = guard(func() error { return s.db.View(checkFormat) }); err == nil {
			return nil
		}
	}
	s.abandon()
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return &storage.LockedError{Path: s.path}
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return corrupt(err)
	}
	return err
}

// abandon closes the file under the database, whatever state that is in.
func (s *Store) abandon() {
	if s.file != nil {
		fsx.Unlock(s.file) // its mapping may stay, and hold the lock
		s.file.Close()
	}
	s.db, s.file = nil, nil
}

func checkFormat(tx *bbolt.Tx) error {
	b := tx.Bucket(bucketStore)
	if b == nil {
		return fmt.Errorf("it is a bbolt file of another program; use another path: %w", storage.ErrCorrupt)
	}
	if f := b.Get(keyFormat); string(f) != string(formatNow) {
		return fmt.Errorf("it has format %q, this program knows %q; use the version that wrote it, or another path", f, formatNow)
	}
	for _, name := range [][]byte{bucketRecords, bucketParts, bucketSnapshots, bucketPieces} {
		if tx.Bucket(name) == nil {
			return corrupt(fmt.Errorf("the bucket %q is missing", name))
		}
	}
	return nil
}

// corrupt adds what can be done about a damaged file.
func corrupt(err error) error {
	return fmt.Errorf("%w: %w; put a copy of the file in its place, or move it away to start with an empty store", storage.ErrCorrupt, err)
}

// guard runs f and makes an error of a panic: bbolt panics, and reading the
// mapped file faults, when the file is damaged.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = corrupt(&panicError{p})
		}
	}()
	return f()
}

type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprint(e.value) }
