package mem

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/storage"
)

// Blobs is a storage.Blobs in memory; its locks hold within the value. It is
// safe for concurrent use.
type Blobs struct {
	now   func() time.Time
	mu    sync.Mutex
	blobs map[string]blob
	locks map[string]chan struct{} // closed when released
}

type blob struct {
	value    []byte
	modified time.Time
}

var _ storage.Blobs = (*Blobs)(nil)

// NewBlobs makes an empty storage. now is the clock for BlobInfo.Modified; nil
// means time.Now.
func NewBlobs(now func() time.Time) *Blobs {
	if now == nil {
		now = time.Now
	}
	return &Blobs{now: now, blobs: make(map[string]blob), locks: make(map[string]chan struct{})}
}

// begin checks what every method is given.
func begin(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return storage.CheckKey(key)
}

// within reports whether key is inside a folder.
func within(key, folder string) bool {
	return folder == "" || len(key) > len(folder) && key[len(folder)] == '/' && strings.HasPrefix(key, folder)
}

// folder reports whether there are keys inside key. mu is held.
func (b *Blobs) folder(key string) bool {
	for k := range b.blobs {
		if within(k, key) {
			return true
		}
	}
	return false
}

// Put implements storage.Blobs.
func (b *Blobs) Put(ctx context.Context, key string, value []byte) error {
	if err := begin(ctx, key); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.folder(key) {
		return fmt.Errorf("putting %s: it is a folder", key)
	}
	for k := range b.blobs {
		if within(key, k) {
			return fmt.Errorf("putting %s: %s is not a folder", key, k)
		}
	}
	b.blobs[key] = blob{append([]byte{}, value...), b.now()}
	return nil
}

// Get implements storage.Blobs.
func (b *Blobs) Get(ctx context.Context, key string) ([]byte, error) {
	if err := begin(ctx, key); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.blobs[key]
	if !ok {
		return nil, fmt.Errorf("getting %s: %w", key, storage.ErrNotFound)
	}
	return bytes.Clone(v.value), nil
}

// Delete implements storage.Blobs.
func (b *Blobs) Delete(ctx context.Context, key string) error {
	if err := begin(ctx, key); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.blobs)
	for k := range b.blobs {
		if k == key || within(k, key) {
			delete(b.blobs, k)
		}
	}
	if len(b.blobs) == before {
		return fmt.Errorf("deleting %s: %w", key, storage.ErrNotFound)
	}
	return nil
}

// List implements storage.Blobs.
func (b *Blobs) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	start := ""
	if prefix != "" {
		if err := storage.CheckKey(prefix); err != nil {
			return nil, err
		}
		start = prefix + "/"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if prefix != "" && !b.folder(prefix) {
		return nil, fmt.Errorf("listing %s: %w", prefix, storage.ErrNotFound)
	}
	var keys []string
	for k := range b.blobs {
		if !within(k, prefix) {
			continue
		}
		if name, _, more := strings.Cut(k[len(start):], "/"); more && !recursive {
			k = start + name
		}
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// Stat implements storage.Blobs.
func (b *Blobs) Stat(ctx context.Context, key string) (storage.BlobInfo, error) {
	if err := begin(ctx, key); err != nil {
		return storage.BlobInfo{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if v, ok := b.blobs[key]; ok {
		return storage.BlobInfo{Key: key, Modified: v.modified, Size: int64(len(v.value))}, nil
	}
	if b.folder(key) {
		return storage.BlobInfo{Key: key, Folder: true}, nil
	}
	return storage.BlobInfo{}, fmt.Errorf("looking up %s: %w", key, storage.ErrNotFound)
}

// Lock implements storage.Blobs.
func (b *Blobs) Lock(ctx context.Context, name string) error {
	for {
		if err := begin(ctx, name); err != nil {
			return err
		}
		b.mu.Lock()
		held, taken := b.locks[name]
		if !taken {
			b.locks[name] = make(chan struct{})
		}
		b.mu.Unlock()
		if !taken {
			return nil
		}
		select {
		case <-held:
		case <-ctx.Done():
		}
	}
}

// Unlock implements storage.Blobs.
func (b *Blobs) Unlock(_ context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	held, ok := b.locks[name]
	if !ok {
		return fmt.Errorf("unlocking %s: %w", name, storage.ErrNotFound)
	}
	delete(b.locks, name)
	close(held)
	return nil
}
