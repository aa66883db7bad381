package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// parse returns the node of a JSON text that must be right.
func parse(t testing.TB, text string) *Node {
	t.Helper()
	n, _, err := Parse([]byte(text), Limits{})
	if err != nil {
		t.Fatalf("parsing %.200s: %v", text, err)
	}
	return n
}

func newDoc(t testing.TB, text string) *Doc {
	t.Helper()
	d, err := NewDoc(parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// text is the canonical form of the document, "absent" if it does not exist.
func text(d *Doc) string {
	if d.Root() == nil {
		return "absent"
	}
	return string(d.Root().AppendJSON(nil))
}

// compact is what encoding/json makes of a text.
func compact(t testing.TB, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// route is one of the routes of the large documents: 22 values.
func route(i int) string {
	return fmt.Sprintf(`{"@id":"route-%d","match":[{"host":["app-%d.example.com"],"path":["/api/v%d/*"]}],"handle":[{"handler":"headers",`+
		`"response":{"set":{"X-App":["app-%d"]}}},{"handler":"reverse_proxy","upstreams":[{"dial":"10.%d.%d.%d:8080"}]}],"terminal":true}`,
		i, i, i%7, i, i>>16&255, i>>8&255, i&255)
}

// large is a document with this many routes.
func large(routes int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"apps":{"http":{"servers":{"srv0":{"listen":[":443"],"routes":[`)
	for i := range routes {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(route(i))
	}
	b.WriteString(`]}}}}}`)
	return b.Bytes()
}

var largeRoutes = Path{"apps", "http", "servers", "srv0", "routes"}

func (p Path) then(segs ...string) Path { return append(p[:len(p):len(p)], segs...) }

func countNodes(n *Node) int {
	c := 1
	for _, e := range n.Elements() {
		c += countNodes(e)
	}
	for _, e := range n.Members() {
		c += countNodes(e)
	}
	return c
}

// checkTree fails if something that holds for every document doesn't hold: digests and heights as made anew, ascending
// labels that lead back, and each array and object at one place only.
func checkTree(t testing.TB, n *Node) {
	t.Helper()
	if n == nil {
		return
	}
	seen := map[*Node]bool{}
	var check func(n *Node) (height int32, hasID bool, fresh *Node)
	check = func(n *Node) (int32, bool, *Node) {
		if n.box == nil {
			return 0, false, n
		}
		if seen[n] {
			t.Fatalf("a node stands at two places: %.100s", n.AppendJSON(nil))
		}
		seen[n] = true
		height, hasID := int32(0), false
		add := func(e *Node) *Node {
			h, id, fresh := check(e)
			height, hasID = max(height, h), hasID || id
			return fresh
		}
		var fresh *Node
		if n.Kind() == Object {
			_, has := n.box.shape.find(idKey)
			hasID = has
			members := map[string]*Node{}
			for k, e := range n.Members() {
				members[k] = add(e)
			}
			fresh = NewObject(members)
		} else {
			checkLabels(t, n)
			var elements []*Node
			for _, e := range n.Elements() {
				elements = append(elements, add(e))
			}
			fresh = NewArray(elements)
		}
		height++
		if fresh.digest != n.digest || n.box.height != height || n.box.hasID != hasID {
			t.Fatalf("digest %x, height %d, hasID %v; want %x, %d, %v for %.300s", n.digest, n.box.height, n.box.hasID,
				fresh.digest, height, hasID, n.AppendJSON(nil))
		}
		return height, hasID, fresh
	}
	check(n)
}

func checkLabels(t testing.TB, n *Node) {
	t.Helper()
	for i := range n.Len() {
		if i > 0 && n.Label(i) <= n.Label(i-1) {
			t.Fatalf("label %d of element %d is not above %d", n.Label(i), i, n.Label(i-1))
		}
		if at, ok := n.IndexOfLabel(n.Label(i)); !ok || at != i {
			t.Fatalf("label of element %d leads to %d, %v", i, at, ok)
		}
		if _, ok := n.IndexOfLabel(n.Label(i) + 1); ok && (i+1 == n.Len() || n.Label(i+1) != n.Label(i)+1) {
			t.Fatalf("a label that is not given out leads to an element")
		}
	}
	if v := n.box.vec; v != nil {
		for _, c := range v.chunks {
			if len(c.kids) == 0 || len(c.kids) > chunkMax || c.poly != polyOf(c.kids) || c.pow != polyPow(len(c.kids)) {
				t.Fatalf("chunk of %d elements is wrong", len(c.kids))
			}
		}
	}
}

// randomValue makes a value like those of documents, from a small stock so that parts are equal now and then.
func randomValue(r *rand.Rand, depth int) any {
	k := r.IntN(10)
	if depth <= 0 {
		k = r.IntN(5)
	}
	switch k {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return float64(r.IntN(5))
	case 3, 4:
		return string(rune('a' + r.IntN(4)))
	case 5, 6:
		a := make([]any, r.IntN(5))
		for i := range a {
			a[i] = randomValue(r, depth-1)
		}
		return a
	}
	m := map[string]any{}
	for range r.IntN(4) {
		m[string(rune('p'+r.IntN(4)))] = randomValue(r, depth-1)
	}
	return m
}

func mustFromGo(t testing.TB, v any) *Node {
	t.Helper()
	n, err := FromGo(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func lines(s ...string) string { return strings.Join(s, "\n") }
