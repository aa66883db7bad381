package bolt

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/sluiceproxy/sluice/storage"
)

// view runs a read transaction. Slices into the database must not outlive it.
func (s *Store) view(f func(*bbolt.Tx) error) error {
	s.dbmu.RLock()
	defer s.dbmu.RUnlock()
	if s.db == nil {
		select {
		case <-s.stop:
			return storage.ErrClosed
		default:
			return errors.New("the file can't be opened any more")
		}
	}
	return guard(func() error { return s.db.View(f) })
}

// reading begins an operation that reads.
func (s *Store) reading(ctx context.Context, what string) error {
	err := ctx.Err()
	select {
	case <-s.stop:
		err = storage.ErrClosed
	default:
	}
	if err != nil {
		return fmt.Errorf("%s of %s: %w", what, s.path, err)
	}
	return nil
}

// Load implements storage.Store.
func (s *Store) Load(ctx context.Context) (storage.Snapshot, error) {
	if err := s.reading(ctx, "loading the latest revision"); err != nil {
		return storage.Snapshot{}, err
	}
	last := s.last.Load()
	if last == 0 {
		return storage.Snapshot{}, fmt.Errorf("loading the latest revision of %s: %w", s.path, storage.ErrEmpty)
	}
	snap, err := s.rebuild(ctx, last)
	if err != nil {
		return storage.Snapshot{}, fmt.Errorf("loading revision %d, the latest of %s: %w", last, s.path, err)
	}
	snap.Revision.Edit.Body, snap.Revision.Edit.Source = nil, nil
	return snap, nil
}

// Revision implements storage.Store.
func (s *Store) Revision(ctx context.Context, n uint64) (storage.Snapshot, error) {
	if err := s.reading(ctx, fmt.Sprintf("loading revision %d", n)); err != nil {
		return storage.Snapshot{}, err
	}
	last, first := s.last.Load(), s.first()
	var err error
	switch {
	case n == 0 || n > last:
		err = storage.ErrNotFound
	case n < first:
		err = fmt.Errorf("%w, the oldest is %d", storage.ErrPruned, first)
	}
	var snap storage.Snapshot
	if err == nil {
		snap, err = s.rebuild(ctx, n)
	}
	if err != nil {
		return storage.Snapshot{}, fmt.Errorf("loading revision %d of %s: %w", n, s.path, err)
	}
	return snap, nil
}

// History implements storage.Store.
func (s *Store) History(ctx context.Context, before uint64, limit int) ([]storage.Revision, error) {
	if err := s.reading(ctx, "reading the history"); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = storage.DefaultHistoryLimit
	}
	last := s.last.Load()
	if before == 0 || before > last {
		before = last + 1
	}
	first := s.first()
	var revs []storage.Revision
	err := s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketRecords)
		for n := before - 1; n >= first && n > 0 && len(revs) < limit; n-- {
			v := b.Get(key(n))
			if v == nil { // pruned meanwhile
				break
			}
			r, err := decode(key(n), v)
			if err != nil {
				return corrupt(fmt.Errorf("revision %d: %w", n, err))
			}
			revs = append(revs, r.rev)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the history of %s: %w", s.path, err)
	}
	return revs, nil
}

// next returns the first kept revision after a number, for Watch.
func (s *Store) next(after uint64) (storage.Revision, bool, error) {
	n := max(after+1, s.first())
	if n > s.last.Load() {
		return storage.Revision{}, false, nil
	}
	var r record
	err := s.view(func(tx *bbolt.Tx) (err error) {
		r, err = getRecord(tx, n)
		return err
	})
	if errors.Is(err, errNoRecord) && s.first() > n { // pruned meanwhile
		return s.next(after)
	}
	return r.rev, err == nil, err
}

var errNoRecord = errors.New("its record is missing")

// getRecord reads a revision with its edit in full.
func getRecord(tx *bbolt.Tx, n uint64) (record, error) {
	v := tx.Bucket(bucketRecords).Get(key(n))
	if v == nil {
		return record{}, errNoRecord
	}
	r, err := decode(key(n), v)
	if err != nil {
		return record{}, err
	}
	payload := r.inline
	if r.pieces > 0 {
		payload, err = getPieces(tx.Bucket(bucketParts), n, r.body+r.source, r.sum)
	} else {
		payload = append([]byte(nil), payload...)
	}
	if err != nil {
		return record{}, err
	}
	r.inline = nil
	r.setPayload(payload)
	return r, nil
}

