package config

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// bad fails at the byte at pos, and returns false.
func (p *parser) bad(context string) bool {
	p.unexpected(context)
	return false
}

// str reads a string that begins at pos with a quote. What it returns is valid until the next call.
func (p *parser) str() ([]byte, bool) {
	p.pos++
	start, ascii := p.pos, true
	text := p.text
	for i := start; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			p.pos = i + 1
			if ascii || utf8.Valid(text[start:i]) {
				return text[start:i], true
			}
			p.pos = start
			return p.strSlow()
		case c == '\\':
			return p.strSlow()
		case c < ' ':
			p.pos = i
			return nil, p.bad("in string literal")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	p.pos = len(text)
	return nil, p.bad("")
}

// strSlow reads the rest of a string that has escapes, or bytes that are not UTF-8.
func (p *parser) strSlow() ([]byte, bool) {
	b := p.scratch[:0]
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		switch {
		case c == '"':
			p.pos++
			p.scratch = b
			return b, true
		case c == '\\':
			p.pos++
			r, ok := p.escape()
			if !ok {
				return nil, false
			}
			b = utf8.AppendRune(b, r)
		case c < ' ':
			return nil, p.bad("in string literal")
		case c < utf8.RuneSelf:
			b = append(b, c)
			p.pos++
		default:
			r, size := utf8.DecodeRune(p.text[p.pos:])
			b = utf8.AppendRune(b, r)
			p.pos += size
		}
	}
	return nil, p.bad("")
}

// escape reads what follows a backslash, both parts of a surrogate pair if it is one.
func (p *parser) escape() (rune, bool) {
	if p.pos >= len(p.text) {
		return 0, p.bad("")
	}
	c := p.text[p.pos]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		p.pos++
		r, ok := p.hex4()
		if !ok || !utf16.IsSurrogate(r) {
			return r, ok
		}
		return p.lowSurrogate(r)
	default:
		return 0, p.bad("in string escape code")
	}
	p.pos++
	return rune(c), true
}

// lowSurrogate takes the second half of a pair; without one, the first stands for U+FFFD.
func (p *parser) lowSurrogate(high rune) (rune, bool) {
	back := p.pos
	if p.pos+1 < len(p.text) && p.text[p.pos] == '\\' && p.text[p.pos+1] == 'u' {
		p.pos += 2
		low, ok := p.hex4()
		if !ok {
			return 0, false
		}
		if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
			return r, true
		}
		p.pos = back
	}
	return utf8.RuneError, true
}

func (p *parser) hex4() (rune, bool) {
	var r rune
	for range 4 {
		if p.pos >= len(p.text) {
			return 0, p.bad("")
		}
		c := p.text[p.pos]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, p.bad(`in \u hexadecimal character escape`)
		}
		r = r<<4 | rune(c)
		p.pos++
	}
	return r, true
}

// number reads a number, whose first byte is a minus sign or a digit.
func (p *parser) number() *Node {
	start := p.pos
	if p.text[p.pos] == '-' {
		p.pos++
	}
	switch c := p.peek(); {
	case c == '0':
		p.pos++
	case '1' <= c && c <= '9':
		p.digits()
	default:
		return p.unexpected("in numeric literal")
	}
	integer := true
	if p.peek() == '.' {
		integer = false
		p.pos++
		if !p.digits() {
			return p.unexpected("after decimal point in numeric literal")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		integer = false
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		if !p.digits() {
			return p.unexpected("in exponent of numeric literal")
		}
	}
	text := p.text[start:p.pos]
	if !integer || len(text) > 15 { // up to 15 digits an integer is printed as it was written
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return p.fail(p.pos, "number %s is out of the range of 64-bit floats", abridged(text))
		}
		p.scratch = appendFloat(p.scratch[:0], f)
		text = p.scratch
	}
	return p.shared(digestNumberBytes(text), text)
}

func abridged(text []byte) string {
	if len(text) > 40 {
		return string(text[:40]) + "..."
	}
	return string(text)
}

// peek returns the next byte, and 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

// digits skips digits and reports whether there was one.
func (p *parser) digits() bool {
	start := p.pos
	for p.pos < len(p.text) && p.text[p.pos]-'0' <= 9 {
		p.pos++
	}
	return p.pos > start
}
