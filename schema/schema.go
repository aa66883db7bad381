// Package schema is the one truth about a config type's shape: it derives a
// JSON Schema (draft 2020-12) from a Go type, checks values against it, and
// describes what is wrong with a document.
package schema

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Dialect is the JSON Schema dialect that all schemas here are written in.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

// Schema is a JSON Schema as the object that it is in JSON.
type Schema map[string]any

// Shaper is implemented by types whose JSON form is not what their Go kind
// suggests. It is asked of a zero value.
type Shaper interface {
	JSONShape() Schema
}

// TagShaper is a Shaper whose shape depends on the struct tag of the field it
// stands in, as that of a slot for a module does.
type TagShaper interface {
	JSONShapeOf(tag reflect.StructTag) Schema
}

// Reflector derives schemas from Go types.
type Reflector struct {
	// Comment returns the prose for a type ("pkg/path.Type") or one of its
	// fields ("pkg/path.Type.Field"), or "". It may be nil.
	Comment func(name string) string
}

// Reflect returns the schema of t. Where defaults is a valid value of type t,
// its non-zero fields appear as defaults.
func (r Reflector) Reflect(t reflect.Type, defaults reflect.Value) Schema {
	return r.of(t, "", defaults)
}

func (r Reflector) of(t reflect.Type, tag reflect.StructTag, def reflect.Value) Schema {
	if t.Kind() == reflect.Pointer {
		return r.of(t.Elem(), tag, reflect.Value{})
	}
	zero := reflect.New(t).Elem().Interface()
	if s, ok := zero.(TagShaper); ok {
		return s.JSONShapeOf(tag)
	}
	if s, ok := zero.(Shaper); ok {
		return s.JSONShape()
	}
	switch t.Kind() {
	case reflect.Bool:
		return Schema{"type": "boolean"}
	case reflect.String:
		return Schema{"type": "string"}
	case reflect.Float64:
		return Schema{"type": "number"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return integer(-1<<(t.Bits()-1), 1<<(t.Bits()-1)-1)
	case reflect.Uint16:
		return integer(0, 65535)
	case reflect.Slice:
		return Schema{"type": "array", "items": r.element(t.Elem(), tag)}
	case reflect.Map:
		return Schema{"type": "object", "additionalProperties": r.element(t.Elem(), tag)}
	case reflect.Struct:
		return r.object(t, def)
	case reflect.Interface:
		return Schema{}
	}
	panic(fmt.Sprintf("schema: no JSON shape for %v", t))
}

// integer bounds are exact in JSON only up to 2^53, so wider types have none.
func integer(lo, hi int64) Schema {
	if hi > 1<<53 {
		return Schema{"type": "integer"}
	}
	return Schema{"type": "integer", "minimum": float64(lo), "maximum": float64(hi)}
}

// element is the shape of a list or map element, where null stands for an
// absent list, map or object.
func (r Reflector) element(t reflect.Type, tag reflect.StructTag) Schema {
	s := r.of(t, tag, reflect.Value{})
	switch t.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer:
		if name, ok := s["type"].(string); ok {
			s["type"] = []any{name, "null"}
		}
	}
	return s
}

func (r Reflector) object(t reflect.Type, def reflect.Value) Schema {
	props, required := Schema{}, []any{}
	for f := range Fields(t) {
		var d reflect.Value
		if def.IsValid() {
			d = def.FieldByIndex(f.Index)
		}
		s := r.of(f.Type, f.Tag, d)
		f.Rules.describe(s)
		if text := r.comment(t, f.GoName); text != "" {
			s["description"] = text
		}
		if d.IsValid() && !d.IsZero() && scalar(d) != nil {
			s["default"] = scalar(d)
		}
		if f.Rules.Required {
			required = append(required, f.Name)
		}
		props[f.Name] = map[string]any(s)
	}
	s := Schema{"type": "object", "properties": map[string]any(props), "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	if text := r.comment(t, ""); text != "" {
		s["description"] = text
	}
	return s
}

func (r Reflector) comment(t reflect.Type, field string) string {
	if r.Comment == nil || t.Name() == "" {
		return ""
	}
	name := t.PkgPath() + "." + t.Name()
	if field != "" {
		name += "." + field
	}
	return r.Comment(name)
}

// scalar is the JSON form of a default, or nil for what has no short form.
func scalar(v reflect.Value) any {
	if s, ok := v.Interface().(fmt.Stringer); ok && v.Kind() != reflect.Struct {
		return s.String()
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return v.String()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return float64(v.Int())
	case reflect.Pointer:
		if !v.IsNil() {
			return scalar(v.Elem())
		}
	}
	return nil
}

// Rules are the constraints of a field, from its `check` tag, for example
// `check:"required"`, `check:"min=0,max=10"` or `check:"enum=a|b"`.
type Rules struct {
	Required bool
	Min, Max *float64
	Enum     []string
}

func parseRules(tag string) Rules {
	var r Rules
	for part := range strings.SplitSeq(tag, ",") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "":
		case "required":
			r.Required = true
		case "min":
			r.Min = number(value)
		case "max":
			r.Max = number(value)
		case "enum":
			r.Enum = strings.Split(value, "|")
		default:
			panic("schema: unknown check " + part)
		}
	}
	return r
}

func number(s string) *float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic("schema: bad number in check tag: " + s)
	}
	return &f
}

func (r Rules) describe(s Schema) {
	if r.Min != nil {
		s["minimum"] = *r.Min
	}
	if r.Max != nil {
		s["maximum"] = *r.Max
	}
	if r.Enum != nil {
		values := make([]any, len(r.Enum))
		for i, v := range r.Enum {
			values[i] = v
		}
		s["enum"] = values
	}
}
