package handover

import (
	"context"
	"errors"
	"sync"
)

// Gate is what changes pass through, so that there is a time in which none is under way. The zero value is open. It is
// safe for concurrent use.
type Gate struct {
	mu    sync.Mutex
	in    int
	shut  bool
	empty chan struct{} // closed when nobody is in; nil unless somebody waits for that
}

// Enter reports whether a change may be made now. If so, Leave must follow.
func (g *Gate) Enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.in++
	return true
}

// Leave ends what Enter began.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in--; g.in == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// Shut lets nobody in any more and waits until the last has left. If ctx ends before that the gate is open again.
func (g *Gate) Shut(ctx context.Context) error {
	g.mu.Lock()
	g.shut = true
	if g.in == 0 {
		g.mu.Unlock()
		return nil
	}
	empty := make(chan struct{})
	g.empty = empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		g.Open()
		return errors.New("a change of the document was under way all the time")
	}
}

// Open lets changes in again.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.empty = false, nil
}

// Turn is the time in which this process serves. It ends when another one has taken over. It is safe for concurrent
// use.
type Turn struct {
	over chan struct{}

	mu     sync.Mutex
	closed bool
	cancel context.CancelCauseFunc // of the attempt under way
	done   chan struct{}           // closed when it has ended
}

// Errors of Begin.
var (
	ErrBusy = errors.New("another process is being started to take over")
	ErrOver = errors.New("another process has taken over, and this one only ends what it has begun")
	ErrEnd  = errors.New("this process is stopping")
)

// NewTurn begins the turn of this process.
func NewTurn() *Turn { return &Turn{over: make(chan struct{})} }

// Over is closed when another process has taken over.
func (t *Turn) Over() <-chan struct{} { return t.over }

func (t *Turn) isOver() bool {
	select {
	case <-t.over:
		return true
	default:
		return false
	}
}

// Begin begins an attempt to hand over, of which there is one at a time. The context ends when the process is to stop.
// End must be called with the outcome.
func (t *Turn) Begin(ctx context.Context) (context.Context, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.isOver():
		return nil, ErrOver
	case t.closed:
		return nil, ErrEnd
	case t.done != nil:
		return nil, ErrBusy
	}
	ctx, t.cancel = context.WithCancelCause(ctx)
	t.done = make(chan struct{})
	return ctx, nil
}

// End ends an attempt.
func (t *Turn) End(over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if over {
		close(t.over)
	}
	t.cancel(nil)
	close(t.done)
	t.done = nil
}

// Close is for a process that stops by itself: no attempt begins any more, and one that is under way is given up. It
// reports whether another process has taken over after all.
func (t *Turn) Close() (over bool) {
	t.mu.Lock()
	t.closed = true
	done := t.done
	if done != nil {
		t.cancel(ErrEnd)
	}
	t.mu.Unlock()
	if done != nil {
		<-done
	}
	return t.isOver()
}
