package caddyfile

import (
	"strconv"
	"strings"
)

// expand appends to out the tokens that an import makes of tokens: arguments
// and blocks put in, origins set to the import. Definitions of snippets in an
// imported file are left as they are, for their own imports to fill.
func (p *parser) expand(st *statement, tokens []Token, snippet string, out []Token) ([]Token, error) {
	e := expansion{p: p, st: st, snippet: snippet, out: out}
	p.tokens += len(tokens) + 8 + len(st.token.Imports())
	skip := definitions{on: st.top && snippet == ""}
	most := len(out) + len(tokens) // beyond which what is made counts too
	for i, t := range tokens {
		if e.from != t.Origin {
			e.enter(t.Origin)
		}
		if skip.covers(tokens, i) {
			e.add(t, e.to)
		} else {
			e.token(t)
		}
		if e.full || p.tokens+len(e.out)-most > MaxTokens {
			return nil, st.name.Errf("the Caddyfile has more than %d tokens with its imports", MaxTokens)
		}
		if p.made > MaxBytes {
			return nil, st.name.Errf("the imports of the Caddyfile make more than %d bytes of text", MaxBytes)
		}
	}
	p.tokens += max(0, len(e.out)-most)
	return e.out, nil
}

// expansion is one run of expand. from and to are the last origin seen and what
// it became; moved has the ones before.
type expansion struct {
	p       *parser
	st      *statement
	snippet string
	from    *Origin
	to      *Origin
	moved   map[*Origin]*Origin
	out     []Token
	full    bool // a block did not fit any more
}

func (e *expansion) enter(from *Origin) {
	if e.from != nil && e.moved == nil {
		e.moved = map[*Origin]*Origin{e.from: e.to}
	}
	to := e.moved[from]
	if to == nil {
		own := from.Imports
		if e.snippet == "" {
			own = nil
		}
		to = &Origin{File: from.File, Snippet: from.Snippet, Imports: e.p.chain(e.st, own, e.snippet)}
		if e.moved != nil {
			e.moved[from] = to
		}
	}
	e.from, e.to = from, to
}

func (e *expansion) add(t Token, origin *Origin) {
	t.Origin = origin
	e.out = append(e.out, t)
}

// token adds what one token becomes.
func (e *expansion) token(t Token) {
	text := t.Text
	if !strings.ContainsAny(text, "{}") {
		e.add(t, e.to)
		return
	}
	if text == "{block}" {
		e.splice(e.st.block)
		return
	}
	if key, ok := strings.CutPrefix(text, "{blocks."); ok && strings.HasSuffix(key, "}") {
		e.splice(e.st.blocks[strings.TrimSuffix(key, "}")])
		return
	}
	if from, to, ok := e.variadic(t); ok {
		for _, a := range e.st.args[from:to] {
			e.add(t.With(a.Text), e.to)
		}
		return
	}
	made := e.fill(t)
	if made != text {
		e.p.made += len(made)
	}
	e.add(t.With(made), e.to)
}

// splice adds tokens of the import's block. They keep their place, but not
// their Origin itself: what is put in twice is not on one line.
func (e *expansion) splice(tokens []Token) {
	if e.full = len(e.out)+len(tokens) > MaxTokens; e.full {
		return
	}
	var from, to *Origin
	for _, t := range tokens {
		if t.Origin != from {
			apart := *t.Origin
			from, to = t.Origin, &apart
		}
		e.add(t, to)
	}
}

// variadic reports whether the token is a range of arguments, and which.
func (e *expansion) variadic(t Token) (from, to int, ok bool) {
	inner, ok := strings.CutPrefix(t.Text, "{args[")
	if !ok {
		return 0, 0, false
	}
	if inner, ok = strings.CutSuffix(inner, "]}"); !ok {
		return 0, 0, false
	}
	a, b, ok := strings.Cut(inner, ":")
	if !ok || strings.Contains(a, "}") || strings.Contains(b, "{") {
		return 0, 0, false
	}
	var err1, err2 error
	to = len(e.st.args)
	if a != "" {
		from, err1 = strconv.Atoi(a)
	}
	if b != "" {
		to, err2 = strconv.Atoi(b)
	}
	if err1 != nil || err2 != nil || from < 0 || from > to || to > len(e.st.args) {
		return 0, 0, false // fill warns
	}
	return from, to, true
}

// fill returns the text with single arguments put in, and without the
// backslashes before braces, as in the reference.
func (e *expansion) fill(t Token) string {
	text := t.Text
	if !strings.Contains(text, "{args") && !strings.Contains(text, `\`) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' && i+1 < len(text) && (text[i+1] == '{' || text[i+1] == '}') {
			i++
			out.WriteByte(text[i])
			continue
		}
		if c == '{' && strings.HasPrefix(text[i:], "{args") {
			if n := closing(text[i:]); n > 0 {
				if value, ok := e.argument(t, text[i+1:i+n]); ok {
					out.WriteString(value)
					i += n
					if e.p.made+out.Len() > MaxBytes {
						return out.String() // refused by expand
					}
					continue
				}
			}
		}
		out.WriteByte(c)
	}
	return out.String()
}

// closing returns where the first closing brace without a backslash is, or 0.
func closing(text string) int {
	const longest = 64 // an index is never as long; the bound keeps fill linear
	for i := 1; i < min(len(text), longest); i++ {
		if text[i] == '}' && text[i-1] != '\\' {
			return i
		}
	}
	return 0
}

// argument returns the value of a placeholder without its braces, if it is one
// for an argument that was given.
func (e *expansion) argument(t Token, key string) (string, bool) {
	index, older := strings.CutPrefix(key, "args.")
	if !older {
		var ok bool
		if index, ok = strings.CutPrefix(key, "args["); !ok {
			return "", false
		}
		if index, ok = strings.CutSuffix(index, "]"); !ok {
			return "", false
		}
	}
	n, err := strconv.Atoi(index)
	switch {
	case err != nil && !older && strings.Contains(index, ":"):
		e.warn(t, "{"+key+"} stays as it is: a range must be a whole word and within the arguments of the import")
	case err != nil:
		e.warn(t, "{"+key+"} stays as it is: the index must be an integer")
	case n < 0 || n >= len(e.st.args):
		e.warn(t, "{"+key+"} stays as it is: the import has "+strconv.Itoa(len(e.st.args))+" arguments, counted from 0")
	default:
		if older {
			e.warn(t, "{"+key+"} is an older spelling; use {args["+index+"]}")
		}
		return e.st.args[n].Text, true
	}
	return "", false
}

func (e *expansion) warn(t Token, msg string) { e.p.warn(t.File(), int(t.Line), msg) }

// definitions finds the definitions of snippets in a file: a word in
// parentheses at the start of a line, outside of every block, and then a block.
type definitions struct {
	on     bool
	depth  int // of the block that token i is in
	inside bool
}

// covers reports whether token i belongs to a definition. It is called for each
// token in order.
func (d *definitions) covers(tokens []Token, i int) bool {
	if !d.on {
		return false
	}
	t := tokens[i]
	if d.depth == 0 && !d.inside {
		d.inside = len(t.Text) >= 3 && t.Text[0] == '(' && t.Text[len(t.Text)-1] == ')' &&
			(i == 0 || !tokens[i-1].SameLine(t)) && i+1 < len(tokens) && tokens[i+1].Opens()
		if d.inside {
			return true
		}
	}
	covered := d.inside
	switch {
	case t.Opens():
		d.depth++
	case t.Closes() && d.depth > 0:
		if d.depth--; d.depth == 0 {
			d.inside = false
		}
	}
	return covered
}
