package fastcgi

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Record types and the numbers of the protocol that are used here (FastCGI 1.0, section 8).
const (
	typeBegin  = 1
	typeEnd    = 3
	typeParams = 4
	typeStdin  = 5
	typeStdout = 6
	typeStderr = 7

	version       = 1
	roleResponder = 1
	requestID     = 1

	headerSize = 8
	// maxContent is how much one record carries: the most that needs no padding.
	maxContent = 65528
)

// appendRecord appends a record. Content is at most maxContent long.
func appendRecord(dst []byte, kind byte, content []byte) []byte {
	padding := byte(-len(content) & 7)
	dst = append(dst, version, kind, 0, requestID, byte(len(content)>>8), byte(len(content)), padding, 0)
	dst = append(dst, content...)
	return append(dst, make([]byte, padding)...)
}

// appendStream appends a whole stream, with its end.
func appendStream(dst []byte, kind byte, content []byte) []byte {
	for len(content) > 0 {
		n := min(len(content), maxContent)
		dst = appendRecord(dst, kind, content[:n])
		content = content[n:]
	}
	return appendRecord(dst, kind, nil)
}

// appendHead appends all that comes before the body: the beginning of the request and its variables.
func appendHead(dst []byte, env map[string]string) []byte {
	dst = appendRecord(dst, typeBegin, []byte{0, roleResponder, 0, 0, 0, 0, 0, 0}) // flags 0: the application closes
	var pairs []byte
	for name, value := range env {
		pairs = appendLength(appendLength(pairs, len(name)), len(value))
		pairs = append(append(pairs, name...), value...)
	}
	return appendStream(dst, typeParams, pairs)
}

func appendLength(dst []byte, n int) []byte {
	if n < 128 {
		return append(dst, byte(n))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(n)|1<<31)
}

// maxStderr bounds what is kept of the error stream.
const maxStderr = 64 << 10

// stdout reads the output stream of a response. It ends with io.EOF only where the application has ended the request.
type stdout struct {
	r       *bufio.Reader
	left    int // of the content of the record
	padding int
	err     error

	keep   bool // keep the error stream
	stderr []byte
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}

// Read implements io.Reader.
func (s *stdout) Read(p []byte) (int, error) {
	for s.left == 0 && s.err == nil {
		s.err = s.next()
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p[:min(len(p), s.left)])
	s.left -= n
	if err != nil {
		s.err = unexpected(err)
		if n > 0 {
			err = nil
		} else {
			err = s.err
		}
	}
	return n, err
}

// unexpected is an error of the connection within a request.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// next goes to the content of the next record of the output stream.
func (s *stdout) next() error {
	if _, err := s.r.Discard(s.padding); err != nil {
		return unexpected(err)
	}
	s.padding = 0
	var h [headerSize]byte
	if _, err := io.ReadFull(s.r, h[:]); err != nil {
		return unexpected(err)
	}
	if h[0] != version {
		return fmt.Errorf("the FastCGI application speaks version %d of the protocol, or another protocol; only version 1 is known", h[0])
	}
	length := int(binary.BigEndian.Uint16(h[4:]))
	s.padding = int(h[6])
	switch h[1] {
	case typeStdout:
		s.left = length
		return nil
	case typeStderr:
		return s.readStderr(length)
	case typeEnd:
		return s.readEnd(length)
	}
	_, err := s.r.Discard(length)
	return unexpected(err)
}

func (s *stdout) readStderr(length int) error {
	if take := min(length, maxStderr-len(s.stderr)); s.keep && take > 0 {
		at := len(s.stderr)
		s.stderr = append(s.stderr, make([]byte, take)...)
		if _, err := io.ReadFull(s.r, s.stderr[at:]); err != nil {
			return unexpected(err)
		}
		length -= take
	}
	_, err := s.r.Discard(length)
	return unexpected(err)
}

// readEnd reads how the request ended. The status of the application is ignored, that of the protocol is not.
func (s *stdout) readEnd(length int) error {
	var end [8]byte
	if length < len(end) {
		return errors.New("the FastCGI application has ended the request with a record that is too short")
	}
	if _, err := io.ReadFull(s.r, end[:]); err != nil {
		return unexpected(err)
	}
	switch end[4] {
	case 0:
		return io.EOF
	case 2:
		return errors.New("the FastCGI application is overloaded")
	}
	return fmt.Errorf("the FastCGI application has refused the request with protocol status %d", end[4])
}
