package proxyprotocol

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net"
	"strings"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"
)

// binary2 makes a header of version 2.
func binary2(command, family byte, block string) string {
	b := append([]byte(signature2), 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(block)))
	return string(b) + block
}

const (
	block4 = "\xc0\x00\x02\x07\x0a\x00\x00\x01\x12\x34\x01\xbb" // 192.0.2.7:4660 to 10.0.0.1:443
	line4  = "PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n"
)

var block6 = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + strings.Repeat("\x00", 15) + "\x01" + "\x12\x34\x01\xbb"

func unixBlock(from, to string) string {
	return from + strings.Repeat("\x00", unixPath-len(from)) + to + strings.Repeat("\x00", unixPath-len(to))
}

// summed adds a check sum to a header of version 2 with a block.
func summed(block string, wrong bool) string {
	b := []byte(binary2(1, 0x11, block+"\x03\x00\x04\x00\x00\x00\x00"))
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	if wrong {
		sum++
	}
	binary.BigEndian.PutUint32(b[len(b)-4:], sum)
	return string(b)
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, text, source, destination string }{
		{"IPv4", line4, "192.0.2.7:4660", "10.0.0.1:443"},
		{"IPv6", "PROXY TCP6 2001:db8::1 ::1 4660 443\r\n", "[2001:db8::1]:4660", "[::1]:443"},
		{"port 0", "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "0.0.0.0:0", "255.255.255.255:65535"},
		{"unknown", "PROXY UNKNOWN\r\n", "", ""},
		{"unknown with more", "PROXY UNKNOWN ffff:f::1 ffff::1 65535 65535\r\n", "", ""},
		{"binary IPv4", binary2(1, 0x11, block4), "192.0.2.7:4660", "10.0.0.1:443"},
		{"binary IPv4 datagrams", binary2(1, 0x12, block4), "192.0.2.7:4660", "10.0.0.1:443"},
		{"binary IPv6", binary2(1, 0x21, block6), "[2001:db8::1]:4660", "[::1]:443"},
		{"binary unix", binary2(1, 0x31, unixBlock("/run/a", "/run/b")), "/run/a", "/run/b"},
		{"local", binary2(0, 0x00, ""), "", ""},
		{"local with a block", binary2(0, 0x11, block4), "", ""},
		{"local with a block that is cut off", binary2(0, 0x11, "abc"), "", ""},
		{"unspecified", binary2(1, 0x00, "anything"), "", ""},
		{"additional fields", binary2(1, 0x11, block4+"\x04\x00\x03abc\xe0\x00\x00"), "192.0.2.7:4660", "10.0.0.1:443"},
		{"check sum", summed(block4, false), "192.0.2.7:4660", "10.0.0.1:443"},
		{"check sum after a field", summed(block4+"\x04\x00\x01x", false), "192.0.2.7:4660", "10.0.0.1:443"},
		{"the largest", binary2(1, 0x11, block4+"\xee\x0f\xf1"+strings.Repeat("x", maxBlock-15)), "192.0.2.7:4660", "10.0.0.1:443"},
	} {
		h, err := parse([]byte(c.text + "GET / HTTP/1.1\r\n"))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		text := func(a net.Addr) string {
			if a == nil {
				return ""
			}
			return a.String()
		}
		if text(h.source) != c.source || text(h.destination) != c.destination || h.size != len(c.text) {
			t.Errorf("%s: %v to %v, %d bytes; want %s to %s, %d", c.name, h.source, h.destination, h.size, c.source, c.destination, len(c.text))
		}
		for n := range len(c.text) {
			if _, err := parse([]byte(c.text[:n])); !errors.Is(err, errMore) {
				t.Fatalf("%s: the first %d bytes: %v", c.name, n, err)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"GET / HTTP/1.1\r\n", "no PROXY header"},
		{"PROXYTCP4", "no PROXY header"},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "no PROXY header"},
		{"proxy tcp4 1.2.3.4 1.2.3.4 1 1\r\n", "no PROXY header"},
		{"\r\nGET / HTTP/1.1\r\n", "no PROXY header"},
		{"PROXY / HTTP/1.1\r\n", "the protocol is none of"},
		{"PROXY \r\n", "the protocol is none of"},
		{"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n", "the protocol is none of"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", "does not end in CR LF"},
		{"PROXY UNKNOWN " + strings.Repeat("x", 100), "longer than 107 bytes"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "has 5 words"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n", "has 7 words"},
		{"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n", "has 7 words"},
		{"PROXY TCP4 ::1 ::1 1 1\r\n", "not one of TCP4"},
		{"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n", "not one of TCP6"},
		{"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n", "not one of TCP6"},
		{"PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n", "not one of TCP4"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n", "a port is not"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 -1\r\n", "a port is not"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n", "a port is not"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", "a port is not"},
		{signature2 + "\x11\x11\x00\x0c" + block4, "the version is 1"},
		{binary2(2, 0x11, block4), "the command is 2"},
		{binary2(1, 0x41, block4), "family and protocol are 0x41"},
		{binary2(1, 0x13, block4), "family and protocol are 0x13"},
		{binary2(1, 0x11, block4[:11]), "cut off"},
		{binary2(1, 0x21, block4), "cut off"},
		{binary2(1, 0x31, block4), "cut off"},
		{binary2(1, 0x11, block4+"\x04\x00"), "an additional field is cut off"},
		{binary2(1, 0x11, block4+"\x04\x00\x05abc"), "an additional field is cut off"},
		{binary2(1, 0x11, block4+"\x03\x00\x03abc"), "not 4 bytes"},
		{summed(block4, true), "check sum is wrong"},
		{binary2(1, 0x11, strings.Repeat("x", maxBlock+1)), "longer than"},
	} {
		if h, err := parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v, %v; want %s", c.text, h, err, c.want)
		}
	}
}

// FuzzParse compares with another implementation wherever that one accepts what
// we do.
func FuzzParse(f *testing.F) {
	for _, s := range []string{line4, "PROXY UNKNOWN\r\n", binary2(1, 0x11, block4), binary2(1, 0x21, block6), binary2(0, 0, ""), summed(block4, false), "GET / HTTP/1.1\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parse(b)
		if err != nil {
			return
		}
		if h.size > len(b) || (h.source == nil) != (h.destination == nil) {
			t.Fatalf("%q: %+v", b, h)
		}
		r := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
		other, err := proxyproto.Read(r)
		if err != nil {
			return // it is stricter about UNSPEC
		}
		if rest := len(b) - r.Buffered(); rest != h.size {
			t.Fatalf("%q: %d bytes, the other says %d", b, h.size, rest)
		}
		if h.source != nil && (other.SourceAddr.String() != h.source.String() || other.DestinationAddr.String() != h.destination.String()) {
			t.Fatalf("%q: %v to %v, the other says %v to %v", b, h.source, h.destination, other.SourceAddr, other.DestinationAddr)
		}
	})
}
