// Package expression compiles and evaluates expressions over requests in the Common
// Expression Language. It knows the language, placeholders and how a matcher is
// called from an expression; which matchers there are it is told.
//
// What a stranger controls is bounded: an expression in its length, nesting and
// number of nodes when it is compiled, and its evaluation in the steps that it
// takes, the patterns that come out of a request and the texts that it makes.
package expression

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/schema"
)

const (
	// MaxLen is how many bytes an expression may have.
	MaxLen = 32 << 10

	maxNodes   = 20_000
	maxDepth   = 100
	maxReports = 5
)

// Expression is a compiled expression. It is safe for concurrent use.
type Expression struct {
	plain   plain // if it needs no program
	program cel.Program
	heavy   bool
	sites   []*site
	setup   match.Setup // of requests
}

// Compile reads an expression. Its result must be a boolean by type. The error
// is a schema.Problems whose messages say where in the expression they belong;
// all are at the pointer.
func Compile(setup match.Setup, pointer, text string, functions map[string]match.Function) (*Expression, error) {
	if len(text) > MaxLen {
		return nil, schema.Problems{{Pointer: pointer, Message: fmt.Sprintf("the expression has %d bytes, more than %d", len(text), MaxLen), Expected: "a shorter expression"}}
	}
	c := &compiler{setup: setup, pointer: pointer, source: rewrite(text), functions: functions}
	e, err := c.compile()
	if err != nil {
		return nil, err
	}
	return e, nil
}

type compiler struct {
	setup     match.Setup
	pointer   string
	source    source
	functions map[string]match.Function
	info      *ast.SourceInfo
	sites     []*site
	problems  schema.Problems
	quoted    bool // a placeholder stands inside a quoted text
}

func (c *compiler) compile() (*Expression, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("making the environment of expressions: %w", err)
	}
	parsed, issues := env.Parse(c.source.text)
	if issues.Err() != nil {
		return nil, c.issues(issues)
	}
	c.info = parsed.NativeRep().SourceInfo()
	heavy := c.bindCalls(parsed.NativeRep())
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return nil, c.issues(issues)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, schema.Problems{{Pointer: c.pointer, Found: "type " + t.String(), Expected: "an expression that is true or false",
			Message: fmt.Sprintf("the expression is of type %s, not bool; compare it with a value, as in %s", t, "{http.vars.x} == true")}}
	}
	e := &Expression{heavy: heavy, sites: c.sites, setup: match.Setup{Name: c.setup.Name}}
	if e.plain = e.asPlain(checked.NativeRep().Expr()); e.plain == nil {
		if e.program, err = env.Program(checked, e.programOptions()...); err != nil {
			return nil, schema.Problems{{Pointer: c.pointer, Message: fmt.Sprintf("planning the expression: %v", err), Expected: "an expression that can be evaluated"}}
		}
	}
	if c.quoted && c.setup.Env != nil {
		c.setup.Env.Warn(c.pointer, `a placeholder inside quotes is not replaced by its value; use + to join it with a text, or \{name} for a matcher that expands placeholders by itself`)
	}
	return e, nil
}

// issues makes problems of what the compiler has against the expression.
func (c *compiler) issues(issues *cel.Issues) error {
	for _, e := range issues.Errors() {
		c.report(e.Location, e.Message)
	}
	if len(c.problems) == 0 {
		c.problems = append(c.problems, schema.Problem{Pointer: c.pointer, Message: fmt.Sprintf("compiling the expression: %v", issues.Err())})
	}
	return c.problems
}

func (c *compiler) report(at common.Location, message string) {
	if len(c.problems) == maxReports {
		return
	}
	line, column := c.source.position(at.Line(), at.Column())
	c.problems = append(c.problems, schema.Problem{Pointer: c.pointer, Expected: "an expression in CEL",
		Message: fmt.Sprintf("line %d, column %d of the expression: %s", line, column, message)})
}

func (c *compiler) reportAt(e ast.Expr, format string, args ...any) {
	c.report(c.info.GetStartLocation(e.ID()), fmt.Sprintf(format, args...))
}

var evaluations = sync.Pool{New: func() any { return new(evaluation) }}

// Match evaluates the expression for a request.
func (e *Expression) Match(r *http.Request) (bool, error) {
	ok, err := e.evaluate(r)
	if err != nil {
		return false, fmt.Errorf("evaluating an expression: %w", withoutValues(err))
	}
	return ok, nil
}

// showing are the beginnings of messages of the language that go on with a value,
// which may be a secret of the request.
var showing = []string{"no such key", "error parsing regexp", "invalid RFC 3339 timestamp", "unknown time zone"}

func withoutValues(err error) error {
	text := err.Error()
	for _, s := range showing {
		if strings.HasPrefix(text, s) {
			return errors.New(s)
		}
	}
	return err
}

func (e *Expression) evaluate(r *http.Request) (bool, error) {
	if e.plain != nil {
		return e.plain.eval(plainRun{e.setup, r, scopeOf(r)})
	}
	ev := evaluations.Get().(*evaluation)
	ev.request, ev.scope, ev.expression = r, scopeOf(r), e
	var out ref.Val
	var err error
	if e.heavy {
		out, _, err = e.program.ContextEval(r.Context(), ev)
	} else {
		out, _, err = e.program.Eval(ev)
	}
	*ev = evaluation{}
	evaluations.Put(ev)
	return out == types.True, err
}
