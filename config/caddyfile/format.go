package caddyfile

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxIndent = 10
	bom       = "\uFEFF"
	// A longer word after << is not taken for the marker of a heredoc, which keeps
	// the search for its end linear.
	longestMarker = 64
)

// Format returns the text as it should be written: one tab for each open block,
// one space between words, at most one blank line in a row, braces at the ends
// of lines. Quoted text, heredocs, comments, environment variables and what a
// backslash stands before are copied. Format takes any text, and changes nothing
// in what it has returned itself.
func Format(input []byte) []byte {
	text := strings.TrimSpace(withoutCR(string(input)))
	text, marked := strings.CutPrefix(text, bom)
	f := formatter{in: strings.TrimSpace(text)}
	f.out.Grow(len(text) + len(text)/8 + len(bom) + 1)
	if marked {
		f.out.WriteString(bom)
	}
	f.run()
	f.out.WriteByte('\n')
	return f.out.Bytes()
}

// withoutCR drops the carriage returns before each newline.
func withoutCR(text string) string {
	if !strings.Contains(text, "\r\n") {
		return text
	}
	var out strings.Builder
	out.Grow(len(text))
	for line := range strings.SplitAfterSeq(text, "\n") {
		if body, ok := strings.CutSuffix(line, "\n"); ok {
			out.WriteString(strings.TrimRight(body, "\r"))
			out.WriteByte('\n')
		} else {
			out.WriteString(line)
		}
	}
	return out.String()
}

// atom is what the formatter wrote last.
type atom byte

const (
	nothing atom = iota
	word
	comment // a word that ends in a comment, and so at the end of its line
	open
	shut
	joined // a backslash and a newline
)

// formatter reads in and writes out, one atom after the other.
type formatter struct {
	in  string
	pos int
	out bytes.Buffer

	depth int
	last  atom
	// What stands between the last atom and the next one: space, or newlines.
	space    bool
	newlines int
	// braces counts the braces open inside words of this line, as in {path}.
	braces int
	// imports says that the line is an import outside of every block.
	imports bool
	// guarded says that the last word would become a heredoc if the line ended
	// right after it.
	guarded bool
	// braceRun is the end of the last run of opening braces that was looked at.
	braceRun int
	// unclosed says that there is no closing brace any more.
	unclosed bool
}

func (f *formatter) run() {
	for f.pos < len(f.in) {
		c, size := utf8.DecodeRuneInString(f.in[f.pos:])
		switch {
		case c == '\n':
			f.newlines++
			f.braces = 0
			f.pos++
		case unicode.IsSpace(c):
			f.space = true
			f.pos += size
		case c == '\\' && strings.HasPrefix(f.in[f.pos:], "\\\n"):
			f.join()
		case c == '}':
			f.shut()
		case c == '{' && f.opens():
			f.open()
		default:
			f.word()
		}
	}
}

// spaceAt reports whether the text ends at i or has space there.
func (f *formatter) spaceAt(i int) bool {
	if i >= len(f.in) {
		return true
	}
	c, _ := utf8.DecodeRuneInString(f.in[i:])
	return unicode.IsSpace(c)
}

// opens reports whether the brace here opens a block: it has space behind it,
// or others do that directly follow it.
func (f *formatter) opens() bool {
	if f.braceRun <= f.pos {
		f.braceRun = f.pos + 1
		for f.braceRun < len(f.in) && f.in[f.braceRun] == '{' {
			f.braceRun++
		}
	}
	return f.spaceAt(f.braceRun)
}

func (f *formatter) newline() {
	if f.guarded {
		f.out.WriteByte(' ')
		f.guarded = false
	}
	f.out.WriteByte('\n')
}

func (f *formatter) indent() {
	for range f.depth {
		f.out.WriteByte('\t')
	}
}

// done notes the atom that was written.
func (f *formatter) done(a atom) {
	f.last, f.space, f.newlines, f.guarded = a, false, 0, false
}

// lead writes what stands before a word, and reports whether the word is the
// first of its line.
func (f *formatter) lead() bool {
	n := min(f.newlines, 2)
	switch {
	case f.last == nothing:
		return true
	case f.last == open:
		n = 1
	case f.last == shut && f.depth == 0 && n == 0:
		n = 2
	}
	if n == 0 {
		if f.space || f.last == joined {
			f.out.WriteByte(' ')
		}
		return false
	}
	for range n {
		f.newline()
	}
	f.indent()
	return true
}

// join writes a line continuation.
func (f *formatter) join() {
	if f.lead() {
		f.imports = false
	}
	f.out.WriteString("\\\n")
	f.pos += 2
	f.done(joined)
}

