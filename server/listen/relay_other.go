//go:build !linux

package listen

import (
	"errors"
	"net"
)

func relayed(conn net.PacketConn, _ *Inherited) net.PacketConn { return conn }

func (m *Packets) adopt(Handed) (net.PacketConn, error) {
	return nil, errors.New("sockets are handed over on Linux only")
}

// Hand returns the open sockets for another process to inherit; on this system it returns none.
func (m *Packets) Hand() ([]Handed, error) { return nil, nil }

// Divert does nothing on this system.
func (m *Packets) Divert() {}

// Restore does nothing on this system.
func (m *Packets) Restore() {}
