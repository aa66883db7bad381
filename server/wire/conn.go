package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluiceproxy/sluice/internal/idleread"
)

// phase is where an HTTP/1 connection is. net/http tells it through the
// deadlines that it sets; which ones they are is ours to say.
type phase uint8

const (
	phaseHeader phase = iota // waiting for the first request, or reading a header
	phaseActive              // a request is being served
	phaseIdle                // waiting for the next request
)

// conn is what net/http gets as connection.
type conn struct {
	raw  net.Conn
	srv  *Server
	id   *Conn
	core *core
	h2   bool                 // serves HTTP/2: deadlines for reading are those of its streams
	tls  *tls.ConnectionState // nil in clear text

	activity *activity // of HTTP/2 and HTTP/3, else nil

	set         atomic.Pointer[Settings] // of the current request
	passthrough atomic.Bool              // hijacked: nothing is watched any more
	mute        atomic.Bool              // nothing is to be written any more
	closed      atomic.Bool

	// Used by the one goroutine that reads.
	replay    []byte // read before, to be read again
	guard     guard
	judged    []byte // passed on unjudged while guard.held
	sniffed   bool
	switching bool // to HTTP/2 once net/http has closed it
	readErr   error
	poison    int // bytes of a malformed header that are still to be told before readErr

	mu        sync.Mutex
	phase     phase
	idleArmed bool
	got       bool      // bytes came in this phase
	armed     time.Time // the read deadline that holds; zero is none
	aborting  bool      // net/http is interrupting a read
	userRead  bool      // the handler set a deadline
	start     time.Time // when the request's header had been read

	wmu       sync.Mutex
	wstart    time.Time
	written   int64
	warmed    time.Time
	userWrite bool
}

// Read passes on what the guard allows.
func (c *conn) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case c.h2:
		return c.readFrames(p)
	case c.passthrough.Load():
		if len(c.replay) > 0 {
			return c.takeReplay(p), nil
		}
		return c.raw.Read(p)
	case c.readErr != nil:
		return c.fail(p)
	case !c.sniffed:
		return c.sniff(p)
	}
	n, err := c.fill(p)
	if n == 0 {
		return 0, err
	}
	return c.judge(p[:n]) // err comes again
}

func (c *conn) takeReplay(p []byte) int {
	n := copy(p, c.replay)
	if c.replay = c.replay[n:]; len(c.replay) == 0 {
		c.replay = nil
	}
	return n
}

// judge returns how much of b may be passed on.
func (c *conn) judge(b []byte) (int, error) {
	if c.guard.held {
		c.judged = append(c.judged, b...) // a background read: one byte
		return len(b), nil
	}
	n, err := c.guard.scan(b)
	if err != nil {
		c.malformed()
	} else if n < len(b) {
		c.replay = append(append([]byte(nil), b[n:]...), c.replay...)
	}
	if n == 0 && err != nil {
		return c.fail(b)
	}
	return n, nil
}

// poisonLength is how much of a header net/http wants before it takes it for one.
const poisonLength = 4

// malformed ends the reading. A header at fault may be that of a request behind
// the one that runs, which is answered first (RFC 9112, section 9.3.2): its
// beginning is stood for by bytes that no header has. So net/http, which reads
// ahead to notice that a client has gone, notices nothing until it wants the
// header, and then answers 400.
func (c *conn) malformed() {
	c.readErr = errMalformed
	if !c.guard.inBody() {
		c.poison = poisonLength
	}
}

// fail tells of the end of the reading.
func (c *conn) fail(p []byte) (int, error) {
	n := min(len(p), c.poison)
	if n == 0 {
		return 0, c.readErr
	}
	c.poison -= n
	clear(p[:n])
	return n, nil
}

// fill reads, with a deadline if the client owes a part of the body.
func (c *conn) fill(p []byte) (int, error) {
	if len(c.replay) > 0 {
		return c.takeReplay(p), nil
	}
	c.armRead()
	n, err := c.raw.Read(p)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		c.expired(err)
	}
	if n > 0 {
		c.mu.Lock()
		c.got = true
		if c.phase == phaseIdle && n < 4 {
			// net/http begins with a header when it has 4 bytes.
			set := c.srv.opt.Settings()
			c.setRead(after(time.Now(), set.ReadHeaderTimeout, set.ReadTimeout))
		}
		c.mu.Unlock()
	}
	return n, err
}

// expired notes that one of our deadlines has passed. A client that stalled in
// a body gets no second chance from net/http's own reads, one that stalled in a
// header gets no answer.
func (c *conn) expired(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.phase != phaseActive:
		c.mute.Store(true)
	case !c.aborting && !c.userRead && c.guard.inBody():
		c.readErr = err
	}
}

func (c *conn) armRead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != phaseActive || c.aborting || c.userRead {
		return
	}
	if !c.guard.inBody() {
		c.setRead(time.Time{})
		return
	}
	l := c.set.Load().read()
	d := l.deadline(time.Now(), c.start, c.guard.read)
	if late := d.Sub(c.armed); !c.armed.IsZero() && !d.IsZero() && late >= 0 && late < l.slack() {
		return
	}
	c.setRead(d)
}

