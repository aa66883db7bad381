// Package mem keeps revisions in memory: the same contract as the store on disk,
// for tests and for processes that are to leave nothing behind. Nothing survives
// Close, and durable means until then.
package mem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/storage"
)

// Options say how a store is made.
type Options struct {
	// Replay rebuilds documents from edits. Without it, only revisions that
	// are whole documents can be read, and only they are pruned to.
	Replay storage.Replay
	// Digest, if given, is checked against the digest of a revision whenever
	// its document is rebuilt.
	Digest storage.Digest
	// Limits bound the history.
	Limits storage.Limits
	// Now is the clock for Revision.Time. Default time.Now.
	Now func() time.Time
}

// Store is a storage.Store in memory. It is safe for concurrent use.
type Store struct {
	opts Options
	feed storage.Feed

	mu     sync.Mutex
	closed bool
	base   []byte             // the document before revs[0]
	revs   []storage.Revision // numbered without gaps
	last   uint64
	bytes  int64 // of the edits in revs
}

var _ storage.Store = (*Store)(nil)

// foldEvery is how many revisions beyond the limit are kept before they are
// folded into the base document, so that not every commit replays.
const foldEvery = 256

// New makes an empty store.
func New(o Options) *Store {
	o.Limits = o.Limits.WithDefaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{opts: o}
}

// check is called with mu held.
func (s *Store) check(ctx context.Context) error {
	if s.closed {
		return fmt.Errorf("store in memory: %w", storage.ErrClosed)
	}
	return ctx.Err()
}

// first returns the oldest revision that Limits allow for.
func (s *Store) first() uint64 {
	first := s.last - uint64(len(s.revs)) + 1
	if most := uint64(s.opts.Limits.MaxRevisions); s.last > most {
		first = max(first, s.last-most+1)
	}
	return first
}

// at returns revision n, which must be in revs.
func (s *Store) at(n uint64) storage.Revision { return s.revs[s.index(n)] }

func (s *Store) index(n uint64) int { return len(s.revs) - 1 - int(s.last-n) }

// Load implements storage.Store.
func (s *Store) Load(ctx context.Context) (storage.Snapshot, error) {
	s.mu.Lock()
	last, err := s.last, s.check(ctx)
	s.mu.Unlock()
	if err == nil && last == 0 {
		err = fmt.Errorf("loading the latest revision: %w", storage.ErrEmpty)
	}
	if err != nil {
		return storage.Snapshot{}, err
	}
	snap, err := s.Revision(ctx, last)
	if errors.Is(err, storage.ErrPruned) { // by a flood of commits in between
		return s.Load(ctx)
	}
	snap.Revision.Edit.Body, snap.Revision.Edit.Source = nil, nil
	return snap, err
}

// Commit implements storage.Store. It never returns storage.ErrFull and never
// calls document.
func (s *Store) Commit(ctx context.Context, base uint64, changes []storage.Change, _ func() []byte) ([]storage.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	if base != s.last {
		return nil, fmt.Errorf("committing on revision %d, the latest is %d: %w", base, s.last, storage.ErrConflict)
	}
	if len(changes) == 0 {
		return nil, nil
	}
	now := s.opts.Now().UTC().Round(0)
	out := make([]storage.Revision, 0, len(changes))
	for i, c := range changes {
		rev := storage.Revision{
			Number: base + 1 + uint64(i), Time: now, Origin: c.Origin, Digest: c.Digest, Edit: c.Edit,
			Bytes: int64(len(c.Edit.Body)) + int64(len(c.Edit.Source)),
		}
		rev.Edit.Body = append([]byte(nil), c.Edit.Body...) // nil if empty
		rev.Edit.Source = append([]byte(nil), c.Edit.Source...)
		s.revs = append(s.revs, rev)
		s.bytes += rev.Bytes
		out = append(out, rev)
	}
	s.last += uint64(len(changes))
	s.prune()
	s.feed.Publish()
	return out, nil
}

