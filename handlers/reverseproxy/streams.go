package reverseproxy

import (
	"io"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/upstream"
)

// standing makes known, as soon as the handler serves, which node it is made from and whom it succeeds.
type standing struct {
	handler *Handler
	node    *config.Node
}

// Prepare implements [module.Resource].
func (standing) Prepare() error { return nil }

// Start implements [module.Resource].
func (s standing) Start() {
	s.handler.place.Move(s.node)
	s.handler.succession.now.Store(s.handler)
}

// Close implements [module.Resource].
func (standing) Close() {}

// openStream makes known that the exchange may last. end ends it.
func (p *proxying) openStream(kind string, end func()) *upstream.Stream {
	s := &upstream.Stream{
		Kind: kind, Address: p.address.HostPort, Client: p.in.RemoteAddr, Place: p.h.place, End: end,
		Target: upstream.StreamTarget(p.in.Host, p.x.Original.URL.Path),
	}
	p.upstream.Host.OpenStream(s)
	return s
}

// longResponse is a response that is passed on as it comes. It is a stream once it is longer than one read.
type longResponse struct {
	p      *proxying
	body   io.ReadCloser
	read   int64
	stream *upstream.Stream
}

// Read implements io.Reader.
func (l *longResponse) Read(b []byte) (int, error) {
	n, err := l.body.Read(b)
	l.read += int64(n)
	if l.stream != nil {
		l.stream.Down.Store(l.read)
	}
	return n, err
}

// Release implements releaser.
func (l *longResponse) Release() {
	l.p.x.Release()
	l.stream = l.p.openStream("response", func() { go l.body.Close() })
}

func (l *longResponse) done() {
	if l.stream != nil {
		l.stream.Done()
	}
}
