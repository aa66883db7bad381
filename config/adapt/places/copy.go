package places

import (
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

const (
	// maxPlaces bounds what a short text can make of ranges and of imports.
	maxPlaces = 2 << 20
	// maxCopied bounds what sites in several servers, and matchers and named routes
	// that are used more than once, can make of a short text.
	maxCopied = 2 << 20
)

// Copy returns a copy of a node for one more place in the document, with the
// places in the text of the original.
func (m *Map) Copy(n *config.Node) *config.Node {
	if m.copied += cost(n); m.copied > maxCopied {
		return n // refused by Check
	}
	c := n.Clone()
	m.follow(n, c)
	return c
}

// Copies returns copies of nodes.
func (m *Map) Copies(list []*config.Node) []*config.Node {
	out := make([]*config.Node, len(list))
	for i, n := range list {
		out[i] = m.Copy(n)
	}
	return out
}

// Fresh returns a node for one more place: itself the first time, then copies.
func (m *Map) Fresh(n *config.Node, used *bool) *config.Node {
	if !*used {
		*used = true
		return n
	}
	return m.Copy(n)
}

// Charge counts work that is done once more because something is there several
// times, as if a value was copied.
func (m *Map) Charge() { m.copied++ }

// follow gives a copy of a node the places of the original.
func (m *Map) follow(from, to *config.Node) {
	m.Moved(from, to)
	switch from.Kind() {
	case config.Array:
		for i, e := range from.Elements() {
			m.follow(e, to.Index(i))
		}
	case config.Object:
		for i := range from.Len() {
			m.follow(from.Value(i), to.Value(i))
		}
	}
}

// cost is the number of nodes, with long texts counted as several.
func cost(n *config.Node) int {
	sum := 1
	switch n.Kind() {
	case config.String:
		sum += len(n.Str()) / 16
	case config.Array:
		for _, e := range n.Elements() {
			sum += cost(e)
		}
	case config.Object:
		for _, v := range n.Members() {
			sum += cost(v)
		}
	}
	return sum
}

// Full reports whether the document is out of proportion, so that there is no
// sense in making more of it.
func (m *Map) Full() bool { return len(m.nodes) > maxPlaces || m.copied > maxCopied }

// Check refuses a document that is out of proportion.
func (m *Map) Check(t caddyfile.Token) error {
	if !m.Full() {
		return nil
	}
	return t.Errf("the document of this Caddyfile is too large; it has more than %d objects and lists up to here, or more than %d values that are there several times", maxPlaces, maxCopied)
}
