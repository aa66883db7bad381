package h3

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// attempt is the making of one connection, over the addresses of an upstream.
type attempt struct {
	dialer  *Dialer
	network string
	tls     *tls.Config
	cancel  context.CancelCauseFunc

	mu      sync.Mutex
	sockets []*socket
}

func (a *attempt) add(s *socket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sockets = append(a.sockets, s)
}

// heard reports whether anything came from the upstream.
func (a *attempt) heard() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sockets {
		if s.heard.Load() {
			return true
		}
	}
	return false
}

// late ends the attempt if nothing was heard of the upstream yet.
func (a *attempt) late() {
	if !a.heard() {
		a.cancel(errSilent)
	}
}

// limit ends the attempt after a time in which the upstream was heard of. The function that it returns stops that.
func (a *attempt) limit(d time.Duration) (stop func()) {
	var mu sync.Mutex
	var timer *time.Timer
	stopped := false
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(d, func() {
		if a.heard() {
			a.cancel(&RefusedError{errHandshake})
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			timer.Reset(d)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

// outcome is that of one address.
type outcome struct {
	conn *quic.Conn
	err  error
}

// race tries addresses: the next one when one has failed, or does not answer for a while. The first connection counts; an
// upstream that was reached and refuses ends it, as it would if the handshake came after the connection.
func (a *attempt) race(ctx context.Context, list []string) (*quic.Conn, error) {
	if len(list) == 1 {
		return a.open(ctx, list[0])
	}
	delay := a.dialer.Net.FallbackDelay
	if delay == 0 {
		delay = fallbackDelay
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results, over := make(chan outcome), make(chan struct{})
	defer close(over)
	next := time.NewTimer(0)
	defer next.Stop()
	var first error
	for running := 0; len(list) > 0 || running > 0; {
		select {
		case <-next.C:
			if len(list) == 0 {
				continue
			}
			running++
			go a.run(ctx, list[0], a.patience(len(list)), results, over)
			if list = list[1:]; delay > 0 {
				next.Reset(delay)
			}
		case o := <-results:
			running--
			var refused *RefusedError
			if o.err == nil || errors.As(o.err, &refused) {
				return o.conn, o.err
			}
			if first == nil {
				first = o.err
			}
			next.Reset(0)
		}
	}
	return nil, first
}

// patience is how long one of n addresses is tried that are tried one after the other; 0 is without bound.
func (a *attempt) patience(n int) time.Duration {
	if a.dialer.Net.FallbackDelay >= 0 {
		return 0
	}
	return a.dialer.Net.Timeout / time.Duration(n)
}

func (a *attempt) run(ctx context.Context, address string, patience time.Duration, results chan<- outcome, over <-chan struct{}) {
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, patience, errSilent)
		defer cancel()
	}
	conn, err := a.open(ctx, address)
	select {
	case results <- outcome{conn, err}:
	case <-over:
		if conn != nil {
			_ = conn.CloseWithError(0x100, "") // H3_NO_ERROR: another address was faster
		}
	}
}
