package vars

import (
	"errors"
	"fmt"
	"strings"
)

// Mode says what becomes of placeholders that are unknown or empty.
type Mode uint8

const (
	// All replaces every placeholder; one that is unknown, nil or empty
	// becomes the replacement for empty ones.
	All Mode = iota
	// Known replaces the placeholders that the scope knows, those without a
	// value by nothing, and leaves the others in the text as they are.
	Known
	// Strict takes an unknown or empty placeholder for an error. See
	// [Text.ExpandStrict].
	Strict
)

// MaxUnclosed is the number of { without a } that a text may hold. A text with
// more of them is no template at all: it expands to nothing, see [Text.Err].
const MaxUnclosed = 100

var errUnclosed = errors.New("too many { without a } in a text; a literal brace is written \\{")

// segment is literal text followed by one placeholder.
type segment struct {
	literal string
	name    string
	braced  string // "{name}", a part of the source
}

// Text is a template, parsed once. The zero value is the empty text. A Text is
// immutable and safe for concurrent use.
type Text struct {
	source   string
	literal  string // the result, or what follows the last segment
	segments []segment
	odd      bool // has a backslash or a brace in a name: expanded by the scanner
	failed   bool // more than MaxUnclosed
}

// Parse reads a template. It never fails: braces that make no placeholder are
// literal text.
func Parse(s string) Text {
	t := Text{source: s, literal: s}
	if strings.IndexByte(s, '{') < 0 && strings.IndexByte(s, '}') < 0 {
		return t
	}
	sc := scanner{text: s}
	odd, last := strings.IndexByte(s, '\\') >= 0, 0
	var names int
	for i := sc.open(0); i >= 0; {
		end := sc.close(i)
		if end < 0 {
			t.failed = t.failed || sc.tooMany()
			i = sc.open(i + 1)
			continue
		}
		names++
		name := s[i+1 : end]
		odd = odd || strings.IndexByte(name, '{') >= 0
		if !odd {
			t.segments = append(t.segments, segment{s[last:i], name, s[i : end+1]})
		}
		last = end + 1
		i = sc.open(last)
	}
	switch {
	case t.failed:
		t.literal, t.segments = "", nil
	case names == 0:
		t.literal = unescape(s)
	case odd:
		t.odd, t.segments, t.literal = true, nil, ""
	default:
		t.literal = s[last:]
	}
	return t
}

// Source returns the text as it was written.
func (t Text) Source() string { return t.source }

// String returns the text as it was written.
func (t Text) String() string { return t.source }

// Literal returns the result and true if the text holds no placeholders, so
// that it is the same for every scope.
func (t Text) Literal() (string, bool) {
	if t.odd || len(t.segments) > 0 {
		return "", false
	}
	return t.literal, true
}

// Err returns an error if the text has more than [MaxUnclosed] unclosed
// braces, in which case it expands to nothing. A config may refuse it.
func (t Text) Err() error {
	if t.failed {
		return errUnclosed
	}
	return nil
}

// Placeholder returns the name if the text is exactly one placeholder.
func (t Text) Placeholder() (name string, ok bool) {
	switch {
	case t.odd:
		if sc := (scanner{text: t.source}); t.source[0] == '{' && sc.close(0) == len(t.source)-1 {
			return t.source[1 : len(t.source)-1], true
		}
	case len(t.segments) == 1 && t.literal == "" && t.segments[0].literal == "":
		return t.segments[0].name, true
	}
	return "", false
}

// Value returns the typed value of a text that is exactly one placeholder, nil
// if the scope does not know it. The second result is false, and the scope was
// not asked, if the text is anything else.
func (t Text) Value(s Scope) (any, bool) {
	name, ok := t.Placeholder()
	if !ok {
		return nil, false
	}
	v, _ := s.Lookup(name)
	return v, true
}

// Names returns the names of the placeholders in order of appearance, repeated
// ones repeatedly. It includes the names that only mode [Known] would look at:
// those that begin inside another one.
func (t Text) Names() []string {
	if !t.odd {
		names := make([]string, len(t.segments))
		for i := range t.segments {
			names[i] = t.segments[i].name
		}
		return names
	}
	var names []string
	sc := scanner{text: t.source}
	for i := sc.open(0); i >= 0; i = sc.open(i + 1) {
		if end := sc.close(i); end >= 0 {
			names = append(names, t.source[i+1:end])
		}
	}
	return names
}

// Expand returns the text with its placeholders replaced as the mode says.
// Where it is All, a placeholder that is unknown, nil or empty becomes empty.
// Mode Strict returns "" where [Text.ExpandStrict] would return an error.
//
// Neither a literal text nor one that is exactly one placeholder of a string
// value is copied.
func (t Text) Expand(s Scope, m Mode, empty string) string {
	if lit, ok := t.Literal(); ok {
		return lit
	}
	if m == Strict {
		out, _ := t.ExpandStrict(s)
		return out
	}
	if !t.odd && len(t.segments) == 1 && t.literal == "" && t.segments[0].literal == "" {
		return t.expandOne(s, m, empty)
	}
	buf := getBuffer()
	defer putBuffer(buf)
	*buf = t.AppendExpand((*buf)[:0], s, m, empty)
	return string(*buf)
}

func (t Text) expandOne(s Scope, m Mode, empty string) string {
	seg := &t.segments[0]
	text, known := lookupText(s, seg.name)
	switch {
	case !known && m == Known:
		return seg.braced
	case text == "" && m == All:
		return empty
	}
	return text
}

// AppendExpand appends what [Text.Expand] returns to dst. It allocates only
// for dst and for what the scope allocates.
func (t Text) AppendExpand(dst []byte, s Scope, m Mode, empty string) []byte {
	start := len(dst)
	dst, err := t.expand(dst, s, m, empty)
	if err != nil {
		return dst[:start]
	}
	return dst
}

// ExpandStrict returns the text with its placeholders replaced. The error of a
// placeholder that is unknown or has no value is a [*PlaceholderError].
func (t Text) ExpandStrict(s Scope) (string, error) {
	if t.failed {
		return "", errUnclosed
	}
	if lit, ok := t.Literal(); ok {
		return lit, nil
	}
	out, err := t.expand(nil, s, Strict, "")
	if err != nil {
		return "", err
	}
	return string(out), nil
}

func (t Text) expand(dst []byte, s Scope, m Mode, empty string) ([]byte, error) {
	if t.odd {
		return scan(dst, t.source, s, m, empty)
	}
	for i := range t.segments {
		seg := &t.segments[i]
		dst = append(dst, seg.literal...)
		before := len(dst)
		var known bool
		var err error
		if dst, known, err = appendLookup(dst, s, seg.name, m); err != nil {
			return dst, err
		}
		switch {
		case !known && m == Known:
			dst = append(dst, seg.braced...)
		case len(dst) == before && m == All:
			dst = append(dst, empty...)
		}
	}
	return append(dst, t.literal...), nil
}

// PlaceholderError says that a placeholder had no value where one is needed.
type PlaceholderError struct {
	Name  string // without braces
	Known bool   // the name exists and its value is empty
}

// Error implements error.
func (e *PlaceholderError) Error() string {
	if e.Known {
		return fmt.Sprintf("placeholder {%s} is empty, a value is required here", e.Name)
	}
	return fmt.Sprintf("placeholder {%s} is unknown here", e.Name)
}
