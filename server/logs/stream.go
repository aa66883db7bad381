package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	holdFor    = 20 * time.Millisecond // how long a line may wait for others
	flushAt    = 64 << 10              // pending bytes that are written at once
	maxPending = 1 << 20               // pending bytes at which writers have to wait
	maxWait    = time.Second           // how long they wait, all in all, before lines are dropped
	maxSync    = 5 * time.Second       // how long Sync waits
	maxSpare   = 4 * flushAt           // larger buffers are not kept
)

var (
	errBlocked = errors.New("log output is blocked; the entry was dropped")
	errClosed  = errors.New("log output is closed")
)

// stream writes whole lines to a writer that may be slow or stuck. Lines are
// gathered for a moment and written together by one goroutine at a time, so
// that an entry costs no system call and lines never mix. When the writer
// does not keep up, callers wait; when it is stuck, they wait once and from
// then on lines are dropped and counted until it moves again.
type stream struct {
	w    io.Writer
	hold time.Duration // 0: write at once

	mu             sync.Mutex
	pending, spare []byte
	in, out        int64 // bytes taken and bytes handed to w
	writing        bool  // a goroutine runs drain
	armed          bool  // a timer will start one
	urgent         bool
	stuck          bool
	closed         bool
	waiters        int
	moved          chan struct{} // closed when w.Write has returned
	lost           atomic.Int64  // lines, since takeLost
	err            error
}

func newStream(w io.Writer, hold time.Duration) *stream {
	return &stream{w: w, hold: hold, moved: make(chan struct{})}
}

// Write takes a line. It does not keep p.
func (s *stream) Write(p []byte) (int, error) { return s.write(p, false) }

// write takes a line; an urgent one is not held back.
func (s *stream) write(p []byte, urgent bool) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.room(len(p)) {
		s.lost.Add(1)
		return 0, errBlocked
	}
	if s.closed {
		return 0, errClosed
	}
	s.pending = append(s.pending, p...)
	s.in += int64(len(p))
	switch {
	case urgent || s.hold == 0 || len(s.pending) >= flushAt:
		s.urgent = true
		s.start()
	default:
		s.arm()
	}
	return len(p), nil
}

// room waits until n bytes more may be pending. It is called with the lock
// held, and gives up for good once the writer has not moved for maxWait.
func (s *stream) room(n int) bool {
	var timer *time.Timer
	for len(s.pending) > 0 && len(s.pending)+n > maxPending && !s.closed {
		if s.stuck {
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
func (s *stream) wait(timer <-chan time.Time) (moved bool) {
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

func (s *stream) start() {
	if !s.writing && len(s.pending) > 0 {
		s.writing = true
		go s.drain()
	}
}

func (s *stream) arm() {
	if s.armed || s.writing {
		return
	}
	s.armed = true
	time.AfterFunc(s.hold, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.armed = false
		s.start()
	})
}

// drain writes what is pending. Lines that come meanwhile and can wait are left
// to the timer.
func (s *stream) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.pending) > 0 {
		batch := s.pending
		s.pending, s.spare, s.urgent = s.spare[:0], nil, false
		s.mu.Unlock()
		n, err := s.w.Write(batch)
		s.mu.Lock()
		if err != nil {
			s.err = fmt.Errorf("writing log entries: %w", err)
			s.lost.Add(int64(bytes.Count(batch[min(max(n, 0), len(batch)):], []byte{'\n'})))
		}
		s.out += int64(len(batch))
		if cap(batch) <= maxSpare {
			s.spare = batch[:0]
		}
		s.stuck = false
		if s.waiters > 0 {
			close(s.moved)
			s.moved = make(chan struct{})
		}
		if !s.urgent && s.waiters == 0 && len(s.pending) < flushAt {
			break
		}
	}
	s.writing = false
	if len(s.pending) > 0 {
		s.arm()
	}
}

// Sync returns when everything written before is handed to the writer, or with
// an error if that fails or takes too long.
func (s *stream) Sync() error {
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

// close takes no more lines and returns when all are written, as Sync does.
func (s *stream) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.Sync()
}

// takeLost is the number of lines dropped since the last call, once the writer
// moves again.
func (s *stream) takeLost() int64 {
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
