package expression

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// maxValues is how many bytes the arguments of a function may have together when
// they come out of a request.
const maxValues = 8 << 10

// text is an argument: literals and placeholders in a row.
type text []part

type part struct {
	literal string
	name    string // of a placeholder
}

type entry struct {
	key    text
	values []text
}

// site is one call of a function.
type site struct {
	name     string
	function match.Function
	texts    []text
	object   []entry
	isObject bool

	// fixed is the matcher if all arguments are literals.
	fixed handlers.Matcher
	// recent is the matcher for the values of the request before.
	recent atomic.Pointer[recent]
}

type recent struct {
	values  []string
	matcher handlers.Matcher
}

// bindCalls turns the calls of functions into calls of match, and reports
// whether evaluating the rest may take long.
func (c *compiler) bindCalls(a *ast.AST) (heavy bool) {
	ids := ast.MaxID(a)
	factory := ast.NewExprFactory()
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			heavy = true
		case ast.LiteralKind:
			s, ok := e.AsLiteral().(types.String)
			c.quoted = c.quoted || ok && strings.Contains(string(s), `ph(req, "`)
		case ast.CallKind:
			call := e.AsCall()
			f, ok := c.functions[call.FunctionName()]
			if !ok || call.IsMemberFunction() {
				heavy = heavy || !isLight(call)
				return
			}
			s := c.site(e, call, f)
			if s == nil {
				return
			}
			c.sites = append(c.sites, s)
			index := factory.NewLiteral(ids+1, types.Int(len(c.sites)-1))
			e.SetKindCase(factory.NewCall(e.ID(), matchFunction, factory.NewIdent(ids+2, requestVariable), index))
			ids += 2
		}
	}))
	return heavy
}

// site reads a call. It returns nil if there is a problem.
func (c *compiler) site(e ast.Expr, call ast.CallExpr, f match.Function) *site {
	before := len(c.problems)
	s := &site{name: call.FunctionName(), function: f}
	args := call.Args()
	switch {
	case f.Object && len(args) == 1 && args[0].Kind() == ast.MapKind:
		s.isObject, s.object = true, c.entries(s.name, args[0].AsMap())
	case f.Object && f.Max == 0:
		c.reportAt(e, "%s takes one object, as in %s({'name': 'value'})", s.name, s.name)
	case len(args) < f.Min || f.Max >= 0 && len(args) > f.Max:
		c.reportAt(e, "%s takes %s, found %d", s.name, counts(f.Min, f.Max), len(args))
	default:
		for _, arg := range args {
			s.texts = append(s.texts, c.text(s.name, arg))
		}
	}
	if len(c.problems) > before {
		return nil
	}
	if call, ok := s.literals(); ok {
		m, err := f.Make(c.setup, call)
		if err != nil {
			c.failed(e, s.name, err)
			return nil
		}
		s.fixed = m
	} else if f.Deferred {
		c.reportAt(e, "%s cannot join placeholders with texts that hold a brace or a backslash", s.name)
		return nil
	}
	return s
}

func counts(least, most int) string {
	switch {
	case most < 0:
		return fmt.Sprintf("at least %d text", least)
	case least == most && most == 1:
		return "1 text"
	}
	return fmt.Sprintf("%d to %d texts", least, most)
}

// failed reports why a matcher could not be made.
func (c *compiler) failed(e ast.Expr, name string, err error) {
	var ps schema.Problems
	if !errors.As(err, &ps) {
		c.reportAt(e, "%s: %v", name, err)
		return
	}
	for _, p := range ps {
		c.reportAt(e, "%s: %s", name, p.Message)
	}
}

func (c *compiler) entries(function string, m ast.MapExpr) []entry {
	out := make([]entry, 0, m.Size())
	seen := map[string]bool{}
	for _, e := range m.Entries() {
		kv := e.AsMapEntry()
		en := entry{key: c.text(function, kv.Key()), values: []text{}}
		if len(en.key) == 1 && en.key[0].name == "" {
			if seen[en.key[0].literal] {
				c.reportAt(kv.Key(), "%s: the key %q is there twice", function, en.key[0].literal)
			}
			seen[en.key[0].literal] = true
		}
		if v := kv.Value(); v.Kind() == ast.ListKind {
			for _, x := range v.AsList().Elements() {
				en.values = append(en.values, c.text(function, x))
			}
		} else {
			en.values = append(en.values, c.text(function, v))
		}
		out = append(out, en)
	}
	return out
}

