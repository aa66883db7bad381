package certstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
)

// TestBoltShared: all who name one file share it and its locks; it is closed by the
// last, and then others may have it.
func TestBoltShared(t *testing.T) {
	dir := t.TempDir()
	stores, path := NewStores(dir), filepath.Join(dir, "sub", "s.db")
	a, b, link := NewBolt(stores, path), NewBolt(stores, path), NewBolt(stores, filepath.Join(dir, "link", "s.db"))
	if err := a.Store(bg, "k", nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("before Open: %v", err)
	}
	must(t, a.Open())
	must(t, os.Symlink("sub", filepath.Join(dir, "link")))
	must(t, errors.Join(b.Open(), link.Open()))
	store(t, a, "k")
	if !b.Exists(bg, "k") || !link.Exists(bg, "k") {
		t.Error("the file is not shared")
	}
	for path, want := range map[string]fs.FileMode{filepath.Dir(path): 0o700, path: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v", path, info.Mode().Perm(), err)
		}
	}
	must(t, a.Lock(bg, "l"))
	if got, _ := b.TryLock(bg, "l"); got {
		t.Error("two holders")
	}
	a.Close()
	a.Close()
	link.Close()
	if _, err := a.Load(bg, "k"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	must(t, a.Unlock(bg, "l")) // though a is closed
	if got, err := b.TryLock(bg, "l"); !got {
		t.Errorf("the lock of one who is gone: %v", err)
	}
	other := NewBolt(NewStores(dir), path)
	if err := other.Open(); err == nil || !strings.Contains(err.Error(), "has it open") {
		t.Errorf("opened while in use: %v", err)
	}
	b.Close()
	if len(stores.files) != 0 {
		t.Errorf("%d files are open", len(stores.files))
	}
	must(t, other.Open())
	defer other.Close()
	if !other.Exists(bg, "k") {
		t.Error("the value is gone")
	}
}

// TestBoltOtherFiles: a file that is no storage is an error and stays as it is.
func TestBoltOtherFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, change func(tx *bbolt.Tx) error) string {
		path := filepath.Join(dir, name)
		db, err := bbolt.Open(path, 0o600, nil)
		must(t, err)
		must(t, db.Update(change))
		must(t, db.Close())
		return path
	}
	good := filepath.Join(dir, "good.db")
	b := NewBolt(NewStores(dir), good)
	must(t, b.Open())
	for i := range 200 {
		store(t, b, fmt.Sprintf("key/%d", i))
	}
	b.Close()
	whole, err := os.ReadFile(good)
	must(t, err)
	files := map[string]string{
		write("else.db", func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("records")); return err }): "something else",
		write("newer.db", func(tx *bbolt.Tx) error {
			f, err := tx.CreateBucket(bucketFormat)
			_, err2 := tx.CreateBucket(bucketEntries)
			return errors.Join(err, err2, f.Put(keyFormat, []byte("2")))
		}): `format "2"`,
	}
	for name, content := range map[string][]byte{"empty": {}, "text": []byte(strings.Repeat("no database\n", 5000)), "cut": whole[:len(whole)/4], "zeros": make([]byte, len(whole))} {
		path := filepath.Join(dir, name+".db")
		must(t, os.WriteFile(path, content, 0o600))
		files[path] = "damaged"
	}
	for path, want := range files {
		before, _ := os.ReadFile(path)
		b := NewBolt(NewStores(dir), path)
		err := b.Open()
		if err == nil && want == "damaged" { // it may be found later
			_, err = b.List(bg, "", true)
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s was changed", path)
		}
	}
}

// TestBoltDamage: whatever is wrong with a page, it is an error or a value, never
// the end of the process.
func TestBoltDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.db")
	b := NewBolt(NewStores(dir), path)
	must(t, b.Open())
	for i := range 40 {
		must(t, b.Store(bg, fmt.Sprintf("key/%d", i), bytes.Repeat([]byte{'v'}, 1000)))
	}
	b.Close()
	whole, err := os.ReadFile(path)
	must(t, err)
	failed := 0
	for at := 2 * os.Getpagesize(); at < len(whole); at += os.Getpagesize() {
		damaged := bytes.Clone(whole)
		copy(damaged[at:], bytes.Repeat([]byte{0xfe}, 64))
		must(t, os.WriteFile(path, damaged, 0o600))
		b := NewBolt(NewStores(dir), path)
		if b.Open() != nil {
			failed++
			continue
		}
		_, err := b.List(bg, "", true)
		for i := range 40 {
			if _, one := b.Load(bg, fmt.Sprintf("key/%d", i)); one != nil {
				err = one
			}
		}
		if err != nil {
			failed++
		}
		b.Close()
	}
	if failed == 0 {
		t.Error("no damage was noticed")
	}
}

// TestBoltFailingFile: the file cannot be written for a while; the writes of that
// while fail, what is there can be read, and later ones work.
func TestBoltFailingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	var fails error
	d, err := openDatabase(path, func(name string, flag int, mode os.FileMode) (*os.File, error) {
		if fails != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: fails}
		}
		return os.OpenFile(name, flag, mode)
	})
	must(t, err)
	b := NewBolt(NewStores(""), path)
	b.shared.Store(&sharedDatabase{database: d})
	defer d.close()
	for round := range 3 {
		key := fmt.Sprint("k", round)
		store(t, b, key)
		d.file.Close()
		if err := b.Store(bg, key, []byte("lost")); err == nil {
			t.Fatal("stored without a file")
		}
		if v, err := b.Load(bg, key); string(v) != "value of "+key {
			t.Errorf("after a failed write: %q, %v", v, err)
		}
		fails = syscall.EIO
		d.file.Close()
		for range 2 {
			if err := b.Store(bg, key, []byte("lost")); err == nil {
				t.Fatal("stored without a file")
			}
			if _, err := b.Load(bg, key); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("loaded from a file that cannot be opened: %v", err)
			}
		}
		fails = nil
		store(t, b, key+"after")
		if v, err := b.Load(bg, key); string(v) != "value of "+key {
			t.Errorf("after the file is back: %q, %v", v, err)
		}
	}
	// A refused value is no reason to open anything.
	file := d.file
	if err := b.Store(bg, "k0/below", nil); !errors.Is(err, errBelowValue) || d.file != file {
		t.Errorf("a refused value: %v", err)
	}
	// Who was about to use the file when it was closed is told so.
	d.close()
	_, loaded := b.Load(bg, "k0")
	for _, err := range []error{loaded, b.Store(bg, "k0", nil)} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after the file was closed: %v", err)
		}
	}
}
