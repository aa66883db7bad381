package config

import (
	"iter"
	"slices"
	"strconv"
)

// Kind is the JSON type of a node.
type Kind uint8

// The kinds of nodes.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// String returns the name of the kind as used in messages: "null", "boolean", "number", "string", "array" or "object".
func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case Bool:
		return "boolean"
	case Number:
		return "number"
	case String:
		return "string"
	case Array:
		return "array"
	case Object:
		return "object"
	}
	return "kind " + strconv.Itoa(int(k))
}

// Node is one JSON value. It never changes and may be used by any number of goroutines. A nil *Node behaves as null in all
// methods.
type Node struct {
	digest uint64 // its low bits are the kind
	str    string // the text of a string; a number as it is printed; "true" and "false"
	box    *box   // of arrays and objects
}

// box is what only arrays and objects have.
type box struct {
	kids   []*Node // an object's values in the order of its keys; the elements of an array without vec
	shape  *shape  // an object's keys
	vec    *vector // the elements of an array which is long, or whose labels are not 0, 1<<32, 2<<32, ...
	height int32   // 1 for one that holds no other array or object
	hasID  bool    // whether an object in it, or it itself, has an @id
}

// container is an array or object in one allocation.
type container struct {
	node Node
	box  box
}

// shape is a sorted list of keys, shared by objects that have the same ones.
type shape struct {
	keys []string
	hash uint64
	id   int // the place of the key @id, or -1
}

const idKey = "@id"

var (
	nullNode    = &Node{digest: seal(1, Null)}
	falseNode   = &Node{digest: seal(2, Bool), str: "false"}
	trueNode    = &Node{digest: seal(3, Bool), str: "true"}
	emptyShape  = newShape(nil)
	configShape = newShape([]string{"config"})
)

// Kind returns the kind of the node.
func (n *Node) Kind() Kind {
	if n == nil {
		return Null
	}
	return Kind(n.digest & kindBits)
}

// Bool returns the value of a boolean, and false for any other kind.
func (n *Node) Bool() bool { return n.Kind() == Bool && n.str == "true" }

// Number returns the value of a number, and 0 for any other kind.
func (n *Node) Number() float64 {
	if n.Kind() != Number {
		return 0
	}
	f, _ := strconv.ParseFloat(n.str, 64)
	return f
}

// Str returns the value of a string, and "" for any other kind.
func (n *Node) Str() string {
	if n.Kind() != String {
		return ""
	}
	return n.str
}

// Len returns the number of elements of an array or members of an object, and 0 for any other kind.
func (n *Node) Len() int {
	if n == nil || n.box == nil {
		return 0
	}
	if n.box.vec != nil {
		return n.box.vec.len
	}
	return len(n.box.kids)
}

// Index returns the i-th element of an array. It panics if n is not an array or i is out of range.
func (n *Node) Index(i int) *Node {
	if n.Kind() != Array {
		panic("config: Index of " + n.Kind().String())
	}
	if v := n.box.vec; v != nil {
		return v.at(i)
	}
	return n.box.kids[i]
}

// Label returns the label of the i-th element of an array. Labels ascend strictly within an array, and an element keeps its
// label when others are inserted, removed or replaced, and when its own value is replaced by an edit. When there is no room
// for a label between two others all elements of the array get new ones, which is rare. It panics as Index does.
func (n *Node) Label(i int) int64 {
	if n.Kind() != Array {
		panic("config: Label of " + n.Kind().String())
	}
	if v := n.box.vec; v != nil {
		return v.label(i)
	}
	_ = n.box.kids[i]
	return int64(i) * stride
}

// IndexOfLabel returns the index of the element of an array that has the label l.
func (n *Node) IndexOfLabel(l int64) (int, bool) {
	if n.Kind() != Array {
		return 0, false
	}
	if v := n.box.vec; v != nil {
		return v.find(l)
	}
	if l < 0 || l%stride != 0 || l/stride >= int64(len(n.box.kids)) {
		return 0, false
	}
	return int(l / stride), true
}

// Key returns the i-th key of an object, in sorted order. It panics if n is not an object or i is out of range.
func (n *Node) Key(i int) string {
	if n.Kind() != Object {
		panic("config: Key of " + n.Kind().String())
	}
	return n.box.shape.keys[i]
}

