package certstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

var bg = context.Background()

// lockingStorage is what each storage here is.
type lockingStorage interface {
	certmagic.Storage
	certmagic.TryLocker
}

func newFileSystem(t testing.TB) *FileSystem {
	return NewFileSystem(filepath.Join(t.TempDir(), "data"))
}

func newBolt(t testing.TB, path string) *Bolt {
	t.Helper()
	b := NewBolt(NewStores(filepath.Dir(path)), path)
	if err := b.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// storages runs a test with each storage, and with the library's, which is the
// model, where that has the same meaning.
func storages(t *testing.T, withModel bool, test func(t *testing.T, s lockingStorage)) {
	t.Run("file_system", func(t *testing.T) { test(t, newFileSystem(t)) })
	t.Run("bolt", func(t *testing.T) { test(t, newBolt(t, filepath.Join(t.TempDir(), "deep/er/s.db"))) })
	t.Run("switch", func(t *testing.T) { test(t, NewSwitch(newFileSystem(t))) })
	if withModel {
		t.Run("certmagic", func(t *testing.T) { test(t, &certmagic.FileStorage{Path: t.TempDir()}) })
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func store(t testing.TB, s certmagic.Storage, keys ...string) {
	t.Helper()
	for _, k := range keys {
		must(t, s.Store(bg, k, []byte("value of "+k)))
	}
}

func wantList(t *testing.T, s certmagic.Storage, prefix string, recursive bool, want ...string) {
	t.Helper()
	got, err := s.List(bg, prefix, recursive)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("List(%q, %v) = %q, %v, want %q", prefix, recursive, got, err, want)
	}
}

// TestList: what List gives is the same for all, the library's storage included.
func TestList(t *testing.T) {
	storages(t, true, func(t *testing.T, s lockingStorage) {
		store(t, s, "a/b/c.crt", "a/b/c.key", "a/b.x", "a-b/d", "a.b/d", "ab", "a/b-c/e/f", "z")
		wantList(t, s, "", false, "a", "a-b", "a.b", "ab", "z")
		wantList(t, s, "", true, "a", "a/b", "a/b/c.crt", "a/b/c.key", "a/b-c", "a/b-c/e", "a/b-c/e/f", "a/b.x", "a-b", "a-b/d", "a.b", "a.b/d", "ab", "z")
		wantList(t, s, "a", false, "a/b", "a/b-c", "a/b.x")
		wantList(t, s, "a", true, "a/b", "a/b/c.crt", "a/b/c.key", "a/b-c", "a/b-c/e", "a/b-c/e/f", "a/b.x")
		wantList(t, s, "a/b", false, "a/b/c.crt", "a/b/c.key")
		wantList(t, s, "ab", true)
		for _, missing := range []string{"x", "a/x", "a/b/c", "zz"} {
			if got, err := s.List(bg, missing, true); !errors.Is(err, fs.ErrNotExist) || len(got) > 0 {
				t.Errorf("List(%q) = %q, %v, want fs.ErrNotExist", missing, got, err)
			}
		}
		// A folder outlives what was in it.
		must(t, s.Delete(bg, "a/b-c/e/f"))
		wantList(t, s, "a/b-c", true, "a/b-c/e")
		must(t, s.Delete(bg, "a/b"))
		wantList(t, s, "a", true, "a/b-c", "a/b-c/e", "a/b.x")
		must(t, s.Delete(bg, "a"))
		wantList(t, s, "", false, "a-b", "a.b", "ab", "z")
		for range 2 {
			must(t, s.Delete(bg, "a"))
		}
		ctx, cancel := context.WithCancel(bg)
		cancel()
		if _, err := s.List(ctx, "", true); !errors.Is(err, context.Canceled) {
			t.Errorf("List after its context: %v", err)
		}
	})
}

// TestListOfMany: a longer random-looking tree, against the library's storage.
func TestListOfMany(t *testing.T) {
	t.Parallel()
	model, own, bolt := &certmagic.FileStorage{Path: t.TempDir()}, newFileSystem(t), newBolt(t, filepath.Join(t.TempDir(), "s.db"))
	for i := range 150 {
		key := fmt.Sprintf("%c/%c%c/n%d.x", 'a'+i%5, 'a'+i%7, "-.0@_"[i%5], i%97)
		for _, s := range []certmagic.Storage{model, own, bolt} {
			must(t, s.Store(bg, key, nil))
			if i%11 == 0 {
				must(t, s.Delete(bg, fmt.Sprintf("%c/%c.", 'a'+i%5, 'a'+i%3)))
			}
		}
	}
	folders, _ := model.List(bg, "", true)
	for _, prefix := range append(folders, "") {
		for _, recursive := range []bool{false, true} {
			want, err := model.List(bg, prefix, recursive)
			must(t, err)
			wantList(t, own, prefix, recursive, want...)
			wantList(t, bolt, prefix, recursive, want...)
		}
	}
}

func TestValues(t *testing.T) {
	storages(t, true, func(t *testing.T, s lockingStorage) {
		for _, missing := range []string{"a", "a/b"} {
			if _, err := s.Load(bg, missing); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Load(%q): %v", missing, err)
			}
			if _, err := s.Stat(bg, missing); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Stat(%q): %v", missing, err)
			}
			if s.Exists(bg, missing) {
				t.Errorf("Exists(%q)", missing)
			}
		}
		before := time.Now().Add(-2 * time.Second)
		for _, v := range [][]byte{[]byte("one"), nil, bytes.Repeat([]byte("two"), 100_000), []byte("x")} {
			must(t, s.Store(bg, "a/b/c", v))
			got, err := s.Load(bg, "a/b/c")
			if err != nil || !bytes.Equal(got, v) {
				t.Fatalf("Load after Store of %d bytes: %d bytes, %v", len(v), len(got), err)
			}
			info, err := s.Stat(bg, "a/b/c")
			if err != nil || info.Key != "a/b/c" || info.Size != int64(len(v)) || !info.IsTerminal || info.Modified.Before(before) || info.Modified.After(time.Now().Add(2*time.Second)) {
				t.Errorf("Stat: %+v, %v", info, err)
			}
		}
		info, err := s.Stat(bg, "a/b")
		if err != nil || info.IsTerminal || info.Key != "a/b" || !s.Exists(bg, "a/b") || !s.Exists(bg, "a/b/c") {
			t.Errorf("the folder: %+v, %v", info, err)
		}
		if err := s.Store(bg, "a/b", []byte("x")); err == nil {
			t.Error("a value took the place of a folder")
		}
		if err := s.Store(bg, "a/b/c/d", []byte("x")); err == nil {
			t.Error("a value stands below a value")
		}
		if v, err := s.Load(bg, "a/b/c"); string(v) != "x" {
			t.Errorf("after refused writes: %q, %v", v, err)
		}
	})
}

