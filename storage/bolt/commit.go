package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"

	"github.com/sluiceproxy/sluice/storage"
)

// Commit implements storage.Store. It costs one transaction: two fdatasyncs,
// and the size of the edits.
func (s *Store) Commit(ctx context.Context, base uint64, changes []storage.Change, document func() []byte) ([]storage.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("committing to %s: %w", s.path, storage.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("committing to %s: %w", s.path, err)
	}
	if last := s.last.Load(); base != last {
		return nil, fmt.Errorf("committing to %s on revision %d, the latest is %d: %w", s.path, base, last, storage.ErrConflict)
	}
	if len(changes) == 0 {
		return nil, nil
	}
	revs := s.stamp(base, changes)
	var added, sinceWhole int64
	err := s.write(func(tx *bbolt.Tx) (err error) {
		added, sinceWhole, err = putRevisions(tx, revs)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("committing to %s: %w: %w", s.path, storage.ErrFull, err)
	}
	s.committed(revs, added, sinceWhole, document)
	return revs, nil
}

// stamp makes revisions of changes.
func (s *Store) stamp(base uint64, changes []storage.Change) []storage.Revision {
	now := s.opts.Now().UTC().Round(0)
	revs := make([]storage.Revision, len(changes))
	for i, c := range changes {
		if len(c.Edit.Body) == 0 {
			c.Edit.Body = nil
		}
		if len(c.Edit.Source) == 0 {
			c.Edit.Source = nil
		}
		revs[i] = storage.Revision{
			Number: base + 1 + uint64(i), Time: now, Origin: c.Origin, Edit: c.Edit, Digest: c.Digest,
			Bytes: int64(len(c.Edit.Body)) + int64(len(c.Edit.Source)),
		}
	}
	return revs
}

// putRevisions stores revisions and returns how many bytes that adds, and how
// many of them after the last whole document among them.
func putRevisions(tx *bbolt.Tx, revs []storage.Revision) (added, sinceWhole int64, err error) {
	records, parts := tx.Bucket(bucketRecords), tx.Bucket(bucketParts)
	records.FillPercent = 0.95 // always appended to
	for _, rev := range revs {
		k := key(rev.Number)
		value, payload := encode(rev)
		if err := records.Put(k, value); err != nil {
			return 0, 0, err
		}
		n, err := putPieces(parts, rev.Number, payload, 0, pieceCount(len(payload)))
		if err != nil {
			return 0, 0, err
		}
		n += int64(len(k) + len(value))
		added, sinceWhole = added+n, sinceWhole+n
		if rev.Edit.Whole() {
			note := snapshot{inEdit: true, size: len(rev.Edit.Body)}.encode()
			if err := tx.Bucket(bucketSnapshots).Put(k, note); err != nil {
				return 0, 0, err
			}
			added, sinceWhole = added+int64(len(k)+len(note)), 0
		}
	}
	return added, sinceWhole, nil
}

// committed makes durable revisions visible and keeps the book.
func (s *Store) committed(revs []storage.Revision, added, sinceWhole int64, document func() []byte) {
	k := &s.book
	k.total += added
	k.committed, k.document, k.digest = true, document, revs[len(revs)-1].Digest
	k.edits += len(revs)
	k.editBytes += added
	for i, rev := range revs {
		if rev.Edit.Whole() {
			k.addSnapshot(rev.Number, len(rev.Edit.Body), len(revs)-1-i, sinceWhole)
		}
	}
	s.last.Store(revs[len(revs)-1].Number)
	s.feed.Publish()
	if k.due(&s.opts) || s.cut() > k.pruned {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// write runs one write transaction. If it fails nothing of it is on disk, or
// s.failed is set, nothing else is written, and the next call tries to get
// there. The caller holds mu.
func (s *Store) write(f func(*bbolt.Tx) error) error {
	if s.failed != nil {
		if err := s.reopen(); err != nil {
			return err
		}
	}
	s.tx = 0 // else undo would strike out one that succeeded
	err := guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			s.tx = uint64(tx.ID())
			return f(tx)
		})
	})
	if err != nil {
		s.failed = err
		_ = s.reopen() // what it returns stays in s.failed
	}
	return err
}

// reopen makes sure that the transaction that failed is not on disk, and
// opens the database anew, for writing, or else for reading. It returns
// s.failed. The caller holds mu.
func (s *Store) reopen() error {
	s.dbmu.Lock()
	defer s.dbmu.Unlock()
	broken := (*panicError)(nil)
	if s.db != nil && !errors.As(s.failed, &broken) {
		if err := guard(s.db.Close); err == nil {
			s.file = nil
		}
	}
	s.abandon() // after a panic bbolt's locks may be held for ever: leave it behind
	undone := s.undo()
	if err := s.openDB(); err != nil {
		s.failed = err
	}
	if s.failed == nil && undone != nil {
		s.failed = undone
	}
	if s.failed == nil {
		s.tx = 0
	}
	return s.failed
}

// undo strikes out the meta page of transaction s.tx, if it was written: that
// the transaction failed means that its pages or its meta may not be on disk,
// though the kernel shows them. The meta of the transaction before it, with
// its pages, is untouched.
func (s *Store) undo() (err error) {
	if s.tx == 0 {
		return nil
	}
	f, err := s.opts.openFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, m := range readMetas(f) {
		if !m.valid || m.tx != s.tx {
			continue
		}
		if _, err := f.WriteAt(make([]byte, metaLen), m.offset); err != nil {
			return err
		}
	}
	return f.Sync()
}