// open writes the brace that opens a block.
func (f *formatter) open() {
	own := 0 // newlines before a brace on its own line
	switch {
	case f.last == nothing:
	case f.last == open:
		own = 1
	case f.last == shut && f.depth == 0:
		own = 2
	case f.newlines > 0 && (f.last == comment || f.imports):
		own = min(f.newlines, 2)
	default:
		f.out.WriteByte(' ')
	}
	for range own {
		f.newline()
	}
	if own > 0 {
		f.indent()
	}
	f.out.WriteByte('{')
	f.pos++
	f.depth = min(f.depth+1, maxIndent)
	f.braces, f.imports = 0, false
	f.done(open)
}

// shut writes the brace that closes a block.
func (f *formatter) shut() {
	if f.last != nothing && (f.last != joined || f.newlines > 0) {
		f.newline()
	}
	f.depth = max(f.depth-1, 0)
	f.indent()
	f.out.WriteByte('}')
	f.pos++
	f.braces, f.imports = 0, false
	f.done(shut)
}

// word writes a word.
func (f *formatter) word() {
	start := f.pos
	kind, guarded := f.scan()
	text := f.in[start:f.pos]
	if body, ok := strings.CutSuffix(text, "\r"); ok {
		// After a backslash, or it would be space. It must not become part of the
		// line's end; a space there means the same.
		text = body + " "
	}
	if f.lead() {
		f.imports = f.depth == 0 && text == "import"
	}
	f.out.WriteString(text)
	f.done(kind)
	f.guarded = guarded
}

// scan goes to the end of a word. It also returns what f.guarded is after it.
func (f *formatter) scan() (kind atom, guarded bool) {
	begins := true // a quote or a heredoc may open here
	for f.pos < len(f.in) {
		c, size := utf8.DecodeRuneInString(f.in[f.pos:])
		rest := f.in[f.pos:]
		opens := begins
		begins = false
		switch {
		case unicode.IsSpace(c) || strings.HasPrefix(rest, "\\\n"):
			return word, guarded
		case c == '#' || opens && strings.HasPrefix(rest, `\#`):
			f.past(strings.IndexByte(rest, '\n'), 0)
			return comment, false
		case c == '\\':
			next, n := utf8.DecodeRuneInString(rest[1:])
			f.pos += 1 + n
			if begins = unicode.IsSpace(next); begins {
				guarded = false
			}
		case c == '"' && opens:
			f.past(closingQuote(rest), 1)
		case c == '`':
			f.past(indexFrom(rest, 1, '`'), 1)
		case opens && strings.HasPrefix(rest, "<<"):
			if guarded = !f.heredoc(); guarded {
				f.pos += 2
			}
		case c == '{' && f.variable():
		case c == '{' && f.opens(), c == '}' && f.braces == 0:
			return word, guarded
		default:
			if c == '{' {
				f.braces++
			} else if c == '}' {
				f.braces--
			}
			f.pos += size
		}
	}
	return word, guarded
}

// past moves on by n bytes and those after it, or to the end if n is negative.
func (f *formatter) past(n, more int) {
	if n < 0 {
		f.pos = len(f.in)
		return
	}
	f.pos += n + more
}

func indexFrom(s string, from int, c byte) int {
	if i := strings.IndexByte(s[from:], c); i >= 0 {
		return from + i
	}
	return -1
}

// closingQuote returns where the quoted text at the start of s ends, or -1.
func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// variable goes past a {$NAME} and reports whether there is one here. It is
// copied as it is because it is put in before anything else is looked at.
func (f *formatter) variable() bool {
	if f.unclosed || !strings.HasPrefix(f.in[f.pos:], "{$") {
		return false
	}
	end := strings.IndexByte(f.in[f.pos:], '}')
	if f.unclosed = end < 0; f.unclosed {
		return false
	}
	f.pos += end + 1
	return true
}

// heredoc goes past a heredoc and reports whether the << here begins one.
func (f *formatter) heredoc() bool {
	rest := f.in[f.pos+len("<<"):]
	n := strings.IndexByte(rest[:min(len(rest), longestMarker+1)], '\n')
	if n < 0 || !validMarker(rest[:n]) {
		return false
	}
	marker := rest[:n]
	for at := f.pos + 2 + n + 1; ; at++ {
		i := strings.Index(f.in[at:], marker)
		if i < 0 {
			f.pos = len(f.in)
			return true
		}
		if at += i; f.spaceAt(at + len(marker)) {
			f.pos = at + len(marker)
			return true
		}
	}
}
