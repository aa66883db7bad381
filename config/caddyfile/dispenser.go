package caddyfile

import (
	"fmt"
	"slices"
)

// Dispenser is a cursor over the tokens of a directive, or of several. It
// starts before the first token. A token that its methods call current is the
// one that the last successful move went to; a move that fails leaves it where
// it was, except where it says otherwise. It is not safe for concurrent use.
type Dispenser struct {
	// Warn, if not nil, is told of older spellings. Dispensers made of this one
	// have it too.
	Warn func(Warning)

	tokens  []Token
	cursor  int
	nesting int
	// dropped is a token that does not count, 0 if there is none: while the cursor
	// is there, the token before it is current. Taking it out of the tokens would
	// mean to copy all that follow, in each of many nested blocks.
	dropped int
}

// NewDispenser returns a Dispenser over tokens, which it does not change.
func NewDispenser(tokens []Token) *Dispenser {
	return &Dispenser{tokens: tokens, cursor: -1}
}

// Reset goes back before the first token.
func (d *Dispenser) Reset() {
	d.compact()
	d.cursor, d.nesting = -1, 0
}

// compact takes the dropped token out of the tokens.
func (d *Dispenser) compact() {
	if d.dropped == 0 {
		return
	}
	d.tokens = slices.Concat(d.tokens[:d.dropped], d.tokens[d.dropped+1:])
	if d.cursor >= d.dropped {
		d.cursor--
	}
	d.dropped = 0
}

// Next goes to the next token, on whatever line.
func (d *Dispenser) Next() bool {
	if d.cursor >= len(d.tokens)-1 {
		return false
	}
	d.cursor++
	return true
}

// Drop takes the current token out, so that the one before it is current and
// the one after it follows that.
func (d *Dispenser) Drop() {
	if d.cursor < 0 || d.cursor >= len(d.tokens) {
		return
	}
	d.compact()
	if d.dropped = d.cursor; d.dropped > 0 {
		return
	}
	d.tokens = d.tokens[1:]
	d.cursor--
}

// Prev goes to the token before.
func (d *Dispenser) Prev() bool {
	if d.cursor == d.dropped {
		d.compact()
	}
	if d.cursor <= 0 {
		return false
	}
	d.cursor--
	return true
}

// Back goes back over n tokens.
func (d *Dispenser) Back(n int) {
	for range n {
		d.Prev()
	}
}

// Peek returns the token after the current one, if there is one.
func (d *Dispenser) Peek() (Token, bool) {
	if d.cursor+1 < len(d.tokens) {
		return d.tokens[d.cursor+1], true
	}
	return Token{}, false
}

// nextOnSameLine reports whether there is a next token and it is on the line of
// the current one. Before the first token, any next one is.
func (d *Dispenser) nextOnSameLine() bool {
	next, ok := d.Peek()
	return ok && (d.cursor < 0 || d.tokens[d.cursor].SameLine(next))
}

// NextArg goes to the next token if it is on the same line and is not the brace
// that opens a block.
func (d *Dispenser) NextArg() bool {
	if !d.nextOnSameLine() || d.tokens[d.cursor+1].Opens() {
		return false
	}
	d.cursor++
	return true
}

// NextLine goes to the next token if it is on another line.
func (d *Dispenser) NextLine() bool {
	if d.cursor >= len(d.tokens)-1 || d.cursor >= 0 && d.nextOnSameLine() {
		return false
	}
	d.cursor++
	return true
}

// Nesting returns how many blocks NextBlock is in.
func (d *Dispenser) Nesting() int { return d.nesting }

// NextBlock is the condition of a loop over the lines of the block that opens
// on the current line:
//
//	for nesting := d.Nesting(); d.NextBlock(nesting); {
//
// It enters the block and goes to the first token of the next line of it, as
// far as the body of the loop has read the line before. It returns false, having
// gone past the closing brace, at the end of the block, and also where no block
// opens. A brace counts only if it is the last token of its line.
func (d *Dispenser) NextBlock(nesting int) bool {
	if d.nesting > nesting {
		if !d.Next() {
			return false
		}
		if t := d.Token(); t.Closes() && !d.nextOnSameLine() {
			d.nesting--
		} else if t.Opens() && !d.nextOnSameLine() {
			d.nesting++
		}
		return d.nesting > nesting
	}
	if !d.OpensBlock() {
		return false
	}
	d.cursor++
	d.Next()
	if d.Token().Closes() {
		return false
	}
	d.nesting++
	return true
}

// OpensBlock reports whether the next token opens a block on this line.
func (d *Dispenser) OpensBlock() bool {
	return d.cursor >= 0 && d.nextOnSameLine() && d.tokens[d.cursor+1].Opens()
}

