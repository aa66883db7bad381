package expression

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
)

const (
	requestVariable     = "req"
	placeholderFunction = "ph"
	// matchFunction cannot be written in an expression.
	matchFunction = "@match"
)

const (
	// maxCost is how many steps the evaluation of an expression may take, by
	// the count of the language: about one for a call or a turn of a loop, and
	// one for ten characters.
	maxCost = 1_000_000
	// maxText is the longest text that an expression makes of others.
	maxText = 1 << 20
	// maxPattern is the longest regular expression taken from a request.
	maxPattern = 1 << 10
	// maxRange is the longest list that lists.range makes.
	maxRange = 100_000
	// maxDistinct is how many elements distinct compares with each other, if
	// they are not texts.
	maxDistinct = 1_000

	interruptEvery = 100
)

// environment is the language: the standard library and four extensions, the
// variable req, placeholders, and calls of matchers.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.CustomTypeAdapter(values{}),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserRecursionLimit(maxDepth),
		cel.ParserExpressionSizeLimit(4*MaxLen),
		cel.ExpressionNodeLimit(maxNodes),
		ext.Strings(ext.StringsVersion(5)),
		ext.Lists(ext.ListsVersion(4), ext.ListsMaxRangeSize(maxRange)),
		ext.Math(ext.MathVersion(3)),
		ext.Bindings(ext.BindingsVersion(0)),
		boundedFunctions(),
		cel.Variable(requestVariable, requestType),
		cel.Function(placeholderFunction, cel.Overload("ph_request_string", []*cel.Type{requestType, cel.StringType}, cel.DynType,
			cel.BinaryBinding(func(req, name ref.Val) ref.Val {
				return run(asActivation(req), func(ev *evaluation) ref.Val { return ev.lookup(string(name.(types.String))) })
			}))),
		cel.Function(matchFunction, cel.Overload("match_request_int", []*cel.Type{requestType, cel.IntType}, cel.BoolType,
			cel.BinaryBinding(func(req, site ref.Val) ref.Val {
				return run(asActivation(req), func(ev *evaluation) ref.Val { return ev.match(ev.expression.sites[site.(types.Int)]) })
			}))),
	)
})

func asActivation(req ref.Val) interpreter.Activation {
	if ev, ok := req.(*evaluation); ok {
		return ev
	}
	return interpreter.EmptyActivation()
}

// boundedFunctions are those of the libraries whose time or result could grow
// much faster than their arguments, in forms that do not.
func boundedFunctions() cel.EnvOption {
	str, integer, texts, elem := cel.StringType, cel.IntType, cel.ListType(cel.StringType), cel.TypeParamType("T")
	options := []cel.EnvOption{
		cel.Function("replace",
			cel.MemberOverload("string_replace_string_string", []*cel.Type{str, str, str}, str, cel.FunctionBinding(replace)),
			cel.MemberOverload("string_replace_string_string_int", []*cel.Type{str, str, str, integer}, str, cel.FunctionBinding(replace))),
		cel.Function("join",
			cel.MemberOverload("list_join", []*cel.Type{texts}, str, cel.UnaryBinding(func(l ref.Val) ref.Val { return join(l, "") })),
			cel.MemberOverload("list_join_string", []*cel.Type{texts, str}, str,
				cel.BinaryBinding(func(l, sep ref.Val) ref.Val { return join(l, string(sep.(types.String))) }))),
		cel.Function("indexOf",
			cel.MemberOverload("string_index_of_string", []*cel.Type{str, str}, integer, cel.BinaryBinding(func(s, sub ref.Val) ref.Val { return indexOf(s, sub) })),
			cel.MemberOverload("string_index_of_string_int", []*cel.Type{str, str, integer}, integer, cel.FunctionBinding(indexOf))),
		cel.Function("lastIndexOf",
			cel.MemberOverload("string_last_index_of_string", []*cel.Type{str, str}, integer, cel.BinaryBinding(func(s, sub ref.Val) ref.Val { return lastIndexOf(s, sub) })),
			cel.MemberOverload("string_last_index_of_string_int", []*cel.Type{str, str, integer}, integer, cel.FunctionBinding(lastIndexOf))),
		cel.Function("distinct",
			cel.MemberOverload("list_distinct", []*cel.Type{cel.ListType(elem)}, cel.ListType(elem), cel.UnaryBinding(distinct))),
	}
	return func(e *cel.Env) (*cel.Env, error) {
		var err error
		for _, o := range options {
			if e, err = o(e); err != nil {
				return nil, err
			}
		}
		return e, nil
	}
}

var errTooLong = errors.New("the text would be too long")

func replace(args ...ref.Val) ref.Val {
	s, from, to := string(args[0].(types.String)), string(args[1].(types.String)), string(args[2].(types.String))
	n := strings.Count(s, from)
	if len(args) == 4 {
		if limit := args[3].(types.Int); limit >= 0 {
			n = int(min(int64(n), int64(limit)))
		}
	}
	if n > 0 && len(to) > len(from) && len(s)+n*(len(to)-len(from)) > maxText {
		return types.WrapErr(fmt.Errorf("replace: %w, more than %d bytes", errTooLong, maxText))
	}
	return types.String(strings.Replace(s, from, to, n))
}

func join(list ref.Val, sep string) ref.Val {
	var out strings.Builder
	first := true
	for it := list.(traits.Lister).Iterator(); it.HasNext() == types.True; first = false {
		s, ok := it.Next().(types.String)
		if !ok {
			return types.NewErr("join: an element is not a string")
		}
		if !first {
			out.WriteString(sep)
		}
		out.WriteString(string(s))
		if out.Len() > maxText {
			return types.WrapErr(fmt.Errorf("join: %w, more than %d bytes", errTooLong, maxText))
		}
	}
	return types.String(out.String())
}

