package certstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.etcd.io/bbolt"
)

// Bolt keeps everything in one bbolt file, which one process at a time has open.
// Locks are in memory: they hold in the process, for all that name the same file.
// A Store costs one transaction. It is safe for concurrent use. Before Open and
// after Close its methods fail with fs.ErrClosed.
type Bolt struct {
	stores *Stores
	path   string
	shared atomic.Pointer[sharedDatabase]
	// last is what was open last: a lock can be released after Close, when
	// others go on with the file.
	last atomic.Pointer[sharedDatabase]
}

var (
	_ certmagic.Storage   = (*Bolt)(nil)
	_ certmagic.TryLocker = (*Bolt)(nil)
)

// sharedDatabase is an open file with the number of those who use it, which is
// guarded by Stores.mu.
type sharedDatabase struct {
	*database
	users int
}

// NewBolt returns the storage in a file, not opened yet.
func NewBolt(s *Stores, path string) *Bolt { return &Bolt{stores: s, path: path} }

// Open opens the file, which is created if there is none. All storages of the same
// Stores and file share it.
func (b *Bolt) Open() error {
	s, path := b.stores, b.path
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	shared := s.files[path]
	if shared == nil {
		d, err := openDatabase(path, os.OpenFile)
		if err != nil {
			return err
		}
		shared = &sharedDatabase{database: d}
		s.files[path] = shared
	}
	shared.users++
	b.shared.Store(shared)
	b.last.Store(shared)
	return nil
}

// Close gives the file up; the last one to do so closes it.
func (b *Bolt) Close() {
	s := b.stores
	s.mu.Lock()
	defer s.mu.Unlock()
	shared := b.shared.Swap(nil)
	if shared == nil {
		return
	}
	if shared.users--; shared.users > 0 {
		return
	}
	for path, other := range s.files {
		if other == shared {
			delete(s.files, path)
		}
	}
	shared.close()
}

// Path is the file.
func (b *Bolt) Path() string { return b.path }

// String names kind and file.
func (b *Bolt) String() string { return "bolt:" + b.path }

func (b *Bolt) failed(what, key string, err error) error {
	return fmt.Errorf("%s %q in storage %s: %w", what, key, b, err)
}

// database is the open file.
func (b *Bolt) database(ctx context.Context) (*database, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if shared := b.shared.Load(); shared != nil {
		return shared.database, nil
	}
	return nil, fs.ErrClosed
}

// An entry's value is its kind, the time when it was written in nanoseconds since
// 1970, and the value that was stored. Its key has zero bytes for slashes, so that
// all below a folder stands right behind it, before its siblings.
const (
	kindFolder = 0
	kindValue  = 1
	headLen    = 9
)

func entryKey(key string) []byte { return []byte(strings.ReplaceAll(key, "/", "\x00")) }

func keyOf(entry []byte) string { return strings.ReplaceAll(string(entry), "\x00", "/") }

func appendHead(dst []byte, kind byte, now time.Time) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kind), uint64(now.UnixNano()))
}

// isValue reports what an entry is. A damaged one is an error.
func isValue(entry []byte) (bool, error) {
	if len(entry) < headLen || entry[0] > kindValue {
		return false, errDamaged
	}
	return entry[0] == kindValue, nil
}

// pair is a key and its value.
type pair struct {
	key   string
	value []byte
}

// Store implements certmagic.Storage.
func (b *Bolt) Store(ctx context.Context, key string, value []byte) error {
	return b.storeAll(ctx, []pair{{key, value}})
}

