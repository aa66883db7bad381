// Package framing finds out where the messages of an HTTP/1 connection end, from what passes by.
package framing

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Framer follows one direction of an HTTP/1 connection and knows where each message ends. It frames as net/http does
// (RFC 9112 section 6), so that the two never disagree; what net/http refuses by itself is left to it.
type Framer struct {
	response bool
	state    state
	noBody   bool // of a response: the request was a HEAD
	left     uint64
	line     []byte // the beginning of a line whose end has not come yet
	cut      bool   // line is longer than what is kept of it

	// Of the head that is being read, or was read last:
	method   string // "HEAD" or "", of a request
	status   int
	old      bool // HTTP/1.0 or less
	length   int64
	chunked  bool
	framing  bool // the field before says how the message is framed
	doubtful bool // the connection has to end with the message, which net/http does not know: it is framed in two ways, or says so
	options  connectionOptions
	keep     int // seconds that a Keep-Alive field promises, 0 without one
}

type state uint8

const (
	done         state = iota // between messages
	inStart                   // in the first line
	inFields                  // in the fields
	inFixed                   // in a body of known length
	inChunkSize               // in the line before a chunk
	inChunk                   // in a chunk
	inChunkEnd                // in the CR LF after a chunk
	inTrailer                 // in the fields after the last chunk
	inUntilClose              // in a body that the end of the connection ends
	tunnel                    // no HTTP any more
)

// maxDigits is more than the largest length has.
const maxDigits = 20

// maxKept is how much of a line is kept where it comes in pieces. The lines that say something about framing are shorter.
const maxKept = 256

var (
	errChunk   = errors.New("malformed chunked encoding")
	errFolded  = errors.New("a field that frames the message is folded over two lines")
	errLengths = errors.New("message cannot contain multiple Content-Length fields that differ")
)

// NewFramer returns the framer of one direction, between messages.
func NewFramer(response bool) Framer { return Framer{response: response} }

// Done reports whether a message has ended and the next has not begun.
func (f *Framer) Done() bool { return f.state == done }

// Tunnel reports whether what follows is no HTTP any more.
func (f *Framer) Tunnel() bool { return f.state == tunnel }

// Doubtful reports whether the connection has to end with the message although net/http does not know that: it is framed in
// two ways, or says so where net/http was not shown it.
func (f *Framer) Doubtful() bool { return f.doubtful }

// Head reports whether the request that was begun last is a HEAD.
func (f *Framer) Head() bool { return f.method == "HEAD" }

// NoBody says that the response has no body whatever it says: its request is a HEAD.
func (f *Framer) NoBody(yes bool) { f.noBody = yes }

// KeepAlive is for how many seconds the sender of a response keeps the connection when it is idle, as it says itself in a
// Keep-Alive field; 0 if it does not say.
func (f *Framer) KeepAlive() int { return f.keep }

// Begin starts the next message.
func (f *Framer) Begin(noBody bool) {
	*f = Framer{response: f.response, state: inStart, noBody: noBody, line: f.line[:0], length: -1}
}

// Feed takes what was sent next and returns how much of it belongs to the message; the message has ended there if the
// state is done.
//
// In a response it may change p: see connectionOptions.
func (f *Framer) Feed(p []byte) (n int, err error) {
	f.options.earlier = nil // not in p
	for n < len(p) && f.state != done {
		switch f.state {
		case inUntilClose, tunnel:
			return len(p), nil
		case inFixed, inChunk:
			k := min(f.left, uint64(len(p)-n))
			n += int(k)
			if f.left -= k; f.left == 0 {
				f.afterBytes()
			}
		default:
			k, err := f.feedLine(p[n:])
			if err != nil {
				return n, err
			}
			if f.state == tunnel {
				return n + k, nil
			}
			n += k
		}
	}
	return n, nil
}

func (f *Framer) afterBytes() {
	if f.state == inFixed {
		f.state = done
	} else {
		f.state = inChunkEnd
	}
}

// feedLine takes a line, or what there is of it.
func (f *Framer) feedLine(p []byte) (int, error) {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		keep := min(len(p), maxKept-len(f.line))
		f.line = append(f.line, p[:keep]...)
		f.cut = f.cut || keep < len(p)
		return len(p), nil
	}
	line := p[:end]
	if len(f.line) > 0 || f.cut {
		keep := min(end, maxKept-len(f.line))
		f.cut = f.cut || keep < end
		f.line = append(f.line, p[:keep]...)
		line = f.line
	}
	crlf := len(line) > 0 && line[len(line)-1] == '\r'
	if crlf {
		line = line[:len(line)-1]
	}
	err := f.takeLine(line, crlf || f.cut)
	if len(f.line) > 0 && !f.cut {
		copy(p[:end], f.line[len(f.line)-end:]) // what was hidden
	}
	f.line, f.cut = f.line[:0], false
	return end + 1, err
}

