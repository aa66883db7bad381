package module

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// decodeFunc writes node n into v and returns the normalised value that the
// schema is checked against.
type decodeFunc func(d *decoding, n *config.Node, v reflect.Value) any

// decoding is the state of decoding one module.
type decoding struct {
	path     []string
	inline   string // the key at the top that names the module
	problems schema.Problems
	children []*child
	named    uint64   // which steps of the path are keys of a map
	namedAt  []uint64 // for each child
}

func (d *decoding) fail(p schema.Problem) {
	p.Pointer = d.pointer() + p.Pointer
	d.problems = append(d.problems, p)
}

func (d *decoding) pointer() string {
	ptr := ""
	for _, seg := range d.path {
		ptr = config.JoinPointer(ptr, seg)
	}
	return ptr
}

// hidden reports whether a key is not the module's to see.
func (d *decoding) hidden(key string) bool {
	return key == "@id" || (len(d.path) == 0 && d.inline != "" && key == d.inline)
}

func (d *decoding) in(seg string, f func()) {
	d.path = append(d.path, seg)
	f()
	d.path = d.path[:len(d.path)-1]
}

// inNamed is in for a key of a map.
func (d *decoding) inNamed(key string, f func()) {
	outer := d.named
	d.named |= 1 << len(d.path)
	d.in(key, f)
	d.named = outer
}

func (d *decoding) mismatch(n *config.Node, want string) any {
	d.fail(mismatch(n, want)[0])
	return n.ToGo()
}

// planner makes decode functions for types, each once.
type planner struct {
	made map[planKey]*decodeFunc
}

type planKey struct {
	t    reflect.Type
	slot slot
}

// nullNode stands for slots that are filled even when the document does not
// mention them. One value, so that it is recognised as unchanged.
var nullNode = config.NewNull()

// emptyNode is what a null element of a list or map of structs is decoded as,
// so that it has what every element must have.
var emptyNode = config.NewObject(nil)

var (
	decoderType = reflect.TypeFor[Decoder]()
	binderType  = reflect.TypeFor[binder]()
	laterType   = reflect.TypeFor[Later]()
	nodeType    = reflect.TypeFor[*config.Node]()
)

// of returns the decode function of t. The tag matters where Refs are inside.
func (p *planner) of(t reflect.Type, tag reflect.StructTag) decodeFunc {
	if s, ok := reflect.Zero(t).Interface().(slotTagger); ok {
		tag = s.SlotTag()
	}
	key := planKey{t, slotOf(tag)}
	if f := p.made[key]; f != nil {
		return func(d *decoding, n *config.Node, v reflect.Value) any { return (*f)(d, n, v) }
	}
	f := new(decodeFunc)
	p.made[key] = f
	*f = p.make(t, tag)
	return *f
}

func (p *planner) make(t reflect.Type, tag reflect.StructTag) decodeFunc {
	switch {
	case t == laterType:
		return decodeLater
	case t == nodeType:
		return func(_ *decoding, n *config.Node, v reflect.Value) any {
			v.Set(reflect.ValueOf(n))
			return n.ToGo()
		}
	case reflect.PointerTo(t).Implements(binderType):
		s := slotOf(tag)
		return decodeRef(&s)
	case reflect.PointerTo(t).Implements(decoderType):
		return decodeCustom
	}
	switch t.Kind() {
	case reflect.Pointer:
		elem := p.of(t.Elem(), tag)
		return func(d *decoding, n *config.Node, v reflect.Value) any {
			v.Set(reflect.New(t.Elem()))
			return elem(d, n, v.Elem())
		}
	case reflect.Bool:
		return decodeBool
	case reflect.String:
		return decodeString
	case reflect.Float64:
		return decodeFloat
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint16:
		return decodeInt
	case reflect.Slice:
		return decodeSlice(p.of(t.Elem(), tag))
	case reflect.Map:
		return decodeMap(p.of(t.Elem(), tag), t)
	case reflect.Struct:
		return p.structPlan(t)
	case reflect.Interface:
		return func(_ *decoding, n *config.Node, v reflect.Value) any {
			g := n.ToGo()
			if g != nil {
				v.Set(reflect.ValueOf(g))
			}
			return g
		}
	}
	panic("module: config field of type " + t.String() + " cannot be decoded")
}

// decodeLater refuses a field by its name.
func decodeLater(d *decoding, n *config.Node, _ reflect.Value) any {
	name := ""
	if len(d.path) > 0 {
		name = d.path[len(d.path)-1]
	}
	d.fail(schema.Problem{Message: "field " + strconv.Quote(name) + " is not supported yet", Found: name, Expected: "a config without this field"})
	return n.ToGo()
}

func decodeCustom(d *decoding, n *config.Node, v reflect.Value) any {
	normal, err := v.Addr().Interface().(Decoder).DecodeNode(n)
	if err == nil {
		return normal
	}
	var ps schema.Problems
	if !errors.As(err, &ps) {
		ps = schema.Problems{{Message: err.Error(), Found: describe(n)}}
	}
	for _, p := range ps {
		d.fail(p)
	}
	return n.ToGo()
}

func decodeRef(s *slot) decodeFunc {
	return func(d *decoding, n *config.Node, v reflect.Value) any {
		c := &child{node: n, slot: s, pointer: d.pointer()}
		v.Addr().Interface().(binder).bind(c)
		d.children, d.namedAt = append(d.children, c), append(d.namedAt, d.named)
		return map[string]any{}
	}
}

func decodeBool(d *decoding, n *config.Node, v reflect.Value) any {
	if n.Kind() != config.Bool {
		return d.mismatch(n, "true or false")
	}
	v.SetBool(n.Bool())
	return n.Bool()
}