// TestStricter: where the storages say more clearly than the library's what is
// there, and refuse what would lead astray.
func TestStricter(t *testing.T) {
	storages(t, false, func(t *testing.T, s lockingStorage) {
		wantList(t, s, "", true)
		if !s.Exists(bg, "") {
			t.Error("the outermost folder is not there before the first value")
		}
		if info, err := s.Stat(bg, ""); err != nil || info.IsTerminal {
			t.Errorf("Stat of the outermost folder: %+v, %v", info, err)
		}
		store(t, s, "v", "f/v")
		for _, key := range []string{"f", "v/below", "v/be/low", ""} {
			if _, err := s.Load(bg, key); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Load(%q): %v, want fs.ErrNotExist", key, err)
			}
		}
		if _, err := s.Stat(bg, "v/below"); !errors.Is(err, fs.ErrNotExist) || s.Exists(bg, "v/below") {
			t.Errorf("below a value: %v", err)
		}
		if _, err := s.List(bg, "v/below", false); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("List below a value: %v", err)
		}
		must(t, s.Delete(bg, "v/below"))
		if v, err := s.Load(bg, "/f/v/"); string(v) != "value of f/v" {
			t.Errorf("slashes at the ends matter: %q, %v", v, err)
		}
		long := strings.Repeat("k", MaxKeySegment)
		store(t, s, long+"/"+long)
		for _, key := range []string{"../x", "a/../../x", "a/./b", "..", "a//b", "a\\b", "a\x00b", "a\nb", "a/.tmp-1", long + "k", strings.Repeat(long+"/", 4) + "abcde"} {
			_, loaded := s.Load(bg, key)
			_, stat := s.Stat(bg, key)
			_, listed := s.List(bg, key, true)
			for what, err := range map[string]error{"Store": s.Store(bg, key, nil), "Load": loaded, "Stat": stat, "List": listed, "Delete": s.Delete(bg, key)} {
				if err == nil || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s(%q): %v", what, key, err)
				}
			}
			if s.Exists(bg, key) {
				t.Errorf("Exists(%q)", key)
			}
		}
		for _, key := range []string{"", "/"} {
			if s.Delete(bg, key) == nil || s.Store(bg, key, nil) == nil {
				t.Errorf("%q was deleted or stored", key)
			}
		}
		secret := bytes.Repeat([]byte("SECRET"), MaxValue/6+1)
		if err := s.Store(bg, "large", secret); err == nil || strings.Contains(err.Error(), "SECRET") || s.Exists(bg, "large") {
			t.Errorf("a value of %d bytes: %.100v", len(secret), err)
		}
		must(t, s.Store(bg, "large", secret[:MaxValue]))
		if v, err := s.Load(bg, "large"); err != nil || len(v) != MaxValue {
			t.Errorf("the largest value: %d bytes, %v", len(v), err)
		}
		ctx, cancel := context.WithCancel(bg)
		cancel()
		_, loaded := s.Load(ctx, "v")
		_, tried := s.TryLock(ctx, "l")
		for _, err := range []error{s.Store(ctx, "v", nil), loaded, s.Delete(ctx, "v"), s.Lock(ctx, "l"), tried} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("after the context: %v", err)
			}
		}
		if v, _ := s.Load(bg, "v"); string(v) != "value of v" {
			t.Errorf("v is %q", v)
		}
	})
}

