package wire

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// activity counts the requests that run on a connection that carries many, and
// tells when none has for as long as it may be idle. Streams that are open, but
// whose requests have not come whole, do not count.
//
// net/http and quic-go have such timers too. That of net/http is set anew when a
// connection is closed with open streams, and then keeps all that belonged to it
// in memory until it fires; that of quic-go does not fire while a stream is open.
type activity struct {
	idle    time.Duration // not positive: no limit
	most    int           // requests that may run; 0: no limit
	expired func()        // nothing has run for idle
	excess  func()        // one more than most wants to run

	mu      sync.Mutex
	timer   *time.Timer // nil without limit
	running int
	ended   bool

	// Of HTTP/2 only.
	leaving atomic.Bool // the connection is to end, see leave
	// Used by the one goroutine that reads.
	frames frames
	left   bool // net/http was told that the client leaves
}

// start begins to wait for the first request.
func (a *activity) start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.idle > 0 && !a.ended {
		a.timer = time.AfterFunc(a.idle, a.look)
	}
}

// begin counts a request; false is one too many.
func (a *activity) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.most > 0 && a.running == a.most {
		go a.excess()
		return false
	}
	a.running++
	if a.timer != nil {
		a.timer.Stop()
	}
	return true
}

// end counts a request that has ended.
func (a *activity) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running--; a.running == 0 && a.timer != nil && !a.ended {
		a.timer.Reset(a.idle)
	}
}

// look is called by the timer.
func (a *activity) look() {
	if a.quiet() {
		a.expired()
	}
}

// quiet reports whether no request runs on a connection that is still there.
func (a *activity) quiet() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running == 0 && !a.ended
}

// stop is the end of the connection.
func (a *activity) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

// farewellTime is how long an idle client of HTTP/2 has to read that it should
// go. net/http closes a second after it has said so.
const farewellTime = 3 * time.Second

// goAway is a GOAWAY frame without error (RFC 9113, section 6.8). When it comes
// from a client, net/http says the same and closes, after the requests that run.
const goAway = "\x00\x00\x08\x07\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"

// leave makes net/http end an idle connection of HTTP/2 in good order: it is told
// that the client wants to go.
func (c *conn) leave() {
	c.activity.leaving.Store(true)
	_ = c.raw.SetReadDeadline(longAgo) // one that is gone needs none
	time.AfterFunc(farewellTime, func() {
		if c.activity.quiet() {
			_ = c.forceClose()
		}
	})
}

// readFrames reads from a connection of HTTP/2.
func (c *conn) readFrames(p []byte) (n int, err error) {
	if len(c.replay) > 0 {
		n = c.takeReplay(p)
	} else {
		n, err = c.raw.Read(p)
	}
	a := c.activity
	a.frames.pass(p[:n])
	if n == 0 && a.leaving.Load() && errors.Is(err, os.ErrDeadlineExceeded) && !a.left && a.frames.between() {
		a.left = true
		c.replay = []byte(goAway)
		_ = c.raw.SetReadDeadline(time.Time{})
		return c.takeReplay(p), nil
	}
	return n, err
}

// frames follows the frames of HTTP/2 that pass by (RFC 9113, section 4.1).
type frames struct {
	begun bool // the preface counts as a frame
	head  [9]byte
	have  int  // bytes of head
	left  int  // bytes of the payload
	block bool // the next frame is a CONTINUATION
}

// between reports whether a frame from elsewhere may stand here.
func (f *frames) between() bool { return f.begun && f.have == 0 && f.left == 0 && !f.block }

func (f *frames) pass(b []byte) {
	const (
		headers, continuation = 1, 9
		endHeaders            = 4
	)
	if !f.begun && len(b) > 0 {
		f.begun, f.left = true, len(preface)
	}
	for len(b) > 0 {
		if f.left > 0 {
			n := min(f.left, len(b))
			f.left, b = f.left-n, b[n:]
			continue
		}
		n := copy(f.head[f.have:], b)
		b = b[n:]
		if f.have += n; f.have == len(f.head) {
			f.have = 0
			f.left = int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
			if kind := f.head[3]; kind == headers || kind == continuation {
				f.block = f.head[4]&endHeaders == 0
			}
		}
	}
}
