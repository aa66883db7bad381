package config

import (
	"fmt"
	"strconv"
)

// Limits bounds what Parse and Doc.Apply accept. A zero field stands for its default.
type Limits struct {
	// MaxDepth is how deeply arrays and objects can be nested. Default 1000.
	MaxDepth int
	// MaxNodes is how many values a text can hold. Default 10,000,000. It bounds Parse only.
	MaxNodes int
}

// The defaults of Limits.
const (
	DefaultMaxDepth = 1000
	DefaultMaxNodes = 10_000_000
)

// maxWarnings is how many warnings Parse gives at most.
const maxWarnings = 32

func (l Limits) withDefaults() Limits {
	if l.MaxDepth <= 0 {
		l.MaxDepth = DefaultMaxDepth
	}
	if l.MaxNodes <= 0 {
		l.MaxNodes = DefaultMaxNodes
	}
	return l
}

// Parse reads one JSON value (RFC 8259). Like encoding/json, of members with the same key it takes the last (with a
// warning), replaces what is not UTF-8 and lone surrogates by U+FFFD, and reads numbers as 64-bit floats; a number out of
// their range is an error. A byte-order mark, a comment, a trailing comma and anything but white space after the value are
// errors, and so is empty text. The error is always a *SyntaxError. The result keeps nothing of text. At most 32 warnings
// are given, in no particular order.
func Parse(text []byte, lim Limits) (*Node, []Warning, error) {
	slots := 1024
	if len(text) < 16<<10 {
		slots = 64
	}
	p := parser{text: text, lim: lim.withDefaults(), recent: make([]*Node, slots), keys: map[string]string{}}
	n := p.value(0)
	if n != nil && p.space() >= 0 {
		n = p.unexpected("after top-level value")
	}
	if n == nil {
		p.err.Line, p.err.Column = lineColumn(text, max(0, int(p.err.Offset)-1))
		return nil, nil, p.err
	}
	return n, p.warnings, nil
}

// parser reads a text once from start to end. A method that returns a nil node has set err.
type parser struct {
	text     []byte
	pos      int // the next byte
	lim      Limits
	nodes    int
	stack    []*Node // elements of the arrays and objects being read
	recent   []*Node // strings and numbers met before, at a place given by their digest, to share equal ones
	keys     map[string]string
	layouts  layout
	scratch  []byte
	warnings []Warning
	err      *SyntaxError
}

func (p *parser) fail(offset int, format string, args ...any) *Node {
	p.err = &SyntaxError{Offset: int64(offset), Msg: fmt.Sprintf(format, args...)}
	return nil
}

// unexpected fails at the byte at pos.
func (p *parser) unexpected(context string) *Node {
	if p.pos >= len(p.text) {
		return p.fail(len(p.text), "unexpected end of JSON input")
	}
	return p.fail(p.pos+1, "invalid character %s %s", quoteChar(p.text[p.pos]), context)
}

func quoteChar(c byte) string {
	switch c {
	case '\'':
		return `'\''`
	case '"':
		return `'"'`
	}
	s := strconv.Quote(string(rune(c)))
	return "'" + s[1:len(s)-1] + "'"
}

// space skips white space and returns the byte it stops at, or -1 at the end.
func (p *parser) space() int {
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return int(c)
		}
		p.pos++
	}
	return -1
}

// value reads a value inside of depth arrays and objects.
func (p *parser) value(depth int) *Node {
	if p.nodes++; p.nodes > p.lim.MaxNodes {
		return p.fail(p.pos, "more than %d values", p.lim.MaxNodes)
	}
	switch c := p.space(); c {
	case '{', '[':
		if depth >= p.lim.MaxDepth {
			return p.fail(p.pos+1, "nested deeper than %d levels", p.lim.MaxDepth)
		}
		if p.pos++; c == '{' {
			return p.object(depth + 1)
		}
		return p.array(depth + 1)
	case '"':
		b, ok := p.str()
		if !ok {
			return nil
		}
		return p.shared(digestBytes(b), b)
	case 't':
		return p.literal(trueNode, "true")
	case 'f':
		return p.literal(falseNode, "false")
	case 'n':
		return p.literal(nullNode, "null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return p.number()
	}
	return p.unexpected("looking for beginning of value")
}

func (p *parser) literal(n *Node, word string) *Node {
	for i := 1; i < len(word); i++ {
		p.pos++
		if p.pos >= len(p.text) || p.text[p.pos] != word[i] {
			return p.unexpected("in literal " + word + " (expecting " + quoteChar(word[i]) + ")")
		}
	}
	p.pos++
	return n
}

// shared returns a string or number with this text, one made before if it is at hand.
func (p *parser) shared(digest uint64, text []byte) *Node {
	slot := &p.recent[digest>>8&uint64(len(p.recent)-1)]
	if n := *slot; n != nil && n.digest == digest && n.str == string(text) {
		return n
	}
	n := &Node{digest: digest, str: string(text)}
	*slot = n
	return n
}

func (p *parser) array(depth int) *Node {
	base := len(p.stack)
	if p.space() == ']' {
		p.pos++
		return newArray(nil)
	}
	for {
		n := p.value(depth)
		if n == nil {
			return nil
		}
		p.stack = append(p.stack, n)
		switch p.space() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			kids := make([]*Node, len(p.stack)-base)
			copy(kids, p.stack[base:])
			p.stack = p.stack[:base]
			return newArray(kids)
		default:
			return p.unexpected("after array element")
		}
	}
}

func (p *parser) object(depth int) *Node {
	start, base := p.pos-1, len(p.stack)
	at := &p.layouts
	var many []string // the keys, once they are too many for a layout
	if p.space() == '}' {
		p.pos++
		return newObject(emptyShape, nil)
	}
	for {
		if p.space() != '"' {
			return p.unexpected("looking for beginning of object key string")
		}
		key, ok := p.str()
		if !ok {
			return nil
		}
		if many == nil && len(p.stack)-base < layoutMax {
			at = p.layout(at, key)
		} else {
			if many == nil {
				many = at.keys()
			}
			many = append(many, p.key(key))
		}
		if p.space() != ':' {
			return p.unexpected("after object key")
		}
		p.pos++
		n := p.value(depth)
		if n == nil {
			return nil
		}
		p.stack = append(p.stack, n)
		switch p.space() {
		case ',':
			p.pos++
			continue
		case '}':
			p.pos++
			if many != nil {
				at = &layout{}
				at.complete(many)
			}
			return p.finish(at, start, base)
		}
		return p.unexpected("after object key:value pair")
	}
}

// finish makes the object that begins at start in the text, and whose values are on the stack from base on.
func (p *parser) finish(l *layout, start, base int) *Node {
	if l.shape == nil {
		l.complete(l.keys())
	}
	kids := make([]*Node, len(l.shape.keys))
	if l.order == nil {
		copy(kids, p.stack[base:])
	} else {
		for i, from := range l.order {
			kids[i] = p.stack[base+int(from)]
		}
	}
	if l.duplicates {
		p.warnings = warnDuplicates(p.warnings, p.text, start)
	}
	p.stack = p.stack[:base]
	return newObject(l.shape, kids)
}
