package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluiceproxy/sluice/storage"
)

// Blobs runs the contract of storage.Blobs against what open returns, which
// is empty each time.
func Blobs(t *testing.T, open func(t *testing.T) storage.Blobs) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, storage.Blobs)
	}{
		{"Values", testValues}, {"Keys", testKeys}, {"Folders", testFolders}, {"Locks", testLocks},
		{"LockContext", testLockContext}, {"Parallel", testParallel},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func mustPut(t *testing.T, b storage.Blobs, key, value string) {
	t.Helper()
	if err := b.Put(bg, key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func testValues(t *testing.T, b storage.Blobs) {
	if _, err := b.Get(bg, "a/b"); !errors.Is(err, storage.ErrNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get of nothing: %v", err)
	}
	for _, value := range []string{"one", "", strings.Repeat("long", 50000), "\x00\xff"} {
		mustPut(t, b, "a/b", value)
		got, err := b.Get(bg, "a/b")
		if err != nil || string(got) != value {
			t.Fatalf("Get: %.20q, %v; want %.20q", got, err, value)
		}
		info, err := b.Stat(bg, "a/b")
		if err != nil || info.Key != "a/b" || info.Size != int64(len(value)) || info.Folder || info.Modified.IsZero() {
			t.Fatalf("Stat: %+v, %v", info, err)
		}
	}
	if err := b.Delete(bg, "a/b"); err != nil {
		t.Fatal(err)
	}
	_, err1 := b.Get(bg, "a/b")
	_, err2 := b.Stat(bg, "a/b")
	for _, err := range []error{err1, err2, b.Delete(bg, "a/b")} {
		if !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("after Delete: %v, want ErrNotFound", err)
		}
	}
}

func testKeys(t *testing.T, b storage.Blobs) {
	for _, key := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "../x", "a/../../x", "a/./b", "a\\b", "c:x", "a\x00b", "a\nb",
		".tmp-x", "a/.tmp-x/b", strings.Repeat("k", 201), strings.Repeat("k/", 512) + "k"} {
		_, err1 := b.Get(bg, key)
		_, err2 := b.Stat(bg, key)
		_, err3 := b.List(bg, key, true)
		errs := []error{b.Put(bg, key, nil), err1, err2, b.Delete(bg, key), b.Lock(bg, key)}
		if key != "" {
			errs = append(errs, err3)
		}
		for i, err := range errs {
			if !errors.Is(err, storage.ErrKey) {
				t.Errorf("method %d with key %.40q: %v, want ErrKey", i, key, err)
			}
		}
	}
	for _, key := range []string{"a", "acme/acme-v02.api.letsencrypt.org-directory/users/a@b.c/a.json", "wildcard_.example.com.crt", "...", "-", "ä b"} {
		mustPut(t, b, key, key)
		if got, err := b.Get(bg, key); string(got) != key || err != nil {
			t.Errorf("Get(%q): %q, %v", key, got, err)
		}
	}
}

func testFolders(t *testing.T, b storage.Blobs) {
	if keys, err := b.List(bg, "", true); len(keys) != 0 || err != nil {
		t.Errorf("List of an empty storage: %v, %v", keys, err)
	}
	for _, key := range []string{"x/b/2", "x/b/1", "x/a", "x/c/d/e", "xy", "z"} {
		mustPut(t, b, key, "v")
	}
	for _, test := range []struct {
		prefix    string
		recursive bool
		want      string
	}{
		{"", true, "x/a x/b/1 x/b/2 x/c/d/e xy z"}, {"", false, "x xy z"}, {"x", true, "x/a x/b/1 x/b/2 x/c/d/e"},
		{"x", false, "x/a x/b x/c"}, {"x/b", false, "x/b/1 x/b/2"}, {"x/c", false, "x/c/d"}, {"x/c", true, "x/c/d/e"},
	} {
		keys, err := b.List(bg, test.prefix, test.recursive)
		if got := strings.Join(keys, " "); got != test.want || err != nil {
			t.Errorf("List(%q, %t): %s, %v; want %s", test.prefix, test.recursive, got, err, test.want)
		}
	}
	for _, prefix := range []string{"none", "x/none", "z", "x/a"} {
		if keys, err := b.List(bg, prefix, false); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("List(%q): %v, %v; want ErrNotFound", prefix, keys, err)
		}
	}
	if info, err := b.Stat(bg, "x/c"); err != nil || !info.Folder || info.Size != 0 {
		t.Errorf("Stat of a folder: %+v, %v", info, err)
	}
	if _, err := b.Get(bg, "x"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get of a folder: %v, want ErrNotFound", err)
	}
	for _, key := range []string{"x", "x/c/d", "z/below", "x/a/b/c"} {
		if err := b.Put(bg, key, nil); err == nil {
			t.Errorf("Put(%q) makes a folder a value or a value a folder", key)
		}
	}
	if err := b.Delete(bg, "x"); err != nil {
		t.Fatal(err)
	}
	if keys, err := b.List(bg, "", true); !slices.Equal(keys, []string{"xy", "z"}) || err != nil {
		t.Errorf("after deleting the folder x there are %v, %v", keys, err)
	}
}

func testLocks(t *testing.T, b storage.Blobs) {
	if err := b.Unlock(bg, "l"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Unlock of a free lock: %v, want ErrNotFound", err)
	}
	for range 2 {
		if err := errors.Join(b.Lock(bg, "l"), b.Lock(bg, "dir/other")); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.Unlock(bg, "l"), b.Unlock(bg, "dir/other")); err != nil {
			t.Fatal(err)
		}
	}
	var inside atomic.Int32
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := b.Lock(bg, "l"); err != nil {
				t.Error(err)
				return
			}
			if inside.Add(1) != 1 {
				t.Error("two hold the lock")
			}
			inside.Add(-1)
			if err := b.Unlock(bg, "l"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if keys, err := b.List(bg, "", true); len(keys) != 0 || err != nil {
		t.Errorf("locks are listed as keys: %v, %v", keys, err)
	}
}

func testLockContext(t *testing.T, b storage.Blobs) {
	if err := b.Lock(bg, "l"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(bg)
	result := make(chan error)
	go func() { result <- b.Lock(ctx, "l") }()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Lock: %v, want context.Canceled", err)
	}
	if err := b.Unlock(bg, "l"); err != nil {
		t.Error(err)
	}
}

func testParallel(t *testing.T, b storage.Blobs) {
	var wg sync.WaitGroup
	mustPut(t, b, "k/shared", strings.Repeat("0", 5000))
	for i := range 4 {
		wg.Go(func() {
			value := []byte(strings.Repeat(fmt.Sprint(i), 5000))
			for range 20 {
				if err := b.Put(bg, "k/shared", value); err != nil {
					t.Error(err)
				}
				got, err := b.Get(bg, "k/shared")
				if err != nil || len(got) != 5000 || !bytes.Equal(got, bytes.Repeat(got[:1], 5000)) {
					t.Errorf("Get: a mixture, or %v", err)
				}
			}
		})
	}
	wg.Wait()
	if keys, err := b.List(bg, "k", true); len(keys) != 1 || err != nil {
		t.Errorf("List: %v, %v", keys, err)
	}
}
