package storage

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestErrors(t *testing.T) {
	if !errors.Is(ErrNotFound, fs.ErrNotExist) || errors.Is(ErrNotFound, ErrPruned) {
		t.Error("ErrNotFound is fs.ErrNotExist and nothing else")
	}
	for pid, want := range map[int]string{12: "store /s.db is in use by process 12", 0: "store /s.db is in use by another process"} {
		if got := (&LockedError{Path: "/s.db", PID: pid}).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	if l := (Limits{}).WithDefaults(); l != (Limits{1000, 256 << 20}) {
		t.Errorf("the defaults are %+v", l)
	}
	if l := (Limits{5, -1}).WithDefaults(); l != (Limits{5, 256 << 20}) {
		t.Errorf("%+v", l)
	}
}

// TestFeed has a watcher that is now ahead and now behind, until the feed is
// closed while a revision waits for it.
func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var feed Feed
		var last atomic.Uint64
		next := func(after uint64) (Revision, bool, error) {
			return Revision{Number: after + 1}, after < last.Load(), nil
		}
		publish := func(n uint64) { last.Store(n); feed.Publish(); synctest.Wait() }
		w := feed.Watch(t.Context(), 0, next)
		publish(2)
		publish(3)
		for n := uint64(1); n <= 3; n++ {
			if r := <-w; r.Number != n {
				t.Errorf("revision %d, want %d", r.Number, n)
			}
		}
		synctest.Wait()
		select {
		case r := <-w:
			t.Errorf("revision %d was never published", r.Number)
		default:
		}
		publish(4)
		feed.Close()
		if r, open := <-w; open {
			t.Errorf("revision %d after Close", r.Number)
		}

		failing := Feed{}
		w = failing.Watch(context.Background(), 0, func(uint64) (Revision, bool, error) { return Revision{}, false, ErrCorrupt })
		if _, open := <-w; open {
			t.Error("a revision that can't be read was sent")
		}
	})
}
