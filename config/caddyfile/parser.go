package caddyfile

import (
	"strings"
)

// Parse reads a Caddyfile: it puts in the environment variables, resolves
// snippets and imports, and returns the blocks that are left, in order. Only
// the first block can be of kind Global. The meaning of names, addresses and
// directives is not looked at.
//
// The filename is what errors and tokens name; relative imports start from its
// directory. An error is an *Error. It is safe for concurrent use as far as
// env is.
func Parse(filename string, input []byte, env Env) ([]ServerBlock, error) {
	p := &parser{env: env, snippets: map[string]*snippet{}, routes: map[string]bool{}, files: map[string][]Token{}, warned: map[Warning]bool{}}
	origin := &Origin{File: filename}
	if len(input) > MaxBytes {
		return nil, &Error{Msg: tooManyBytes().Error(), File: filename, Line: 1}
	}
	p.bytes = len(input)
	tokens, err := p.lex(string(input), origin)
	if err != nil {
		return nil, err
	}
	p.stream = newStream(tokens)
	for p.next() {
		if err := p.one(); err != nil {
			return nil, err
		}
	}
	return p.blocks, nil
}

// parser reads one Caddyfile.
type parser struct {
	*stream
	env      Env
	blocks   []ServerBlock
	snippets map[string]*snippet
	routes   map[string]bool
	// files holds the tokens of each imported file as read, with nothing put in.
	files  map[string][]Token
	graph  graph
	warned map[Warning]bool

	// What was used of MaxTokens and MaxBytes (of files, and of text made).
	tokens, bytes, made int

	keys []Token
	buf  Segment
}

// snippet is a named piece of text.
type snippet struct {
	name   string
	tokens []Token
}

// lex reads text that is not yet tokens.
func (p *parser) lex(text string, origin *Origin) ([]Token, error) {
	text = substitute(text, p.env.LookupEnv)
	tokens, err := lex(text, origin, MaxTokens-p.tokens, func(line int, msg string) { p.warn(origin.File, line, msg) })
	p.tokens += len(tokens)
	return tokens, err
}

// warn gives a warning, once.
func (p *parser) warn(file string, line int, msg string) {
	w := Warning{file, line, msg}
	if p.env.Warn != nil && !p.warned[w] && len(p.warned) < maxWarnings {
		p.warned[w] = true
		p.env.Warn(w)
	}
}

// one reads one block, from its first token.
func (p *parser) one() error {
	first := p.cur
	b := ServerBlock{}
	more, err := p.readKeys(&b)
	if err != nil {
		return err
	}
	b.Keys = append([]Token(nil), p.keys...)
	if len(b.Keys) == 1 {
		if name, ok := bracketed(b.Keys[0].Text, "("); ok {
			return p.define(name, more)
		}
		if name, ok := bracketed(b.Keys[0].Text, "&("); ok {
			return p.namedRoute(name, b, more)
		}
	}
	if more {
		if err := p.contents(&b); err != nil {
			return err
		}
	}
	if len(b.Keys) == 0 {
		if len(b.Segments) == 0 {
			return nil
		}
		if len(p.blocks) > 0 {
			return first.Errf("server block without any key is global configuration, and if used, it must be first")
		}
		b.Kind = Global
	}
	p.blocks = append(p.blocks, b)
	return nil
}

// bracketed returns what is between prefix, which ends in a parenthesis, and
// the closing one.
func bracketed(text, prefix string) (string, bool) {
	name, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, ")")
}

// readKeys reads the keys of a block into p.keys, from the current token on.
// When it returns true, the current token is the one after them: the opening
// brace, or the first of the next line.
func (p *parser) readKeys(b *ServerBlock) (more bool, err error) {
	p.keys = p.keys[:0]
	another := false
	for {
		t := p.cur
		if strings.HasPrefix(t.Text, "@") {
			return false, t.Errf("request matchers may not be defined globally, they must be in a site block; found %s", Shorten(t.Text))
		}
		if t.Text == "import" && p.newLine() {
			if err := p.doImport(true); err != nil {
				return false, err
			}
			if !p.next() {
				return false, p.keysEnd(another)
			}
			continue
		}
		if t.Opens() {
			if another {
				return false, t.Errf("Expected another address but had '%s' - check for extra comma", t.Text)
			}
			b.Braces = true
			return true, nil
		}
		if another, err = p.key(t, another); err != nil {
			return false, err
		}
		if !p.next() {
			return false, p.keysEnd(another)
		}
		if !another && p.newLine() {
			b.Braces = p.cur.Opens()
			return true, nil
		}
	}
}

func (p *parser) keysEnd(another bool) error {
	if another {
		return p.eofErr()
	}
	return nil
}

// key takes one key and reports whether another must follow.
func (p *parser) key(t Token, another bool) (bool, error) {
	if strings.HasSuffix(t.Text, "{") {
		return false, t.Errf("Site addresses cannot end with a curly brace: '%s' - put a space between the token and the brace", Shorten(t.Text))
	}
	if t.Text == "" {
		return another, nil
	}
	text, another := strings.CutSuffix(t.Text, ",")
	if strings.Contains(text, ",") {
		return false, t.Errf("Site addresses cannot contain a comma ',': '%s' - put a space after the comma to separate site addresses", Shorten(text))
	}
	if text != "" {
		p.keys = append(p.keys, t.With(text))
	}
	return another, nil
}

