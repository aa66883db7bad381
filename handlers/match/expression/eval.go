package expression

import (
	"fmt"
	"net/http"
	"reflect"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// evaluation is one run of an expression. It is the variables of the run, and
// the value of the only one.
type evaluation struct {
	request    *http.Request
	scope      vars.Scope
	expression *Expression
}

var requestType = cel.OpaqueType("http.request")

// ResolveName implements interpreter.Activation.
func (ev *evaluation) ResolveName(name string) (any, bool) {
	if name == requestVariable {
		return ev, true
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (ev *evaluation) Parent() interpreter.Activation { return nil }

// ConvertToNative implements ref.Val.
func (ev *evaluation) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a request cannot be converted to %v", t)
}

// ConvertToType implements ref.Val.
func (ev *evaluation) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return requestType
	}
	return types.NewErr("a request cannot be converted to %s", t.TypeName())
}

// Equal implements ref.Val.
func (ev *evaluation) Equal(other ref.Val) ref.Val { return types.Bool(other == ref.Val(ev)) }

// Type implements ref.Val.
func (ev *evaluation) Type() ref.Type { return requestType }

// Value implements ref.Val.
func (ev *evaluation) Value() any { return nil }

func (ev *evaluation) lookup(name string) ref.Val {
	v, _ := ev.scope.Lookup(name)
	return value(v)
}

func (ev *evaluation) match(s *site) ref.Val {
	ok, err := s.match(ev.expression.setup, ev.request, ev.scope)
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Bool(ok)
}

// scopeOf is what placeholders are looked up in.
func scopeOf(r *http.Request) vars.Scope {
	if x := handlers.Of(r); x != nil {
		return x
	}
	return vars.Map(nil)
}

func lookupText(scope vars.Scope, name string) string {
	if s, ok := scope.(vars.StringScope); ok {
		if text, _, ok := s.LookupString(name); ok {
			return text
		}
	}
	v, _ := scope.Lookup(name)
	return vars.ToString(v)
}

// values makes values of the language.
type values struct{}

// NativeToValue implements types.Adapter.
func (values) NativeToValue(v any) ref.Val { return value(v) }

// value is the value of a placeholder in the language: null if there is none,
// and a text for what the language has no type for.
func value(v any) ref.Val {
	switch v := v.(type) {
	case nil:
		return types.NullValue
	case ref.Val:
		return v
	case string:
		return types.String(v)
	case bool:
		return types.Bool(v)
	case int:
		return types.Int(v)
	case int64:
		return types.Int(v)
	case float64:
		return types.Double(v)
	case time.Duration:
		return types.Duration{Duration: v}
	case time.Time:
		return types.Timestamp{Time: v}
	case []string:
		return types.NewStringList(values{}, v)
	case []any:
		return types.NewDynamicList(values{}, v)
	case []ref.Val:
		return types.NewRefValList(values{}, v)
	case map[string]any:
		return types.NewDynamicMap(values{}, v)
	case map[string]string:
		return types.NewStringStringMap(values{}, v)
	case map[ref.Val]ref.Val:
		return types.NewRefValMap(values{}, v)
	case error, fmt.Stringer:
		return types.String(vars.ToString(v))
	}
	return rare(v)
}

// rare makes a value of what placeholders hardly ever are.
func rare(v any) ref.Val {
	out := types.DefaultTypeAdapter.NativeToValue(v)
	if types.IsError(out) {
		return types.String(vars.ToString(v))
	}
	return out
}

// lookupNode is a call of ph with a literal.
type lookupNode struct {
	id   int64
	name string
}

// ID implements interpreter.Interpretable.
func (n *lookupNode) ID() int64 { return n.id }

// Eval implements interpreter.Interpretable.
func (n *lookupNode) Eval(vars interpreter.Activation) ref.Val {
	return run(vars, func(ev *evaluation) ref.Val { return ev.lookup(n.name) })
}

// Exec implements interpreter.InterpretableV2.
func (n *lookupNode) Exec(f *interpreter.ExecutionFrame) ref.Val {
	if ev, ok := f.Scope().(*evaluation); ok {
		return ev.lookup(n.name)
	}
	return n.Eval(f)
}

// matchNode is a call of a matcher.
type matchNode struct {
	id   int64
	site *site
}

// ID implements interpreter.Interpretable.
func (n *matchNode) ID() int64 { return n.id }

// Eval implements interpreter.Interpretable.
func (n *matchNode) Eval(vars interpreter.Activation) ref.Val {
	return run(vars, func(ev *evaluation) ref.Val { return ev.match(n.site) })
}

// Exec implements interpreter.InterpretableV2.
func (n *matchNode) Exec(f *interpreter.ExecutionFrame) ref.Val {
	if ev, ok := f.Scope().(*evaluation); ok {
		return ev.match(n.site)
	}
	return n.Eval(f)
}

func run(vars interpreter.Activation, f func(*evaluation) ref.Val) ref.Val {
	v, _ := vars.ResolveName(requestVariable)
	ev, ok := v.(*evaluation)
	if !ok {
		return types.NewErrFromString("no request is being evaluated")
	}
	return f(ev)
}

// direct replaces the calls that need nothing of the interpreter.
func (e *Expression) direct(n interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := n.(interpreter.InterpretableCall)
	if !ok || len(call.Args()) != 2 {
		return n, nil
	}
	arg, ok := call.Args()[1].(interpreter.InterpretableConst)
	if !ok {
		return n, nil
	}
	switch call.Function() {
	case placeholderFunction:
		if name, ok := arg.Value().(types.String); ok {
			return &lookupNode{call.ID(), string(name)}, nil
		}
	case matchFunction:
		if i, ok := arg.Value().(types.Int); ok {
			return &matchNode{call.ID(), e.sites[i]}, nil
		}
	}
	return n, nil
}