// Value returns the value of the i-th member of an object, in sorted order of keys. It panics as Key does.
func (n *Node) Value(i int) *Node {
	if n.Kind() != Object {
		panic("config: Value of " + n.Kind().String())
	}
	return n.box.kids[i]
}

// Get returns the value of the member named key of an object, and nil if there is none or n is not an object. A member
// which is null gives a node of kind Null, not nil.
func (n *Node) Get(key string) *Node {
	if n.Kind() != Object {
		return nil
	}
	if i, ok := n.box.shape.find(key); ok {
		return n.box.kids[i]
	}
	return nil
}

// Elements yields the elements of an array with their indexes; nothing for any other kind.
func (n *Node) Elements() iter.Seq2[int, *Node] {
	return func(yield func(int, *Node) bool) {
		if n.Kind() != Array {
			return
		}
		i := 0
		for _, part := range n.parts() {
			for _, e := range part {
				if !yield(i, e) {
					return
				}
				i++
			}
		}
	}
}

// Strings returns the texts of the elements, as Str does; nil for none and for any other kind than an array.
func (n *Node) Strings() []string {
	var out []string
	for _, e := range n.Elements() {
		out = append(out, e.Str())
	}
	return out
}

// Members yields the members of an object in sorted order of keys; nothing for any other kind.
func (n *Node) Members() iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		if n.Kind() != Object {
			return
		}
		for i, k := range n.box.shape.keys {
			if !yield(k, n.box.kids[i]) {
				return
			}
		}
	}
}

// Digest returns a hash of the content of the node: equal nodes have equal digests, in every process. It was computed when
// the node was made. Different nodes differ in it but for a chance of about 2^-61.
func (n *Node) Digest() uint64 {
	if n == nil {
		return nullNode.digest
	}
	return n.digest
}

// height is the number of levels of arrays and objects.
func (n *Node) height() int32 {
	if n.box == nil {
		return 0
	}
	return n.box.height
}

func (n *Node) hasID() bool { return n.box != nil && n.box.hasID }

// parts yields the elements of an array by runs.
func (n *Node) parts() iter.Seq2[int, []*Node] {
	return func(yield func(int, []*Node) bool) {
		v := n.box.vec
		if v == nil {
			yield(0, n.box.kids)
			return
		}
		for i, c := range v.chunks {
			if !yield(i, c.kids) {
				return
			}
		}
	}
}

// elements returns the elements of an array as a slice that must not be changed.
func (n *Node) elements() []*Node {
	v := n.box.vec
	if v == nil {
		return n.box.kids
	}
	if len(v.chunks) == 1 {
		return v.chunks[0].kids
	}
	all := make([]*Node, 0, v.len)
	for _, c := range v.chunks {
		all = append(all, c.kids...)
	}
	return all
}

// Equal reports whether a and b have the same content. It is cheap if they share most of their nodes or differ.
func Equal(a, b *Node) bool {
	if a == b {
		return true
	}
	if a.Digest() != b.Digest() || a.Len() != b.Len() {
		return false
	}
	switch a.Kind() {
	case Null:
		return true
	case Object:
		if a.box.shape != b.box.shape && !slices.Equal(a.box.shape.keys, b.box.shape.keys) {
			return false
		}
		return slices.EqualFunc(a.box.kids, b.box.kids, Equal)
	case Array:
		return equalArrays(a, b)
	}
	return a.str == b.str
}

func equalArrays(a, b *Node) bool {
	if a.box.vec == nil && b.box.vec == nil {
		return slices.EqualFunc(a.box.kids, b.box.kids, Equal)
	}
	for _, e := range DiffArrays(a, b) {
		if e.OldEnd-e.OldStart != e.NewEnd-e.NewStart {
			return equalPlain(a, b)
		}
		for k := range e.OldEnd - e.OldStart {
			if !Equal(a.Index(e.OldStart+k), b.Index(e.NewStart+k)) {
				return equalPlain(a, b)
			}
		}
	}
	return true
}

// equalPlain compares two arrays of equal length element by element.
func equalPlain(a, b *Node) bool {
	for i, e := range a.Elements() {
		if !Equal(e, b.Index(i)) {
			return false
		}
	}
	return true
}
