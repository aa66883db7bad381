package bolt

import (
	"context"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// book is what the writer knows of the contents, so that a commit need not
// look anything up. It is guarded by Store.mu.
type book struct {
	total     int64    // bytes of all keys and values
	snapshots []uint64 // revisions with a whole document, ascending
	wholeSize int64    // size of the latest whole document
	edits     int      // revisions since then
	editBytes int64    // bytes of their keys and values
	pruned    uint64   // everything below is deleted
	stray     bool     // there may be strays: pieces of an unfinished snapshot
	retryAt   int      // no snapshot before so many edits, after one failed

	committed bool          // something was, since the store was opened
	document  func() []byte // of the latest revision; nil if not known
	digest    uint64        // of the latest revision
}

// noContext is the context of work that nobody waits for.
var noContext = context.Background()

// load reads the book from a database that was just opened, and sets
// last and floor.
func (k *book) load(s *Store) func(tx *bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		*k = book{stray: true}
		first, last, err := k.loadRecords(tx.Bucket(bucketRecords))
		if err != nil {
			return err
		}
		if err := k.loadSnapshots(tx.Bucket(bucketSnapshots), first, last); err != nil {
			return err
		}
		newest := k.newest()
		for _, name := range [][]byte{bucketRecords, bucketParts, bucketSnapshots, bucketPieces} {
			c := tx.Bucket(name).Cursor()
			for key, v := c.First(); key != nil; key, v = c.Next() {
				k.total += int64(len(key) + len(v))
				if number(key) > newest && (string(name) == string(bucketRecords) || string(name) == string(bucketParts)) {
					k.editBytes += int64(len(key) + len(v))
				}
			}
		}
		k.edits = int(last - newest)
		floor := uint64(1)
		if first > 1 {
			if len(k.snapshots) == 0 {
				return corrupt(fmt.Errorf("it begins at revision %d and has no whole document", first))
			}
			floor = k.snapshots[0]
		}
		s.last.Store(last)
		s.floor.Store(floor)
		return nil
	}
}

// loadRecords returns the first and last revision, 0 if there is none.
func (k *book) loadRecords(b *bbolt.Bucket) (first, last uint64, err error) {
	c := b.Cursor()
	for key, _ := c.First(); key != nil; key, _ = c.Next() {
		n := number(key)
		if first == 0 {
			first, last = n, n-1
		}
		if n != last+1 {
			return 0, 0, corrupt(fmt.Errorf("revision %d is missing", last+1))
		}
		last = n
	}
	return first, last, nil
}

// loadSnapshots lists the snapshots that are of use. Pruning deletes them
// before the records below, so none of them lacks its record for long.
func (k *book) loadSnapshots(b *bbolt.Bucket, first, last uint64) error {
	c := b.Cursor()
	for key, v := c.First(); key != nil; key, v = c.Next() {
		n := number(key)
		if n < first || n > last {
			continue
		}
		snap, err := decodeSnapshot(v)
		if err != nil {
			return corrupt(fmt.Errorf("snapshot of revision %d: %w", n, err))
		}
		k.snapshots = append(k.snapshots, n)
		k.wholeSize = int64(snap.size)
	}
	return nil
}

// newest returns the latest revision with a whole document, 0 if there is
// none.
func (k *book) newest() uint64 {
	if len(k.snapshots) == 0 {
		return 0
	}
	return k.snapshots[len(k.snapshots)-1]
}

// addSnapshot notes a document of a revision; edits and editBytes are what
// was committed after it.
func (k *book) addSnapshot(n uint64, size, edits int, editBytes int64) {
	if n > k.newest() {
		k.snapshots = append(k.snapshots, n)
		k.wholeSize, k.edits, k.editBytes, k.retryAt = int64(size), edits, editBytes, 0
		return
	}
	if i, found := slices.BinarySearch(k.snapshots, n); !found { // a load came in while it was written
		k.snapshots = slices.Insert(k.snapshots, i, n)
	}
}

// due reports whether the edits since the last whole document call for a new
// one.
func (k *book) due(o *Options) bool {
	if k.edits < k.retryAt {
		return false
	}
	return k.edits >= o.SnapshotEvery || k.editBytes >= max(o.SnapshotBytes, k.wholeSize)
}

// cut returns the number below which everything is to be deleted, which is
// that of a whole document: the one from which the oldest revision to be kept
// is rebuilt, if that is worth a transaction. If nothing below that is left
// and the history is too large all the same, it goes on by an eighth of the
// whole documents. A result that isn't above book.pruned asks for nothing.
func (s *Store) cut() uint64 {
	k := &s.book
	i, found := slices.BinarySearch(k.snapshots, s.first())
	if !found {
		i--
	}
	base := uint64(0)
	if i >= 0 {
		base = k.snapshots[i]
	}
	batch := uint64(min(64, s.opts.Limits.MaxRevisions/8))
	if base > k.pruned+batch {
		return base
	}
	if rest := len(k.snapshots) - 1 - i; rest > 0 && k.total > s.opts.Limits.MaxBytes {
		return k.snapshots[i+max(1, rest/8)]
	}
	return k.pruned
}

// first returns the oldest revision that Limits allow for and that can be
// rebuilt.
func (s *Store) first() uint64 {
	first := s.floor.Load()
	if last, most := s.last.Load(), uint64(s.opts.Limits.MaxRevisions); last > most {
		first = max(first, last-most+1)
	}
	return first
}
