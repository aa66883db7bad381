package h3

import (
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// link is one connection. The pool's lock guards what is below it.
type link struct {
	*http3.ClientConn
	quic *quic.Conn
	line *line

	active  int         // requests
	gone    bool        // no more of them may begin
	shut    bool        // it was closed
	resting bool        // it counts as idle
	rested  time.Time   // since when
	timer   *time.Timer // ends the rest
	watched bool        // somebody looks whether it is alive
}

func (p *Pool) newLink(l *line, conn *quic.Conn) *link {
	return &link{ClientConn: p.http.NewClientConn(conn), quic: conn, line: l}
}

// enter puts one more request on a connection. The lock is held.
func (p *Pool) enter(k *link) {
	p.wake(k)
	k.active++
}

// close closes it.
func (k *link) close() {
	k.gone, k.shut = true, true
	go func() { _ = k.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") }() // which waits for the connection
}

// leave takes one request off a connection. The lock is held.
func (p *Pool) leave(k *link) {
	if k.active--; k.active == 0 && !k.shut {
		p.rest(k)
	}
}

// rest keeps a connection without requests, or closes it. The lock is held.
func (p *Pool) rest(k *link) {
	if k.gone || p.closed {
		k.close()
		return
	}
	k.resting, k.rested = true, time.Now()
	p.idle++
	if p.o.IdleTimeout > 0 {
		if k.timer == nil {
			k.timer = time.AfterFunc(p.o.IdleTimeout, func() { p.expire(k) })
		} else {
			k.timer.Reset(p.o.IdleTimeout)
		}
	}
	p.trim(k.line)
}

// trim closes those that have rested longest where there are too many.
func (p *Pool) trim(l *line) {
	if most := p.o.MaxIdlePerWay; most > 0 {
		p.evict(most, l.links)
	}
	if p.o.MaxIdle > 0 && p.idle > p.o.MaxIdle {
		var all []*link
		for _, l := range p.lines {
			all = append(all, l.links...)
		}
		p.evict(p.o.MaxIdle, all)
	}
}

func (p *Pool) evict(most int, list []*link) {
	var oldest *link
	n := 0
	for _, k := range list {
		if !k.resting {
			continue
		}
		if n++; oldest == nil || k.rested.Before(oldest.rested) {
			oldest = k
		}
	}
	if n > most {
		p.wake(oldest)
		oldest.close()
	}
}

// wake ends the rest of a connection.
func (p *Pool) wake(k *link) {
	if k.resting {
		k.resting = false
		p.idle--
	}
	if k.timer != nil {
		k.timer.Stop()
	}
}

// expire closes a connection that has rested long enough.
func (p *Pool) expire(k *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.resting && time.Since(k.rested) >= p.o.IdleTimeout {
		p.wake(k)
		k.close()
	}
}

// retire lets no more requests begin on a connection. One that has none is closed.
func (p *Pool) retire(k *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(k)
	if k.gone = true; k.active == 0 && !k.shut {
		k.close()
	}
}

// watch looks, some time after a request, whether anything has come. An upstream that was started anew does not know the
// connections of before and need not say so; what is sent on them is lost.
func (p *Pool) watch(k *link) {
	p.mu.Lock()
	again := k.watched || k.gone
	k.watched = true
	p.mu.Unlock()
	if again {
		return
	}
	before := k.quic.ConnectionStats().PacketsReceived
	time.AfterFunc(p.o.Patience, func() {
		silent := k.quic.ConnectionStats().PacketsReceived == before
		p.mu.Lock()
		k.watched = false
		p.mu.Unlock()
		if silent {
			p.retire(k)
		}
	})
}
