package bolt

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/storagetest"
)

// eventually waits for something that happens in the background.
func eventually(t *testing.T, s *Store, what string, ok func(*book) bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		s.mu.Lock()
		done := ok(&s.book)
		s.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// count returns how many keys a bucket has.
func count(t *testing.T, s *Store, bucket []byte) (n int) {
	t.Helper()
	if err := s.view(func(tx *bbolt.Tx) error { n = tx.Bucket(bucket).Stats().KeyN; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSnapshotWithoutDocument: if nobody gives the document it is rebuilt, so
// that starting doesn't replay more and more.
func TestSnapshotWithoutDocument(t *testing.T) {
	o := options(t)
	o.SnapshotEvery = 10
	m := storagetest.NewModel(mustOpen(t, filepath.Join(t.TempDir(), "sluice.db"), o))
	s := m.Store.(*Store)
	for i := range 25 {
		edit := storagetest.Put(fmt.Sprint(i%3), strings.Repeat("x", 50_000))
		changes, docs := m.Changes(edit)
		if _, err := s.Commit(bg, m.Last(), changes, nil); err != nil {
			t.Fatal(err)
		}
		m.Accept([]storage.Edit{edit}, docs)
	}
	eventually(t, s, "a snapshot", func(k *book) bool { return !k.stray && k.edits < 10 })
	if count(t, s, bucketPieces) < 3 {
		t.Error("there are no pieces of a snapshot")
	}
	m.CheckLoad(t)
}

// TestSnapshotAtClose: Close writes a snapshot if there is something to gain,
// and a store that was only read is left alone.
func TestSnapshotAtClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	m := storagetest.NewModel(mustOpen(t, path, options(t)))
	m.MustCommit(t, storagetest.Put("a", 1))
	for i, want := range []int{0, 1, 1} { // snapshots
		m.Store.Close()
		s := mustOpen(t, path, options(t))
		if got := count(t, s, bucketSnapshots); got != want {
			t.Errorf("after Close %d there are %d snapshots, want %d", i, got, want)
		}
		m.Store = s
		if i == 0 {
			for i := range closeEdits {
				m.MustCommit(t, storagetest.Put("b", i))
			}
		}
	}
	m.Store.Close()
	o := options(t)
	o.Limits.MaxRevisions = 1 // a reader's options must not prune
	s := mustOpen(t, path, o)
	m.Store = s
	m.CheckLoad(t)
	s.Close()
	s = mustOpen(t, path, options(t))
	if got := count(t, s, bucketRecords); got != closeEdits+1 {
		t.Errorf("there are %d revisions, want %d", got, closeEdits+1)
	}
}

// TestSnapshotWrongDocument: a document that isn't the revision's is reported
// and not kept, and the store goes on.
func TestSnapshotWrongDocument(t *testing.T) {
	var mu sync.Mutex
	var reported []error
	o := options(t)
	o.SnapshotEvery = 5
	o.OnError = func(err error) {
		mu.Lock()
		defer mu.Unlock()
		reported = append(reported, err)
	}
	path := filepath.Join(t.TempDir(), "sluice.db")
	m := storagetest.NewModel(mustOpen(t, path, o))
	s := m.Store.(*Store)
	for i := range 12 {
		edit := storagetest.Put("a", i)
		changes, docs := m.Changes(edit)
		if _, err := s.Commit(bg, m.Last(), changes, func() []byte { return []byte(`{"wrong":1}`) }); err != nil {
			t.Fatal(err)
		}
		m.Accept([]storage.Edit{edit}, docs)
	}
	eventually(t, s, "a report", func(*book) bool { mu.Lock(); defer mu.Unlock(); return len(reported) > 0 })
	if !strings.Contains(reported[0].Error(), "digest") || !strings.Contains(reported[0].Error(), path) {
		t.Errorf("reported: %v", reported[0])
	}
	for i := range 6 {
		m.MustCommit(t, storagetest.Put("b", i)) // these give the right one
	}
	eventually(t, s, "a snapshot", func(k *book) bool { return k.newest() > 12 })
	m.CheckLoad(t)
}

// TestStrayPieces: what an unfinished snapshot left is removed before the next.
func TestStrayPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	o := options(t)
	o.SnapshotEvery = 10
	m := storagetest.NewModel(mustOpen(t, path, o))
	m.MustCommit(t, storagetest.Put("a", 1))
	s := m.Store.(*Store)
	s.mu.Lock()
	err := s.write(func(tx *bbolt.Tx) error {
		for n := range uint64(5) {
			if _, err := putPieces(tx.Bucket(bucketPieces), 1+100*n, make([]byte, 40*pieceSize), 0, 40); err != nil {
				return err
			}
		}
		return nil
	})
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	m.Store.Close()
	s = mustOpen(t, path, o)
	m.Store = s
	m.CheckLoad(t)
	for i := range 10 {
		m.MustCommit(t, storagetest.Put("b", i))
	}
	eventually(t, s, "a snapshot", func(k *book) bool { return !k.stray })
	if n := count(t, s, bucketPieces); n != 1 {
		t.Errorf("there are %d pieces, want that of the snapshot", n)
	}
	m.CheckLoad(t)
}

// TestDamagedSnapshot: the document is rebuilt from the one before.
func TestDamagedSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	o := options(t)
	o.SnapshotEvery = 10
	m := storagetest.NewModel(mustOpen(t, path, o))
	s := m.Store.(*Store)
	for round := range 3 {
		for i := range 10 {
			m.MustCommit(t, storagetest.Put("a", 10*round+i))
		}
		eventually(t, s, "a snapshot", func(k *book) bool { return len(k.snapshots) == round+1 })
	}
	s.mu.Lock()
	newest := s.book.newest()
	err := s.write(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketPieces).Put(pieceKey(newest, 0), []byte("damaged"))
	})
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	m.CheckLoad(t)
	m.CheckRevision(t, newest)
}

// TestAccounts: the book, kept commit by commit, is what a fresh look at the
// file says.
func TestAccounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	prepare(t, path, 200)
	o := scriptedOptions()
	s, last, doc, err := loadScripted(path, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 100 {
		if doc, err = commitGroup(s, last, doc); err != nil {
			t.Fatal(err)
		}
		last += groupSize
	}
	eventually(t, s, "the end of background work", func(k *book) bool { return !k.stray && !k.due(&s.opts) && s.cut() <= k.pruned })
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, fresh := s.book, book{}
	if err := s.view(fresh.load(s)); err != nil {
		t.Fatal(err)
	}
	if kept.total != fresh.total || kept.edits != fresh.edits || kept.editBytes != fresh.editBytes ||
		kept.wholeSize != fresh.wholeSize || fmt.Sprint(kept.snapshots) != fmt.Sprint(fresh.snapshots) {
		t.Errorf("the book says %+v, the file %+v", kept, fresh)
	}
}
