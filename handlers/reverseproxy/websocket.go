package reverseproxy

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"time"
)

// protocolField is where net/http keeps the pseudo field :protocol of an extended CONNECT.
const protocolField = ":protocol"

// translateConnect turns the extended CONNECT of a WebSocket over HTTP/2 (RFC 8441) into the handshake of RFC 6455 (UP-13).
// Other protocols are left alone (UP-14).
func (p *proxying) translateConnect() {
	protocol := p.in.Header[protocolField]
	if p.in.ProtoMajor < 2 || p.in.Method != http.MethodConnect || len(protocol) != 1 || protocol[0] != "websocket" {
		return
	}
	p.extended, p.upgrade = true, "websocket"
	p.out.Method, p.out.Body, p.out.ContentLength = http.MethodGet, nil, 0
	delete(p.out.Header, protocolField)
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	p.out.Header["Sec-Websocket-Key"] = []string{base64.StdEncoding.EncodeToString(key[:])}
}

// takeOverStream answers an extended CONNECT: 200, and the bodies of the stream are the tunnel.
func (p *proxying) takeOverStream(h http.Header) (io.ReadWriteCloser, error) {
	for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Accept"} {
		delete(h, name)
	}
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
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) { return s.body.Read(p) }

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil {
		err = s.control.Flush()
	}
	return n, err
}

// Close unblocks both directions. The stream itself ends when the handler returns.
func (s *stream) Close() error {
	// A writer without deadlines has none that could block.
	_ = s.control.SetWriteDeadline(time.Unix(1, 0))
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
