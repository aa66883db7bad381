package config

import (
	"io"
	"math"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// AppendJSON appends the value in its canonical form, which is that of encoding/json for the decoded value: keys sorted, no
// white space, HTML characters escaped, numbers as 64-bit floats. There is no newline at the end.
func (n *Node) AppendJSON(dst []byte) []byte {
	p := printer{buf: dst}
	p.print(n)
	return p.buf
}

// MarshalJSON returns the canonical form.
func (n *Node) MarshalJSON() ([]byte, error) { return n.AppendJSON(nil), nil }

// WriteJSON writes the canonical form to w, without holding all of it in memory, and returns the first error of w.
func (n *Node) WriteJSON(w io.Writer) error {
	buf := printBuffers.Get().(*[]byte)
	p := printer{buf: (*buf)[:0], w: w}
	p.print(n)
	p.flush()
	if cap(p.buf) <= 4*flushAt { // not one that grew by a huge string
		*buf = p.buf
		printBuffers.Put(buf)
	}
	return p.err
}

// hashJSON is the XXH64 of the canonical form and a newline.
func (n *Node) hashJSON() uint64 {
	d := xxhash.New()
	_ = n.WriteJSON(d)
	_, _ = d.Write([]byte{'\n'})
	return d.Sum64()
}

const flushAt = 16 << 10

var printBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, flushAt+4<<10)
	return &b
}}

// printer prints nodes, to w if it is set.
type printer struct {
	buf []byte
	w   io.Writer
	err error
}

func (p *printer) flush() {
	if p.err == nil {
		_, p.err = p.w.Write(p.buf)
	}
	p.buf = p.buf[:0]
}

func (p *printer) print(n *Node) {
	switch n.Kind() {
	case Null:
		p.buf = append(p.buf, "null"...)
	case Bool, Number:
		p.buf = append(p.buf, n.str...)
	case String:
		p.buf = appendString(p.buf, n.str)
	case Array:
		p.buf = append(p.buf, '[')
		first := true
		for _, part := range n.parts() {
			for _, e := range part {
				if !first {
					p.buf = append(p.buf, ',')
				}
				first = false
				p.print(e)
			}
		}
		p.buf = append(p.buf, ']')
	case Object:
		p.buf = append(p.buf, '{')
		for i, k := range n.box.shape.keys {
			if i > 0 {
				p.buf = append(p.buf, ',')
			}
			p.buf = appendString(p.buf, k)
			p.buf = append(p.buf, ':')
			p.print(n.box.kids[i])
		}
		p.buf = append(p.buf, '}')
	}
	if p.w != nil && len(p.buf) >= flushAt {
		p.flush()
	}
}

const hexDigits = "0123456789abcdef"

// escaped has a bit for each byte below 64 that is not printed as it is.
const escaped = 1<<32 - 1 | 1<<'"' | 1<<'<' | 1<<'>' | 1<<'&'

// plain reports whether an ASCII byte is printed as it is.
func plain(c byte) bool {
	if c < 64 {
		return uint64(escaped)>>c&1 == 0
	}
	return c != '\\'
}

// appendString appends a quoted string.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if !plain(c) {
				dst = append(dst, s[from:i]...)
				dst = appendEscape(dst, c)
				from = i + 1
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == '\u2028' || r == '\u2029' {
			dst = append(dst, s[from:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[r&0xf])
			from = i + size
		}
		i += size
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// appendFloat appends a finite number as encoding/json prints it: like ECMAScript (ECMA-262, 6.1.6.1.20).
func appendFloat(dst []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 && (f != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	if n := len(dst); format == 'e' && n >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1] // e-09 becomes e-9
		dst = dst[:n-1]
	}
	return dst
}
