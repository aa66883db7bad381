// Package stream writes whole lines to a writer that may be slow, stuck or
// failing, without ever holding up for long who has something to log.
package stream

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	HoldFor    = 20 * time.Millisecond // how long a line may wait for others
	flushAt    = 64 << 10              // pending bytes that are written at once
	maxPending = 1 << 20               // pending bytes at which writers have to wait
	maxWait    = time.Second           // how long they wait, all in all, before lines are dropped
	maxSync    = 5 * time.Second       // how long Sync waits
	maxSpare   = 4 * flushAt           // larger buffers are not kept
)

var (
	// ErrBlocked is returned for a line that was dropped.
	ErrBlocked = errors.New("log output is blocked; the entry was dropped")
	// ErrClosed is returned for a line after Close.
	ErrClosed = errors.New("log output is closed")
)

// EntryWriter is implemented by outputs that need to know where entries end:
// those that send each by itself, or never split one over two files.
type EntryWriter interface {
	// WriteEntries is Write for entries of which the i-th ends at ends[i].
	WriteEntries(p []byte, ends []int) (n int, err error)
}

// Pace is how a Stream deals with time.
type Pace struct {
	// Hold is how long a line may wait for others; 0 writes at once.
	Hold time.Duration
	// Direct lets who logs write, if nobody else is writing: the line has then
	// reached the system when the call returns, as far as nothing else waits.
	Direct bool
	// Impatient drops lines at once when there is no room.
	Impatient bool
}

// Stream writes whole lines to a writer that may be slow or stuck. Lines are
// written together by one goroutine at a time, so that they never mix. When the
// writer does not keep up, callers wait; when it is stuck, they wait once and
// from then on lines are dropped and counted until it moves again.
type Stream struct {
	w       io.Writer
	entries EntryWriter // w, if it is one
	Pace
	// Failed is told of failed writes and dropped lines; err is nil for the
	// latter. It may be nil.
	Failed func(err error, lost int64)

	mu              sync.Mutex
	pending, spare  []byte
	ends, spareEnds []int // where the pending lines end
	in, out         int64 // bytes taken and bytes handed to w
	writing         bool  // a goroutine writes
	armed           bool  // a timer will start one
	urgent          bool
	stuck           bool
	closed          bool
	waiters         int
	moved           chan struct{} // closed when w.Write has returned
	lost            atomic.Int64  // lines, since TakeLost
	err             error
}

// New returns a Stream that writes to w.
func New(w io.Writer, p Pace) *Stream {
	s := &Stream{w: w, Pace: p, moved: make(chan struct{})}
	s.entries, _ = w.(EntryWriter)
	return s
}

// Write takes a line. It does not keep p.
func (s *Stream) Write(p []byte) (int, error) { return s.Put(p, false) }

// Put takes a line; an urgent one is not held back.
func (s *Stream) Put(p []byte, urgent bool) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.room(len(p)) {
		s.lost.Add(1)
		if s.Failed != nil {
			s.Failed(nil, 1)
		}
		return 0, ErrBlocked
	}
	if s.closed {
		return 0, ErrClosed
	}
	s.pending = append(s.pending, p...)
	s.ends = append(s.ends, len(s.pending))
	s.in += int64(len(p))
	switch {
	case s.Direct:
		if !s.writing {
			s.writing = true
			s.turn()
			s.proceed()
		}
	case urgent || s.Hold == 0 || len(s.pending) >= flushAt:
		s.urgent = true
		s.start()
	default:
		s.arm()
	}
	return len(p), nil
}

// room waits until n bytes more may be pending. It is called with the lock
// held, and gives up for good once the writer has not moved for maxWait.
func (s *Stream) room(n int) bool {
	var timer *time.Timer
	for len(s.pending) > 0 && len(s.pending)+n > maxPending && !s.closed {
		if s.stuck || s.Impatient {
			return false
		}
		if timer == nil {
			timer = time.NewTimer(maxWait)
			defer timer.Stop()
		}
		s.start()
		if !s.wait(timer.C) {
			s.stuck = true
		}
	}
	return true
}

// wait lets go of the lock until the writer has moved; false if the timer came
// first.
func (s *Stream) wait(timer <-chan time.Time) (moved bool) {
	s.waiters++
	ch := s.moved
	s.mu.Unlock()
	select {
	case <-ch:
		moved = true
	case <-timer:
	}
	s.mu.Lock()
	s.waiters--
	return moved
}

func (s *Stream) start() {
	if !s.writing && len(s.pending) > 0 {
		s.writing = true
		go s.drain()
	}
}

func (s *Stream) arm() {
	if s.armed || s.writing {
		return
	}
	s.armed = true
	time.AfterFunc(s.Hold, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.armed = false
		s.start()
	})
}

// proceed ends a direct write: lines that came meanwhile are written by a
// goroutine, so that nobody writes for others for long.
func (s *Stream) proceed() {
	if len(s.pending) > 0 {
		go s.drain()
		return
	}
	s.writing = false
}

// drain writes what is pending. Lines that come meanwhile and can wait are left
// to the timer.
func (s *Stream) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.pending) > 0 {
		s.turn()
		if s.Hold > 0 && !s.urgent && s.waiters == 0 && len(s.pending) < flushAt {
			break
		}
	}
	s.writing = false
	if len(s.pending) > 0 {
		s.arm()
	}
}

// turn writes what is pending now. It is called with the lock held by who has
// set writing, and lets go of it meanwhile.
func (s *Stream) turn() {
	batch, ends := s.pending, s.ends
	s.pending, s.ends = s.spare[:0], s.spareEnds[:0]
	s.spare, s.spareEnds, s.urgent = nil, nil, false
	s.mu.Unlock()
	var n int
	var err error
	if s.entries != nil {
		n, err = s.entries.WriteEntries(batch, ends)
	} else {
		n, err = s.w.Write(batch)
	}
	var lost int64
	if err != nil {
		for i := len(ends) - 1; i >= 0 && ends[i] > n; i-- {
			lost++
		}
		if s.Failed != nil {
			s.Failed(err, lost)
		}
	}
	s.mu.Lock()
	if err != nil {
		s.err = fmt.Errorf("writing log entries: %w", err)
		s.lost.Add(lost)
	}
	s.out += int64(len(batch))
	if cap(batch) <= maxSpare {
		s.spare, s.spareEnds = batch[:0], ends[:0]
	}
	s.stuck = false
	if s.waiters > 0 {
		close(s.moved)
		s.moved = make(chan struct{})
	}
}

// Sync returns when everything written before is handed to the writer, or with
// an error if that fails or takes too long.
func (s *Stream) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	timer := time.NewTimer(maxSync)
	defer timer.Stop()
	for upTo := s.in; s.out < upTo; {
		s.start()
		if !s.wait(timer.C) {
			return fmt.Errorf("log output has been blocked for %v; %d bytes are not written", maxSync, s.in-s.out)
		}
	}
	err := s.err
	s.err = nil
	return err
}

// Close takes no more lines and returns when all are written, as Sync does.
func (s *Stream) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.Sync()
}

// TakeLost is the number of lines dropped since the last call, once the writer
// moves again.
func (s *Stream) TakeLost() int64 {
	if s.lost.Load() == 0 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck {
		return 0
	}
	return s.lost.Swap(0)
}
