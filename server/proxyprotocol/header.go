package proxyprotocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"

	maxLine  = 107     // of version 1, line end included
	fixed2   = 16      // what version 2 begins with
	maxBlock = 4 << 10 // of version 2 behind that; real ones have some hundred bytes
	unixPath = 108
)

// header is what a PROXY header says.
type header struct {
	// source and destination are nil if the sender speaks for itself, or does not
	// know them.
	source, destination net.Addr
	size                int // in bytes
}

var (
	// errMore: the bytes may be the beginning of a header.
	errMore = errors.New("more is needed")
	// errNone: the bytes are no header.
	errNone = errors.New("no PROXY header")
)

// parse reads a header at the beginning of b. Besides errMore and errNone it
// returns what is wrong with the header.
func parse(b []byte) (*header, error) {
	for _, signature := range []string{signature1, signature2} {
		n := min(len(b), len(signature))
		if string(b[:n]) != signature[:n] {
			continue
		}
		switch {
		case n < len(signature):
			return nil, errMore
		case signature == signature1:
			return parse1(b)
		}
		return parse2(b)
	}
	return nil, errNone
}

// begun reports whether b is the beginning of a header and of nothing else.
func begun(b []byte) bool {
	return bytes.HasPrefix(b, []byte(signature1)) || bytes.HasPrefix(b, []byte(signature2))
}

// parse1 reads a line "PROXY TCP4 source destination port port".
func parse1(b []byte) (*header, error) {
	line := b[:min(len(b), maxLine)]
	end := bytes.IndexByte(line, '\n')
	switch {
	case end < 0 && len(line) < maxLine:
		return nil, errMore
	case end < 0:
		return nil, fmt.Errorf("the line is longer than %d bytes", maxLine)
	case line[end-1] != '\r':
		return nil, errors.New("the line does not end in CR LF")
	}
	h := &header{size: end + 1}
	words := strings.Split(string(line[:end-1]), " ")
	switch {
	case words[1] == "UNKNOWN":
		return h, nil
	case words[1] != "TCP4" && words[1] != "TCP6":
		return nil, errors.New("the protocol is none of TCP4, TCP6 and UNKNOWN")
	case len(words) != 6:
		return nil, fmt.Errorf("the line has %d words; want 6", len(words))
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		ip, err := netip.ParseAddr(words[2+i])
		if err != nil || ip.Zone() != "" || ip.Is4() != (words[1] == "TCP4") {
			return nil, fmt.Errorf("an address is not one of %s", words[1])
		}
		port, err := strconv.ParseUint(words[4+i], 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != words[4+i] {
			return nil, errors.New("a port is not a number from 0 to 65535")
		}
		ends[i] = netip.AddrPortFrom(ip, uint16(port))
	}
	h.source, h.destination = net.TCPAddrFromAddrPort(ends[0]), net.TCPAddrFromAddrPort(ends[1])
	return h, nil
}

// parse2 reads a binary header.
func parse2(b []byte) (*header, error) {
	if len(b) < fixed2 {
		return nil, errMore
	}
	version, command, family := b[12]>>4, b[12]&15, b[13]
	length := int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case version != 2:
		return nil, fmt.Errorf("the version is %d; want 2", version)
	case command > 1:
		return nil, fmt.Errorf("the command is %d; want 0 or 1", command)
	case family>>4 > 3 || family&15 > 2:
		return nil, fmt.Errorf("the address family and protocol are %#x", family)
	case length > maxBlock:
		return nil, fmt.Errorf("the header is longer than %d bytes", fixed2+maxBlock)
	case len(b) < fixed2+length:
		return nil, errMore
	}
	h := &header{size: fixed2 + length}
	block := b[fixed2:h.size]
	if command == 0 || family>>4 == 0 || family&15 == 0 {
		return h, nil // LOCAL or not known: the addresses are not to be used
	}
	n, err := h.addresses(block, family>>4)
	if err != nil {
		return nil, err
	}
	if err := checkSum(b[:h.size], fixed2+n); err != nil {
		return nil, err
	}
	return h, nil
}

// addresses reads those of a family and returns how long they are.
func (h *header) addresses(block []byte, family byte) (int, error) {
	size := 4
	switch family {
	case 2:
		size = 16
	case 3:
		if len(block) < 2*unixPath {
			return 0, errors.New("the addresses are cut off")
		}
		h.source, h.destination = unixAddr(block[:unixPath]), unixAddr(block[unixPath:2*unixPath])
		return 2 * unixPath, nil
	}
	if len(block) < 2*size+4 {
		return 0, errors.New("the addresses are cut off")
	}
	at := func(ip, port int) net.Addr {
		a, _ := netip.AddrFromSlice(block[ip : ip+size])
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, binary.BigEndian.Uint16(block[port:])))
	}
	h.source, h.destination = at(0, 2*size), at(size, 2*size+2)
	return 2*size + 4, nil
}

func unixAddr(b []byte) net.Addr {
	name, _, _ := bytes.Cut(b, []byte{0})
	return &net.UnixAddr{Net: "unix", Name: string(name)}
}

// typeCRC32C is the additional field with a check sum of the header.
const typeCRC32C = 3

// checkSum walks the additional fields that begin at n, and checks the sum if
// there is one.
func checkSum(whole []byte, n int) error {
	for n < len(whole) {
		if len(whole)-n < 3 {
			return errors.New("an additional field is cut off")
		}
		kind, size := whole[n], int(binary.BigEndian.Uint16(whole[n+1:]))
		if n += 3; len(whole)-n < size {
			return errors.New("an additional field is cut off")
		}
		if kind == typeCRC32C {
			if size != 4 {
				return errors.New("the check sum is not 4 bytes long")
			}
			without := append([]byte(nil), whole...)
			clear(without[n : n+4])
			if crc32.Checksum(without, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(whole[n:]) {
				return errors.New("the check sum is wrong")
			}
		}
		n += size
	}
	return nil
}