func TestLocks(t *testing.T) {
	t.Parallel()
	storages(t, false, func(t *testing.T, s lockingStorage) {
		const name = "issue_cert_*.example.com" // made safe by the storages
		if err := s.Unlock(bg, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Unlock of a free lock: %v", err)
		}
		must(t, s.Lock(bg, name))
		must(t, s.Lock(bg, "other"))
		if got, err := s.TryLock(bg, name); got || err != nil {
			t.Fatalf("TryLock of a held lock: %v, %v", got, err)
		}
		ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
		if err := s.Lock(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Lock of a held lock: %v", err)
		}
		cancel()
		must(t, s.Unlock(bg, name))
		if got, err := s.TryLock(bg, name); !got || err != nil {
			t.Fatalf("TryLock of a free lock: %v, %v", got, err)
		}
		waited := make(chan error)
		go func() { waited <- s.Lock(bg, name) }()
		dead, cancel := context.WithCancel(bg)
		cancel()
		must(t, s.Unlock(dead, name)) // whatever happened to the work
		must(t, <-waited)
		must(t, s.Unlock(bg, name))
		must(t, s.Unlock(bg, "other"))
		must(t, s.Lock(bg, strings.Repeat("n", 1000)))
		must(t, s.Unlock(bg, strings.Repeat("n", 1000)))
	})
}

// TestConcurrentUse: writers, readers and lists of the same keys. A reader finds a
// whole value, and a lister what was never deleted.
func TestConcurrentUse(t *testing.T) {
	storages(t, false, func(t *testing.T, s lockingStorage) {
		store(t, s, "steady/key")
		must(t, s.Store(bg, "k/e/y", bytes.Repeat([]byte{'a'}, 20_000)))
		var writers, readers sync.WaitGroup
		done := make(chan struct{})
		for w := range 3 {
			writers.Go(func() {
				for i := range 15 {
					if err := s.Store(bg, "k/e/y", bytes.Repeat([]byte{byte('a' + w)}, 10_000+i)); err != nil {
						t.Error(err)
					}
					gone := fmt.Sprintf("gone/%d/x", w)
					if err := errors.Join(s.Store(bg, gone, nil), s.Delete(bg, fmt.Sprintf("gone/%d", w))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range 2 {
			readers.Go(func() {
				for {
					v, err := s.Load(bg, "k/e/y")
					if err != nil || len(v) < 10_000 || len(bytes.Trim(v, string(v[:1]))) > 0 {
						t.Errorf("a mixture of %d bytes, %v", len(v), err)
						return
					}
					keys, err := s.List(bg, "", true)
					if err != nil || !slices.Contains(keys, "steady/key") || !slices.Contains(keys, "k/e/y") {
						t.Errorf("List: %q, %v", keys, err)
						return
					}
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		writers.Wait()
		close(done)
		readers.Wait()
		wantList(t, s, "k", true, "k/e", "k/e/y")
	})
}

// TestNames: the table of locks does not grow with what was locked once.
func TestNames(t *testing.T) {
	var n names
	for i := range 100 {
		name := fmt.Sprint(i % 3)
		must(t, n.lock(bg, name))
		if n.tryLock(name) {
			t.Fatal("two holders")
		}
		must(t, n.unlock(name))
	}
	if len(n.used) != 0 {
		t.Errorf("%d locks are kept", len(n.used))
	}
}

func TestSwitch(t *testing.T) {
	a, b := newFileSystem(t), newBolt(t, filepath.Join(t.TempDir(), "s.db"))
	sw := NewSwitch(a)
	must(t, sw.Lock(bg, "l"))
	store(t, sw, "k")
	sw.Use(b)
	if sw.Current() != certmagic.Storage(b) || sw.Exists(bg, "k") || sw.String() != b.String() {
		t.Error("the switch still uses the storage before")
	}
	store(t, sw, "k2")
	if !b.Exists(bg, "k2") || a.Exists(bg, "k2") {
		t.Error("a value was not stored in the current storage")
	}
	// The lock counts until its holder releases it, where it was taken.
	if got, err := sw.TryLock(bg, "l"); got || err != nil {
		t.Errorf("TryLock while it is held in the storage before: %v, %v", got, err)
	}
	if err := sw.RenewLockLease(bg, "l", time.Minute); err != nil {
		t.Error(err)
	}
	must(t, sw.Unlock(bg, "l"))
	if got, err := a.TryLock(bg, "l"); !got || err != nil {
		t.Errorf("the lock in the storage before was not released: %v, %v", got, err)
	}
	if got, err := sw.TryLock(bg, "l"); !got || err != nil {
		t.Errorf("the lock in the current storage: %v, %v", got, err)
	}
	sw.Use(nil)
	must(t, sw.Unlock(bg, "l"))
	if got, err := b.TryLock(bg, "l"); !got || err != nil {
		t.Errorf("the lock was not released where it was taken: %v, %v", got, err)
	}
	if sw.Current() != certmagic.Storage(a) || !reflect.DeepEqual(sw.held, map[string]certmagic.Storage{}) || len(sw.locks.used) != 0 {
		t.Errorf("left behind: %v", sw.held)
	}
}