// indexOf counts in characters, as all positions in expressions.
func indexOf(args ...ref.Val) ref.Val {
	s, sub := string(args[0].(types.String)), string(args[1].(types.String))
	from := 0
	if len(args) == 3 {
		off := args[2].(types.Int)
		if off < 0 {
			return types.NewErr("index out of range: %d", off)
		}
		n := utf8.RuneCountInString(s)
		switch {
		case sub == "":
			return min(off, types.Int(n))
		case int64(off) >= int64(n):
			return types.Int(-1)
		}
		from = int(off)
	}
	start := byteOffset(s, from)
	i := strings.Index(s[start:], sub)
	if i < 0 {
		return types.Int(-1)
	}
	return types.Int(from + utf8.RuneCountInString(s[start:start+i]))
}

func lastIndexOf(args ...ref.Val) ref.Val {
	s, sub := string(args[0].(types.String)), string(args[1].(types.String))
	end := len(s)
	if len(args) == 3 {
		off := args[2].(types.Int)
		if off < 0 {
			return types.NewErr("index out of range: %d", off)
		}
		n := utf8.RuneCountInString(s)
		switch {
		case sub == "":
			return min(off, types.Int(n))
		case int64(off) >= int64(n):
			return types.Int(-1)
		}
		end = min(len(s), byteOffset(s, int(off))+len(sub))
	}
	i := strings.LastIndex(s[:end], sub)
	if i < 0 {
		return types.Int(-1)
	}
	return types.Int(utf8.RuneCountInString(s[:i]))
}

// byteOffset is where the character n of s begins.
func byteOffset(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

func distinct(list ref.Val) ref.Val {
	l := list.(traits.Lister)
	n, _ := l.Size().(types.Int)
	out := make([]ref.Val, 0, min(int(n), maxDistinct))
	texts := make(map[types.String]struct{})
	var others []ref.Val
next:
	for it := l.Iterator(); it.HasNext() == types.True; {
		v := it.Next()
		if s, ok := v.(types.String); ok {
			if _, seen := texts[s]; !seen {
				texts[s] = struct{}{}
				out = append(out, v)
			}
			continue
		}
		for _, o := range others {
			if v.Equal(o) == types.True {
				continue next
			}
		}
		if len(others) == maxDistinct {
			return types.NewErr("distinct: more than %d values that are not strings", maxDistinct)
		}
		out, others = append(out, v), append(others, v)
	}
	return types.NewRefValList(values{}, out)
}

// isLight reports whether a call takes no longer than looking at its arguments
// once, and does not make more of them.
func isLight(call ast.CallExpr) bool {
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional,
		operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
		operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, operators.Negate,
		operators.Index, operators.In,
		overloads.Size, overloads.Contains, overloads.StartsWith, overloads.EndsWith,
		overloads.TypeConvertInt, overloads.TypeConvertUint, overloads.TypeConvertDouble, overloads.TypeConvertString,
		overloads.TypeConvertBool, overloads.TypeConvertTimestamp, overloads.TypeConvertDuration, overloads.TypeConvertDyn, overloads.TypeConvertType,
		overloads.TimeGetFullYear, overloads.TimeGetMonth, overloads.TimeGetDayOfYear, overloads.TimeGetDate, overloads.TimeGetDayOfMonth,
		overloads.TimeGetDayOfWeek, overloads.TimeGetHours, overloads.TimeGetMinutes, overloads.TimeGetSeconds, overloads.TimeGetMilliseconds,
		"charAt", "indexOf", "lastIndexOf", "lowerAscii", "upperAscii", "substring", "trim", placeholderFunction, matchFunction:
		return true
	case overloads.Matches:
		args := call.Args()
		return len(args) > 0 && args[len(args)-1].Kind() == ast.LiteralKind
	}
	return false
}

// programOptions say how an expression is evaluated: without counting if it is
// light.
func (e *Expression) programOptions() []cel.ProgramOption {
	if !e.heavy {
		return []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(e.direct)}
	}
	return []cel.ProgramOption{
		cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(boundPatterns),
		cel.CostTracking(callCosts{}), cel.CostLimit(maxCost), cel.InterruptCheckFrequency(interruptEvery),
	}
}

// callCosts adds what the language does not count by itself.
type callCosts struct{}

// CallCost implements cost.ActualCostEstimator.
func (callCosts) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	switch function {
	case "replace", "join", "distinct":
		cost := 1 + sizeOf(result)/10
		for _, a := range args {
			cost += sizeOf(a) / 10
		}
		return &cost
	}
	return nil
}

func sizeOf(v ref.Val) uint64 {
	if s, ok := v.(traits.Sizer); ok {
		if n, ok := s.Size().(types.Int); ok && n > 0 {
			return uint64(n)
		}
	}
	return 0
}

// boundPatterns bounds the regular expressions that are not literals.
func boundPatterns(n interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := n.(interpreter.InterpretableCall)
	if !ok || call.Function() != overloads.Matches || len(call.Args()) != 2 {
		return n, nil
	}
	if _, ok := call.Args()[1].(interpreter.InterpretableConst); ok {
		return n, nil
	}
	return &boundedMatches{call}, nil
}

type boundedMatches struct{ interpreter.InterpretableCall }

// Exec implements interpreter.InterpretableV2.
func (m *boundedMatches) Exec(f *interpreter.ExecutionFrame) ref.Val {
	if p, ok := m.Args()[1].Exec(f).(types.String); ok && len(p) > maxPattern {
		return types.NewErr("matches: the pattern has %d bytes, more than %d", len(p), maxPattern)
	}
	return m.InterpretableCall.Exec(f)
}
