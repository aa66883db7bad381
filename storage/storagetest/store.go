package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
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

// MustCommit commits edits as one group and remembers the documents.
func (m *Model) MustCommit(t *testing.T, edits ...storage.Edit) []storage.Revision {
	t.Helper()
	changes, docs := m.Changes(edits...)
	revs, err := m.Store.Commit(bg, m.Last(), changes, func() []byte { return docs[len(docs)-1] })
	if err != nil {
		t.Fatalf("committing revision %d: %v", m.Last()+1, err)
	}
	m.Accept(edits, docs)
	return revs
}

// Accept remembers edits that were committed.
func (m *Model) Accept(edits []storage.Edit, docs [][]byte) {
	m.Edits = append(m.Edits, edits...)
	m.Documents = append(m.Documents, docs...)
}

// CheckLoad compares the store's latest revision with the model's.
func (m *Model) CheckLoad(t *testing.T) {
	t.Helper()
	snap, err := m.Store.Load(bg)
	if err != nil {
		t.Fatalf("loading: %v", err)
	}
	if snap.Revision.Number != m.Last() || !same(snap.Document, m.Documents[m.Last()]) {
		t.Fatalf("loaded revision %d with %.100q, want %d with %.100q", snap.Revision.Number, snap.Document, m.Last(), m.Documents[m.Last()])
	}
	if e := snap.Revision.Edit; e.Body != nil || e.Source != nil {
		t.Fatalf("Load returned the body or source of the edit")
	}
}

// CheckRevision compares revision n with the model's.
func (m *Model) CheckRevision(t *testing.T, n uint64) {
	t.Helper()
	snap, err := m.Store.Revision(bg, n)
	if err != nil {
		t.Fatalf("revision %d: %v", n, err)
	}
	if !same(snap.Document, m.Documents[n]) {
		t.Fatalf("revision %d has document %.100q, want %.100q", n, snap.Document, m.Documents[n])
	}
	got, want := snap.Revision.Edit, m.Edits[n]
	if snap.Revision.Number != n || got.Verb != want.Verb || got.Path != want.Path || !same(got.Body, want.Body) ||
		!same(got.Source, want.Source) || got.SourceType != want.SourceType {
		t.Fatalf("revision %d has edit %.100v, want %.100v", n, got, want)
	}
}

// same compares bytes, and nil is not empty.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

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

// puts are count edits of one member.
func puts(name string, from, count int) []storage.Edit {
	edits := make([]storage.Edit, count)
	for i := range edits {
		edits[i] = Put(name, from+i)
	}
	return edits
}

func testHistory(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{})
	for i := range 25 {
		m.MustCommit(t, puts("n", 10*i, 10)...)
	}
	for _, test := range []struct {
		before      uint64
		limit       int
		first, last uint64 // newest, oldest; 0 for none
	}{
		{0, 10, 250, 241}, {241, 10, 240, 231}, {251, 1, 250, 250}, {1 << 63, 5, 250, 246}, {250, 1, 249, 249},
		{0, 0, 250, 151}, {0, 1000, 250, 1}, {5, 100, 4, 1}, {1, 10, 0, 0}, {2, 10, 1, 1},
	} {
		revs, err := m.Store.History(bg, test.before, test.limit)
		if err != nil {
			t.Fatal(err)
		}
		want := test.first
		for _, r := range revs {
			if r.Number != want {
				t.Fatalf("History(%d, %d) has %d where %d was expected", test.before, test.limit, r.Number, want)
			}
			want--
		}
		if want+1 != test.last && test.first != 0 || test.first == 0 && len(revs) != 0 {
			t.Errorf("History(%d, %d) ends at %d, want %d", test.before, test.limit, want+1, test.last)
		}
	}
}

// testRestore makes random edits and reads every revision back, also after
// opening the store again, and restores some.
func testRestore(t *testing.T, mk Maker) {
	r := rand.New(rand.NewPCG(1, 2))
	m := open(t, mk, storage.Limits{MaxRevisions: 2000})
	for range 3 {
		for range 60 {
			m.MustCommit(t, RandomEdits(r, m)...)
		}
		for n := range m.Last() {
			m.CheckRevision(t, n+1)
		}
		if mk.Reopen != nil {
			m.Store = mk.Reopen(t, m.Store)
		}
		m.CheckLoad(t)
		n := 1 + r.Uint64N(m.Last())
		m.MustCommit(t, storage.Edit{Verb: storage.VerbRestore, Path: fmt.Sprint(n), Body: m.Documents[n]})
	}
}