// prune folds the oldest revisions into the base document.
func (s *Store) prune() {
	fold := 0
	if len(s.revs) >= s.opts.Limits.MaxRevisions+foldEvery {
		fold = len(s.revs) - s.opts.Limits.MaxRevisions
	}
	for total := s.bytes - size(s.revs[:fold]); total > s.opts.Limits.MaxBytes && fold < len(s.revs)-1; fold++ {
		total -= s.revs[fold].Bytes
	}
	if fold == 0 {
		return
	}
	doc, err := s.replay(s.base, s.revs[:fold])
	if err != nil {
		return // what can't be replayed can't be folded: keep it
	}
	s.base = doc
	s.bytes -= size(s.revs[:fold])
	s.revs = slices.Clone(s.revs[fold:])
}

func size(revs []storage.Revision) (total int64) {
	for _, r := range revs {
		total += r.Bytes
	}
	return total
}

// replay applies the edits of revs to doc, beginning at the last whole one.
func (s *Store) replay(doc []byte, revs []storage.Revision) ([]byte, error) {
	var edits []storage.Edit
	for _, r := range revs {
		if r.Edit.Whole() {
			doc, edits = r.Edit.Body, nil
			continue
		}
		edits = append(edits, r.Edit)
	}
	if len(edits) == 0 {
		return doc, nil
	}
	if s.opts.Replay == nil {
		return nil, errors.New("it has to be rebuilt from edits, but the store was made without a replay function")
	}
	doc, err := s.opts.Replay(doc, edits)
	if err != nil {
		return nil, fmt.Errorf("%w: replaying %d edits: %w", storage.ErrCorrupt, len(edits), err)
	}
	return append([]byte(nil), doc...), nil
}

// History implements storage.Store.
func (s *Store) History(ctx context.Context, before uint64, limit int) ([]storage.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = storage.DefaultHistoryLimit
	}
	if before == 0 || before > s.last {
		before = s.last + 1
	}
	var out []storage.Revision
	for n := before - 1; n >= s.first() && n > 0 && len(out) < limit; n-- {
		rev := s.at(n)
		rev.Edit.Body, rev.Edit.Source = nil, nil
		out = append(out, rev)
	}
	return out, nil
}

// Revision implements storage.Store.
func (s *Store) Revision(ctx context.Context, n uint64) (storage.Snapshot, error) {
	base, revs, err := s.upTo(ctx, n)
	if err != nil {
		return storage.Snapshot{}, fmt.Errorf("loading revision %d: %w", n, err)
	}
	doc, err := s.replay(base, revs)
	rev := revs[len(revs)-1]
	if err == nil && s.opts.Digest != nil && rev.Digest != 0 && s.opts.Digest(doc) != rev.Digest {
		err = fmt.Errorf("%w: the document has another digest than was committed", storage.ErrCorrupt)
	}
	if err != nil {
		return storage.Snapshot{}, fmt.Errorf("loading revision %d: %w", n, err)
	}
	rev.Edit.Body = bytes.Clone(rev.Edit.Body)
	return storage.Snapshot{Revision: rev, Document: bytes.Clone(doc)}, nil
}

// upTo returns the base document and the revisions after it up to n.
func (s *Store) upTo(ctx context.Context, n uint64) ([]byte, []storage.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx); err != nil {
		return nil, nil, err
	}
	if n == 0 || n > s.last {
		return nil, nil, storage.ErrNotFound
	}
	if n < s.first() {
		return nil, nil, fmt.Errorf("%w, the oldest is %d", storage.ErrPruned, s.first())
	}
	return s.base, s.revs[:s.index(n)+1], nil
}

// Watch implements storage.Store.
func (s *Store) Watch(ctx context.Context) <-chan storage.Revision {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	return s.feed.Watch(ctx, last, func(after uint64) (storage.Revision, bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := max(after+1, s.first()); n <= s.last {
			return s.at(n), true, nil
		}
		return storage.Revision{}, false, nil
	})
}

// Close implements storage.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.feed.Close()
	return nil
}
