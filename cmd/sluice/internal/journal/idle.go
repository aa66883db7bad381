package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/bolt"
)

// Line is a revision in a list, in the form of the admin API.
type Line struct {
	Number     uint64    `json:"number"`
	Time       time.Time `json:"time"`
	Origin     string    `json:"origin"`
	Verb       string    `json:"verb"`
	Path       string    `json:"path"`
	Digest     string    `json:"digest"`
	Bytes      int64     `json:"bytes"`
	SourceType string    `json:"source_type,omitempty"`
}

// OpenIdle opens the store of an instance that does not run.
func OpenIdle(path string) (*bolt.Store, error) {
	s, err := Open(path, true, nil)
	var locked *storage.LockedError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("%w, but no instance answers at the admin address; name that with --address", err)
	case errors.Is(err, storage.ErrNotFound):
		return nil, fmt.Errorf("no instance runs, and there is no store %s: start one with `sluice run`, or name the store with --store", path)
	case err != nil:
		return nil, err
	}
	return s, nil
}

// Lines lists the last revisions of a store, the newest first.
func Lines(ctx context.Context, s storage.Store, limit int) ([]Line, error) {
	found, err := s.History(ctx, 0, limit)
	if err != nil {
		return nil, err
	}
	list := make([]Line, len(found))
	for i, r := range found {
		list[i] = Line{r.Number, r.Time, r.Origin, r.Edit.Verb, r.Edit.Path, fmt.Sprintf("%016x", r.Digest), r.Bytes, r.Edit.SourceType}
	}
	return list, nil
}

// Restore makes an old document the last one, and returns the number of its
// revision; none is made if it is that of the last one already.
func Restore(ctx context.Context, s storage.Store, n uint64) (number uint64, made bool, err error) {
	snap, err := s.Revision(ctx, n)
	if err != nil {
		return 0, false, fmt.Errorf("reading revision %d: %w", n, err)
	}
	last, err := s.History(ctx, 0, 1)
	if err != nil {
		return 0, false, err
	}
	if last[0].Digest == snap.Revision.Digest {
		return last[0].Number, false, nil
	}
	done, err := s.Commit(ctx, last[0].Number, []storage.Change{{
		Edit: storage.Edit{Verb: storage.VerbRestore, Body: snap.Document}, Origin: "rollback", Digest: snap.Revision.Digest,
	}}, nil)
	if err != nil {
		return 0, false, fmt.Errorf("restoring revision %d: %w", n, err)
	}
	return done[0].Number, true, nil
}
