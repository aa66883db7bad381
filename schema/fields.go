package schema

import (
	"iter"
	"reflect"
	"strings"
)

// Field is one JSON field of a struct.
type Field struct {
	// Name is the field's name in JSON, GoName that in Go.
	Name, GoName string
	Type         reflect.Type
	// Index finds the field with reflect.Value.FieldByIndex, through embedded
	// structs.
	Index []int
	Tag   reflect.StructTag
	Rules Rules
}

// Fields iterates over the JSON fields of struct type t in declaration order,
// those of embedded structs in their place. Fields without a json tag, or with
// json:"-", are not part of the config.
func Fields(t reflect.Type) iter.Seq[Field] {
	return func(yield func(Field) bool) { eachField(t, nil, yield) }
}

func eachField(t reflect.Type, at []int, yield func(Field) bool) bool {
	for i := range t.NumField() {
		sf := t.Field(i)
		index := append(append([]int(nil), at...), i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.Anonymous && name == "" && sf.Type.Kind() == reflect.Struct {
			if !eachField(sf.Type, index, yield) {
				return false
			}
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		f := Field{Name: name, GoName: sf.Name, Type: sf.Type, Index: index, Tag: sf.Tag, Rules: parseRules(sf.Tag.Get("check"))}
		if !yield(f) {
			return false
		}
	}
	return true
}
