package reverseproxy

import (
	"errors"
	"io"
	"sync"
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
}

// attempt returns the body for the next attempt.
func (s *source) attempt() *attemptBody { return &attemptBody{source: s} }

// Read implements io.Reader.
func (b *attemptBody) Read(p []byte) (int, error) {
	s := b.source
	s.mu.Lock()
	if b.closed || s.gone || (s.read && !b.mine) {
		s.mu.Unlock()
		return 0, errBodyGone
	}
	b.mine, s.read = true, true
	s.mu.Unlock()
	n, err := s.body.Read(p)
	if err != nil && err != io.EOF {
		s.mu.Lock()
		s.broken = s.broken || !b.closed
		s.mu.Unlock()
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
