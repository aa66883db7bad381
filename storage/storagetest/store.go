package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/storage"
)

// A Maker opens stores for the suite, with Replay and Digest of this package.
type Maker struct {
	// Open returns an empty store. The suite closes it.
	Open func(t *testing.T, limits storage.Limits, now func() time.Time) storage.Store
	// Reopen closes a store and opens it again with the same options, as a
	// process that starts anew does; nil if nothing survives.
	Reopen func(t *testing.T, s storage.Store) storage.Store
}

// Store runs the contract of storage.Store against what mk opens.
func Store(t *testing.T, mk Maker) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Maker)
	}{
		{"Empty", testEmpty}, {"Commit", testCommit}, {"Group", testGroup}, {"Conflict", testConflict},
		{"Whole", testWhole}, {"Large", testLarge}, {"History", testHistory}, {"Restore", testRestore},
		{"Prune", testPrune}, {"PruneBytes", testPruneBytes}, {"Watch", testWatch}, {"WatchSlow", testWatchSlow},
		{"WatchEnds", testWatchEnds}, {"Context", testContext}, {"Closed", testClosed}, {"Concurrent", testConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, mk) })
	}
}

var (
	bg    = context.Background()
	epoch = time.Date(2031, 2, 3, 4, 5, 6, 789, time.FixedZone("", 3600))
)

func open(t *testing.T, mk Maker, l storage.Limits) *Model {
	t.Helper()
	s := mk.Open(t, l, func() time.Time { return epoch })
	m := NewModel(s)
	t.Cleanup(func() {
		if err := m.Store.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return m
}

func testEmpty(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{})
	if _, err := m.Store.Load(bg); !errors.Is(err, storage.ErrEmpty) {
		t.Errorf("Load: %v, want ErrEmpty", err)
	}
	for _, n := range []uint64{0, 1, 1 << 63} {
		if _, err := m.Store.Revision(bg, n); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Revision(%d): %v, want ErrNotFound", n, err)
		}
	}
	if revs, err := m.Store.History(bg, 0, 10); len(revs) != 0 || err != nil {
		t.Errorf("History: %v, %v", revs, err)
	}
	if revs, err := m.Store.Commit(bg, 0, nil, nil); len(revs) != 0 || err != nil {
		t.Errorf("Commit of nothing: %v, %v", revs, err)
	}
}

func testCommit(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{})
	edit := storage.Edit{Verb: "PUT", Path: "sp\xc3\xa4t\xff\x00/%", Body: []byte(`{"a":1}`), Source: []byte("a 1\n"), SourceType: "caddyfile"}
	changes := []storage.Change{{Edit: edit, Origin: "127.0.0.1:5 \"x\"", Digest: 1<<64 - 1}}
	revs, err := m.Store.Commit(bg, 0, changes, nil)
	if err != nil || len(revs) != 1 {
		t.Fatalf("Commit: %v, %v", revs, err)
	}
	check := func(r storage.Revision, where string, full bool) {
		t.Helper()
		if r.Number != 1 || !r.Time.Equal(epoch) || r.Time.Location() != time.UTC || r.Origin != changes[0].Origin ||
			r.Digest != changes[0].Digest || r.Bytes != 11 || r.Edit.Verb != "PUT" || r.Edit.Path != edit.Path || r.Edit.SourceType != "caddyfile" {
			t.Errorf("%s: %+v", where, r)
		}
		if full != (string(r.Edit.Body) == `{"a":1}`) || full != (string(r.Edit.Source) == "a 1\n") || !full && (r.Edit.Body != nil || r.Edit.Source != nil) {
			t.Errorf("%s: body %q and source %q", where, r.Edit.Body, r.Edit.Source)
		}
	}
	check(revs[0], "Commit", true)
	if mk.Reopen != nil {
		m.Store = mk.Reopen(t, m.Store)
	}
	revs, err = m.Store.History(bg, 0, 0)
	if err != nil || len(revs) != 1 {
		t.Fatalf("History: %v, %v", revs, err)
	}
	check(revs[0], "History", false)
	if _, err := m.Store.Revision(bg, 1); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Revision with a digest that isn't the document's: %v, want ErrCorrupt", err)
	}
	if _, err := m.Store.Load(bg); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Load with a digest that isn't the document's: %v, want ErrCorrupt", err)
	}
}

