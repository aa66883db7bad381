package expression

import (
	"strings"
	"unicode/utf8"
)

// source is an expression in which placeholders are calls.
type source struct {
	original, text string
	changes        []change
}

// change is a stretch of the text that differs from the original. All numbers
// count characters.
type change struct {
	start, end int // in the text
	from, to   int // in the original
}

// rewrite makes a call of each {name}, and a {name} of each \{name}.
func rewrite(original string) source {
	s := source{original: original}
	var out strings.Builder
	at, in := 0, 0 // characters of the text and of the original so far
	last := 0
	emit := func(part string) {
		out.WriteString(part)
		at += utf8.RuneCountInString(part)
	}
	keep := func(end int) {
		n := utf8.RuneCountInString(original[last:end])
		emit(original[last:end])
		in, last = in+n, end
	}
	for i := 0; i < len(original); i++ {
		if original[i] != '{' {
			continue
		}
		n := nameLen(original[i+1:])
		if n == 0 {
			continue
		}
		start, put := i, `ph(req, "`+original[i+1:i+1+n]+`")`
		if i > last && original[i-1] == '\\' {
			start, put = i-1, original[i:i+n+2]
		}
		keep(start)
		length := i + n + 2 - start
		s.changes = append(s.changes, change{at, at + len(put), in, in + length})
		emit(put)
		in, last = in+length, i+n+2
		i = last - 1
	}
	keep(len(original))
	s.text = out.String()
	return s
}

// nameLen is the length of the name that s begins with if a "}" follows, else 0.
func nameLen(s string) int {
	n := 0
	for n < len(s) && (isLetter(s[n]) || n > 0 && (isDigit(s[n]) || s[n] == '_' || s[n] == '.' || s[n] == '-')) {
		n++
	}
	if n < 2 || n == len(s) || s[n] != '}' {
		return 0
	}
	return n
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// position finds a place of the text (line from 1, column from 0) in the
// original, both from 1.
func (s source) position(line, column int) (int, int) {
	at := place(s.text, line, column)
	moved := 0
	for _, c := range s.changes {
		if at < c.start {
			break
		}
		if at < c.end {
			at, moved = c.from, 0
			break
		}
		moved = c.to - c.end
	}
	at += moved
	line, column = 1, 1
	for _, r := range s.original {
		if at == 0 {
			break
		}
		at--
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return line, column
}

// place counts the characters before a line and column.
func place(text string, line, column int) int {
	n := 0
	for ; line > 1; line-- {
		before, rest, found := strings.Cut(text, "\n")
		if !found {
			break
		}
		n += utf8.RuneCountInString(before) + 1
		text = rest
	}
	return n + max(column, 0)
}