// setRead is called with mu held. A connection without deadlines does without.
func (c *conn) setRead(d time.Time) error {
	if d.IsZero() && c.armed.IsZero() {
		return nil
	}
	c.armed = d
	return c.raw.SetReadDeadline(d)
}

// SetReadDeadline is called by net/http at the borders of the phases, and
// through http.ResponseController by handlers.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.passthrough.Load() {
		return c.raw.SetReadDeadline(t)
	}
	if c.h2 {
		if time.Until(t) > never/2 { // until the preface has come
			set := c.set.Load()
			t = after(time.Now(), set.ReadHeaderTimeout, set.ReadTimeout)
		}
		return c.raw.SetReadDeadline(t)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case c.phase == phaseActive && t.IsZero():
		c.aborting, c.userRead = false, false
		return c.setRead(t)
	case c.phase == phaseActive && t.Before(now.Add(-time.Hour)):
		c.aborting = true
		return c.setRead(t)
	case c.phase == phaseActive:
		c.userRead = true
		return c.setRead(t)
	case c.phase == phaseIdle && !c.idleArmed:
		c.idleArmed = true
		idle := c.srv.opt.Settings().IdleTimeout
		if c.srv.patient.Load() && (idle <= 0 || idle > drainFirstByte) {
			idle = drainFirstByte
		}
		return c.setRead(after(now, idle, 0))
	case t.IsZero(): // the header has been read
		c.beginRequest(now)
		return c.setRead(t)
	}
	c.phase = phaseHeader
	set := c.srv.opt.Settings()
	c.set.Store(set)
	return c.setRead(after(now, set.ReadHeaderTimeout, set.ReadTimeout))
}

// beginRequest is called with mu held.
func (c *conn) beginRequest(now time.Time) {
	c.phase, c.start = phaseActive, now
	c.aborting, c.userRead = false, false
	c.set.Store(c.srv.opt.Settings())
	c.wmu.Lock()
	c.wstart, c.written, c.userWrite = now, 0, false
	c.wmu.Unlock()
}

// becomeIdle is called when a response is complete.
func (c *conn) becomeIdle() {
	c.mu.Lock()
	c.phase, c.idleArmed, c.got = phaseIdle, false, false
	c.mu.Unlock()
	if !c.guard.held {
		return
	}
	c.guard.held = false // it was no upgrade after all
	if n, err := c.guard.scan(c.judged); err != nil || n < len(c.judged) {
		c.malformed()
	}
	c.judged = c.judged[:0]
}

// becomeHijacked is called when a handler has taken the connection over.
func (c *conn) becomeHijacked() {
	c.srv.mu.Lock()
	c.passthrough.Store(true)
	if _, ok := c.srv.conns[c]; ok {
		c.srv.hijacked++
	}
	c.srv.checkEmpty()
	c.srv.mu.Unlock()
	c.raw.SetDeadline(time.Time{})
}

// drain makes a connection that has sent nothing, or nothing lately, hurry.
func (c *conn) drain() {
	if c.h2 || c.passthrough.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if (c.phase == phaseHeader || c.phase == phaseIdle) && !c.got {
		if d := time.Now().Add(drainFirstByte); c.armed.IsZero() || d.Before(c.armed) {
			c.setRead(d)
		}
	}
}

// Close closes the connection, or hands it over to HTTP/2.
func (c *conn) Close() error {
	if c.switching {
		if !c.closed.Swap(true) {
			c.srv.upgrade(c)
		}
		return nil
	}
	if c.srv.sweeping.Load() > 0 && !c.passthrough.Load() {
		// net/http thinks that it is idle, but the next request has begun.
		c.mu.Lock()
		busy := c.got
		c.mu.Unlock()
		if busy {
			return nil // closed when it has been served, at StateClosed at the latest
		}
	}
	return c.forceClose()
}

func (c *conn) forceClose() error {
	if c.closed.Swap(true) {
		return nil
	}
	err := c.raw.Close()
	if c.activity != nil {
		c.activity.stop()
	}
	c.srv.untrack(c)
	return err
}

// CloseWrite ends our side, if the connection can.
func (c *conn) CloseWrite() error {
	if cw, ok := c.raw.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// NetConn returns the accepted connection, for a handler that has taken it
// over; bytes that were read from it may be left in this one.
func (c *conn) NetConn() net.Conn { return c.raw }

// RawRead returns what to read from without this connection's help: once it was taken over and has nothing left.
func (c *conn) RawRead() syscall.RawConn {
	if !c.passthrough.Load() || len(c.replay) > 0 {
		return nil
	}
	return idleread.RawOf(c.raw)
}

// LocalAddr returns the address that the client connected to.
func (c *conn) LocalAddr() net.Addr { return c.id.local }

// RemoteAddr returns the client's address.
func (c *conn) RemoteAddr() net.Addr { return c.id.remote }

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}