func (f *Framer) takeLine(line []byte, crlf bool) error {
	switch f.state {
	case inStart:
		f.state = inFields
		return f.takeStart(line)
	case inFields:
		if len(line) == 0 {
			return f.endHead()
		}
		return f.takeField(line)
	case inChunkSize:
		if !crlf {
			return errChunk
		}
		return f.takeSize(line)
	case inChunkEnd:
		if !crlf || len(line) > 0 || f.cut {
			return errChunk
		}
		f.state = inChunkSize
	case inTrailer:
		if len(line) == 0 {
			f.state = done
		}
	}
	return nil
}

func (f *Framer) takeStart(line []byte) error {
	if !f.response {
		if bytes.HasPrefix(line, []byte("HEAD ")) {
			f.method = "HEAD"
		}
		return nil
	}
	version, rest, _ := bytes.Cut(line, []byte(" "))
	rest = bytes.TrimLeft(rest, " ")
	if len(version) != len("HTTP/1.1") || !bytes.HasPrefix(version, []byte("HTTP/")) || version[6] != '.' ||
		!digit(version[5]) || !digit(version[7]) || len(rest) < 3 || !digit(rest[0]) || !digit(rest[1]) || !digit(rest[2]) ||
		(len(rest) > 3 && rest[3] != ' ') {
		return fmt.Errorf("malformed HTTP response %q", line[:min(len(line), 64)])
	}
	f.old = version[5] == '0' || (version[5] == '1' && version[7] == '0')
	f.status = int(rest[0]-'0')*100 + int(rest[1]-'0')*10 + int(rest[2]-'0')
	return nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

const (
	lengthField   = "Content-Length"
	encodingField = "Transfer-Encoding"
)

const keepAliveField = "Keep-Alive"

func (f *Framer) takeField(line []byte) error {
	switch line[0] {
	case ' ', '\t': // belongs to the field before (RFC 9112 section 5.2)
		if f.framing {
			return errFolded
		}
		return nil
	case 'C', 'c':
		if value, ok := valueOf(line, lengthField); ok {
			f.framing = true
			return f.takeLength(value)
		}
		if f.response && !f.old {
			f.options.take(line, len(f.line) == 0)
		}
	case 'K', 'k':
		if value, ok := valueOf(line, keepAliveField); ok && f.response {
			f.keep = keepAliveTimeout(value)
		}
	case 'T', 't':
		if value, ok := valueOf(line, encodingField); ok {
			f.framing = true
			return f.takeEncoding(value)
		}
	}
	f.framing = false
	return nil
}

// valueOf returns the value of a field line if it is of the name. With space before the colon, which some take for a
// field of the name and others do not (RFC 9112 section 5.1), it is a value that nobody takes.
func valueOf(line []byte, name string) ([]byte, bool) {
	if len(line) <= len(name) || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	switch line[len(name)] {
	case ':':
		return bytes.Trim(line[len(name)+1:], " \t"), true
	case ' ', '\t':
		return line, true
	}
	return nil, false
}

func (f *Framer) takeLength(value []byte) error {
	n, err := strconv.ParseUint(string(value), 10, 63)
	if err != nil || f.cut || len(value) > maxDigits {
		return fmt.Errorf("bad Content-Length %q", value[:min(len(value), 64)])
	}
	if f.length >= 0 && f.length != int64(n) {
		return errLengths
	}
	f.length = int64(n)
	return nil
}

func (f *Framer) takeEncoding(value []byte) error {
	if f.chunked || f.cut || !bytes.EqualFold(value, []byte("chunked")) {
		return fmt.Errorf("unsupported transfer encoding: %q", value[:min(len(value), 64)])
	}
	if f.response && f.old {
		return errors.New("a response of HTTP/1.0 cannot have a Transfer-Encoding")
	}
	f.chunked = true
	return nil
}

// endHead decides where the message ends.
func (f *Framer) endHead() error {
	f.doubtful = f.chunked && f.length >= 0 || f.options.hidden
	if f.response {
		switch {
		case f.status == 101:
			f.state = tunnel
			return nil
		case f.status < 200: // the final response follows
			f.Begin(f.noBody)
			return nil
		case f.noBody, f.status == 204, f.status == 304:
			f.state = done
			return nil
		}
	}
	switch {
	case f.chunked:
		f.state = inChunkSize
	case f.length > 0:
		f.state, f.left = inFixed, uint64(f.length)
	case f.length < 0 && f.response:
		f.state = inUntilClose
	default:
		f.state = done
	}
	return nil
}

// takeSize reads the line before a chunk. Extensions are skipped (RFC 9112 section 7.1.1).
func (f *Framer) takeSize(line []byte) error {
	digits := 0
	var n uint64
	for ; digits < len(line); digits++ {
		v, ok := hexDigit(line[digits])
		if !ok {
			break
		}
		n = n<<4 | uint64(v)
	}
	rest := bytes.TrimLeft(line[digits:], " \t")
	if digits == 0 || digits > 15 || (len(rest) > 0 && rest[0] != ';') {
		return errChunk
	}
	if n == 0 {
		f.state = inTrailer
		return nil
	}
	f.state, f.left = inChunk, n
	return nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case digit(c):
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
