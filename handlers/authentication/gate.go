package authentication

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"sync"
)

// Gate bounds how many password hashes a process computes at a time, since each
// takes a processor for up to seconds, and memory. Those who wait get their turn
// by client, one each, so that a client with many wrong passwords delays itself
// and not the others. It is a service: one for a process. It is safe for
// concurrent use.
type Gate struct {
	mu      sync.Mutex
	free    int
	waiting int
	lines   map[string]*line
	turn    []*line // lines with somebody in them, the next one first
}

// line is the requests of one client.
type line struct {
	client  string
	waiters []*waiter
}

type waiter struct{ ready chan struct{} }

// How many requests may wait, of one client and in all.
const (
	maxLine    = 64
	maxWaiting = 1024
)

// errBusy is the error of a request for which there is no room.
var errBusy = errors.New("too many passwords are being checked; try again later")

// NewGate returns a gate for n computations at a time. Zero is half of the
// processors, and at least one.
func NewGate(n int) *Gate {
	if n <= 0 {
		n = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return &Gate{free: n, lines: map[string]*line{}}
}

// enter waits until there is room for a computation. Each success must be
// followed by leave.
func (g *Gate) enter(ctx context.Context, client string) error {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return nil
	}
	l := g.lines[client]
	if g.waiting >= maxWaiting || (l != nil && len(l.waiters) >= maxLine) {
		g.mu.Unlock()
		return errBusy
	}
	if l == nil {
		l = &line{client: client}
		g.lines[client] = l
		g.turn = append(g.turn, l)
	}
	me := &waiter{make(chan struct{})}
	l.waiters = append(l.waiters, me)
	g.waiting++
	g.mu.Unlock()
	select {
	case <-me.ready:
		return nil
	case <-ctx.Done():
		if g.abandon(l, me) {
			g.leave() // it had been let in meanwhile
		}
		return ctx.Err()
	}
}

// abandon takes a waiter out of its line, or reports that it was let in.
func (g *Gate) abandon(l *line, me *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range l.waiters {
		if w != me {
			continue
		}
		l.waiters = append(l.waiters[:i], l.waiters[i+1:]...)
		g.waiting--
		if len(l.waiters) == 0 {
			delete(g.lines, l.client)
			for k, t := range g.turn {
				if t == l {
					g.turn = append(g.turn[:k], g.turn[k+1:]...)
					break
				}
			}
		}
		return false
	}
	return true
}

// leave lets the next one in: the first of the line whose turn it is.
func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.turn) == 0 {
		g.free++
		return
	}
	l := g.turn[0]
	g.turn = append(g.turn[:0], g.turn[1:]...)
	next := l.waiters[0]
	l.waiters = append(l.waiters[:0], l.waiters[1:]...)
	g.waiting--
	if len(l.waiters) > 0 {
		g.turn = append(g.turn, l)
	} else {
		delete(g.lines, l.client)
	}
	close(next.ready)
}

// clientKey is what makes two requests those of one client: the address, and of
// an IPv6 address the network, which one client may have to itself.
func clientKey(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil || !a.Unmap().Is6() {
		return ip
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return ip
	}
	return p.String()
}
