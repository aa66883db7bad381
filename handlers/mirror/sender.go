package mirror

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/upstream"
)

// sender sends the copies of one handler. It has a goroutine for each copy that is under way, and none when there is
// nothing to do. Copies that it has taken are sent also when its handler is gone.
type sender struct {
	copies     *Copies
	transport  upstream.Transport
	traits     upstream.Traits
	timeout    time.Duration
	maxRunning int
	maxWaiting int
	log        *zap.Logger

	mu      sync.Mutex
	running int
	waiting []*copied
}

// put takes a copy, or counts that there was no room for it. It never waits.
func (s *sender) put(c *copied) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.running < s.maxRunning:
		s.running++
		go s.work(c)
	case len(s.waiting) < s.maxWaiting:
		s.waiting = append(s.waiting, c)
	default:
		s.copies.free(len(c.body))
		s.copies.count(skippedBusy)
	}
}

func (s *sender) work(c *copied) {
	for ; c != nil; c = s.next() {
		if err := s.send(c); err != nil {
			s.copies.count(failed)
			logDropped(s.log, c.address.HostPort, err)
		} else {
			s.copies.count(answered)
		}
		s.copies.free(len(c.body))
	}
}

// next returns the copy that has waited longest, nil if there is none: then the goroutine ends.
func (s *sender) next() *copied {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.running--
		return nil
	}
	c := s.waiting[0]
	s.waiting[0] = nil
	if s.waiting = s.waiting[1:]; len(s.waiting) == 0 {
		s.waiting = nil
	}
	return c
}

// maxAnswer is how many bytes of an answer are read, so that its connection can be used again.
const maxAnswer = 256 << 10

// send sends one copy and drops the answer.
func (s *sender) send(c *copied) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	r := (&http.Request{
		Method: c.method, URL: &c.url, Host: c.host, Header: c.header, ContentLength: int64(len(c.body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if len(c.body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(c.body))
	}
	if s.traits.HostOfUpstream || r.Host == "" {
		r.Host = c.address.HostPort
	}
	res, err := s.transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.CopyN(io.Discard, res.Body, maxAnswer)
	if err == io.EOF {
		err = nil
	}
	return err
}
