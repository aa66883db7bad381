package certstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/caddyserver/certmagic"
)

// FileSystem keeps each key as a file below a root, in the layout of
// certmagic.FileStorage, with which it may share the root. Folders have mode
// 0700, files 0600. A file is written under another name, synced and renamed.
// Symbolic links in the root are followed where a key leads through them, but
// List looks only at what is below the folder it is asked for, not behind links.
//
// It is safe for concurrent use, also by several processes.
type FileSystem struct {
	root string

	mu   sync.Mutex
	held map[string]*heldLock // by lock file
}

var (
	_ certmagic.Storage   = (*FileSystem)(nil)
	_ certmagic.TryLocker = (*FileSystem)(nil)
)

// tempAge is how old an unfinished file is when List removes it: its process died
// while writing it.
const tempAge = 24 * time.Hour

// NewFileSystem returns the storage below a folder, which need not exist.
func NewFileSystem(root string) *FileSystem {
	return &FileSystem{root: root, held: map[string]*heldLock{}}
}

// Root is the folder.
func (s *FileSystem) Root() string { return s.root }

// String names kind and folder.
func (s *FileSystem) String() string { return "file_system:" + s.root }

func (s *FileSystem) filename(key string) string {
	return filepath.Join(s.root, filepath.FromSlash(key))
}

// failed describes an error of an operation on a key.
func (s *FileSystem) failed(what, key string, err error) error {
	return fmt.Errorf("%s %q in storage %s: %w", what, key, s, err)
}

// absent makes fs.ErrNotExist of an error that says that a parent has a value.
func absent(err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

// Store implements certmagic.Storage.
func (s *FileSystem) Store(ctx context.Context, key string, value []byte) error {
	err := ctx.Err()
	var clean string
	if err == nil {
		clean, err = valueKey(key)
	}
	if err == nil {
		err = checkValue(int64(len(value)))
	}
	if err == nil {
		err = replaceFile(s.filename(clean), value)
	}
	if err != nil {
		return s.failed("storing", key, err)
	}
	return nil
}

// replaceFile writes a file so that its name has its old content or the new one.
func replaceFile(name string, content []byte) error {
	dir := filepath.Dir(name)
	if err := makeFolders(dir); err != nil {
		return err
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return errIsFolder
	}
	temp := filepath.Join(dir, tempPrefix+rand.Text())
	err := writeSynced(temp, content)
	if err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		_ = os.Remove(temp)
		return err
	}
	return syncFolder(dir)
}

func writeSynced(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// makeFolders makes a folder and its parents, durably.
func makeFolders(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s: %w", dir, errBelowValue)
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeFolders(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) { // another one made it
			return nil
		}
		return err
	}
	return syncFolder(parent)
}

// syncFolder makes durable what was made, renamed or removed in a folder. Systems
// that cannot are not an error.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err = d.Sync(); errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// Load implements certmagic.Storage.
func (s *FileSystem) Load(ctx context.Context, key string) ([]byte, error) {
	err := ctx.Err()
	var clean string
	if err == nil {
		clean, err = cleanKey(key)
	}
	var value []byte
	if err == nil {
		value, err = readValue(s.filename(clean))
	}
	if err != nil {
		return nil, s.failed("loading", key, err)
	}
	return value, nil
}

// readValue reads a file of at most MaxValue bytes.
func readValue(name string) ([]byte, error) {
	info, err := os.Stat(name) // before opening it, as that of a pipe would wait
	switch {
	case err != nil:
		return nil, absent(err)
	case info.IsDir():
		return nil, errNoValue
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	}
	if err := checkValue(info.Size()); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	value := make([]byte, 0, info.Size()+1)
	for {
		n, err := f.Read(value[len(value):cap(value)])
		value = value[:len(value)+n]
		switch {
		case err == io.EOF:
			return value, nil
		case err != nil:
			return nil, err
		}
		if err := checkValue(int64(len(value))); err != nil {
			return nil, err
		}
		if len(value) == cap(value) { // it has grown meanwhile
			value = append(value, 0)[:len(value)]
		}
	}
}

// Delete implements certmagic.Storage.
func (s *FileSystem) Delete(ctx context.Context, key string) error {
	err := ctx.Err()
	var clean string
	if err == nil {
		clean, err = valueKey(key)
	}
	if err != nil {
		return s.failed("deleting", key, err)
	}
	name := s.filename(clean)
	if _, err := os.Lstat(name); err != nil && errors.Is(absent(err), fs.ErrNotExist) {
		return nil
	}
	if err := os.RemoveAll(name); err != nil {
		return s.failed("deleting", key, err)
	}
	if err := syncFolder(filepath.Dir(name)); err != nil && !errors.Is(absent(err), fs.ErrNotExist) {
		return s.failed("deleting", key, err)
	}
	return nil
}

// Exists implements certmagic.Storage.
func (s *FileSystem) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// Stat implements certmagic.Storage.
func (s *FileSystem) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	err := ctx.Err()
	var clean string
	if err == nil {
		clean, err = cleanKey(key)
	}
	if err != nil {
		return certmagic.KeyInfo{}, s.failed("looking at", key, err)
	}
	info, err := os.Stat(s.filename(clean))
	switch {
	case err != nil && clean == "" && errors.Is(err, fs.ErrNotExist): // nothing was stored yet
		return certmagic.KeyInfo{Key: key}, nil
	case err != nil:
		return certmagic.KeyInfo{}, s.failed("looking at", key, absent(err))
	case info.IsDir():
		return certmagic.KeyInfo{Key: key, Modified: info.ModTime()}, nil
	}
	return certmagic.KeyInfo{Key: key, Modified: info.ModTime(), Size: info.Size(), IsTerminal: true}, nil
}

// List implements certmagic.Storage.
func (s *FileSystem) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	clean, err := cleanKey(prefix)
	if err != nil {
		return nil, s.failed("listing", prefix, err)
	}
	dir := s.filename(clean)
	info, err := os.Stat(dir)
	switch {
	case err != nil && clean == "" && errors.Is(err, fs.ErrNotExist): // nothing was stored yet
		return nil, nil
	case err != nil:
		return nil, s.failed("listing", prefix, absent(err))
	case !info.IsDir():
		return nil, nil
	}
	var keys []string
	if err := walkFolder(ctx, dir, clean, recursive, &keys); err != nil {
		return nil, s.failed("listing", prefix, absent(err))
	}
	return keys, nil
}

// walkFolder appends the keys in a folder. What is removed meanwhile is left out,
// and so is what has a name that no key has.
func walkFolder(ctx context.Context, dir, prefix string, recursive bool, keys *[]string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		if len(*keys) > 0 && errors.Is(absent(err), fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, e := range entries {
		if badName(e.Name()) != "" {
			removeStale(dir, e)
			continue
		}
		key := path.Join(prefix, e.Name())
		if len(key) > MaxKey {
			continue
		}
		*keys = append(*keys, key)
		if recursive && e.IsDir() {
			if err := walkFolder(ctx, filepath.Join(dir, e.Name()), key, true, keys); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeStale removes what a process left that died while writing.
func removeStale(dir string, e fs.DirEntry) {
	if !strings.HasPrefix(e.Name(), tempPrefix) {
		return
	}
	if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > tempAge {
		_ = os.Remove(filepath.Join(dir, e.Name()))
	}
}
