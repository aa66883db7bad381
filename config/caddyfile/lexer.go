package caddyfile

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lex splits text into tokens whose origin is the given one. Environment
// variables must have been put in before. The error, if any, is an *Error; a
// text of only comments and space has no tokens, but an empty one is an error.
func Lex(input string, origin *Origin) ([]Token, error) {
	return lex(input, origin, MaxTokens, nil)
}

// lex is Lex with a limit on the tokens and a place for warnings.
func lex(input string, origin *Origin, limit int, warn func(line int, msg string)) ([]Token, error) {
	l := lexer{input: input, origin: origin, line: 1, warn: warn}
	if input == "" {
		return nil, &Error{Msg: "EOF", File: origin.File, Line: 1, Imports: origin.Imports, Hint: "the file is empty"}
	}
	l.pos = len(input) - len(strings.TrimPrefix(input, "\uFEFF"))
	tokens := make([]Token, 0, min(len(input)/8+4, 1<<16))
	for {
		t, ok, err := l.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return tokens, nil
		}
		if len(tokens) >= limit {
			return nil, t.Errf("the Caddyfile has more than %d tokens", MaxTokens)
		}
		tokens = append(tokens, t)
	}
}

// lexer reads one text. line is what tokens are numbered with; skipped counts
// the newlines since then that a backslash took the meaning from, so that
// line+skipped is the line in the file.
type lexer struct {
	input         string
	pos           int
	line, skipped int
	origin        *Origin
	warn          func(line int, msg string)
}

// next returns the next token. ok is false at the end of the text.
func (l *lexer) next() (t Token, ok bool, err error) {
	escaped := l.space()
	if l.pos >= len(l.input) {
		return Token{}, false, nil
	}
	t = Token{Origin: l.origin, Line: int32(l.line)}
	switch c := l.input[l.pos]; {
	case c == '"':
		l.pos++
		return l.double(t, escaped)
	case c == '`':
		l.pos++
		return l.backtick(t)
	case c == '<' && !escaped && strings.HasPrefix(l.input[l.pos:], "<<"):
		return l.heredoc(t)
	}
	l.word(&t, escaped)
	return t, true, nil
}

// newline goes past an LF.
func (l *lexer) newline(escaped bool) {
	if escaped {
		l.skipped++
		return
	}
	l.line += 1 + l.skipped
	l.skipped = 0
}

// space goes past space and comments and reports whether a backslash is
// pending, which then belongs to the token that follows.
func (l *lexer) space() (escaped bool) {
	for l.pos < len(l.input) {
		c, size := l.rune()
		switch {
		case c == '\n':
			l.newline(escaped)
			escaped = false
		case c == '\\' && !escaped:
			escaped = true
		case c == '#':
			escaped = l.comment() || escaped
			continue
		case !unicode.IsSpace(c):
			return escaped
		}
		l.pos += size
	}
	return false
}

// comment goes past a comment, up to its newline. It reports whether the
// comment has a backslash: as in the reference, that takes away the meaning of
// the newline.
func (l *lexer) comment() (escaped bool) {
	text := l.input[l.pos:]
	if end := strings.IndexByte(text, '\n'); end >= 0 {
		text = text[:end]
	}
	l.pos += len(text)
	escaped = strings.IndexByte(text, '\\') >= 0
	if escaped && l.warn != nil {
		l.warn(l.line+l.skipped, "a backslash in a comment joins the next line to this one; write the comment without it")
	}
	return escaped
}

func (l *lexer) rune() (rune, int) {
	if c := l.input[l.pos]; c < utf8.RuneSelf {
		return rune(c), 1
	}
	return utf8.DecodeRuneInString(l.input[l.pos:])
}

// word reads a token without quotes. escaped is a backslash from before it.
// The text is cut from the input, and is copied only where that has something
// to leave out.
func (l *lexer) word(t *Token, escaped bool) {
	var out []byte
	copied := escaped // whether the text is in out
	start := l.pos
	leave := func() { // what follows differs from the input
		if !copied {
			out = append(out, l.input[start:l.pos]...)
			copied = true
		}
	}
	for l.pos < len(l.input) {
		c, size := l.rune()
		if unicode.IsSpace(c) && c != '\r' {
			break
		}
		switch {
		case c == '\r':
			leave()
		case c == '\\' && !escaped:
			leave()
			escaped = true
		default:
			if escaped && c != '<' {
				out = append(out, '\\')
			}
			escaped = false
			if copied {
				out = append(out, l.input[l.pos:l.pos+size]...)
			}
		}
		l.pos += size
	}
	t.End = int32(l.line)
	if t.Text = l.input[start:l.pos]; copied {
		t.Text = string(out)
	}
	if escaped && l.pos < len(l.input) {
		c, size := l.rune()
		l.pos += size
		if c == '\n' {
			l.newline(true)
		}
	}
}

// double reads a token in double quotes, after the opening one.
func (l *lexer) double(t Token, escaped bool) (Token, bool, error) {
	var out []byte
	copied, start := escaped, l.pos
	for l.pos < len(l.input) {
		c := l.input[l.pos]
		if c == '"' && !escaped {
			return l.quoted(t, Double, start, out, copied), true, nil
		}
		if c == '\\' && !escaped {
			if escaped = true; !copied && strings.HasPrefix(l.input[l.pos+1:], `"`) {
				out, copied = append(out, l.input[start:l.pos]...), true
			}
			l.pos++
			continue
		}
		if escaped && c != '"' && copied {
			out = append(out, '\\')
		}
		escaped = false
		if c == '\n' {
			l.newline(false)
		}
		if copied {
			out = append(out, c)
		}
		l.pos++
	}
	if escaped && !copied {
		out, copied = append(out, l.input[start:l.pos-1]...), true
	}
	return l.unterminated(t, start, out, copied)
}

// backtick reads a token in backticks, after the opening one.
func (l *lexer) backtick(t Token) (Token, bool, error) {
	start := l.pos
	for ; l.pos < len(l.input); l.pos++ {
		switch l.input[l.pos] {
		case '`':
			return l.quoted(t, Backtick, start, nil, false), true, nil
		case '\n':
			l.newline(false)
		}
	}
	return l.unterminated(t, start, nil, false)
}

// quoted completes a quoted token at its closing quote.
func (l *lexer) quoted(t Token, q Quote, start int, out []byte, copied bool) Token {
	if t.Text = l.input[start:l.pos]; copied {
		t.Text = string(out)
	}
	t.Quote, t.End = q, int32(l.line)
	l.pos++
	return t
}

// unterminated is a quoted token that the text ends in: as in the reference it
// is a token without quotes.
func (l *lexer) unterminated(t Token, start int, out []byte, copied bool) (Token, bool, error) {
	t = l.quoted(t, Bare, start, out, copied)
	l.pos = len(l.input)
	if l.warn != nil {
		l.warn(int(t.Line), "this quote is never closed")
	}
	return t, t.Text != "", nil
}
