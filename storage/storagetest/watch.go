package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/storage"
)

func testWatch(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{})
	m.MustCommit(t, Put("before", 1))
	a, b := m.Store.Watch(t.Context()), m.Store.Watch(t.Context())
	m.MustCommit(t, Put("x", 1), Put("y", 2))
	m.MustCommit(t, Put("z", 3))
	for _, w := range []<-chan storage.Revision{a, b} {
		for n := uint64(2); n <= 4; n++ {
			r := receive(t, w)
			if r.Number != n || !bytes.Equal(r.Edit.Body, m.Edits[n].Body) || r.Edit.Path != m.Edits[n].Path {
				t.Fatalf("watched %+v, want revision %d", r, n)
			}
		}
	}
	m.MustCommit(t, Put("z", 4))
	if r := receive(t, a); r.Number != 5 {
		t.Fatalf("watched revision %d, want 5", r.Number)
	}
}

func receive(t *testing.T, w <-chan storage.Revision) storage.Revision {
	t.Helper()
	select {
	case r, ok := <-w:
		if !ok {
			t.Fatal("the watch ended")
		}
		return r
	case <-time.After(10 * time.Second):
		t.Fatal("a revision did not arrive")
	}
	panic("unreachable")
}

func testWatchSlow(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{MaxRevisions: 20})
	w := m.Store.Watch(t.Context())
	for i := range 60 { // nobody receives, nobody waits
		m.MustCommit(t, puts("x", i, 10)...)
	}
	var seen uint64
	for seen < m.Last() {
		r := receive(t, w)
		if r.Number <= seen || seen > 1 && seen >= m.Last()-19 && r.Number != seen+1 {
			t.Fatalf("revision %d arrived after %d", r.Number, seen)
		}
		seen = r.Number
	}
}

func testWatchEnds(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{})
	ctx, cancel := context.WithCancel(bg)
	byContext, byClose, blocked := m.Store.Watch(ctx), m.Store.Watch(bg), m.Store.Watch(bg)
	cancel()
	ended := func(w <-chan storage.Revision, what string) {
		t.Helper()
		deadline := time.After(10 * time.Second)
		for {
			select {
			case _, ok := <-w:
				if !ok {
					return
				}
			case <-deadline:
				t.Fatalf("the watch goes on after %s", what)
			}
		}
	}
	ended(byContext, "its context ended")
	m.MustCommit(t, Put("x", 1)) // now blocked waits for a receiver
	if err := m.Store.Close(); err != nil {
		t.Fatal(err)
	}
	ended(byClose, "Close")
	ended(blocked, "Close")
	ended(m.Store.Watch(bg), "Close, having begun later")
}

// testConcurrent has writers that race for each number, readers that check
// what they see, and watchers.
func testConcurrent(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{MaxRevisions: 50})
	s := m.Store
	m.MustCommit(t, Put("n", 1))
	const writers, each = 4, 25
	var wg, readers sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		readers.Go(func() { readUntil(t, s, stop) })
	}
	watch := s.Watch(bg)
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				snap, err := s.Load(bg)
				if err != nil {
					t.Error(err)
					return
				}
				n := snap.Revision.Number + 1
				e := Put("n", n)
				doc := fmt.Appendf(nil, `{"n":%d}`, n)
				_, err = s.Commit(bg, n-1, []storage.Change{{Edit: e, Digest: Digest(doc)}}, func() []byte { return doc })
				if err != nil && !errors.Is(err, storage.ErrConflict) {
					t.Error(err)
					return
				}
				if err == nil {
					done++
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	readers.Wait()
	snap, err := s.Load(bg)
	if err != nil || snap.Revision.Number != 1+writers*each {
		t.Fatalf("%d commits after the first made revision %d, %v", writers*each, snap.Revision.Number, err)
	}
	for seen := uint64(1); seen < snap.Revision.Number; {
		r := receive(t, watch)
		if r.Number <= seen {
			t.Fatalf("revision %d arrived after %d", r.Number, seen)
		}
		seen = r.Number
	}
}

// readUntil checks what it reads until stop is closed.
func readUntil(t *testing.T, s storage.Store, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		snap, err := s.Load(bg)
		if want := fmt.Sprintf(`{"n":%d}`, snap.Revision.Number); err != nil || string(snap.Document) != want {
			t.Errorf("loaded %s, %v; want %s", snap.Document, err, want)
			return
		}
		if _, err := s.History(bg, 0, 10); err != nil {
			t.Error(err)
			return
		}
	}
}
