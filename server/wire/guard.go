package wire

import (
	"bytes"
	"errors"
	"io"
)

// preface begins every HTTP/2 connection (RFC 9113, section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// maxFramingLine bounds a line between chunks.
const maxFramingLine = 8 << 10

// errMalformed makes net/http answer 400 when it reads a header.
var errMalformed = errors.New("malformed HTTP/1 message framing")

// guard follows the framing of the HTTP/1 requests that pass by and stops at
// what net/http tolerates but another server on the way might read as the end
// or the beginning of a message (request smuggling):
//
//   - lines that end in LF alone, and CR within a line (RFC 9112, 2.2)
//   - continued header lines (obs-fold, 5.2)
//   - space between a header name and its colon (5.1)
//   - Content-Length beside Transfer-Encoding, either of them given twice
//     with a difference, Transfer-Encoding in HTTP/1.0 (6.1, 6.3)
//   - chunk sizes that are anything but hexadecimal digits (7.1)
//
// It also knows when a body is being read, which is when the read deadline
// holds. It is used by one goroutine at a time.
type guard struct {
	protocols Protocols
	state     guardState
	part      []byte // a line whose end has not come
	body      int64  // what is left of the body or chunk
	read      int64  // bytes of the body so far
	http10    bool
	cl        int64 // -1: none
	te        bool
	chunked   bool
	upgrade   bool
	// held: the message asked for another protocol and ended; what follows is
	// not to be judged before the handler has decided.
	held bool
}

type guardState uint8

const (
	gRequest guardState = iota
	gHeader
	gBody
	gChunkSize
	gChunk
	gChunkEnd
	gTrailer
	gUnknown // an unknown transfer coding: net/http answers 501 and closes
)

// inBody reports whether the client owes a part of the body.
func (g *guard) inBody() bool { return g.state >= gBody }

// scan judges b. It returns how many bytes may be passed on: all, or those
// before the hold, or with errMalformed those before the line at fault.
func (g *guard) scan(b []byte) (int, error) {
	i := 0
	for i < len(b) && !g.held {
		switch g.state {
		case gBody, gChunk:
			n := min(g.body, int64(len(b)-i))
			i += int(n)
			g.body -= n
			g.read += n
			if g.body == 0 {
				if g.state == gBody {
					g.end()
				} else {
					g.state = gChunkEnd
				}
			}
		case gUnknown:
			return len(b), nil
		default:
			end := bytes.IndexByte(b[i:], '\n')
			if end < 0 {
				if g.state > gHeader && len(g.part)+len(b)-i > maxFramingLine {
					return i, errMalformed
				}
				g.part = append(g.part, b[i:]...)
				return len(b), nil
			}
			line := b[i : i+end+1]
			if len(g.part) > 0 {
				g.part = append(g.part, line...)
				line = g.part
			}
			ok := g.line(line)
			g.part = g.part[:0]
			if !ok {
				return i, errMalformed
			}
			i += end + 1
		}
	}
	return i, nil
}

// line judges one line, LF included.
func (g *guard) line(l []byte) bool {
	if len(l) < 2 || l[len(l)-2] != '\r' {
		return false
	}
	l = l[:len(l)-2]
	if bytes.IndexByte(l, '\r') >= 0 {
		return false
	}
	switch g.state {
	case gRequest:
		if len(l) == 0 {
			return true // RFC 9112, 2.2: net/http decides
		}
		g.state = gHeader
		g.read, g.cl, g.te, g.chunked = 0, -1, false, false
		g.http10 = bytes.HasSuffix(l, []byte("HTTP/1.0"))
		g.upgrade = bytes.HasPrefix(l, []byte("CONNECT "))
		return true
	case gHeader:
		if len(l) == 0 {
			return g.headerEnd()
		}
		return g.field(l)
	case gChunkSize:
		return g.chunkSize(l)
	case gChunkEnd:
		g.state = gChunkSize
		return len(l) == 0
	}
	if len(l) == 0 { // gTrailer
		g.end()
		return true
	}
	_, _, ok := splitField(l)
	return ok
}

func splitField(l []byte) (name, value []byte, ok bool) {
	name, value, ok = bytes.Cut(l, []byte(":"))
	if !ok || len(name) == 0 || name[0] == ' ' || name[0] == '\t' {
		return nil, nil, false
	}
	if c := name[len(name)-1]; c == ' ' || c == '\t' {
		return nil, nil, false
	}
	return name, bytes.Trim(value, " \t"), true
}

// field judges a header line.
func (g *guard) field(l []byte) bool {
	name, value, ok := splitField(l)
	if !ok {
		return false
	}
	switch len(name) {
	case len("Upgrade"):
		if bytes.EqualFold(name, []byte("Upgrade")) {
			g.upgrade = true
		}
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			n, ok := digits(value, 10)
			if !ok || g.cl >= 0 && g.cl != n {
				return false
			}
			g.cl = n
		}
	case len("Transfer-Encoding"):
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			if g.te {
				return false
			}
			g.te = true
			g.chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
	return true
}

func (g *guard) headerEnd() bool {
	switch {
	case g.te && (g.cl >= 0 || g.http10):
		return false
	case g.te && !g.chunked:
		g.state = gUnknown
	case g.te:
		g.state = gChunkSize
	case g.cl > 0:
		g.state, g.body = gBody, g.cl
	default:
		g.end()
	}
	return true
}

func (g *guard) chunkSize(l []byte) bool {
	size, _, _ := bytes.Cut(l, []byte(";"))
	n, ok := digits(bytes.TrimRight(size, " \t"), 16)
	if !ok {
		return false
	}
	if g.body, g.state = n, gChunk; n == 0 {
		g.state = gTrailer
	}
	return true
}

// end is the end of a message.
func (g *guard) end() {
	g.state = gRequest
	g.held = g.upgrade
}

// digits parses an unsigned number without sign, space or separators.
func digits(b []byte, base int64) (n int64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		d := int64(99)
		switch {
		case c >= '0' && c <= '9':
			d = int64(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			d = int64(c|0x20-'a') + 10
		}
		if d >= base || n > (1<<62)/base {
			return 0, false
		}
		n = n*base + d
	}
	return n, true
}

// sniff reads the beginning of a connection until it is known whether it is
// the HTTP/2 preface.
func (c *conn) sniff(p []byte) (n int, err error) {
	for {
		m, err := c.fill(p[n:])
		n += m
		seen := min(n, len(preface))
		if string(p[:seen]) != preface[:seen] {
			break
		}
		if n >= len(preface) {
			c.readErr = io.EOF // net/http closes the connection without a word
			if c.guard.protocols.UnencryptedHTTP2 {
				c.replay = append([]byte(nil), p[:n]...)
				c.switching = true
			}
			return 0, io.EOF
		}
		if err != nil {
			if n == 0 {
				return 0, err
			}
			break
		}
		if n == len(p) {
			break
		}
	}
	c.sniffed = true
	if !c.guard.protocols.HTTP1 {
		c.readErr = io.EOF
		return 0, io.EOF
	}
	return c.judge(p[:n])
}