func decodeString(d *decoding, n *config.Node, v reflect.Value) any {
	if n.Kind() != config.String {
		return d.mismatch(n, "a string")
	}
	v.SetString(n.Str())
	return n.Str()
}

func decodeFloat(d *decoding, n *config.Node, v reflect.Value) any {
	if n.Kind() != config.Number {
		return d.mismatch(n, "a number")
	}
	v.SetFloat(n.Number())
	return n.Number()
}

func decodeInt(d *decoding, n *config.Node, v reflect.Value) any {
	f := n.Number()
	if n.Kind() != config.Number || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return d.mismatch(n, "an integer")
	}
	if v.CanUint() {
		if f < 0 || v.OverflowUint(uint64(f)) {
			return d.mismatch(n, "an integer from 0 to "+strconv.Itoa(1<<v.Type().Bits()-1))
		}
		v.SetUint(uint64(f))
		return f
	}
	if v.OverflowInt(int64(f)) {
		return d.mismatch(n, "an integer of at most "+strconv.Itoa(v.Type().Bits())+" bits")
	}
	v.SetInt(int64(f))
	return f
}

func decodeSlice(elem decodeFunc) decodeFunc {
	return func(d *decoding, n *config.Node, v reflect.Value) any {
		if n.Kind() != config.Array {
			return d.mismatch(n, "an array")
		}
		v.Set(reflect.MakeSlice(v.Type(), n.Len(), n.Len()))
		normal := make([]any, n.Len())
		t := v.Type().Elem()
		for i, e := range n.Elements() {
			if e.Kind() == config.Null {
				if e = forNull(t); e == nil {
					normal[i] = normalZero(t)
					continue
				}
			}
			d.in(strconv.Itoa(i), func() { normal[i] = elem(d, e, v.Index(i)) })
		}
		return normal
	}
}

// forNull is the node as which a null element of a list or map is decoded, nil
// if it is not decoded but has its zero value.
func forNull(t reflect.Type) *config.Node {
	switch p := reflect.PointerTo(t); {
	case p.Implements(binderType):
		return nullNode
	case t.Kind() == reflect.Struct && !p.Implements(decoderType):
		return emptyNode
	}
	return nil
}

// normalZero stands for a null element of a list or map.
func normalZero(t reflect.Type) any {
	switch t.Kind() {
	case reflect.String:
		return ""
	case reflect.Bool:
		return false
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint16, reflect.Float64:
		return float64(0)
	case reflect.Struct:
		return map[string]any{}
	}
	return nil
}

func decodeMap(elem decodeFunc, t reflect.Type) decodeFunc {
	return func(d *decoding, n *config.Node, v reflect.Value) any {
		if n.Kind() != config.Object {
			return d.mismatch(n, "an object")
		}
		v.Set(reflect.MakeMapWithSize(t, n.Len()))
		normal := make(map[string]any, n.Len())
		for key, e := range n.Members() {
			if d.hidden(key) {
				continue
			}
			value := reflect.New(t.Elem()).Elem()
			if e.Kind() == config.Null {
				e = forNull(t.Elem())
			}
			if e == nil {
				normal[key] = normalZero(t.Elem())
			} else {
				d.inNamed(key, func() { normal[key] = elem(d, e, value) })
			}
			v.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), value)
		}
		return normal
	}
}

type fieldPlan struct {
	schema.Field
	decode decodeFunc
}

type structPlan struct {
	fields map[string]*fieldPlan
	names  []string
}

func (p *planner) structPlan(t reflect.Type) decodeFunc {
	sp := &structPlan{fields: map[string]*fieldPlan{}}
	for f := range schema.Fields(t) {
		sp.fields[f.Name] = &fieldPlan{f, p.of(f.Type, f.Tag)}
		sp.names = append(sp.names, f.Name)
	}
	return sp.decode
}

func (sp *structPlan) decode(d *decoding, n *config.Node, v reflect.Value) any {
	if n.Kind() != config.Object {
		return d.mismatch(n, "an object")
	}
	normal := make(map[string]any, n.Len())
	for key, e := range n.Members() {
		if d.hidden(key) {
			continue
		}
		f := sp.find(key)
		switch {
		case f != nil:
			if e.Kind() == config.Null {
				continue
			}
			d.in(key, func() {
				normal[f.Name] = f.decode(d, e, v.FieldByIndex(f.Index))
				f.check(d, e)
			})
		default:
			normal[key] = e.ToGo()
			d.unknownField(key, sp.names)
		}
	}
	for _, name := range sp.names {
		f := sp.fields[name]
		if _, ok := normal[name]; ok {
			continue
		}
		if f.Tag.Get("always") != "" {
			d.in(name, func() { f.decode(d, nullNode, v.FieldByIndex(f.Index)) })
		}
		if f.Rules.Required {
			d.fail(schema.Problem{Message: "required field " + strconv.Quote(name) + " is missing", Expected: name})
		}
	}
	return normal
}

func (d *decoding) unknownField(key string, names []string) {
	d.in(key, func() {
		d.fail(schema.Problem{
			Message:  "unknown field " + strconv.Quote(key),
			Found:    key,
			Expected: "one of " + strings.Join(names, ", "),
			Nearest:  schema.Nearest(key, names),
		})
	})
}

// find matches exactly first, then without regard to case.
func (sp *structPlan) find(key string) *fieldPlan {
	if f := sp.fields[key]; f != nil {
		return f
	}
	for _, name := range sp.names {
		if strings.EqualFold(name, key) {
			return sp.fields[name]
		}
	}
	return nil
}