// Token returns the current token.
func (d *Dispenser) Token() Token {
	if d.cursor < 0 || d.cursor >= len(d.tokens) {
		return Token{}
	}
	if d.dropped > 0 && d.cursor == d.dropped {
		return d.tokens[d.cursor-1]
	}
	return d.tokens[d.cursor]
}

// Val returns the text of the current token.
func (d *Dispenser) Val() string { return d.Token().Text }

// ScalarVal returns the value of the current token as a string, int, float64 or
// bool; see Token.Scalar.
func (d *Dispenser) ScalarVal() (any, error) { return d.Token().Scalar() }

// File returns the file that the current token stands in.
func (d *Dispenser) File() string { return d.Token().File() }

// Line returns the line that the current token stands on.
func (d *Dispenser) Line() int { return int(d.Token().Line) }

// Args puts the next arguments of the line into targets and reports whether
// there were enough. There may be more, which are left.
func (d *Dispenser) Args(targets ...*string) bool {
	for _, t := range targets {
		if !d.NextArg() {
			return false
		}
		*t = d.Val()
	}
	return true
}

// AllArgs is Args where there may not be more arguments than targets.
func (d *Dispenser) AllArgs(targets ...*string) bool {
	return d.Args(targets...) && !d.NextArg()
}

// CountRemainingArgs returns how many arguments are left on the line, and does
// not move.
func (d *Dispenser) CountRemainingArgs() int {
	at := d.cursor
	n := 0
	for d.NextArg() {
		n++
	}
	d.cursor = at
	return n
}

// RemainingArgTokens reads the arguments that are left on the line.
func (d *Dispenser) RemainingArgTokens() []Token {
	start := d.cursor + 1
	for d.NextArg() {
	}
	return d.tokens[start : d.cursor+1 : d.cursor+1]
}

// RemainingArgs reads the texts of the arguments that are left on the line.
func (d *Dispenser) RemainingArgs() []string {
	return texts(d.RemainingArgTokens(), func(t Token) string { return t.Text })
}

// RemainingArgsRaw is RemainingArgs with the quotes as written.
func (d *Dispenser) RemainingArgsRaw() []string {
	return texts(d.RemainingArgTokens(), Token.Raw)
}

func texts(tokens []Token, text func(Token) string) []string {
	if len(tokens) == 0 {
		return nil
	}
	out := make([]string, len(tokens))
	for i, t := range tokens {
		out[i] = text(t)
	}
	return out
}

// NextSegment reads the rest of a directive whose name is the current token:
// its arguments and the block that opens on its line. It returns all of its
// tokens, the name and the braces among them, and goes to the last of them.
func (d *Dispenser) NextSegment() Segment {
	if d.cursor <= d.dropped {
		d.compact() // it may be in the segment
	}
	start := max(d.cursor, 0)
	for d.NextArg() {
	}
	if !d.OpensBlock() {
		return Segment(d.tokens[start : d.cursor+1 : d.cursor+1])
	}
	d.cursor++
	for depth := 1; depth > 0 && d.Next(); {
		switch t := d.Token(); {
		case t.Closes() && !d.nextOnSameLine():
			depth--
		case t.Opens() && !d.nextOnSameLine():
			depth++
		}
	}
	return Segment(d.tokens[start : d.cursor+1 : d.cursor+1])
}

// NewFromNextSegment returns a Dispenser over NextSegment.
func (d *Dispenser) NewFromNextSegment() *Dispenser { return d.Over(d.NextSegment()) }

// Over returns a Dispenser over other tokens that reports to the same Warn.
func (d *Dispenser) Over(tokens []Token) *Dispenser {
	other := NewDispenser(tokens)
	other.Warn = d.Warn
	return other
}

// Warnf gives a warning at the current token.
func (d *Dispenser) Warnf(format string, args ...any) { d.WarnAt(d.Token(), format, args...) }

// WarnAt gives a warning at a token.
func (d *Dispenser) WarnAt(t Token, format string, args ...any) {
	if d.Warn != nil {
		d.Warn(Warning{t.File(), int(t.Line), fmt.Sprintf(format, args...)})
	}
}

// Errf returns an *Error at the current token. %w is kept as the error behind.
func (d *Dispenser) Errf(format string, args ...any) error {
	return d.Token().Errf(format, args...)
}

// WrapErr returns err with the place of the current token behind it, and nil
// for nil.
func (d *Dispenser) WrapErr(err error) error {
	if err == nil {
		return nil
	}
	return d.Token().Wrap(err)
}

// ArgErr returns the error for a wrong number of arguments. The current token
// should be the last one that was read.
func (d *Dispenser) ArgErr() error { return d.Token().argErr() }

// SyntaxErr returns the error for a token in the place of another.
func (d *Dispenser) SyntaxErr(expected string) error { return d.Token().syntaxErr(expected) }

// EOFErr returns the error for a directive that ends too early.
func (d *Dispenser) EOFErr() error { return d.Errf("unexpected EOF") }
