package caddyfile

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error says what is wrong with a Caddyfile, and where. It is the only error
// type that this package returns, except for an error of Files that stands
// behind one.
//
// Its text is Msg, ", at FILE:LINE", the import chain if there is one, and the
// Hint.
type Error struct {
	// Msg is the sentence itself.
	Msg string
	// File, Line and Imports are the place.
	File    string
	Line    int
	Imports []string
	// Word is the word that is wrong. The text shows it where Msg does not.
	Word string
	// Hint is what was probably meant, or empty.
	Hint string
	// First puts the place in front, as in "FILE:LINE: MSG".
	First bool
	// Err is the error behind this one, or nil.
	Err error
}

// Error returns the text.
func (e *Error) Error() string {
	var b strings.Builder
	if e.First {
		b.WriteString(position(e.File, e.Line) + ": ")
	}
	b.WriteString(e.Msg)
	if !e.First && e.Line > 0 {
		b.WriteString(", at " + position(e.File, e.Line))
	}
	if len(e.Imports) > 0 {
		if strings.HasPrefix(e.Msg, "syntax error: ") {
			b.WriteString(" import chain: " + chainText(e.Imports))
		} else {
			b.WriteString(" import chain " + chainText(e.Imports))
		}
	}
	if e.Word != "" && !strings.Contains(e.Msg, e.Word) {
		b.WriteString(" near '" + e.Word + "'")
	}
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap returns the error behind this one.
func (e *Error) Unwrap() error { return e.Err }

// Suggest sets the hint to the nearest of the names to word, if one is near
// enough to be meant, and returns e.
func (e *Error) Suggest(word string, names []string) *Error {
	if n := Nearest(word, names); n != "" && n != word {
		e.Hint = "did you mean '" + n + "'?"
	}
	return e
}

// Errf makes an error at the token. An error among the arguments of %w is the
// error behind it.
func (t Token) Errf(format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Msg: err.Error(), File: t.File(), Line: int(t.Line), Imports: t.Imports(), Word: Shorten(t.Text), Err: errors.Unwrap(err)}
}

// ErrFirstf is Errf with the place in front of the sentence.
func (t Token) ErrFirstf(format string, args ...any) *Error {
	e := t.Errf(format, args...)
	e.First = true
	return e
}

// Wrap puts the place of the token behind an error. Unlike Errf it leaves the
// word out.
func (t Token) Wrap(err error) *Error {
	return &Error{Msg: err.Error(), File: t.File(), Line: int(t.Line), Imports: t.Imports(), Err: err}
}

// syntaxErr is the sentence for one token where another was needed.
func (t Token) syntaxErr(expected string) *Error {
	return t.Errf("syntax error: unexpected token '%s', expecting '%s'", Shorten(t.Text), expected)
}

// argErr is the sentence for wrong arguments, t being the last token read.
func (t Token) argErr() *Error {
	if t.Opens() {
		return t.Errf("unexpected token '{', expecting argument")
	}
	return t.Errf("wrong argument count or unexpected line ending after '%s'", Shorten(t.Text))
}

// Shorten returns the text cut to what an error can show.
func Shorten(text string) string {
	if len(text) <= maxInWord {
		return text
	}
	cut := maxInWord
	for cut > maxInWord-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// Warning is something that is accepted but hardly meant, or spelled in an
// older way.
type Warning struct {
	File    string
	Line    int
	Message string
}

// Nearest returns the name that is most like word, or "" if none is like
// enough to be meant.
func Nearest(word string, names []string) string {
	const longest, mostNames = 64, 1000
	if word == "" || len(word) > longest {
		return ""
	}
	best, bestAt := "", 1+max(1, len(word)/3)
	for _, n := range names[:min(len(names), mostNames)] {
		if d := len(n) - len(word); d >= bestAt || -d >= bestAt || n == "" {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(n)); d < bestAt {
			best, bestAt = n, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes, with a swap of neighbours as
// one step.
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
