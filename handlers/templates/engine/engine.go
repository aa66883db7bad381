// Package engine executes text templates about requests: those of the handler
// templates, and those of pages that other handlers make. It has the functions
// of section 5.17 of the reference and the Sprig library.
//
// A template can read every file below its root, the environment and what the
// server answers, so its text must come from someone who may. What it takes of
// memory and of the stack is bounded.
package engine

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// Limits of one execution. Sizes are in bytes.
const (
	// MaxText is how long the text of a template may be, that of a file too.
	MaxText = 32 << 20
	// MaxOutput is how much an execution may print, together with what it includes.
	MaxOutput = 64 << 20
	// maxActions is how many actions a text may have: the parser calls itself for
	// those within others.
	maxActions = 50_000
	// maxDepth is how deep includes may be nested, maxIncludes how many there may
	// be in all.
	maxDepth    = 100
	maxIncludes = 10_000
)

// Options says what templates look like.
type Options struct {
	// Delimiters stand around actions. Default: {{ and }}.
	Delimiters [2]string
	// Functions are known beside those of the engine, which win on equal names.
	Functions template.FuncMap
}

// Engine executes templates of one kind. It remembers the parsed form of texts
// that it meets again. It is safe for concurrent use.
type Engine struct {
	left     string
	plugged  template.FuncMap
	base     *template.Template
	cache    cache
	maxSteps int
}

// New returns an engine.
func New(o Options) *Engine {
	e := &Engine{left: o.Delimiters[0], plugged: o.Functions, maxSteps: maxSteps}
	if e.left == "" {
		e.left = "{{"
	}
	e.base = template.New("").Delims(o.Delimiters[0], o.Delimiters[1]).Option("missingkey=zero").
		Funcs(library()).Funcs(o.Functions).Funcs((&program{engine: e}).functions())
	e.cache.init()
	return e
}

// library is the functions of Sprig, of which some are the engine's own.
func library() template.FuncMap { return sprig.TxtFuncMap() }

// Execute executes the template text for a request and writes what it prints to
// out. The data is what the template sees as "."; it should be c, or have it
// embedded. On an error, out has got a part. An error of httpError is, or wraps,
// a *handlers.Error.
func (e *Engine) Execute(out io.Writer, name, text string, c *Context, data any) error {
	return e.execute(&limited{out: out, context: c}, name, text, c, data)
}

func (e *Engine) execute(out io.Writer, name, text string, c *Context, data any) (err error) {
	p, err := e.program(name, text)
	if err != nil {
		return err
	}
	defer func() {
		if failure := recover(); failure != nil {
			if failure == http.ErrAbortHandler {
				panic(failure)
			}
			err = fmt.Errorf("executing template %s: %v", name, failure)
			return // p may be in any state
		}
		e.done(p)
	}()
	p.current = c
	return p.template.Execute(out, data)
}

// program returns what can execute the text, for the caller alone.
func (e *Engine) program(name, text string) (*program, error) {
	if entry := e.cache.get(name, text); entry != nil {
		if p, _ := entry.pool.Get().(*program); p != nil {
			return p, nil
		}
		p, err := e.newProgram()
		if err != nil {
			return nil, err
		}
		p.entry = entry
		return p, p.add(entry.trees, name)
	}
	if err := e.check(name, text); err != nil {
		return nil, err
	}
	p, err := e.newProgram()
	if err != nil {
		return nil, err
	}
	if p.template, err = p.template.New(name).Parse(text); err != nil {
		return nil, err
	}
	countSteps(p.template)
	p.entry = e.cache.put(name, text, treesOf(p.template))
	return p, nil
}

var (
	errText    = errors.New("the template is too long")
	errActions = errors.New("the template has too many actions")
)

func (e *Engine) check(name, text string) error {
	switch {
	case len(text) > MaxText:
		return fmt.Errorf("parsing template %s: %w: more than %d bytes", name, errText, MaxText)
	case strings.Count(text, e.left) > maxActions:
		return fmt.Errorf("parsing template %s: %w: more than %d", name, errActions, maxActions)
	}
	return nil
}

func (e *Engine) newProgram() (*program, error) {
	t, err := e.base.Clone()
	if err != nil {
		return nil, fmt.Errorf("preparing a template: %w", err)
	}
	p := &program{engine: e, template: t}
	t.Funcs(p.functions())
	return p, nil
}

// done lets the next request for the same text have the program.
func (e *Engine) done(p *program) {
	p.current = nil
	if p.entry != nil && !p.changed {
		p.entry.pool.Put(p)
	}
}

// program is a template with functions that act for the request it is executed
// for. It is for one goroutine at a time.
type program struct {
	engine   *Engine
	template *template.Template
	current  *Context
	entry    *entry // nil if the text is not remembered
	changed  bool   // import has added definitions
}

// add gives the program the definitions of a text; if name is not empty, the one
// of that name is what it executes.
func (p *program) add(trees []*tree, name string) error {
	for _, t := range trees {
		added, err := p.template.AddParseTree(t.name, t.tree)
		if err != nil {
			return fmt.Errorf("preparing template %s: %w", t.name, err)
		}
		if t.name == name {
			p.template = added
		}
	}
	return nil
}

// functions is all that depends on the program.
func (p *program) functions() template.FuncMap {
	m := maps.Clone(pure)
	maps.Copy(m, template.FuncMap{
		stepName:      func() (string, error) { return p.current.step(p.engine.maxSteps) },
		"include":     p.include,
		"import":      p.imports,
		"httpInclude": p.httpInclude,
		"maybe":       p.maybe,
		"readFile":    func(name string) (string, error) { return p.current.readFile(name) },
		"fileExists":  func(name string) (bool, error) { return p.current.fileExists(name) },
		"fileStat":    func(name string) (any, error) { return p.current.fileStat(name) },
		"listFiles":   func(name string) ([]string, error) { return p.current.listFiles(name) },
		"env":         func(name string) string { return p.current.env(name) },
		"placeholder": func(name string) string { return p.current.placeholder(name) },
		"ph":          func(name string) string { return p.current.placeholder(name) },
		"httpError":   func(status int) (string, error) { return p.current.httpError(status) },
	})
	return m
}

// limited is where an execution prints to. It ends one that prints too much or
// that nobody waits for.
type limited struct {
	out     io.Writer
	context *Context
}

var errOutput = errors.New("the template prints too much")

// Write implements io.Writer.
func (l *limited) Write(b []byte) (int, error) {
	if l.context.run.printed += len(b); l.context.run.printed > MaxOutput {
		return 0, fmt.Errorf("%w: more than %d bytes", errOutput, MaxOutput)
	}
	if err := l.context.ctx.Err(); err != nil {
		return 0, err
	}
	return l.out.Write(b)
}
