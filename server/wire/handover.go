package wire

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// HandOver is Drain for a listener that another process has now: there is time. No
// connection of HTTP/1 is closed before a response has said so, or it was idle for a
// moment, so that a request which is on its way is answered; and hijacked
// connections are waited for as well. When ctx ends all that is left is cut, and
// hijacked connections when streams does.
func (s *Server) HandOver(ctx, streams context.Context) error {
	s.patient.Store(true)
	err := s.Drain(ctx, 0)
	if err == nil {
		select {
		case <-s.gone:
			return nil
		case <-ctx.Done():
		case <-streams.Done():
		}
		err = fmt.Errorf("cut %d connections that handlers had taken over", s.Stats().Hijacked)
	}
	return errors.Join(err, s.Close())
}

// Gone is closed when the server was drained and no connection is left, hijacked
// ones among them.
func (s *Server) Gone() <-chan struct{} { return s.gone }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// HandOver is Drain for a socket that another process reads now: for a moment all
// goes on, so that handshakes under way are completed and what they are for is
// served.
func (q *QUIC) HandOver(ctx context.Context) error {
	t := time.NewTimer(drainFirstByte)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return q.Drain(ctx, 0)
}
