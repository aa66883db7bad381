package module

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
)

// Encoder is implemented by config types that write their own JSON form. A nil
// node leaves the field out.
type Encoder interface {
	EncodeNode() *config.Node
}

// RefTo is a slot that is filled with a subtree which is not compiled, for a
// config that is to be encoded. A nil node is an empty slot.
func RefTo[T any](n *config.Node) Ref[T] {
	if n == nil {
		return Ref[T]{}
	}
	return Ref[T]{&child{node: n}}
}

// Encode is the inverse of decoding: it returns the shortest object that
// decodes to cfg, which is a pointer to the config type of module id, a map, a
// *config.Node (returned as it is), or nil for an empty one. Fields that have
// their default are left out; so are nil pointers, empty lists and empty maps.
// What a pointer points to is written even if it is empty.
func (t *Table) Encode(id string, cfg any) (*config.Node, error) {
	switch c := cfg.(type) {
	case nil:
		return config.NewObject(nil), nil
	case *config.Node:
		return c, nil
	}
	var defaults reflect.Value
	if e := t.specs[id]; e != nil && reflect.TypeOf(cfg) == reflect.PointerTo(e.config) {
		defaults = e.defaults
	}
	n, err := encodeValue(reflect.ValueOf(cfg), defaults)
	if err != nil {
		return nil, fmt.Errorf("writing the config of %s: %w", id, err)
	}
	return n, nil
}

var encoderType = reflect.TypeFor[Encoder]()

// encodeValue writes v. The defaults, if valid, are of the type that v points
// to.
func encodeValue(v, defaults reflect.Value) (*config.Node, error) {
	t := v.Type()
	if t.Implements(encoderType) {
		if t.Kind() == reflect.Pointer && v.IsNil() {
			return config.NewNull(), nil
		}
		return v.Interface().(Encoder).EncodeNode(), nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return config.NewNull(), nil
		}
		if t == nodeType {
			return v.Interface().(*config.Node), nil
		}
		if defaults.IsValid() && defaults.Kind() == reflect.Pointer {
			defaults = defaults.Elem() // invalid if there is none
		}
		return encodeValue(v.Elem(), defaults)
	case reflect.Struct:
		m := map[string]*config.Node{}
		if err := encodeFields(v, defaults, m); err != nil {
			return nil, err
		}
		return config.NewObject(m), nil
	case reflect.Map:
		return encodeMap(v)
	case reflect.Slice:
		return encodeSlice(v)
	case reflect.Bool:
		return config.NewBool(v.Bool()), nil
	case reflect.String:
		return config.NewString(v.String()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return config.NewNumber(float64(v.Int())), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return config.NewNumber(float64(v.Uint())), nil
	case reflect.Float64:
		return config.NewNumber(v.Float()), nil
	case reflect.Interface:
		if v.IsNil() {
			return config.NewNull(), nil
		}
		return encodeValue(v.Elem(), reflect.Value{})
	}
	return nil, fmt.Errorf("a %s has no JSON form", t)
}

func encodeMap(v reflect.Value) (*config.Node, error) {
	m := make(map[string]*config.Node, v.Len())
	for it := v.MapRange(); it.Next(); {
		n, err := encodeValue(it.Value(), reflect.Value{})
		if err != nil {
			return nil, err
		}
		m[it.Key().String()] = n
	}
	return config.NewObject(m), nil
}

func encodeSlice(v reflect.Value) (*config.Node, error) {
	if v.IsNil() {
		return config.NewNull(), nil
	}
	list := make([]*config.Node, v.Len())
	for i := range list {
		n, err := encodeValue(v.Index(i), reflect.Value{})
		if err != nil {
			return nil, err
		}
		list[i] = n
	}
	return config.NewArray(list), nil
}

// encodeFields writes the fields of a struct that say something.
func encodeFields(v, defaults reflect.Value, into map[string]*config.Node) error {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		var def reflect.Value
		if defaults.IsValid() {
			def = defaults.Field(i)
		}
		if f.Anonymous && f.Tag.Get("json") == "" && f.Type.Kind() == reflect.Struct {
			if err := encodeFields(v.Field(i), def, into); err != nil {
				return err
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "" || name == "-" || silent(v.Field(i), def) {
			continue
		}
		n, err := encodeValue(v.Field(i), def)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if n == nil || (f.Type.Kind() == reflect.Struct && !f.Type.Implements(encoderType) && n.Kind() == config.Object && n.Len() == 0) {
			continue
		}
		into[name] = n
	}
	return nil
}

// silent reports whether a field need not be written.
func silent(v, def reflect.Value) bool {
	if v.Type() == laterType {
		return true
	}
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		if v.Len() == 0 {
			return !def.IsValid() || def.Len() == 0
		}
		return def.IsValid() && reflect.DeepEqual(v.Interface(), def.Interface())
	}
	if def.IsValid() && v.Kind() != reflect.Struct {
		return reflect.DeepEqual(v.Interface(), def.Interface())
	}
	return v.IsZero()
}

// EncodeNode writes an empty slot as nothing and a full one as its subtree.
func (r Ref[T]) EncodeNode() *config.Node {
	if r.child == nil {
		return nil
	}
	return r.child.node
}

// EncodeNode writes nanoseconds.
func (d Duration) EncodeNode() *config.Node { return config.NewNumber(float64(d)) }

// EncodeNode writes true, false and integers as such and all else as text.
func (w WeakString) EncodeNode() *config.Node {
	switch w {
	case "true", "false":
		return config.NewBool(w == "true")
	}
	if n, err := strconv.Atoi(string(w)); err == nil && int64(float64(n)) == int64(n) {
		return config.NewNumber(float64(n))
	}
	return config.NewString(string(w))
}