// rebuild returns revision n and its document. If a snapshot is damaged it
// starts from the one before.
func (s *Store) rebuild(ctx context.Context, n uint64) (storage.Snapshot, error) {
	var failure error
	for from := n; ; from-- {
		var doc []byte
		var edits []storage.Edit
		var rev storage.Revision
		var base uint64
		err := s.view(func(tx *bbolt.Tx) (err error) {
			doc, base, err = baseDocument(tx, from)
			if err == nil {
				doc, edits, rev, err = editsAfter(tx, doc, base, n)
			}
			return err
		})
		switch {
		case errors.Is(err, storage.ErrPruned) && failure == nil:
			return storage.Snapshot{}, err
		case err == nil:
			if err = ctx.Err(); err == nil {
				doc, err = s.replay(doc, edits, rev)
			}
			if err == nil {
				return storage.Snapshot{Revision: rev, Document: doc}, nil
			}
		}
		if failure == nil {
			failure = err
		}
		if base == 0 || ctx.Err() != nil || errors.Is(err, storage.ErrClosed) {
			return storage.Snapshot{}, failure
		}
		from = base
	}
}

// baseDocument returns the nearest whole document up to revision n, and its
// revision; 0 and the null document if everything since the first is there.
// With an error it returns the revision too, so that the one before can be
// tried.
func baseDocument(tx *bbolt.Tx, n uint64) ([]byte, uint64, error) {
	c := tx.Bucket(bucketSnapshots).Cursor()
	k, v := c.Seek(key(n))
	if k == nil {
		k, v = c.Last()
	} else if number(k) > n {
		k, v = c.Prev()
	}
	if k == nil {
		if tx.Bucket(bucketRecords).Get(key(1)) == nil {
			return nil, 0, storage.ErrPruned
		}
		return nil, 0, nil
	}
	base := number(k)
	doc, err := readSnapshot(tx, base, v)
	if err != nil {
		err = corrupt(fmt.Errorf("the document of revision %d: %w", base, err))
	}
	return doc, base, err
}

func readSnapshot(tx *bbolt.Tx, n uint64, value []byte) ([]byte, error) {
	snap, err := decodeSnapshot(value)
	if err != nil {
		return nil, err
	}
	if !snap.inEdit {
		return getPieces(tx.Bucket(bucketPieces), n, snap.size, snap.sum)
	}
	r, err := getRecord(tx, n)
	return r.rev.Edit.Body, err
}

// editsAfter returns the edits base+1..n to replay over doc, and revision n.
// A whole edit among them takes the place of doc; there is one if it was
// passed over because its note is damaged.
func editsAfter(tx *bbolt.Tx, doc []byte, base, n uint64) ([]byte, []storage.Edit, storage.Revision, error) {
	var edits []storage.Edit
	for i := min(base+1, n); ; i++ {
		r, err := getRecord(tx, i)
		switch {
		case err != nil:
			return nil, nil, storage.Revision{}, corrupt(fmt.Errorf("revision %d: %w", i, err))
		case i == base:
		case r.rev.Edit.Whole():
			doc, edits = r.rev.Edit.Body, nil
		default:
			edits = append(edits, r.rev.Edit)
		}
		if i == n {
			return doc, edits, r.rev, nil
		}
	}
}

// replay applies edits to a document and checks the result.
func (s *Store) replay(doc []byte, edits []storage.Edit, rev storage.Revision) ([]byte, error) {
	if len(edits) > 0 {
		if s.opts.Replay == nil {
			return nil, errors.New("it has to be rebuilt from edits, but the store was opened without a replay function")
		}
		var err error
		if doc, err = s.opts.Replay(doc, edits); err != nil {
			return nil, corrupt(fmt.Errorf("replaying %d edits: %w", len(edits), err))
		}
	}
	if len(doc) == 0 {
		doc = nil
	}
	if s.opts.Digest == nil || rev.Digest == 0 {
		return doc, nil
	}
	if got := s.opts.Digest(doc); got != rev.Digest {
		return nil, corrupt(fmt.Errorf("its document was rebuilt with digest %016x, committed was %016x", got, rev.Digest))
	}
	return doc, nil
}