// text reads an argument that must be a text. The sum of literals is a literal.
func (c *compiler) text(function string, e ast.Expr) text {
	var out text
	ok := true
	var walk func(e ast.Expr)
	walk = func(e ast.Expr) {
		switch e.Kind() {
		case ast.LiteralKind:
			if s, is := e.AsLiteral().(types.String); is {
				if n := len(out); n > 0 && out[n-1].name == "" {
					out[n-1].literal += string(s)
				} else {
					out = append(out, part{literal: string(s)})
				}
				return
			}
		case ast.CallKind:
			call := e.AsCall()
			if call.FunctionName() == operators.Add {
				walk(call.Args()[0])
				walk(call.Args()[1])
				return
			}
			if name, is := placeholder(call); is {
				out = append(out, part{name: name})
				return
			}
		}
		ok = false
	}
	walk(e)
	if !ok {
		c.reportAt(e, "arguments of %s must be texts in quotes, placeholders, or sums of these", function)
	}
	return out
}

// placeholder returns the name that a call of ph looks up.
func placeholder(call ast.CallExpr) (string, bool) {
	args := call.Args()
	if call.FunctionName() != placeholderFunction || call.IsMemberFunction() || len(args) != 2 || args[1].Kind() != ast.LiteralKind {
		return "", false
	}
	name, ok := args[1].AsLiteral().(types.String)
	return string(name), ok
}

// literals returns the arguments if they are the same for all requests.
func (s *site) literals() (match.Call, bool) {
	ok := true
	c := s.call(func(t text, _ bool) string {
		v, fixed := t.fixed(s.function.Deferred)
		ok = ok && fixed
		return v
	})
	return c, ok
}

// call makes the arguments of what each text stands for.
func (s *site) call(expand func(t text, key bool) string) match.Call {
	if s.isObject {
		c := match.Call{Object: make(map[string][]string, len(s.object))}
		for _, e := range s.object {
			key := expand(e.key, true)
			values := slices.Grow(c.Object[key], len(e.values))
			for _, v := range e.values {
				values = append(values, expand(v, false))
			}
			if values == nil {
				values = []string{}
			}
			c.Object[key] = values
		}
		return c
	}
	c := match.Call{Texts: make([]string, len(s.texts))}
	for i, t := range s.texts {
		c.Texts[i] = expand(t, false)
	}
	return c
}

// fixed is what a text stands for whatever the request, placeholders written as
// such if templates says so.
func (t text) fixed(templates bool) (string, bool) {
	if len(t) == 1 && t[0].name == "" {
		return t[0].literal, true
	}
	if !templates {
		return "", false
	}
	var out strings.Builder
	for _, p := range t {
		if p.name != "" {
			out.WriteString("{" + p.name + "}")
			continue
		}
		if strings.ContainsAny(p.literal, `{}\`) {
			return "", false
		}
		out.WriteString(p.literal)
	}
	return out.String(), true
}

// match runs the matcher with the values of the request.
func (s *site) match(setup match.Setup, r *http.Request, scope vars.Scope) (bool, error) {
	if s.fixed != nil {
		return s.fixed.Match(r)
	}
	var space [8]string
	values, size := space[:0], 0
	s.eachDynamic(func(p part) {
		v := lookupText(scope, p.name)
		values, size = append(values, v), size+len(v)
	})
	if m := s.recent.Load(); m != nil && slices.Equal(m.values, values) {
		return m.matcher.Match(r)
	}
	if size > maxValues {
		return false, fmt.Errorf("the placeholders in %s stand for %d bytes, more than %d", s.name, size, maxValues)
	}
	m, err := s.function.Make(setup, s.filled(values))
	if err != nil {
		// The cause would show values of the request, which may be secret.
		return false, fmt.Errorf("%s cannot be set up with the values that its placeholders have in this request", s.name)
	}
	s.recent.Store(&recent{slices.Clone(values), m})
	return m.Match(r)
}

func (s *site) eachDynamic(visit func(part)) {
	each := func(t text) {
		for _, p := range t {
			if p.name != "" {
				visit(p)
			}
		}
	}
	for _, t := range s.texts {
		each(t)
	}
	for _, e := range s.object {
		each(e.key)
		for _, v := range e.values {
			each(v)
		}
	}
}

// filled is the arguments with values for the placeholders, in order.
func (s *site) filled(values []string) match.Call {
	return s.call(func(t text, key bool) string {
		if len(t) == 1 && t[0].name == "" {
			return t[0].literal
		}
		var out strings.Builder
		for _, p := range t {
			v := p.literal
			if p.name != "" {
				v, values = values[0], values[1:]
				if key && s.function.ExpandsKeys || !key && s.function.Expands {
					v = escaper.Replace(v)
				}
			}
			out.WriteString(v)
		}
		return out.String()
	})
}

// escaper writes a text so that it expands to itself.
var escaper = strings.NewReplacer("{", `\{`, "}", `\}`)
