// Package caddyfile is the text of a Caddyfile and nothing of its meaning:
// lexer, parser (site blocks, snippets, imports, named routes), Dispenser (a
// cursor over the tokens of one directive), Options (the table that a
// directive's block is read by) and the formatter.
//
// Whatever the text is, no function here panics, loops or takes memory out of
// proportion: what a text makes of itself through imports is bounded (see
// Limits in env.go), and so is the depth of its blocks and of its imports.
package caddyfile

import (
	"fmt"
	"strings"
)

// Quote says how a token was written.
type Quote byte

// The ways to write a token.
const (
	Bare      Quote = 0
	Double    Quote = '"'
	Backtick  Quote = '`'
	Heredoc   Quote = '<'
	maxInWord       = 200 // bytes of a token that an error repeats
)

// Origin is where tokens come from: a file, and the imports through which they
// came to where they stand. All tokens of one reading of a file, or of one
// import of a snippet, share one Origin, and tokens of different ones never
// stand on the same line. It is not changed once a token has it.
type Origin struct {
	// File is the name of the file: as given for the main file, absolute for an
	// imported one.
	File string
	// Snippet is the name of the snippet that the tokens were written in, if any.
	Snippet string
	// Imports is the import chain, outermost first, in the form
	// "Caddyfile:7 (import s)".
	Imports []string
}

// Token is one word of a Caddyfile.
type Token struct {
	// Text is the word, without quotes and with escapes resolved.
	Text string
	// Origin is never nil in a token that Lex or Parse returned.
	Origin *Origin
	// Line is the line of the first character and End that of the last, from 1.
	// A line that continues another one by a backslash has the number of that.
	Line, End int32
	// Quote says how the token was written.
	Quote Quote
}

// File returns the name of the file that the token stands in.
func (t Token) File() string {
	if t.Origin == nil {
		return ""
	}
	return t.Origin.File
}

// Imports returns the import chain, outermost first.
func (t Token) Imports() []string {
	if t.Origin == nil {
		return nil
	}
	return t.Origin.Imports
}

// Quoted reports whether the token was quoted in any style.
func (t Token) Quoted() bool { return t.Quote != Bare }

// Opens reports whether the token is a structural opening brace.
func (t Token) Opens() bool { return t.Quote == Bare && t.Text == "{" }

// Closes reports whether the token is a structural closing brace.
func (t Token) Closes() bool { return t.Quote == Bare && t.Text == "}" }

// Raw returns the text with its quotes, where it had any; a heredoc is returned
// without its marker.
func (t Token) Raw() string {
	if t.Quote == Double || t.Quote == Backtick {
		return string(rune(t.Quote)) + t.Text + string(rune(t.Quote))
	}
	return t.Text
}

// With returns the token with another text at the same place.
func (t Token) With(text string) Token {
	t.Text = text
	return t
}

// SameLine reports whether next, which follows t, stands on the same line, so
// that it can be an argument of what t is an argument of.
func (t Token) SameLine(next Token) bool {
	return t.Origin == next.Origin && t.End >= next.Line
}

// Segment is one directive: its name, its arguments, and its block with braces.
type Segment []Token

// Name returns the directive's name.
func (s Segment) Name() string {
	if len(s) == 0 {
		return ""
	}
	return s[0].Text
}

// Kind is what a block of a file is.
type Kind byte

// The kinds of blocks.
const (
	// Site is a block with addresses.
	Site Kind = iota
	// Global is the block without keys that holds the global options.
	Global
	// NamedRoute is a block whose key is &(name).
	NamedRoute
)

// ServerBlock is one block of a file: a site, the global options or a named
// route. Snippets and imports are resolved and do not appear.
type ServerBlock struct {
	Kind Kind
	// Name is the name of a named route.
	Name string
	// Keys are the addresses of a site, in order and without commas.
	Keys []Token
	// Segments are the directives or options. A named route has one Segment: its
	// key, then its body with braces, in which imports are not resolved.
	Segments []Segment
	// Braces reports whether the block was written with braces.
	Braces bool
}

// position returns "FILE:LINE".
func position(file string, line int) string {
	return fmt.Sprintf("%s:%d", file, line)
}

// chainText is the import chain as errors print it.
func chainText(imports []string) string {
	return "['" + strings.Join(imports, "','") + "']"
}
