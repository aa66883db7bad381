// Package places keeps where the values of a document were written: the file
// and line of a Caddyfile that each object and array, and some fields, come
// from. It also bounds how much of a document can be made of a short text, since
// what is copied has its places copied as well.
package places

import (
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// Place is where a value was written. The zero Place is nowhere.
type Place struct {
	token caddyfile.Token
	// segment is the number of the directive in Map.segments, 0 if it has but one
	// line.
	segment int32
}

// At is the place of a word that stands for itself.
func At(t caddyfile.Token) Place { return Place{token: t} }

// member is a field of an object of the document.
type member struct {
	object *config.Node
	key    string
}

// Map is where the values of one document were written, as far as it is kept. It
// is not safe for concurrent use while it is written to.
type Map struct {
	nodes    map[*config.Node]Place
	members  map[member]Place
	segments []caddyfile.Segment
	current  int32 // the segment that is being read
	copied   int   // see maxCopied
}

// New makes an empty Map.
func New() *Map {
	return &Map{nodes: map[*config.Node]Place{}, members: map[member]Place{}, segments: []caddyfile.Segment{nil}}
}

// Enter begins to read a directive. Its result is for Leave.
func (m *Map) Enter(seg caddyfile.Segment) (before int32) {
	before = m.current
	m.current = 0
	if len(seg) > 1 && seg[len(seg)-1].Line != seg[0].Line {
		m.current = int32(len(m.segments))
		m.segments = append(m.segments, seg)
	}
	return before
}

// Leave ends what Enter began.
func (m *Map) Leave(before int32) { m.current = before }

// Here is the place of a word of the directive that is being read.
func (m *Map) Here(t caddyfile.Token) Place { return Place{t, m.current} }

// Put says that an object or array was written in the directive that is being
// read. Scalars have no place of their own, since one node may stand for many.
func (m *Map) Put(n *config.Node, t caddyfile.Token) { m.PutAt(n, m.Here(t)) }

// PutAt says where an object or array was written.
func (m *Map) PutAt(n *config.Node, at Place) {
	if n != nil && (n.Kind() == config.Object || n.Kind() == config.Array) {
		m.nodes[n] = at
	}
}

// PutMember says where a field was written.
func (m *Map) PutMember(object *config.Node, key string, at Place) {
	m.members[member{object, key}] = at
}

// Moved gives a node the place of the one that it was made of, and returns it.
func (m *Map) Moved(from, to *config.Node) *config.Node {
	if at, ok := m.nodes[from]; ok {
		m.nodes[to] = at
	}
	return to
}

// Locate returns where the value at a JSON Pointer of a document was written: the
// line that has it among those of the directive that made it, or the directive's
// own. It must be asked before root is put into another document.
func (m *Map) Locate(root *config.Node, pointer string) (file string, line int, ok bool) {
	n := root
	at, ok := m.nodes[n]
	var below []string // keys and indices below what at is of
	for _, seg := range strings.Split(pointer, "/")[1:] {
		seg = strings.NewReplacer("~1", "/", "~0", "~").Replace(seg)
		below = append(below, seg)
		if t, has := m.members[member{n, seg}]; has {
			at, ok, below = t, true, nil
		}
		next := child(n, seg)
		if next == nil {
			break // a field that is missing
		}
		n = next
		if t, has := m.nodes[n]; has {
			at, ok, below = t, true, nil
		}
	}
	if !ok {
		return "", 0, false
	}
	t := m.word(at, n, below)
	return t.File(), int(t.Line), true
}

// word finds the word of a directive that a value comes from: one that is a key
// on the way to it, or one that is the value.
func (m *Map) word(at Place, n *config.Node, below []string) caddyfile.Token {
	seg := m.segments[at.segment]
	start := 0
	for start < len(seg) && (seg[start].Line != at.token.Line || seg[start].Origin != at.token.Origin || seg[start].Text != at.token.Text) {
		start++
	}
	if len(below) == 0 || start >= len(seg) {
		return at.token
	}
	seg = seg[start:]
	own := seg[1:extent(seg)]
	for _, words := range [][]caddyfile.Token{own, seg[1:]} {
		for i := len(below) - 1; i >= 0; i-- {
			if t, ok := named(words, below[i]); ok {
				if v, ok := valued(lineOf(words, t), n); ok {
					return v
				}
				return t
			}
		}
		if t, ok := valued(words, n); ok {
			return t
		}
	}
	return at.token
}

// extent is how many words the first one has with its arguments and its block.
func extent(seg []caddyfile.Token) int {
	i := 1
	for i < len(seg) && seg[i-1].SameLine(seg[i]) {
		i++
	}
	depth := 0
	if seg[i-1].Opens() {
		depth = 1
	}
	for ; i < len(seg) && depth > 0; i++ {
		if seg[i].Opens() {
			depth++
		} else if seg[i].Closes() {
			depth--
		}
	}
	return i
}

// named finds a word that is a key, or one that ends in it, as lb_retries does in
// retries.
func named(words []caddyfile.Token, key string) (caddyfile.Token, bool) {
	if _, err := strconv.Atoi(key); err == nil || key == "" {
		return caddyfile.Token{}, false
	}
	for _, ends := range []bool{false, true} {
		for i, t := range words {
			text := strings.TrimLeft(t.Text, "+-?>!@")
			if strings.EqualFold(text, key) || ends && strings.HasSuffix(text, "_"+key) && (i == 0 || !words[i-1].SameLine(t)) {
				return t, true
			}
		}
	}
	return caddyfile.Token{}, false
}

// lineOf is the words from t to the end of its line.
func lineOf(words []caddyfile.Token, t caddyfile.Token) []caddyfile.Token {
	for i := range words {
		if words[i] != t {
			continue
		}
		end := i + 1
		for end < len(words) && words[end-1].SameLine(words[end]) {
			end++
		}
		return words[i:end]
	}
	return nil
}

// valued finds a word that is the value of n.
func valued(words []caddyfile.Token, n *config.Node) (caddyfile.Token, bool) {
	for _, t := range words {
		switch n.Kind() {
		case config.String:
			if s := n.Str(); s != "" && (t.Text == s || strings.TrimLeft(t.Text, "+-?>") == s) {
				return t, true
			}
		case config.Number:
			if means(t.Text, n.Number()) {
				return t, true
			}
		}
	}
	return caddyfile.Token{}, false
}

// means reports whether a word is a number, a duration or a size of n.
func means(text string, n float64) bool {
	if text == "" || len(text) > 32 || strings.IndexByte("+-.0123456789", text[0]) < 0 {
		return false
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return f == n
	}
	if d, err := caddyfile.ParseDuration(text); err == nil {
		return float64(d) == n
	}
	size, err := caddyfile.ParseSize(text)
	return err == nil && float64(size) == n
}

func child(n *config.Node, seg string) *config.Node {
	if n.Kind() == config.Object {
		return n.Get(seg)
	}
	i, err := strconv.Atoi(seg)
	if err != nil || n.Kind() != config.Array || i < 0 || i >= n.Len() {
		return nil
	}
	return n.Index(i)
}
