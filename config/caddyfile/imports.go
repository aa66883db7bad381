package caddyfile

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// statement is one import as it was written.
type statement struct {
	token  Token // the word import
	name   Token
	args   []Token
	block  []Token
	blocks map[string][]Token
	top    bool // outside of every block
}

// doImport reads the import that starts at the current token and puts what it
// imports before the tokens that follow.
func (p *parser) doImport(top bool) error {
	st, err := p.statement(top)
	if err != nil {
		return err
	}
	from := node(st.token.Origin)
	if s := p.snippets[st.name.Text]; s != nil {
		if len(s.tokens) == 0 {
			return nil
		}
		if err := p.edge(st, from, node(s.tokens[0].Origin)); err != nil {
			return err
		}
		out, err := p.expand(st, s.tokens, s.name, nil)
		p.push(out)
		return err
	}
	names, err := p.find(st)
	if err != nil {
		return err
	}
	var out []Token
	for _, name := range names {
		if err := p.edge(st, from, name); err != nil {
			return err
		}
		tokens, err := p.readFile(st, name)
		if err != nil {
			return err
		}
		if out, err = p.expand(st, tokens, "", out); err != nil {
			return err
		}
	}
	p.push(out)
	return nil
}

// statement reads an import with its arguments and its block.
func (p *parser) statement(top bool) (*statement, error) {
	st := &statement{token: p.cur, top: top}
	if len(st.token.Imports()) >= MaxImportDepth {
		return nil, st.token.Errf("imports are nested more than %d deep", MaxImportDepth)
	}
	if !p.nextArg() {
		return nil, p.cur.argErr()
	}
	st.name = p.cur
	if st.name.Text == "" {
		return nil, st.name.Errf("Import requires a non-empty filepath")
	}
	for p.nextArg() {
		st.args = append(st.args, p.cur)
	}
	block, _, closed := p.block()
	if !closed {
		return nil, p.eofErr()
	}
	st.block = block
	return st, st.split()
}

// split finds the entries of an import's block.
func (st *statement) split() error {
	if len(st.block) == 0 {
		return nil
	}
	st.blocks = map[string][]Token{}
	for s := newStream(st.block); s.next(); {
		key := s.cur
		if key.Opens() {
			return key.Errf("anonymous blocks are not supported")
		}
		var value []Token
		for s.nextArg() {
			value = append(value, s.cur)
		}
		nested, _, _ := s.block()
		st.blocks[key.Text] = append(value, nested...)
	}
	return nil
}

// node is the name of a place in the graph of imports.
func node(o *Origin) string {
	if o.Snippet != "" {
		return o.File + ":" + o.Snippet
	}
	return o.File
}

// edge notes that one place imports another.
func (p *parser) edge(st *statement, from, to string) error {
	if p.graph.add(from, to) {
		return nil
	}
	if p.graph.work > maxGraphWork {
		return st.name.Errf("the imports of this Caddyfile are too entangled")
	}
	return st.name.Errf("a cycle of imports exists between %s and %s", from, to)
}

// find returns the files that an import names.
func (p *parser) find(st *statement) ([]string, error) {
	name := st.name.Text
	pattern := filepath.FromSlash(name)
	if !filepath.IsAbs(pattern) {
		dir := filepath.Dir(st.name.File())
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(p.env.Dir, dir)
		}
		pattern = filepath.Join(dir, pattern)
	}
	shown := Shorten(pattern)
	if strings.Count(pattern, "*") > 1 || strings.Count(pattern, "?") > 1 ||
		strings.Contains(pattern, "[") && strings.Contains(pattern, "]") {
		return nil, st.name.Errf("Glob pattern may only contain one wildcard (*), but has others: %s", shown)
	}
	if !strings.ContainsAny(pattern, "*?[]") {
		return []string{pattern}, nil
	}
	if p.env.Files == nil {
		return nil, p.notFound(st)
	}
	names, err := p.env.Files.Glob(pattern)
	if err != nil {
		return nil, st.name.Errf("Failed to use import pattern %s: %w", Shorten(name), err)
	}
	if strings.HasPrefix(filepath.Base(pattern), "*") {
		names = slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(filepath.Base(n), ".") })
	}
	if len(names) == 0 {
		p.warn(st.name.File(), int(st.name.Line), "No files matching import glob pattern: "+Shorten(name))
	}
	return names, nil
}

// notFound is the error for a name that is neither a snippet nor a file.
func (p *parser) notFound(st *statement) error {
	names := make([]string, 0, len(p.snippets))
	for n := range p.snippets {
		names = append(names, n)
	}
	slices.Sort(names)
	return st.name.Errf("File to import not found: %s", Shorten(st.name.Text)).Suggest(st.name.Text, names)
}

// readFile returns the tokens of a file, which must not be changed.
func (p *parser) readFile(st *statement, name string) ([]Token, error) {
	if tokens, ok := p.files[name]; ok {
		return tokens, nil
	}
	if p.env.Files == nil {
		return nil, p.notFound(st)
	}
	content, err := p.env.Files.ReadFile(name, MaxBytes-p.bytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, p.notFound(st)
	case errors.Is(err, ErrDirectory):
		return nil, st.name.Errf("Could not import %s: is a directory", Shorten(name))
	case err != nil:
		return nil, st.name.Errf("Could not import %s: %w", Shorten(name), err)
	}
	p.bytes += len(content)
	var tokens []Token
	if text := string(content); strings.TrimSpace(text) == "" {
		p.warn(name, 1, "Import file is empty")
	} else if tokens, err = p.lex(text, &Origin{File: name, Imports: p.chain(st, nil, "")}); err != nil {
		return nil, err
	}
	p.files[name] = tokens
	return tokens, nil
}

// chain is the import chain of what st imports from own, which is where the
// tokens were written.
func (p *parser) chain(st *statement, own []string, snippet string) []string {
	entry := position(st.token.File(), int(st.token.Line)) + " (import)"
	if snippet != "" {
		entry = position(st.token.File(), int(st.token.Line)) + " (import " + Shorten(snippet) + ")"
	}
	outer := st.token.Imports()
	out := make([]string, 0, len(own)+len(outer)+1)
	// A snippet that an imported file defined has the import of that file in its
	// own chain, and often so has the place that uses it.
	if len(own) > len(outer) || !slices.Equal(own, outer[:len(own)]) {
		out = append(out, own...)
	}
	return append(append(out, outer...), entry)
}
