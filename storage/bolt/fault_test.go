package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/storagetest"
)

// TestFailingFile: the file can't be written for a while, in several ways; the
// commits of that while fail, the store stays readable, and later ones work.
func TestFailingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	readOnly, missing := false, false
	o := options(t)
	o.openFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		switch {
		case missing:
			return nil, &os.PathError{Op: "open", Path: name, Err: errors.New("input/output error")}
		case readOnly && flag&os.O_RDWR != 0:
			return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EROFS}
		}
		return os.OpenFile(name, flag, mode)
	}
	m := storagetest.NewModel(mustOpen(t, path, o))
	s := m.Store.(*Store)
	m.MustCommit(t, storagetest.Put("a", 1))
	fails := func(when string) {
		t.Helper()
		changes, _ := m.Changes(storagetest.Put("lost", when), storagetest.Put("large", strings.Repeat("x", 100_000)))
		if _, err := s.Commit(bg, m.Last(), changes, nil); !errors.Is(err, storage.ErrFull) {
			t.Fatalf("%s: %v, want ErrFull", when, err)
		}
	}
	for round := range 3 {
		s.file.Close()
		fails("the descriptor is gone")
		m.CheckLoad(t)
		m.MustCommit(t, storagetest.Put("b", round))

		readOnly = true
		s.file.Close()
		for range 3 {
			fails("the file is read-only")
			m.CheckLoad(t)
		}
		readOnly = false
		m.MustCommit(t, storagetest.Put("c", round))

		missing = true
		s.file.Close()
		fails("the file can't be opened")
		fails("the file can't be opened")
		if _, err := s.Load(bg); err == nil {
			t.Error("Load read a file that can't be opened")
		}
		missing = false
		m.MustCommit(t, storagetest.Put("d", round))
		m.CheckLoad(t)
	}
	m.Store.Close()
	m.Store = mustOpen(t, path, o)
	for n := range m.Last() {
		m.CheckRevision(t, n+1)
	}
}

// TestUndo: the sync after the meta page fails, so the transaction is there
// for whoever looks, and it may be gone after a power cut.
func TestUndo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	m := storagetest.NewModel(mustOpen(t, path, options(t)))
	for i := range 10 {
		m.MustCommit(t, storagetest.Put(fmt.Sprint(i), i))
		s := m.Store.(*Store)
		changes, _ := m.Changes(storagetest.Put("ghost", i))
		if _, err := s.Commit(bg, m.Last(), changes, nil); err != nil {
			t.Fatal(err)
		}
		s.last.Store(m.Last()) // as if it had failed
		s.failed = errors.New("fdatasync: input/output error")
		if i%2 == 0 {
			m.MustCommit(t, storagetest.Put("next", i))
		} else if err := s.reopen(); err != nil {
			t.Fatal(err)
		}
		m.Store.Close()
		m.Store = mustOpen(t, path, options(t))
		m.CheckLoad(t)
	}
	for n := range m.Last() {
		m.CheckRevision(t, n+1)
	}
}

// TestUndoKeepsCommitted: a transaction that fails before it writes anything
// must not take the one before it along.
func TestUndoKeepsCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	m := storagetest.NewModel(mustOpen(t, path, options(t)))
	s := m.Store.(*Store)
	m.MustCommit(t, storagetest.Put("a", 1))
	for _, f := range []func(*bbolt.Tx) error{
		func(*bbolt.Tx) error { return errors.New("no") },
		func(*bbolt.Tx) error { panic("no") },
	} {
		s.mu.Lock()
		err := s.write(f)
		s.mu.Unlock()
		if err == nil {
			t.Fatal("the transaction succeeded")
		}
		m.CheckLoad(t)
		m.MustCommit(t, storagetest.Put("b", 1))
	}
	s.db.Close() // the next transaction doesn't even begin
	changes, _ := m.Changes(storagetest.Put("c", 1))
	if _, err := s.Commit(bg, m.Last(), changes, nil); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("Commit: %v", err)
	}
	m.CheckLoad(t)
	m.MustCommit(t, storagetest.Put("c", 1))
	m.CheckLoad(t)
}

// TestNotAStore: files that can't be used are refused with path and advice,
// and are left as they are.
func TestNotAStore(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	prepare(t, good, 30)
	image, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign.db")
	db, err := bbolt.Open(foreign, 0o600, nil)
	if err == nil {
		err = errors.Join(db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("mine")); return err }), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty": {}, "text": []byte("{}\n"), "zeros": make([]byte, 1<<16), "foreign": other,
		"truncated": image[:8*os.Getpagesize()], "headless": append(make([]byte, 8192), image[8192:]...),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, options(t))
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want ErrCorrupt with the path", name, err)
		}
		if after, _ := os.ReadFile(path); string(after) != string(content) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if _, err := Open(filepath.Join(dir, "none.db"), Options{MustExist: true}); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("MustExist: %v, want ErrNotFound", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none.db.lock")); err == nil {
		t.Error("MustExist left a lock file")
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a directory was opened")
	}
}

// TestDamage damages a store at random places. It never crashes, and what it
// returns without an error is right.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.db")
	last := prepare(t, path, 60)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := preflightPages(t, path) * os.Getpagesize()
	r := rand.New(rand.NewPCG(5, 6))
	damaged, loaded := 0, 0
	for range 120 {
		bad := append([]byte(nil), image...)
		at, n := r.IntN(used), 1+r.IntN(64)
		if r.IntN(2) == 0 {
			at = at / 4096 * 4096 // headers matter most
		}
		for i := at; i < min(len(bad), at+n); i++ {
			bad[i] = byte(r.Uint32())
		}
		if r.IntN(20) == 0 {
			binary.NativeEndian.PutUint64(bad[at/4096*4096+16:], r.Uint64())
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, Options{Replay: storagetest.Replay, Digest: storagetest.Digest})
		if err == nil {
			var snap storage.Snapshot
			if snap, err = s.Load(bg); err == nil {
				loaded++
				if n := snap.Revision.Number; n > last || string(snap.Document) != string(scriptedDocument(n)) {
					t.Errorf("damage at %d: revision %d is wrong", at, n)
				}
			}
			if revs, herr := s.History(bg, 0, 1000); herr == nil {
				for _, rev := range revs[:min(len(revs), 2)] {
					_, _ = s.Revision(bg, rev.Number)
				}
			}
			s.Close()
		}
		if err != nil {
			damaged++
			if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), path) {
				t.Errorf("damage at %d: %v, want ErrCorrupt with the path", at, err)
			}
		}
	}
	t.Logf("of 120 damaged files %d were refused, %d gave the document", damaged, loaded)
	if damaged == 0 || loaded == 0 {
		t.Error("the test is not a test")
	}
}

// preflightPages returns how many pages the file uses.
func preflightPages(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := readMetas(f)
	return int(max(m[0].pages, m[1].pages))
}

// TestCreateInterrupted: what a process left that died while creating a store
// is no obstacle.
func TestCreateInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	if err := os.WriteFile(path+unfinished, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := storagetest.NewModel(mustOpen(t, path, options(t)))
	m.MustCommit(t, storagetest.Put("a", 1))
	m.CheckLoad(t)
	if _, err := os.Stat(path + unfinished); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unfinished file is still there: %v", err)
	}
}
