package wire

import (
	"context"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// quicStreams is how many requests a client of HTTP/3 may have open at a time.
const quicStreams = 250

// quicRunning is how many may run. They can be more than are open, since a stream
// that its client has given up is none, but its handler may still run.
const quicRunning = 4 * quicStreams

// quicPeer bounds what the client of an HTTP/3 connection has under way. The idle
// time-out counts from the end of the last request that had come whole: streams
// that are only open do not hold a connection.
type quicPeer struct {
	conn *quic.Conn
	idle time.Duration // not positive: no limit

	mu      sync.Mutex
	timer   *time.Timer // nil without limit, and once the connection has ended
	running int
}

func newQUICPeer(c *quic.Conn, idle time.Duration) *quicPeer {
	p := &quicPeer{conn: c, idle: idle}
	if idle > 0 {
		p.timer = time.AfterFunc(idle, p.expire)
		context.AfterFunc(c.Context(), p.stop)
	}
	return p
}

// begin counts a request; false is one too many, and the end of the connection.
func (p *quicPeer) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == quicRunning {
		_ = p.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "too many requests are given up while they run")
		return false
	}
	p.running++
	if p.timer != nil {
		p.timer.Stop()
	}
	return true
}

// end counts a request that has ended.
func (p *quicPeer) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running--; p.running == 0 && p.timer != nil {
		p.timer.Reset(p.idle)
	}
}

func (p *quicPeer) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == 0 && p.timer != nil {
		_ = p.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "idle")
	}
}

func (p *quicPeer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}
