package h3

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/ipv4"
)

// socket is a UDP socket that is connected to an upstream, in the shape that quic-go wants: that of one which is not.
type socket struct {
	*net.UDPConn
	batch *ipv4.PacketConn
	heard atomic.Bool // something has come
}

func newSocket(c *net.UDPConn) *socket { return &socket{UDPConn: c, batch: ipv4.NewPacketConn(c)} }

// ReadBatch reads what has come. An ICMP message about the size of packets, which a connected socket reports to whoever
// reads, is left to those that send.
func (s *socket) ReadBatch(list []ipv4.Message, flags int) (int, error) {
	for {
		n, err := s.batch.ReadBatch(list, flags)
		if errors.Is(err, syscall.EMSGSIZE) {
			continue
		}
		if n > 0 && !s.heard.Load() {
			s.heard.Store(true)
		}
		return n, err
	}
}

// ReadFrom implements net.PacketConn, for systems without ReadBatch.
func (s *socket) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := s.UDPConn.ReadFrom(p)
	if n > 0 {
		s.heard.Store(true)
	}
	return n, from, err
}

// WriteMsgUDP sends to the upstream.
func (s *socket) WriteMsgUDP(p, oob []byte, _ *net.UDPAddr) (n, oobn int, err error) {
	return s.UDPConn.WriteMsgUDP(p, oob, nil)
}

// WriteTo sends to the upstream.
func (s *socket) WriteTo(p []byte, _ net.Addr) (int, error) { return s.Write(p) }
