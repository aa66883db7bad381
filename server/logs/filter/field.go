package filter

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.uber.org/zap/zapcore"
)

// field filters one field of the object that n stands for; false removes it.
func (n *node) field(f zapcore.Field) (zapcore.Field, bool) {
	if f.Type == zapcore.InlineMarshalerType { // its fields are fields of n's object
		if n != nil {
			f.Interface = &filteredObject{f.Interface.(zapcore.ObjectMarshaler), n}
		}
		return f, true
	}
	c := n.child(f.Key)
	if c == nil {
		return f, true
	}
	if c.Filter != nil {
		switch c.kind {
		case remove:
			return f, false
		case replace:
			return zapcore.Field{Key: f.Key, Type: zapcore.StringType, String: c.name}, true
		case rename:
			f, keep := c.value(f)
			f.Key = c.name
			return f, keep
		}
	}
	return c.value(f)
}

// value filters the value of the field that n stands for.
func (n *node) value(f zapcore.Field) (zapcore.Field, bool) {
	changes := n.Filter != nil && n.text != nil
	keep := true
	switch f.Type {
	case zapcore.NamespaceType, zapcore.SkipType:
	case zapcore.StringType:
		if changes {
			f.String, keep = n.text(f.String)
		}
	case zapcore.ByteStringType:
		if changes {
			f, keep = n.string(f.Key, string(f.Interface.([]byte)))
		}
	case zapcore.ArrayMarshalerType:
		if n.digests() {
			return n.anything(f)
		}
		f.Interface = &filteredArray{f.Interface.(zapcore.ArrayMarshaler), n}
	case zapcore.ObjectMarshalerType:
		if n.digests() {
			return n.anything(f)
		}
		f.Interface = &filteredObject{f.Interface.(zapcore.ObjectMarshaler), n}
	case zapcore.ReflectType, zapcore.StringerType, zapcore.ErrorType:
		return n.anything(f)
	default:
		if n.digests() {
			return n.anything(f)
		}
	}
	return f, keep
}

func (n *node) digests() bool { return n.Filter != nil && n.kind == digest }

func (n *node) string(key, s string) (zapcore.Field, bool) {
	s, keep := n.text(s)
	return zapcore.Field{Key: key, Type: zapcore.StringType, String: s}, keep
}

// anything filters a field of any type by way of its JSON form. What else such
// a field would add, as errors do, is left out.
func (n *node) anything(f zapcore.Field) (zapcore.Field, bool) {
	fields := zapcore.NewMapObjectEncoder()
	f.AddTo(fields)
	v, ok := fields.Fields[f.Key]
	if !ok {
		return f, false
	}
	v, keep := n.generic(plain(v))
	return zapcore.Field{Key: f.Key, Type: zapcore.ReflectType, Interface: v}, keep
}

// plain is v as JSON has it, or else as text.
func plain(v any) any {
	switch v := v.(type) {
	case string, bool:
		return v
	case []byte:
		return string(v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	var out any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return fmt.Sprint(v)
	}
	return out
}

// generic filters a value of JSON; false removes it.
func (n *node) generic(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		if n.Filter != nil && n.text != nil {
			return n.text(v)
		}
	case []any:
		out := v[:0]
		for _, e := range v {
			if e, keep := n.generic(e); keep {
				out = append(out, e)
			}
		}
		return out, true
	case map[string]any:
		if !n.digests() {
			return n.members(v), true
		}
		text, _ := json.Marshal(v)
		return Sum(string(text)), true
	case nil:
	default:
		if n.digests() {
			return Sum(fmt.Sprint(v)), true
		}
	}
	return v, true
}

// members filters the members of an object.
func (n *node) members(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for key, v := range m {
		c := n.child(key)
		if c == nil {
			out[key] = v
			continue
		}
		if c.Filter != nil {
			switch c.kind {
			case remove:
				continue
			case replace:
				out[key] = c.name
				continue
			case rename:
				key = c.name
			}
		}
		if v, keep := c.generic(v); keep {
			out[key] = v
		}
	}
	return out
}

// filteredObject is an object whose fields are filtered.
type filteredObject struct {
	from zapcore.ObjectMarshaler
	at   *node
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (o *filteredObject) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	return o.from.MarshalLogObject(&object{enc, o.at})
}

// filteredArray is an array whose elements are filtered.
type filteredArray struct {
	from zapcore.ArrayMarshaler
	at   *node
}

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (a *filteredArray) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	return a.from.MarshalLogArray(&array{enc, a.at})
}

// array filters the elements of an array on their way to an encoder. All but
// text and what is made of other values passes.
type array struct {
	zapcore.ArrayEncoder
	at *node
}

// AppendString implements zapcore.ArrayEncoder.
func (a *array) AppendString(v string) {
	if a.at.Filter != nil && a.at.text != nil {
		var keep bool
		if v, keep = a.at.text(v); !keep {
			return
		}
	}
	a.ArrayEncoder.AppendString(v)
}

// AppendByteString implements zapcore.ArrayEncoder.
func (a *array) AppendByteString(v []byte) { a.AppendString(string(v)) }

// AppendObject implements zapcore.ArrayEncoder.
func (a *array) AppendObject(v zapcore.ObjectMarshaler) error {
	return a.ArrayEncoder.AppendObject(&filteredObject{v, a.at})
}

// AppendArray implements zapcore.ArrayEncoder.
func (a *array) AppendArray(v zapcore.ArrayMarshaler) error {
	return a.ArrayEncoder.AppendArray(&filteredArray{v, a.at})
}

// AppendReflected implements zapcore.ArrayEncoder.
func (a *array) AppendReflected(v any) error {
	if v, keep := a.at.generic(plain(v)); keep {
		return a.ArrayEncoder.AppendReflected(v)
	}
	return nil
}
