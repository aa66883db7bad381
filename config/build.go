package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// NewNull returns null.
func NewNull() *Node { return nullNode }

// NewBool returns true or false.
func NewBool(b bool) *Node {
	if b {
		return trueNode
	}
	return falseNode
}

// NewNumber returns the number f. JSON has no infinities and no NaN: they become null.
func NewNumber(f float64) *Node {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nullNode
	}
	s := string(appendFloat(nil, f))
	return &Node{digest: digestNumber(s), str: s}
}

// NewString returns the string s. Bytes of it that are not UTF-8 become U+FFFD, as in encoding/json.
func NewString(s string) *Node {
	s = validUTF8(s)
	return &Node{digest: digestString(s), str: s}
}

// NewArray returns an array of elements, which are copied; nil ones become null. As each array and object stands at one
// place in a document, elements must not be in use elsewhere.
func NewArray(elements []*Node) *Node {
	kids := slices.Clone(elements)
	for i, e := range kids {
		if e == nil {
			kids[i] = nullNode
		}
	}
	return newArray(kids)
}

// NewStrings returns an array of strings.
func NewStrings(list []string) *Node {
	kids := make([]*Node, len(list))
	for i, s := range list {
		kids[i] = NewString(s)
	}
	return newArray(kids)
}

// NewObject returns an object of members, which are copied; nil values become null. As each array and object stands at one
// place in a document, values must not be in use elsewhere.
func NewObject(members map[string]*Node) *Node {
	if len(members) == 0 {
		return newObject(emptyShape, nil)
	}
	clean := members
	for k := range members {
		if v := validUTF8(k); v != k {
			clean = cleanKeys(members)
			break
		}
	}
	keys := slices.Sorted(maps.Keys(clean))
	kids := make([]*Node, len(keys))
	for i, k := range keys {
		if kids[i] = clean[k]; kids[i] == nil {
			kids[i] = nullNode
		}
	}
	return newObject(newShape(keys), kids)
}

// cleanKeys makes all keys UTF-8; of those that become the same the last in order wins.
func cleanKeys(members map[string]*Node) map[string]*Node {
	clean := make(map[string]*Node, len(members))
	for _, k := range slices.Sorted(maps.Keys(members)) {
		clean[validUTF8(k)] = members[k]
	}
	return clean
}

// Clone returns a copy of n that shares no array or object with it, to be put at a second place or back into a document.
func (n *Node) Clone() *Node {
	switch n.Kind() {
	case Array:
		kids := make([]*Node, 0, n.Len())
		for _, e := range n.Elements() {
			kids = append(kids, e.Clone())
		}
		return newArray(kids)
	case Object:
		kids := make([]*Node, len(n.box.kids))
		for i, e := range n.box.kids {
			kids[i] = e.Clone()
		}
		return newObject(n.box.shape, kids)
	}
	return n
}

// FromGo returns the node for a Go value: nil, bool, string, any integer or float type of the language, json.Number, []any,
// map[string]any and *Node (which is used as it is), nested as one likes. Anything else, and a number that is not finite, is
// an error that names its place.
func FromGo(v any) (*Node, error) {
	switch v := v.(type) {
	case nil:
		return nullNode, nil
	case *Node:
		if v == nil {
			return nullNode, nil
		}
		return v, nil
	case bool:
		return NewBool(v), nil
	case string:
		return NewString(v), nil
	case []any:
		kids := make([]*Node, len(v))
		for i, e := range v {
			n, err := FromGo(e)
			if err != nil {
				return nil, fmt.Errorf("/%d%w", i, err)
			}
			kids[i] = n
		}
		return newArray(kids), nil
	case map[string]any:
		members := make(map[string]*Node, len(v))
		for k, e := range v {
			n, err := FromGo(e)
			if err != nil {
				return nil, fmt.Errorf("/%s%w", k, err)
			}
			members[k] = n
		}
		return NewObject(members), nil
	}
	return numberFromGo(v)
}

