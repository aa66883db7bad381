package reverseproxy

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
)

// protocolField is where net/http keeps the pseudo field :protocol of an extended CONNECT.
const protocolField = ":protocol"

// translateConnect turns the extended CONNECT of a WebSocket over HTTP/2 (RFC 8441) into the handshake of RFC 6455 (UP-13).
// Other protocols have no translation (UP-14); nor may a client blame an upstream for what no transport can send.
func (p *proxying) translateConnect() error {
	protocol := p.in.Header[protocolField]
	switch {
	case p.x.Extended: // the server has done it
		p.extended, p.upgrade = true, "websocket"
		p.out.Body, p.out.ContentLength = nil, 0
		return nil
	case protocol == nil:
		return nil
	case p.in.Method != http.MethodConnect || len(protocol) != 1:
		return handlers.NewError(http.StatusBadRequest, errors.New("the pseudo field :protocol belongs to a CONNECT"))
	case protocol[0] != "websocket":
		return handlers.NewError(http.StatusNotImplemented, fmt.Errorf("a CONNECT for the protocol %q cannot be proxied; only one for websocket can", protocol[0]))
	}
	p.extended, p.upgrade = true, "websocket"
	p.out.Method, p.out.Body, p.out.ContentLength = http.MethodGet, nil, 0
	delete(p.out.Header, protocolField)
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	p.out.Header["Sec-Websocket-Key"] = []string{base64.StdEncoding.EncodeToString(key[:])}
	return nil
}

// takeOverStream answers an extended CONNECT: 200, and the bodies of the stream are the tunnel.
func (p *proxying) takeOverStream(h http.Header) (io.ReadWriteCloser, error) {
	for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Accept", "Content-Length"} {
		delete(h, name)
	}
	p.x.Joined = true
	p.w.WriteHeader(http.StatusOK)
	c := http.NewResponseController(p.w)
	if err := c.Flush(); err != nil {
		return nil, err
	}
	return &stream{body: p.in.Body, w: p.w, control: c}, nil
}

// stream is the client's end of a tunnel inside an HTTP/2 stream.
type stream struct {
	body    io.ReadCloser
	w       io.Writer
	control *http.ResponseController

	mu      sync.Mutex
	writing bool
	closed  bool
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) { return s.body.Read(p) }

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	if !s.enter() {
		return 0, net.ErrClosed
	}
	defer s.leave()
	n, err := s.w.Write(p)
	if err == nil {
		err = s.control.Flush()
	}
	return n, err
}

func (s *stream) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = !s.closed
	return s.writing
}

func (s *stream) leave() {
	s.mu.Lock()
	s.writing = false
	s.mu.Unlock()
}

// Close unblocks both directions. The stream itself ends when the handler returns, and in good order unless a write is
// under way: that one is broken off, for it may wait for a client that reads no more.
func (s *stream) Close() error {
	s.mu.Lock()
	s.closed = true
	writing := s.writing
	s.mu.Unlock()
	if writing {
		// A writer without deadlines has none that could block.
		_ = s.control.SetWriteDeadline(time.Unix(1, 0))
	}
	return s.body.Close()
}

// maskedGoingAway is a close frame of code 1001 as a client sends it (RFC 6455 sections 5.3 and 7.4.1).
func maskedGoingAway() []byte {
	frame := []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9}
	_, _ = rand.Read(frame[2:6]) // never fails
	frame[6] ^= frame[2]
	frame[7] ^= frame[3]
	return frame
}
