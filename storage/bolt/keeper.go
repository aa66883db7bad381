package bolt

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// stepBytes is how much a background transaction writes, so that a commit
	// never waits long for one.
	stepBytes = pieceSize // 32 KB
	// stepKeys bounds how many keys a background transaction deletes.
	stepKeys = 256
	// closeEdits is after how many edits Close writes a snapshot; replaying
	// fewer takes no time at the next start.
	closeEdits = 32
	// maxPause bounds the pause after a background transaction.
	maxPause = 50 * time.Millisecond
)

// keep is the goroutine that writes snapshots and prunes history. It does
// nothing before the first commit: a store that is opened to be read stays as
// it is, whatever its limits.
func (s *Store) keep() {
	defer close(s.stopped)
	for {
		select {
		case <-s.wake:
			s.tend(false)
		case <-s.stop:
			s.tend(true)
			return
		}
	}
}

// tend does what is to be done, and reports what fails. It is tried again
// after one of the next commits.
func (s *Store) tend(closing bool) {
	if err := s.snapshot(closing); err != nil {
		s.opts.OnError(fmt.Errorf("writing a snapshot to %s: %w", s.path, err))
	}
	if closing {
		return
	}
	if err := s.prune(); err != nil {
		s.opts.OnError(fmt.Errorf("pruning the history of %s: %w", s.path, err))
	}
}

// job is a snapshot to be written: of revision n, with what the book said
// then.
type job struct {
	n, digest uint64
	document  func() []byte
	edits     int
	editBytes int64
	stray     bool
}

// nextJob returns the snapshot that is due.
func (s *Store) nextJob(closing bool) (job, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &s.book
	if !k.committed || !k.due(&s.opts) && !(closing && k.edits >= closeEdits) {
		return job{}, false
	}
	j := job{n: s.last.Load(), digest: k.digest, document: k.document, edits: k.edits, editBytes: k.editBytes, stray: k.stray}
	k.stray = true
	k.retryAt = k.edits + max(1, s.opts.SnapshotEvery/4) // if this one fails
	return j, true
}

// snapshot writes the document of the latest revision, if that is due.
func (s *Store) snapshot(closing bool) error {
	j, due := s.nextJob(closing)
	if !due {
		return nil
	}
	doc, err := s.documentOf(j)
	if err != nil {
		return err
	}
	if j.stray {
		if err := s.sweep(); err != nil {
			return err
		}
	}
	pieces, perStep := pieceCount(len(doc)), stepBytes/pieceSize
	var written int64
	for i := 0; i < pieces; i += perStep {
		err := s.step(func(tx *bbolt.Tx) error {
			n, err := putPieces(tx.Bucket(bucketPieces), j.n, doc, i, min(pieces, i+perStep))
			written += n
			return err
		}, nil)
		if err != nil {
			return err
		}
	}
	note := snapshot{size: len(doc), sum: checksum(doc)}.encode()
	return s.step(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketSnapshots).Put(key(j.n), note)
	}, func(k *book) {
		k.total += written + int64(8+len(note))
		k.stray = false
		k.addSnapshot(j.n, len(doc), k.edits-j.edits, k.editBytes-j.editBytes)
	})
}

// documentOf returns the document to be written, from the committer if it
// can be had, and else rebuilt.
func (s *Store) documentOf(j job) ([]byte, error) {
	if j.document == nil {
		snap, err := s.rebuild(noContext, j.n)
		return snap.Document, err
	}
	doc := j.document()
	if s.opts.Digest != nil && j.digest != 0 {
		if got := s.opts.Digest(doc); got != j.digest {
			return nil, fmt.Errorf("the document handed over for revision %d has digest %016x, committed was %016x", j.n, got, j.digest)
		}
	}
	return doc, nil
}

// step runs one background transaction, notes it in the book, and leaves the
// database alone for three times as long as it took. While the store closes there is no
// pause.
func (s *Store) step(f func(*bbolt.Tx) error, done func(*book)) error {
	s.mu.Lock()
	began := time.Now()
	err := s.write(f)
	took := time.Since(began)
	if err == nil && done != nil {
		done(&s.book)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	pause := time.NewTimer(min(3*took, maxPause))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-s.stop:
	}
	return nil
}

// sweep deletes pieces of snapshots that were never finished.
func (s *Store) sweep() error {
	var stray []uint64
	err := s.view(func(tx *bbolt.Tx) error {
		c, notes := tx.Bucket(bucketPieces).Cursor(), tx.Bucket(bucketSnapshots)
		for k, _ := c.First(); k != nil; k, _ = c.Seek(key(number(k) + 1)) {
			note, err := decodeSnapshot(notes.Get(key(number(k))))
			if err != nil || note.inEdit {
				stray = append(stray, number(k))
			}
		}
		return nil
	})
	for _, n := range stray {
		if err != nil {
			return err
		}
		_, err = s.delete(n, n+1, bucketPieces)
	}
	return err
}

// prune deletes what Limits don't allow for, in small transactions: notes of
// snapshots first, so that what remains is never taken for complete.
func (s *Store) prune() error {
	for {
		s.mu.Lock()
		target := s.cut()
		done := target <= s.book.pruned
		if !done {
			s.floor.Store(max(s.floor.Load(), target))
			i, _ := slices.BinarySearch(s.book.snapshots, target)
			s.book.snapshots = slices.Delete(s.book.snapshots, 0, i)
		}
		s.mu.Unlock()
		if done {
			return nil
		}
		all, err := s.delete(0, target, bucketSnapshots, bucketRecords, bucketParts, bucketPieces)
		if !all || err != nil {
			return err
		}
		s.mu.Lock()
		s.book.pruned = target
		s.mu.Unlock()
	}
}

// delete removes the keys of buckets, in that order, whose number is in
// [from, to), a few in each transaction. That costs little however large the
// values are, because they aren't touched. It reports false if the store
// began to close before all was done.
func (s *Store) delete(from, to uint64, buckets ...[]byte) (bool, error) {
	for {
		keys := make([][][]byte, len(buckets))
		count, bytes := 0, int64(0)
		err := s.view(func(tx *bbolt.Tx) error {
			for i, name := range buckets {
				c := tx.Bucket(name).Cursor()
				for k, v := c.Seek(key(from)); k != nil && number(k) < to && count < stepKeys; k, v = c.Next() {
					keys[i] = append(keys[i], slices.Clone(k))
					count, bytes = count+1, bytes+int64(len(k)+len(v))
				}
			}
			return nil
		})
		if err != nil || count == 0 {
			return true, err
		}
		err = s.step(func(tx *bbolt.Tx) error {
			for i, name := range buckets {
				for _, k := range keys[i] {
					if err := tx.Bucket(name).Delete(k); err != nil {
						return err
					}
				}
			}
			return nil
		}, func(k *book) { k.total -= bytes })
		if err != nil {
			return false, err
		}
		select {
		case <-s.stop:
			return count < stepKeys, nil
		default:
		}
	}
}
