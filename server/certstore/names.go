package certstore

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
)

// names is locks in memory, by name. The zero value is ready.
type names struct {
	mu   sync.Mutex
	used map[string]*namedLock
}

// namedLock is a lock that someone holds or waits for.
type namedLock struct {
	slot  chan struct{} // full while it is held
	users int           // holder and waiters
}

func (n *names) enter(name string) *namedLock {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.used[name]
	if l == nil {
		if n.used == nil {
			n.used = map[string]*namedLock{}
		}
		l = &namedLock{slot: make(chan struct{}, 1)}
		n.used[name] = l
	}
	l.users++
	return l
}

// leave forgets a user. The caller holds mu.
func (n *names) leave(name string, l *namedLock) {
	if l.users--; l.users == 0 {
		delete(n.used, name)
	}
}

// lock waits for a lock until ctx ends.
func (n *names) lock(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("waiting for lock %s: %w", name, err)
	}
	l := n.enter(name)
	select {
	case l.slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		n.mu.Lock()
		n.leave(name, l)
		n.mu.Unlock()
		return fmt.Errorf("waiting for lock %s: %w", name, ctx.Err())
	}
}

// tryLock takes a lock if it is free.
func (n *names) tryLock(name string) bool {
	l := n.enter(name)
	select {
	case l.slot <- struct{}{}:
		return true
	default:
		n.mu.Lock()
		n.leave(name, l)
		n.mu.Unlock()
		return false
	}
}

// unlock releases a lock. One that nobody holds is fs.ErrNotExist.
func (n *names) unlock(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.used[name]; l != nil {
		select {
		case <-l.slot:
			n.leave(name, l)
			return nil
		default:
		}
	}
	return fmt.Errorf("releasing lock %s: nobody holds it: %w", name, fs.ErrNotExist)
}