// storeAll stores all values or none.
func (b *Bolt) storeAll(ctx context.Context, pairs []pair) error {
	at := ""
	d, err := b.database(ctx)
	if err == nil {
		now := time.Now()
		err = d.update(func(entries *bbolt.Bucket) error {
			for _, p := range pairs {
				at = p.key
				if err := put(entries, p, now); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		if at == "" && len(pairs) > 0 {
			at = pairs[0].key
		}
		return b.failed("storing", at, err)
	}
	return nil
}

func put(entries *bbolt.Bucket, p pair, now time.Time) error {
	key, err := valueKey(p.key)
	if err == nil {
		err = checkValue(int64(len(p.value)))
	}
	if err != nil {
		return refusal{err}
	}
	k := entryKey(key)
	for i, c := range k {
		if c != 0 {
			continue
		}
		old := entries.Get(k[:i])
		if old == nil {
			if err := entries.Put(k[:i], appendHead(nil, kindFolder, now)); err != nil {
				return err
			}
			continue
		}
		if value, err := isValue(old); err != nil {
			return err
		} else if value {
			return refusal{errBelowValue}
		}
	}
	if old := entries.Get(k); old != nil {
		if value, err := isValue(old); err != nil {
			return err
		} else if !value {
			return refusal{errIsFolder}
		}
	}
	return entries.Put(k, append(appendHead(make([]byte, 0, headLen+len(p.value)), kindValue, now), p.value...))
}

// Load implements certmagic.Storage.
func (b *Bolt) Load(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	err := b.look(ctx, key, func(entry []byte) error {
		is, err := isValue(entry)
		if err == nil && !is {
			err = errNoValue
		}
		if err == nil {
			value = append([]byte{}, entry[headLen:]...)
		}
		return err
	})
	if err != nil {
		return nil, b.failed("loading", key, err)
	}
	return value, nil
}

// outermost is the entry of the folder "", which is not stored.
var outermost = make([]byte, headLen)

// look calls f with the entry of a key, which is valid during the call.
func (b *Bolt) look(ctx context.Context, key string, f func(entry []byte) error) error {
	d, err := b.database(ctx)
	if err != nil {
		return err
	}
	clean, err := cleanKey(key)
	if err != nil {
		return err
	}
	return d.view(func(entries *bbolt.Bucket) error {
		entry := outermost
		if clean != "" {
			entry = entries.Get(entryKey(clean))
		}
		if entry == nil {
			return fs.ErrNotExist
		}
		return f(entry)
	})
}

// Delete implements certmagic.Storage.
func (b *Bolt) Delete(ctx context.Context, key string) error {
	d, err := b.database(ctx)
	var clean string
	if err == nil {
		clean, err = valueKey(key)
	}
	there := false
	if err == nil {
		err = d.view(func(entries *bbolt.Bucket) error { there = entries.Get(entryKey(clean)) != nil; return nil })
	}
	if err == nil && there {
		err = d.update(func(entries *bbolt.Bucket) error { return deleteAll(entries, entryKey(clean)) })
	}
	if err != nil {
		return b.failed("deleting", key, err)
	}
	return nil
}

// deleteAll deletes an entry and all below it.
func deleteAll(entries *bbolt.Bucket, k []byte) error {
	below := append(bytes.Clone(k), 0)
	c := entries.Cursor()
	for found, _ := c.Seek(below); bytes.HasPrefix(found, below); found, _ = c.Seek(below) {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return entries.Delete(k)
}

// Exists implements certmagic.Storage.
func (b *Bolt) Exists(ctx context.Context, key string) bool {
	return b.look(ctx, key, func([]byte) error { return nil }) == nil
}

// Stat implements certmagic.Storage.
func (b *Bolt) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	info := certmagic.KeyInfo{Key: key}
	err := b.look(ctx, key, func(entry []byte) (err error) {
		if info.IsTerminal, err = isValue(entry); err != nil {
			return err
		}
		if ns := binary.BigEndian.Uint64(entry[1:]); ns != 0 {
			info.Modified = time.Unix(0, int64(ns))
		}
		info.Size = int64(len(entry) - headLen)
		return nil
	})
	if err != nil {
		return certmagic.KeyInfo{}, b.failed("looking at", key, err)
	}
	return info, nil
}

// List implements certmagic.Storage.
func (b *Bolt) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	var keys []string
	d, err := b.database(ctx)
	var clean string
	if err == nil {
		clean, err = cleanKey(prefix)
	}
	if err == nil {
		err = d.view(func(entries *bbolt.Bucket) error {
			keys, err = list(ctx, entries, entryKey(clean), recursive)
			return err
		})
	}
	if err != nil {
		return nil, b.failed("listing", prefix, err)
	}
	return keys, nil
}

func list(ctx context.Context, entries *bbolt.Bucket, folder []byte, recursive bool) ([]string, error) {
	below := folder
	if len(folder) > 0 {
		entry := entries.Get(folder)
		if entry == nil {
			return nil, fs.ErrNotExist
		}
		if value, err := isValue(entry); value || err != nil {
			return nil, err
		}
		below = append(bytes.Clone(folder), 0)
	}
	var keys []string
	c := entries.Cursor()
	for k, _ := c.Seek(below); k != nil && bytes.HasPrefix(k, below); {
		if len(keys)%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		keys = append(keys, keyOf(k))
		if recursive {
			k, _ = c.Next()
		} else {
			k, _ = c.Seek(append(bytes.Clone(k), 1)) // behind all below it, which begin with k and 0
		}
	}
	return keys, nil
}

// Lock implements certmagic.Locker.
func (b *Bolt) Lock(ctx context.Context, name string) error {
	d, err := b.database(ctx)
	if err == nil {
		err = d.locks.lock(ctx, certmagic.StorageKeys.Safe(name))
	}
	if err != nil {
		return b.failed("taking lock", name, err)
	}
	return nil
}

// TryLock implements certmagic.TryLocker.
func (b *Bolt) TryLock(ctx context.Context, name string) (bool, error) {
	d, err := b.database(ctx)
	if err != nil {
		return false, b.failed("taking lock", name, err)
	}
	return d.locks.tryLock(certmagic.StorageKeys.Safe(name)), nil
}

// Unlock implements certmagic.Locker. A lock that nobody holds is fs.ErrNotExist.
// It works after Close.
func (b *Bolt) Unlock(_ context.Context, name string) error {
	err := fs.ErrClosed
	if d := b.last.Load(); d != nil {
		err = d.locks.unlock(certmagic.StorageKeys.Safe(name))
	}
	if err != nil {
		return b.failed("releasing lock", name, err)
	}
	return nil
}