// contents reads the directives of a block. The current token is the opening
// brace or, in the site without braces, the first directive.
func (p *parser) contents(b *ServerBlock) error {
	if b.Braces && !p.next() {
		return p.cur.syntaxErr("}")
	}
	for {
		switch {
		case p.cur.Closes():
			if b.Braces {
				return nil
			}
			return p.surplus()
		case p.cur.Text == "import":
			if err := p.doImport(false); err != nil {
				return err
			}
		default:
			if err := p.directive(b); err != nil {
				return err
			}
		}
		if !p.next() {
			break
		}
	}
	if !b.Braces {
		return nil
	}
	if !p.cur.Closes() {
		return p.cur.syntaxErr("}")
	}
	// As in the reference: a block that ends in some brace passes for closed.
	p.warn(p.cur.File(), int(p.cur.Line), "a closing brace '}' is missing at the end")
	return nil
}

// surplus is a closing brace in the site without braces: there it ends the
// site, and what follows is read as the next one, which is never meant.
func (p *parser) surplus() error {
	return p.cur.Errf("Unexpected '}' because no matching opening brace")
}

// directive reads one segment, from its first token to the end of its line or
// of the block that opens there.
func (p *parser) directive(b *ServerBlock) error {
	p.buf = append(p.buf[:0], p.cur)
	depth := 0
	for {
		t, ok := p.peek()
		if !ok {
			break
		}
		if depth == 0 && !p.cur.SameLine(t) && !t.Opens() && (t.Text != "{}" || t.Quoted()) {
			break
		}
		p.next()
		switch {
		case t.Opens():
			if err := p.opening(&depth); err != nil {
				return err
			}
		case t.Closes() && depth == 0:
			return t.Errf("Unexpected '}' because no matching opening brace")
		case t.Closes():
			depth--
		case t.Text == "{}" && !t.Quoted() && p.endsLine():
			return t.Errf("Unexpected '{}' at end of line")
		case t.Text == "import" && p.newLine():
			if err := p.doImport(false); err != nil {
				return err
			}
			continue
		}
		p.buf = append(p.buf, t)
	}
	if depth > 0 {
		return p.eofErr()
	}
	b.Segments = append(b.Segments, append(Segment(nil), p.buf...))
	return nil
}

// opening checks the opening brace that is the current token.
func (p *parser) opening(depth *int) error {
	if *depth++; *depth > MaxNesting {
		return p.cur.Errf("blocks are nested more than %d deep", MaxNesting)
	}
	if next, ok := p.peek(); ok && p.cur.SameLine(next) {
		return next.Errf("Unexpected next token after '{' on same line")
	}
	if p.newLine() {
		return p.cur.Errf("Unexpected '{' on a new line; did you mean to place the '{' on the previous line?")
	}
	return nil
}

// openBody goes to the opening brace of a snippet or named route and reads the
// body.
func (p *parser) openBody(more bool) ([]Token, error) {
	if !more {
		return nil, p.eofErr()
	}
	if !p.cur.Opens() {
		return nil, p.cur.syntaxErr("{")
	}
	tokens, ok := p.body()
	if !ok {
		return nil, p.eofErr()
	}
	return tokens, nil
}

// define reads the body of a snippet.
func (p *parser) define(name string, more bool) error {
	key := p.keys[0]
	if p.snippets[name] != nil {
		return key.Errf("redeclaration of previously declared snippet %s", Shorten(name))
	}
	tokens, err := p.openBody(more)
	if err != nil {
		return err
	}
	moved := map[*Origin]*Origin{}
	for i, t := range tokens {
		to := moved[t.Origin]
		if to == nil {
			to = &Origin{File: t.Origin.File, Snippet: name, Imports: t.Origin.Imports}
			moved[t.Origin] = to
		}
		tokens[i].Origin = to
	}
	p.snippets[name] = &snippet{name: name, tokens: tokens}
	return nil
}

// namedRoute reads the body of a named route.
func (p *parser) namedRoute(name string, b ServerBlock, more bool) error {
	key := b.Keys[0]
	if p.routes[name] {
		return key.Errf("cannot have duplicate named_routes: %s", Shorten(name))
	}
	p.routes[name] = true
	if !more {
		return p.eofErr()
	}
	open := p.cur
	tokens, err := p.openBody(more)
	if err != nil {
		return err
	}
	depth := 0
	for _, t := range tokens {
		if t.Opens() {
			depth++
		} else if t.Closes() {
			depth--
		}
		if depth >= MaxNesting {
			return t.Errf("blocks are nested more than %d deep", MaxNesting)
		}
	}
	// The opening brace may stand on the next line, and the closing one behind a
	// directive; moved, they are the key's block as a Dispenser reads it.
	open.Origin, open.Line, open.End = key.Origin, key.End, key.End
	shut := p.cur
	apart := *shut.Origin
	shut.Origin = &apart
	b.Kind, b.Name, b.Braces = NamedRoute, name, true
	segment := append(make(Segment, 0, len(tokens)+3), key, open)
	b.Segments = []Segment{append(append(segment, tokens...), shut)}
	p.blocks = append(p.blocks, b)
	return nil
}

// eofErr is the sentence for a text that ends too early.
func (p *parser) eofErr() error { return p.cur.Errf("unexpected EOF") }
