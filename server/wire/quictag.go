package wire

import (
	"crypto/rand"

	"github.com/quic-go/quic-go"
)

// connectionIDLen is how long our connection IDs are. The ones that clients begin
// with have at least 8 bytes (RFC 9000, section 7.2), so the two are not mistaken
// for each other.
const connectionIDLen = 7

// tagged makes connection IDs that begin with the tag of this process, by which
// packets find it when another one reads the socket.
type tagged byte

// ConnectionIDLen implements quic.ConnectionIDGenerator.
func (tagged) ConnectionIDLen() int { return connectionIDLen }

// GenerateConnectionID implements quic.ConnectionIDGenerator.
func (t tagged) GenerateConnectionID() (quic.ConnectionID, error) {
	var id [connectionIDLen]byte
	rand.Read(id[:]) // never fails
	id[0] = byte(t)
	return quic.ConnectionIDFromBytes(id[:]), nil
}

// ProcessTag returns the tag of the process whose connection a packet is for; false
// for one that begins a connection.
func ProcessTag(packet []byte) (tag byte, ok bool) {
	const (
		longHeader = 0x80
		idAt       = 6 // in a long header: behind flags, version, and length (RFC 9000, section 17.2)
	)
	switch {
	case len(packet) < 1+connectionIDLen:
		return 0, false
	case packet[0]&longHeader == 0:
		return packet[1], true
	case len(packet) < idAt+connectionIDLen || packet[idAt-1] != connectionIDLen:
		return 0, false
	}
	return packet[idAt], true
}
