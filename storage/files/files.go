// Package files keeps blobs as plain files: key a/b/c is the file a/b/c below
// a root directory, so that an existing data directory can be used as it is.
//
// Directories have mode 0700, files 0600. A file is written under a temporary
// name in its directory, synced and renamed. Nothing is ever read or written
// outside the root, also not through a symbolic link: all access goes through
// os.Root. The root itself may be a link.
//
// A lock is the file locks/<name>.lock, which List leaves out, with the times {"created","updated"}.
// Its holder renews it every 5 seconds, and one that wasn't renewed for 10 is
// taken over, so that locks hold across processes and across machines that
// share the directory. Two machines that share it need clocks which agree to
// within a few seconds.
package files

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/internal/fsx"
)

// Blobs is a storage.Blobs below a directory. It is safe for concurrent use,
// also by several processes.
type Blobs struct {
	dir  string
	root *os.Root

	mu   sync.Mutex
	held map[string]*heldLock
}

var _ storage.Blobs = (*Blobs)(nil)

// tempAge is how old an unfinished file is when List removes it: its process
// died while writing it.
const tempAge = 24 * time.Hour

// Open returns the storage below dir, creating the directory if it doesn't
// exist.
func Open(dir string) (*Blobs, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		err = fsx.MkdirAll(abs)
	}
	if err != nil {
		return nil, fmt.Errorf("opening storage %s: %w", dir, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("opening storage %s: %w", dir, err)
	}
	return &Blobs{dir: abs, root: root, held: make(map[string]*heldLock)}, nil
}

// Close releases the locks that are held, and the directory.
func (b *Blobs) Close() error {
	b.mu.Lock()
	names := make([]string, 0, len(b.held))
	for name := range b.held {
		names = append(names, name)
	}
	b.mu.Unlock()
	var errs []error
	for _, name := range names {
		if err := b.Unlock(context.Background(), name); err != nil && !errors.Is(err, storage.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, b.root.Close())...)
}

// Dir returns the absolute path of the root.
func (b *Blobs) Dir() string { return b.dir }

// begin checks what every method is given.
func begin(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return storage.CheckKey(key)
}

// failed describes an error of an operation on a key.
func (b *Blobs) failed(what, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR) && what != "putting":
		err = storage.ErrNotFound
	}
	return fmt.Errorf("%s %s in %s: %w", what, key, b.dir, err)
}

// Put implements storage.Blobs.
func (b *Blobs) Put(ctx context.Context, key string, value []byte) error {
	if err := begin(ctx, key); err != nil {
		return err
	}
	if info, err := b.root.Stat(key); err == nil && info.IsDir() {
		return b.failed("putting", key, errors.New("it is a folder"))
	}
	dir := path.Dir(key)
	if err := b.mkdir(dir); err != nil {
		return b.failed("putting", key, full(err))
	}
	temp := path.Join(dir, storage.TempPrefix+rand.Text())
	err := b.writeSynced(temp, value)
	if err == nil {
		err = b.root.Rename(temp, key)
	}
	if err != nil {
		_ = b.root.Remove(temp)
		return b.failed("putting", key, full(err))
	}
	return b.failed("putting", key, full(b.syncDir(dir)))
}

// full marks errors that mean that something can't be stored.
func full(err error) error {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS, syscall.EIO, fs.ErrPermission} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", storage.ErrFull, err)
		}
	}
	return err
}

func (b *Blobs) writeSynced(name string, value []byte) error {
	f, err := b.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(value)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// mkdir creates a directory and its parents, durably.
func (b *Blobs) mkdir(dir string) error {
	if info, err := b.root.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a folder", dir)
		}
		return nil
	}
	parent := path.Dir(dir)
	if err := b.mkdir(parent); err != nil {
		return err
	}
	if err := b.root.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return b.syncDir(parent)
}

func (b *Blobs) syncDir(dir string) error {
	d, err := b.root.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// Get implements storage.Blobs.
func (b *Blobs) Get(ctx context.Context, key string) ([]byte, error) {
	if err := begin(ctx, key); err != nil {
		return nil, err
	}
	info, err := b.root.Stat(key)
	if err == nil && info.IsDir() {
		err = storage.ErrNotFound
	}
	var value []byte
	if err == nil {
		value, err = b.root.ReadFile(key)
	}
	return value, b.failed("getting", key, err)
}

// Delete implements storage.Blobs.
func (b *Blobs) Delete(ctx context.Context, key string) error {
	if err := begin(ctx, key); err != nil {
		return err
	}
	if _, err := b.root.Lstat(key); err != nil {
		return b.failed("deleting", key, err)
	}
	if err := b.root.RemoveAll(key); err != nil {
		return b.failed("deleting", key, full(err))
	}
	return b.failed("deleting", key, full(b.syncDir(path.Dir(key))))
}

// List implements storage.Blobs.
func (b *Blobs) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	dir := "."
	if prefix != "" {
		if err := storage.CheckKey(prefix); err != nil {
			return nil, err
		}
		dir = prefix
	}
	var keys []string
	err := fs.WalkDir(b.root.FS(), dir, func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case err != nil:
			if name != dir && errors.Is(err, fs.ErrNotExist) { // removed meanwhile
				return nil
			}
			return err
		case name == dir:
			if !d.IsDir() {
				return storage.ErrNotFound
			}
			return nil
		case name == lockDir && dir == ".":
			return fs.SkipDir
		case strings.HasPrefix(d.Name(), storage.TempPrefix):
			b.removeStale(name, d)
			return nil
		case !d.IsDir():
			keys = append(keys, name)
			return nil
		case recursive:
			return nil
		}
		keys = append(keys, name)
		return fs.SkipDir
	})
	if err != nil {
		return nil, b.failed("listing", prefix, err)
	}
	slices.Sort(keys)
	return keys, nil
}

// removeStale removes what a process left that died while writing.
func (b *Blobs) removeStale(name string, d fs.DirEntry) {
	if info, err := d.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > tempAge {
		_ = b.root.Remove(name)
	}
}

// Stat implements storage.Blobs.
func (b *Blobs) Stat(ctx context.Context, key string) (storage.BlobInfo, error) {
	if err := begin(ctx, key); err != nil {
		return storage.BlobInfo{}, err
	}
	info, err := b.root.Stat(key)
	if err != nil {
		return storage.BlobInfo{}, b.failed("looking up", key, err)
	}
	if info.IsDir() {
		return storage.BlobInfo{Key: key, Modified: info.ModTime(), Folder: true}, nil
	}
	return storage.BlobInfo{Key: key, Modified: info.ModTime(), Size: info.Size()}, nil
}
