package storagetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/storage"
)

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

// testPruneBytes fills a store with documents, and one with small documents
// that were made from large texts.
func testPruneBytes(t *testing.T, mk Maker) {
	pad := strings.Repeat("p", 5000)
	t.Run("documents", func(t *testing.T) {
		pruneBytes(t, mk, func(i int) storage.Edit {
			return storage.Edit{Verb: storage.VerbLoad, Body: fmt.Appendf(nil, `{"i":%d,"pad":"%s"}`, i, pad)}
		})
	})
	t.Run("sources", func(t *testing.T) {
		pruneBytes(t, mk, func(i int) storage.Edit {
			return storage.Edit{Verb: storage.VerbLoad, Body: fmt.Appendf(nil, `{"i":%d}`, i), Source: fmt.Appendf(nil, "i %d # %s", i, pad), SourceType: "toy"}
		})
	})
}

func pruneBytes(t *testing.T, mk Maker, edit func(i int) storage.Edit) {
	m := open(t, mk, storage.Limits{MaxBytes: 200_000})
	for i := range 100 {
		load := edit(i)
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
		t.Fatalf("200 kB of 5 kB edits leave %d revisions", len(revs))
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
