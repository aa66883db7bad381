package reverseproxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

var errBodyGone = errors.New("the request body was read by an earlier attempt and cannot be sent again")

// source is the body of a client's request on its way to possibly several upstreams. Closing it before a byte was asked
// for does nothing, so that a failed dial leaves it to the next attempt, or to an error route (BODY-2). After that a
// close is real, and later attempts that need it fail: a part of a body is never presented as the whole (BODY-3).
type source struct {
	body io.ReadCloser

	mu   sync.Mutex
	read bool // some attempt has asked for bytes
	gone bool // and has ended
	// broken: it could not be read to its end, and it was not closed before. That is the client's doing.
	broken bool
	// wait is how long an attempt waits for the upstream to ask for the body. 0 is not at all.
	wait time.Duration
	done <-chan struct{} // closed when the request is over
	held *attemptBody    // the latest attempt; valid with wait
	over bool            // the client has its answer, or the beginning of it
}

// failed reports whether the body could not be read. A nil source is no body.
func (s *source) failed() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// attemptBody is what one attempt sees of a source. An attempt that has ended cannot take bytes from the next one.
type attemptBody struct {
	source *source
	mine   bool // guarded by source.mu: this attempt has asked for bytes
	closed bool // guarded by source.mu
	ended  bool // guarded by source.mu: this attempt has read it to its end

	asked chan struct{} // closed when the upstream has asked for the body, or the attempt is over; nil without wait
	once  sync.Once
	until time.Time // asked is not waited for any longer
}

// attempt returns the body for the next attempt.
func (s *source) attempt() *attemptBody {
	b := &attemptBody{source: s}
	if s.wait > 0 {
		s.mu.Lock()
		if s.held != nil {
			s.held.closed = true
		}
		s.mu.Unlock()
		s.release()
		b.asked, b.until = make(chan struct{}), time.Now().Add(s.wait)
		s.mu.Lock()
		s.held = b
		s.mu.Unlock()
	}
	return b
}

// release lets the latest attempt read.
func (s *source) release() {
	if s == nil || s.wait == 0 {
		return
	}
	s.mu.Lock()
	b := s.held
	s.mu.Unlock()
	if b != nil {
		b.once.Do(func() { close(b.asked) })
	}
}

// answer says that the client gets its answer now, so that a body that nobody has asked for until then stays where it is.
func (s *source) answer() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
}

// await holds back the first read of a body that the client sends only when it is asked for it, which a read does (RFC 9110
// section 10.1.1). After a final answer net/http reads it all the same, so that it can keep the upstream's connection; but
// the client has nothing to send then. An error would cost what is left of the answer, so it comes when that is through.
func (b *attemptBody) await() error {
	s := b.source
	timer := time.NewTimer(time.Until(b.until)) // net/http waits a little longer
	defer timer.Stop()
	select {
	case <-b.asked:
		return nil
	case <-timer.C:
	case <-s.done:
		return errBodyGone
	}
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	if !over {
		b.once.Do(func() { close(b.asked) })
		return nil
	}
	<-s.done
	return errBodyGone
}

// Read implements io.Reader. The transport reads once more after the last byte, to see that nothing follows. The server may
// have closed the body by then, which it does when an answer begins over HTTP/1, and an error here would cost what is left of
// that answer: so the end is remembered. An upstream that answers before it has all of the body is another matter; there the
// rest is gone, and this comes out when the answer is through.
func (b *attemptBody) Read(p []byte) (int, error) {
	s := b.source
	if b.asked != nil {
		if err := b.await(); err != nil {
			return 0, err
		}
	}
	s.mu.Lock()
	if b.ended {
		s.mu.Unlock()
		return 0, io.EOF
	}
	if b.closed || s.gone || (s.read && !b.mine) {
		s.mu.Unlock()
		return 0, errBodyGone
	}
	b.mine, s.read = true, true
	s.mu.Unlock()
	n, err := s.body.Read(p)
	if err == nil {
		return n, nil
	}
	s.mu.Lock()
	taken := false // by the server
	switch {
	case err == io.EOF:
		b.ended = true
	case s.over && err == http.ErrBodyReadAfterClose:
		taken = true
	default:
		s.broken = s.broken || !b.closed
	}
	s.mu.Unlock()
	if taken {
		<-s.done
	}
	return n, err
}

// Close implements io.Closer.
func (b *attemptBody) Close() error {
	s := b.source
	s.mu.Lock()
	real := b.mine && !s.gone
	b.closed = true
	s.gone = s.gone || b.mine
	s.mu.Unlock()
	if real {
		return s.body.Close()
	}
	return nil
}
