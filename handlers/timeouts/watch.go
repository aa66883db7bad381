package timeouts

import (
	"net/http"
	"sync"
	"time"
)

// limit is the idle-reset deadline of one direction.
type limit struct {
	idle time.Duration
	rate int64
}

// deadline returns when an operation that begins now must end, n bytes after the
// start.
func (l limit) deadline(now, start time.Time, n int64) time.Time {
	if l.rate > 0 {
		return start.Add(l.idle + time.Duration(float64(n)/float64(l.rate)*float64(time.Second)))
	}
	return now.Add(l.idle)
}

// watch ends operations of one direction that take too long. Deadlines of the
// connection are those of the server, and are left alone until then. An operation
// sets no timer: there is one that looks again when it fires. The methods may be
// called with nil, which watches nothing.
type watch struct {
	limit limit
	start time.Time
	cut   func(time.Time) error // sets a deadline for all that follows

	mu    sync.Mutex
	timer *time.Timer
	fires time.Time // when the timer will; zero: it is not set
	until time.Time // when the operation in flight must end; zero: there is none
	n     int64     // bytes so far
	over  bool      // nothing is watched any more
	err   error     // of cut
}

func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	now := time.Now()
	w.until = w.limit.deadline(now, w.start, w.n)
	w.set(now)
}

// end is called when n more bytes were transferred.
func (w *watch) end(n int64) {
	w.mu.Lock()
	w.until = time.Time{}
	w.n += n
	w.mu.Unlock()
}

// set makes the timer fire in time. It is called with mu held.
func (w *watch) set(now time.Time) {
	if !w.fires.IsZero() && !w.until.Before(w.fires) {
		return
	}
	w.fires = w.until
	wait := max(w.until.Sub(now), 0)
	if w.timer == nil {
		w.timer = time.AfterFunc(wait, w.check)
	} else {
		w.timer.Reset(wait)
	}
}

func (w *watch) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fires = time.Time{}
	now := time.Now()
	switch {
	case w.over || w.until.IsZero():
	case w.until.After(now):
		w.set(now)
	default:
		// All that follows fails as well.
		w.over = true
		w.err = w.cut(now)
	}
}

// stop ends the watch. No deadline is set when it has returned.
func (w *watch) stop() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// buffered is how much of a response the server may hold back.
const buffered = 4 << 10

// settle watches over what the server holds back of a response, and would send
// when all handlers are done. A long response is flushed. For a short one that
// would change how it is sent; it gets a deadline instead, which the server ends
// with the request.
func (w *watch) settle(control *http.ResponseController) {
	w.mu.Lock()
	over, n := w.over, w.n
	w.mu.Unlock()
	switch {
	case over || n == 0:
	case n >= buffered:
		w.begin()
		_ = control.Flush() // nobody is left to write
		w.end(0)
	default:
		w.stop()
		err := w.cut(w.limit.deadline(time.Now(), w.start, n))
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
	}
}

// failed reports whether a deadline could not be set.
func (w *watch) failed() bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil
}
