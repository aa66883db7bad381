package expression

import (
	"net/http"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// plain is an expression of nothing but matchers and comparisons of placeholders
// with literals, joined by &&, || and !. Most expressions are; they need no
// interpreter. Its answers are those that the interpreter would give.
type plain interface {
	eval(run plainRun) (bool, error)
}

type plainRun struct {
	setup   match.Setup
	request *http.Request
	scope   vars.Scope
}

type (
	// plainJoin is && or ||. The outcome that decides does so even where the
	// other side has failed, whichever comes first.
	plainJoin struct {
		decides     bool
		left, right plain
	}
	plainNot   struct{ of plain }
	plainMatch struct{ *site }
	plainEqual struct {
		name   string
		want   ref.Val
		text   string // of want
		isText bool
		not    bool
	}
)

func (n plainJoin) eval(run plainRun) (bool, error) {
	left, first := n.left.eval(run)
	if first == nil && left == n.decides {
		return n.decides, nil
	}
	right, err := n.right.eval(run)
	switch {
	case err == nil && right == n.decides:
		return n.decides, nil
	case first != nil:
		return false, first
	}
	return !n.decides, err
}

func (n plainNot) eval(run plainRun) (bool, error) {
	ok, err := n.of.eval(run)
	return !ok, err
}

func (n plainMatch) eval(run plainRun) (bool, error) {
	return n.match(run.setup, run.request, run.scope)
}

func (n *plainEqual) eval(run plainRun) (bool, error) {
	v, _ := run.scope.Lookup(n.name)
	if s, ok := v.(string); ok && n.isText {
		return (s == n.text) != n.not, nil
	}
	return (types.Equal(value(v), n.want) == types.True) != n.not, nil
}

// asPlain returns the expression as plain, or nil if it is more than that.
func (e *Expression) asPlain(x ast.Expr) plain {
	if x.Kind() != ast.CallKind {
		return nil
	}
	call := x.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr:
		left := e.asPlain(args[0])
		if left == nil {
			return nil
		}
		if right := e.asPlain(args[1]); right != nil {
			return plainJoin{call.FunctionName() == operators.LogicalOr, left, right}
		}
	case operators.LogicalNot:
		if of := e.asPlain(args[0]); of != nil {
			return plainNot{of}
		}
	case operators.Equals, operators.NotEquals:
		return asEqual(args[0], args[1], call.FunctionName() == operators.NotEquals)
	case matchFunction:
		return plainMatch{e.sites[args[1].AsLiteral().(types.Int)]}
	}
	return nil
}

func asEqual(a, b ast.Expr, not bool) plain {
	if a.Kind() == ast.LiteralKind {
		a, b = b, a
	}
	if a.Kind() != ast.CallKind || b.Kind() != ast.LiteralKind {
		return nil
	}
	name, ok := placeholder(a.AsCall())
	if !ok {
		return nil
	}
	n := &plainEqual{name: name, want: b.AsLiteral(), not: not}
	if s, ok := n.want.(types.String); ok {
		n.text, n.isText = string(s), true
	}
	return n
}