func numberFromGo(v any) (*Node, error) {
	var f float64
	switch v := v.(type) {
	case float64:
		f = v
	case float32:
		f = float64(v)
	case int:
		f = float64(v)
	case int8:
		f = float64(v)
	case int16:
		f = float64(v)
	case int32:
		f = float64(v)
	case int64:
		f = float64(v)
	case uint:
		f = float64(v)
	case uint8:
		f = float64(v)
	case uint16:
		f = float64(v)
	case uint32:
		f = float64(v)
	case uint64:
		f = float64(v)
	case json.Number:
		var err error
		if f, err = v.Float64(); err != nil {
			return nil, fmt.Errorf(": number %s: %w", v, err)
		}
	default:
		return nil, fmt.Errorf(": a Go value of type %T has no JSON form", v)
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, fmt.Errorf(": %v is not a JSON number", f)
	}
	return NewNumber(f), nil
}

// ToGo returns the value as encoding/json decodes it into an empty interface: nil, bool, float64, string, []any and
// map[string]any. The result belongs to the caller.
func (n *Node) ToGo() any {
	switch n.Kind() {
	case Bool:
		return n.Bool()
	case Number:
		return n.Number()
	case String:
		return n.str
	case Array:
		a := make([]any, 0, n.Len())
		for _, e := range n.Elements() {
			a = append(a, e.ToGo())
		}
		return a
	case Object:
		m := make(map[string]any, n.Len())
		for k, e := range n.Members() {
			m[k] = e.ToGo()
		}
		return m
	}
	return nil
}

// newShape makes a shape of keys, which must be sorted and free of duplicates, and are kept.
func newShape(keys []string) *shape {
	s := &shape{keys: keys, id: -1}
	var h uint64
	for i, k := range keys {
		h = mod61(mul61(h, polyBase) + mod61(mix(xxhash.Sum64String(k))))
		if k == idKey {
			s.id = i
		}
	}
	s.hash = h ^ uint64(len(keys))<<61
	return s
}

func (s *shape) find(key string) (int, bool) {
	if len(s.keys) <= 8 {
		for i, k := range s.keys {
			if k == key {
				return i, true
			}
		}
		return sort.SearchStrings(s.keys, key), false
	}
	return slices.BinarySearch(s.keys, key)
}

// newObject makes an object of a shape and its values, which are kept.
func newObject(s *shape, kids []*Node) *Node {
	c := &container{box: box{kids: kids, shape: s, hasID: s.id >= 0}}
	var poly uint64
	for _, k := range kids {
		poly = mod61(mul61(poly, polyBase) + mod61(k.digest))
		if k.box != nil {
			c.box.height = max(c.box.height, k.box.height)
			c.box.hasID = c.box.hasID || k.box.hasID
		}
	}
	c.box.height++
	c.node.digest = digestObject(poly, s.hash)
	c.node.box = &c.box
	return &c.node
}

// with returns the object n with the value at key, which may be new, replaced by v.
func (n *Node) with(key string, v *Node) *Node {
	s := n.box.shape
	i, ok := s.find(key)
	if ok {
		if n.box.kids[i] == v {
			return n
		}
		kids := slices.Clone(n.box.kids)
		kids[i] = v
		return newObject(s, kids)
	}
	return newObject(newShape(inserted(s.keys, i, key)), inserted(n.box.kids, i, v))
}

// without returns the object n without its i-th member.
func (n *Node) without(i int) *Node {
	return newObject(newShape(removed(n.box.shape.keys, i)), removed(n.box.kids, i))
}

func inserted[T any](s []T, i int, v T) []T {
	r := make([]T, len(s)+1)
	copy(r, s[:i])
	r[i] = v
	copy(r[i+1:], s[i:])
	return r
}

func removed[T any](s []T, i int) []T {
	r := make([]T, len(s)-1)
	copy(r, s[:i])
	copy(r[i:], s[i+1:])
	return r
}

// validUTF8 replaces each byte that is not part of UTF-8 by U+FFFD.
func validUTF8(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return validUTF8Slow(s)
		}
	}
	return s
}

func validUTF8Slow(s string) string {
	if strings.ToValidUTF8(s, "") == s {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}
