package certstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/sluiceproxy/sluice/internal/fsx"
)

// lockPatience is how long opening a file waits for a process that is just ending.
const lockPatience = 500 * time.Millisecond

var (
	bucketFormat  = []byte("certstore")
	bucketEntries = []byte("entries")
	keyFormat     = []byte("format")
	formatNow     = []byte("1")
)

var errDamaged = errors.New("the file is damaged; put a copy in its place, or move it away to start with an empty storage")

// database is an open bbolt file. After a failed write it is opened anew, so that
// what is read is what is in the file.
type database struct {
	path     string
	openFile func(name string, flag int, mode os.FileMode) (*os.File, error)

	writing sync.Mutex // one writer

	mu     sync.RWMutex // held for reading while db is used, for writing to replace it
	db     *bbolt.DB    // nil if it could not be opened again
	file   *os.File     // the file in db
	closed bool

	locks names
}

// openDatabase opens a file, and creates it and its folder.
func openDatabase(path string, openFile func(string, int, os.FileMode) (*os.File, error)) (*database, error) {
	d := &database{path: path, openFile: openFile}
	err := makeFolders(filepath.Dir(path))
	if err == nil {
		err = d.create()
	}
	if err == nil {
		err = d.open()
	}
	if err != nil {
		return nil, fmt.Errorf("opening the storage %s: %w", path, err)
	}
	return d, nil
}

// create makes an empty file under another name, so that one of this name is
// complete whenever the process dies, unless there is one.
func (d *database) create() error {
	if _, err := os.Stat(d.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(d.path), tempPrefix)
	if err != nil {
		return err
	}
	temp := f.Name()
	defer os.Remove(temp)
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(temp, 0o600, &bbolt.Options{OpenFile: d.openFile})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		format, err := tx.CreateBucket(bucketFormat)
		if err == nil {
			_, err = tx.CreateBucket(bucketEntries)
		}
		if err == nil {
			err = format.Put(keyFormat, formatNow)
		}
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, does not take the place of what another process made.
	if err := os.Link(temp, d.path); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(d.path); there == nil {
			return nil
		}
		if err := os.Rename(temp, d.path); err != nil { // a file system without links
			return err
		}
	}
	return syncFolder(filepath.Dir(d.path))
}

// open opens the file. The caller holds mu, or is alone.
func (d *database) open() error {
	info, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if info.Size() == 0 {
		return fmt.Errorf("it is empty: %w", errDamaged) // bbolt would make it a new one
	}
	err = guard(func() (err error) {
		d.db, err = bbolt.Open(d.path, 0o600, &bbolt.Options{
			Timeout: lockPatience, NoStatistics: true, FreelistType: bbolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				f, err = d.openFile(name, flag&^os.O_CREATE, mode) // a file that vanished must not become an empty one
				d.file = f
				return f, err
			},
		})
		if err != nil {
			return err
		}
		return d.db.View(checkFormat)
	})
	if err == nil {
		return nil
	}
	d.abandon()
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return errors.New("another process has it open, or another part of this one; a storage of this kind is for one process: use the storage file_system where several share one")
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", err, errDamaged)
	}
	return err
}

func checkFormat(tx *bbolt.Tx) error {
	b := tx.Bucket(bucketFormat)
	if b == nil || tx.Bucket(bucketEntries) == nil {
		return errors.New("it is a bbolt file of something else; use another path")
	}
	if f := b.Get(keyFormat); string(f) != string(formatNow) {
		return fmt.Errorf("it has format %q, this program knows %q; use the version that wrote it, or another path", f, formatNow)
	}
	return nil
}

// abandon closes the file under the database, whatever state that is in.
func (d *database) abandon() {
	if d.file != nil {
		fsx.Unlock(d.file) // its mapping may stay, and hold the lock
		d.file.Close()
	}
	d.db, d.file = nil, nil
}

// close releases the file, when nobody uses it any more.
func (d *database) close() {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.db != nil {
		_ = guard(d.db.Close) // what was stored is on disk
	}
	d.db, d.file = nil, nil
}

// view reads.
func (d *database) view(f func(entries *bbolt.Bucket) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.usable(); err != nil {
		return err
	}
	return guard(func() error {
		return d.db.View(func(tx *bbolt.Tx) error { return f(tx.Bucket(bucketEntries)) })
	})
}

func (d *database) usable() error {
	switch {
	case d.closed:
		return fs.ErrClosed
	case d.db == nil:
		return errors.New("the file cannot be opened since an operation failed")
	}
	return nil
}

// refusal is an error of a transaction that has nothing to do with the file.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// update writes, all of f or nothing. If the file itself fails it is opened anew,
// now or before the next write.
func (d *database) update(f func(entries *bbolt.Bucket) error) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := d.revive(); err != nil {
		return err
	}
	d.mu.RLock()
	err := guard(func() error {
		return d.db.Update(func(tx *bbolt.Tx) error { return f(tx.Bucket(bucketEntries)) })
	})
	d.mu.RUnlock()
	if err == nil || errors.As(err, new(refusal)) {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// After a panic bbolt's locks may be held for ever: leave it behind.
	if !errors.As(err, new(*panicError)) && guard(d.db.Close) == nil {
		d.file = nil
	}
	d.abandon()
	_ = d.open() // or else the next write tries
	return err
}

// revive opens the file again if that failed before. The caller holds writing.
func (d *database) revive() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.db != nil {
		return d.usable()
	}
	return d.open()
}

// guard runs f and makes an error of a panic: bbolt panics, and reading the mapped
// file faults, when the file is damaged.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %w", errDamaged, &panicError{p})
		}
	}()
	return f()
}

type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprint(e.value) }