func testGroup(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{})
	m.MustCommit(t, Put("a", 1))
	revs := m.MustCommit(t, Put("b", 2), storage.Edit{Verb: "DELETE", Path: "a"}, storage.Edit{Verb: "DELETE"}, Put("c", 3))
	for i, r := range revs {
		if r.Number != uint64(i+2) {
			t.Errorf("revision %d of the group has number %d", i, r.Number)
		}
	}
	if len(revs) != 4 {
		t.Fatalf("a group of 4 gave %d revisions", len(revs))
	}
	if mk.Reopen != nil {
		m.Store = mk.Reopen(t, m.Store)
	}
	m.CheckLoad(t)
	for n := range m.Last() {
		m.CheckRevision(t, n+1)
	}
}

func testConflict(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{})
	m.MustCommit(t, Put("a", 1))
	m.MustCommit(t, Put("a", 2))
	changes, _ := m.Changes(Put("a", 3))
	for _, base := range []uint64{0, 1, 3, 1 << 63} {
		if _, err := m.Store.Commit(bg, base, changes, nil); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Commit on %d: %v, want ErrConflict", base, err)
		}
	}
	m.CheckLoad(t)
	m.MustCommit(t, Put("a", 3))
	m.CheckLoad(t)
}

func testWhole(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{})
	m.MustCommit(t, storage.Edit{Verb: storage.VerbLoad, Body: []byte(`{"x":0}`), Source: []byte("x 0"), SourceType: "toy"})
	m.MustCommit(t, Put("y", 1), storage.Edit{Verb: storage.VerbLoad, Body: []byte(`{"z":2}`)}, Put("y", 3))
	m.MustCommit(t, storage.Edit{Verb: storage.VerbLoad}) // the null document
	m.MustCommit(t, Put("after", "null"))
	m.MustCommit(t, storage.Edit{Verb: storage.VerbRestore, Path: "2", Body: m.Documents[2]})
	if mk.Reopen != nil {
		m.Store = mk.Reopen(t, m.Store)
	}
	m.CheckLoad(t)
	for n := range m.Last() {
		m.CheckRevision(t, n+1)
	}
}

func testLarge(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{})
	for _, size := range []int{3, 1000, 1023, 1024, 1025, 5000, 32 << 10, 65 << 10, 300 << 10, 2 << 20} {
		e := Put(fmt.Sprint(size), strings.Repeat("x", size))
		e.Source, e.SourceType = bytes.Repeat([]byte("s"), size/3), "toy"
		m.MustCommit(t, e)
	}
	m.MustCommit(t, storage.Edit{Verb: storage.VerbLoad, Body: m.Documents[m.Last()]})
	m.MustCommit(t, Put("3", 1))
	if mk.Reopen != nil {
		m.Store = mk.Reopen(t, m.Store)
	}
	m.CheckLoad(t)
	for n := range m.Last() {
		m.CheckRevision(t, n+1)
	}
}

func testContext(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{})
	m.MustCommit(t, Put("x", 1))
	ctx, cancel := context.WithCancel(bg)
	cancel()
	changes, _ := m.Changes(Put("x", 2))
	if _, err := m.Store.Commit(ctx, 1, changes, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v", err)
	}
	if _, err := m.Store.Load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Load: %v", err)
	}
	m.CheckLoad(t)
}

func testClosed(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{})
	m.MustCommit(t, Put("x", 1))
	for range 2 {
		if err := m.Store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	changes, _ := m.Changes(Put("x", 2))
	_, err1 := m.Store.Commit(bg, 1, changes, nil)
	_, err2 := m.Store.Load(bg)
	_, err3 := m.Store.History(bg, 0, 1)
	_, err4 := m.Store.Revision(bg, 1)
	for i, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("method %d after Close: %v, want ErrClosed", i, err)
		}
	}
}
