package storage

import (
	"context"
	"sync"
)

// A Feed implements Watch for a store. Watchers are told that something is
// new, and read it from the store at their own pace, so that nothing is
// queued for a slow one. The zero value is ready; it is safe for concurrent
// use.
type Feed struct {
	mu      sync.Mutex
	changed chan struct{} // closed at the next Publish or Close
	closed  bool
	readers sync.WaitGroup
}

// Publish wakes the watchers. The store calls it after each commit, when
// readers can see it.
func (f *Feed) Publish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// Close ends all watches and waits until none reads from the store any more.
func (f *Feed) Close() {
	f.mu.Lock()
	f.closed = true
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
	f.mu.Unlock()
	f.readers.Wait()
}

// wait returns a channel that is closed at the next Publish, or false if the
// feed is closed.
func (f *Feed) wait() (<-chan struct{}, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == nil && !f.closed {
		f.changed = make(chan struct{})
	}
	return f.changed, !f.closed
}

// Watch sends every revision after number after, see Store.Watch. next
// returns the first kept revision after a number, or false if there is none
// yet; it must not block on the feed.
func (f *Feed) Watch(ctx context.Context, after uint64, next func(after uint64) (Revision, bool, error)) <-chan Revision {
	out := make(chan Revision)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		close(out)
		return out
	}
	f.readers.Add(1)
	go func() {
		defer f.readers.Done()
		defer close(out)
		f.run(ctx, after, next, out)
	}()
	return out
}

func (f *Feed) run(ctx context.Context, after uint64, next func(uint64) (Revision, bool, error), out chan<- Revision) {
	for {
		changed, open := f.wait() // before next, so that no commit falls between
		if !open {
			return
		}
		for {
			rev, ok, err := next(after)
			if err != nil {
				return
			}
			if !ok {
				break
			}
			if !f.send(ctx, rev, out) {
				return
			}
			after = rev.Number
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// send delivers one revision, giving up when the context or the feed ends.
func (f *Feed) send(ctx context.Context, rev Revision, out chan<- Revision) bool {
	for {
		changed, open := f.wait()
		if !open {
			return false
		}
		select {
		case out <- rev:
			return true
		case <-ctx.Done():
			return false
		case <-changed: // a commit, or the end: look again
		}
	}
}
