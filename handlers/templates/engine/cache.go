package engine

import (
	"container/list"
	"hash/maphash"
	"sync"
	"text/template"
	"text/template/parse"
)

// How much is remembered: texts, bytes of all of them, and bytes of one.
const (
	maxEntries    = 64
	maxCached     = 4 << 20
	maxCachedText = 512 << 10
	maxSeen       = 1024
)

// cache is the parsed form of texts. A text is taken in when it comes for the
// second time, so that pages which are never the same do not push out those that
// are, and are not kept.
type cache struct {
	seed    maphash.Seed
	mu      sync.Mutex
	entries map[key]*list.Element
	order   *list.List // of *entry, those used last in front
	size    int
	seen    map[uint64]struct{}
}

type key struct{ name, text string }

// entry is one text.
type entry struct {
	key   key
	trees []*tree
	pool  sync.Pool // of *program
}

// tree is one definition of a text. It is never changed.
type tree struct {
	name string
	tree *parse.Tree
}

func treesOf(t *template.Template) []*tree {
	all := t.Templates()
	out := make([]*tree, 0, len(all))
	for _, each := range all {
		if each.Tree != nil {
			out = append(out, &tree{each.Name(), each.Tree})
		}
	}
	return out
}

func (c *cache) init() {
	c.seed = maphash.MakeSeed()
	c.entries, c.order, c.seen = map[key]*list.Element{}, list.New(), map[uint64]struct{}{}
}

// get returns the entry of a text, nil if there is none.
func (c *cache) get(name, text string) *entry {
	if len(text) > maxCachedText {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.entries[key{name, text}]
	if el == nil {
		return nil
	}
	c.order.MoveToFront(el)
	return el.Value.(*entry)
}

// put takes a text in and returns its entry, or nil if it is not remembered.
func (c *cache) put(name, text string, trees []*tree) *entry {
	if len(text) > maxCachedText {
		return nil
	}
	var h maphash.Hash
	h.SetSeed(c.seed)
	_, _ = h.WriteString(name + "\x00")
	_, _ = h.WriteString(text)
	sum := h.Sum64()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, again := c.seen[sum]; !again {
		if len(c.seen) >= maxSeen {
			clear(c.seen)
		}
		c.seen[sum] = struct{}{}
		return nil
	}
	k := key{name, text}
	if el := c.entries[k]; el != nil { // made by another request meanwhile
		return el.Value.(*entry)
	}
	e := &entry{key: k, trees: trees}
	c.entries[k] = c.order.PushFront(e)
	c.size += len(text)
	for c.order.Len() > maxEntries || c.size > maxCached {
		last := c.order.Remove(c.order.Back()).(*entry)
		delete(c.entries, last.key)
		c.size -= len(last.key.text)
	}
	return e
}
