package wire

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// SetWriteDeadline is called by handlers, and with zero by net/http after
// each response.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.passthrough.Load() {
		return c.raw.SetWriteDeadline(t)
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if t.IsZero() && !c.userWrite {
		return nil // ours is set anew before it matters
	}
	c.userWrite = !t.IsZero()
	c.warmed = t
	return c.raw.SetWriteDeadline(t)
}

// armWrite sets the deadline of a write; n bytes have been written since the
// last call.
func (c *conn) armWrite(n int64) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.written += n
	if c.userWrite {
		return
	}
	l := c.set.Load().write()
	if c.h2 { // many streams: their own limits are in stream.go
		l.hard, l.rate = 0, 0
	}
	now := time.Now()
	start := c.wstart
	if start.IsZero() {
		start = now
	}
	d := l.deadline(now, start, c.written)
	if d.IsZero() && c.warmed.IsZero() {
		return
	}
	if late := d.Sub(c.warmed); !c.warmed.IsZero() && !d.IsZero() && late >= 0 && late < l.slack() {
		return
	}
	c.warmed = d
	c.raw.SetWriteDeadline(d)
}

func (c *conn) wrote(n int64) {
	c.wmu.Lock()
	c.written += n
	c.wmu.Unlock()
}

// Write writes p in pieces, each with a deadline.
func (c *conn) Write(p []byte) (n int, err error) {
	if c.passthrough.Load() {
		return c.raw.Write(p)
	}
	if c.mute.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	chunk := c.set.Load().maxChunk()
	m := 0
	for {
		piece := p[n:min(n+chunk, len(p))]
		c.armWrite(int64(m))
		m, err = c.raw.Write(piece)
		if n += m; err != nil || n == len(p) {
			c.wrote(int64(m))
			return n, err
		}
	}
}

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// ReadFrom copies r in pieces, each with a deadline; from files and sockets
// without passing through our memory.
func (c *conn) ReadFrom(r io.Reader) (total int64, err error) {
	to, ok := c.raw.(io.ReaderFrom)
	if ok && c.passthrough.Load() {
		return to.ReadFrom(r)
	}
	src, limit := r, int64(1)<<62
	lr, limited := r.(*io.LimitedReader)
	if limited {
		src, limit = lr.R, lr.N
	}
	switch src.(type) {
	case *os.File, *net.TCPConn, *net.UnixConn:
	default:
		ok = false
	}
	if !ok {
		buf := copyBuffers.Get().(*[32 << 10]byte)
		defer copyBuffers.Put(buf)
		return io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{r}, buf[:])
	}
	chunk := int64(c.set.Load().maxChunk())
	n := int64(0)
	for total < limit {
		piece := &io.LimitedReader{R: src, N: min(chunk, limit-total)}
		want := piece.N
		c.armWrite(n)
		n, err = to.ReadFrom(piece)
		total += n
		if limited {
			lr.N -= n
		}
		if err != nil || n < want {
			break
		}
	}
	c.wrote(n)
	return total, err
}