// RandomEdits returns a group of one to four edits to the model's document.
func RandomEdits(r *rand.Rand, m *Model) []storage.Edit {
	var edits []storage.Edit
	for range 1 + r.IntN(4) {
		name := fmt.Sprint(r.IntN(40))
		switch k := r.IntN(100); {
		case k < 70:
			edits = append(edits, Put(name, strings.Repeat("v", r.IntN(300))))
		case k < 75:
			edits = append(edits, Put(name, strings.Repeat("w", r.IntN(20000))))
		case k < 95:
			edits = append(edits, storage.Edit{Verb: "DELETE", Path: name})
		case k < 96:
			edits = append(edits, storage.Edit{Verb: "DELETE"})
		default:
			edits = append(edits, storage.Edit{Verb: storage.VerbLoad, Body: m.Documents[r.IntN(len(m.Documents))]})
		}
	}
	return edits
}

func testPrune(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{MaxRevisions: 20})
	for i := range 200 {
		m.MustCommit(t, puts(fmt.Sprint(i%7), i, 7)...)
		if i%25 == 10 {
			checkWindow(t, m, m.Last()-19)
		}
	}
	checkWindow(t, m, m.Last()-19)
	if mk.Reopen != nil {
		m.Store = mk.Reopen(t, m.Store)
		checkWindow(t, m, m.Last()-19)
	}
}

// checkWindow requires that exactly the revisions from first on can be read.
func checkWindow(t *testing.T, m *Model, first uint64) {
	t.Helper()
	revs, err := m.Store.History(bg, 0, 1<<30)
	if err != nil || len(revs) == 0 || revs[len(revs)-1].Number != first || revs[0].Number != m.Last() {
		t.Fatalf("the history has %d revisions, %v; want %d to %d", len(revs), err, m.Last(), first)
	}
	for n := first; n <= m.Last(); n++ {
		m.CheckRevision(t, n)
	}
	for _, n := range []uint64{1, first / 2, first - 1} {
		if _, err := m.Store.Revision(bg, n); n > 0 && !errors.Is(err, storage.ErrPruned) {
			t.Fatalf("revision %d: %v, want ErrPruned", n, err)
		}
	}
	m.CheckLoad(t)
}

func testPruneBytes(t *testing.T, mk Maker) {
	m := open(t, mk, storage.Limits{MaxBytes: 200_000})
	for i := range 100 {
		load := storage.Edit{Verb: storage.VerbLoad, Body: fmt.Appendf(nil, `{"i":%d,"pad":"%s"}`, i, strings.Repeat("p", 5000))}
		m.MustCommit(t, load, Put("k", i), load, Put("k", -i))
	}
	// A store may prune in the background: wait for it, but not for ever.
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var revs []storage.Revision
	for ; ; <-tick.C {
		var err error
		if revs, err = m.Store.History(bg, 0, 1<<30); err != nil {
			t.Fatal(err)
		}
		if len(revs) <= 90 || time.Now().After(deadline) {
			break
		}
	}
	if len(revs) < 2 || len(revs) > 90 {
		t.Fatalf("200 kB of 5 kB documents leave %d revisions", len(revs))
	}
	if mk.Reopen != nil { // now nothing happens in the background
		m.Store = mk.Reopen(t, m.Store)
		if revs, _ = m.Store.History(bg, 0, 1<<30); len(revs) == 0 {
			t.Fatal("the history is empty")
		}
	}
	checkWindow(t, m, revs[len(revs)-1].Number)

	// A document larger than the limit is kept all the same.
	m.MustCommit(t, storage.Edit{Verb: storage.VerbLoad, Body: fmt.Appendf(nil, `{"pad":"%s"}`, strings.Repeat("p", 500_000))})
	m.MustCommit(t, Put("k", 0))
	m.CheckLoad(t)
	if mk.Reopen != nil {
		m.Store = mk.Reopen(t, m.Store)
		m.CheckLoad(t)
	}
}

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
		readers.Go(func() {
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
		})
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
