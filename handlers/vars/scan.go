package vars

import (
	"strings"
	"sync"
)

// scanner finds the braces of a text. Its state makes a whole pass linear: the
// next closing brace is looked for once, however many opening ones precede it.
type scanner struct {
	text     string
	next     int // the closing brace found last; -1: there is no other
	unclosed int // how often close found none
}

// open returns the index of the first unescaped { from i on, or -1.
func (sc *scanner) open(i int) int {
	for i < len(sc.text) {
		j := strings.IndexByte(sc.text[i:], '{')
		if j < 0 {
			return -1
		}
		if i += j; !sc.escaped(i) {
			return i
		}
		i++
	}
	return -1
}

// close returns the index of the brace that ends a placeholder begun at i, or
// -1, which it counts. An escaped brace ends one if it is the last byte of the
// text and nothing else does (rule 8.1.1, a quirk that configs may rely on).
// The indices given to it must ascend.
func (sc *scanner) close(i int) int {
	if sc.next >= 0 && sc.next <= i {
		sc.next = sc.findClose(i + 1)
	}
	if sc.next < 0 {
		sc.unclosed++
	}
	return sc.next
}

func (sc *scanner) findClose(i int) int {
	last := len(sc.text) - 1
	for i <= last {
		j := strings.IndexByte(sc.text[i:], '}')
		if j < 0 {
			return -1
		}
		if i += j; i == last || !sc.escaped(i) {
			return i
		}
		i++
	}
	return -1
}

func (sc *scanner) tooMany() bool { return sc.unclosed > MaxUnclosed }

// escaped reports whether the brace at i has a backslash before it. A pass
// resumes only behind braces, so no context is needed.
func (sc *scanner) escaped(i int) bool { return i > 0 && sc.text[i-1] == '\\' }

// scan expands any text in a single pass, without preparation.
func scan(dst []byte, text string, s Scope, m Mode, empty string) ([]byte, error) {
	sc := scanner{text: text}
	done := 0 // text[:done] has been dealt with
	for i := sc.open(0); i >= 0; i = sc.open(done) {
		dst = appendUnescaped(dst, text[done:i])
		done = i + 1
		end := sc.close(i)
		if end < 0 {
			dst = append(dst, '{')
			continue
		}
		before := len(dst)
		var known bool
		var err error
		if dst, known, err = appendLookup(dst, s, text[i+1:end], m); err != nil {
			return dst, err
		}
		if !known && m == Known {
			// The search goes on behind the brace: a known name may begin inside.
			dst = append(dst, '{')
			continue
		}
		if len(dst) == before && m == All {
			dst = append(dst, empty...)
		}
		done = end + 1
	}
	return appendUnescaped(dst, text[done:]), nil
}

// appendLookup appends the value of a placeholder. The error is nil unless the
// mode is Strict.
func appendLookup(dst []byte, s Scope, name string, m Mode) ([]byte, bool, error) {
	before := len(dst)
	var known bool
	if ss, ok := s.(StringScope); ok {
		text, k, asked := ss.LookupString(name)
		if asked {
			dst, known = append(dst, text...), k
		} else {
			dst, known = appendAny(dst, s, name)
		}
	} else {
		dst, known = appendAny(dst, s, name)
	}
	if m == Strict && len(dst) == before {
		return dst, known, &PlaceholderError{Name: name, Known: known}
	}
	return dst, known, nil
}

func appendAny(dst []byte, s Scope, name string) ([]byte, bool) {
	v, known := s.Lookup(name)
	if !known {
		return dst, false
	}
	return AppendString(dst, v), true
}

// lookupText is appendLookup for a single placeholder: a string stays the
// string it is.
func lookupText(s Scope, name string) (text string, known bool) {
	if ss, ok := s.(StringScope); ok {
		if text, known, asked := ss.LookupString(name); asked {
			return text, known
		}
	}
	v, known := s.Lookup(name)
	if !known {
		return "", false
	}
	return ToString(v), true
}

// unescape removes the backslash before each brace.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return string(appendUnescaped(make([]byte, 0, len(s)), s))
}

func appendUnescaped(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+1 == len(s) {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		if c := s[i+1]; c == '{' || c == '}' {
			dst, s = append(dst, c), s[i+2:]
		} else {
			dst, s = append(dst, '\\'), s[i+1:]
		}
	}
}

// buffers hold expansions while they grow. Large ones are not kept.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 256); return &b }}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(b *[]byte) {
	if cap(*b) <= 16<<10 {
		buffers.Put(b)
	}
}
