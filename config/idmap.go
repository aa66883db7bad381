package config

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// idMap maps ids to places. It is a hash array mapped trie: a version of it never changes but while it is made, and shares
// most of its memory with the version it was made from.
type idMap struct {
	root *idNode
	len  int
}

// idNode is a level of the trie: it looks at five bits of the hash.
type idNode struct {
	owner *idOwner // the edit that may change it in place
	bits  uint32   // which of the 32 slots are there
	slots []idSlot
}

// idSlot holds either a further level or a leaf.
type idSlot struct {
	sub  *idNode
	leaf *idLeaf
}

type idLeaf struct {
	id   string
	at   *step
	next *idLeaf // another id with the same hash
}

// idEdit makes one version of an idMap from another. It must not be used after its map was taken.
type idEdit struct {
	idMap
	owner *idOwner
}

// idOwner is an edit's name tag; nodes don't point to the edit, which would keep its whole map in memory.
type idOwner struct{ _ byte }

const idBits = 5

func (m *idMap) edit() *idEdit { return &idEdit{idMap: *m, owner: new(idOwner)} }

func (m *idMap) get(id string) *step {
	h := xxhash.Sum64String(id)
	for n := m.root; n != nil; h >>= idBits {
		bit := uint32(1) << (h & 31)
		if n.bits&bit == 0 {
			return nil
		}
		s := n.slots[bits.OnesCount32(n.bits&(bit-1))]
		for l := s.leaf; l != nil; l = l.next {
			if l.id == id {
				return l.at
			}
		}
		n = s.sub
	}
	return nil
}

// put adds an id that is not in the map.
func (e *idEdit) put(id string, at *step) {
	e.len++
	e.root = e.insert(e.root, xxhash.Sum64String(id), 0, &idLeaf{id: id, at: at})
}

// drop removes an id that is in the map.
func (e *idEdit) drop(id string) {
	e.len--
	e.root = e.remove(e.root, xxhash.Sum64String(id), id)
}

// own returns n, or a copy of it if n belongs to an older version.
func (e *idEdit) own(n *idNode) *idNode {
	if n.owner == e.owner {
		return n
	}
	return &idNode{owner: e.owner, bits: n.bits, slots: append([]idSlot(nil), n.slots...)}
}

// insert adds a leaf below n, where h is what is left of the hash after shift bits.
func (e *idEdit) insert(n *idNode, h uint64, shift int, leaf *idLeaf) *idNode {
	bit := uint32(1) << (h & 31)
	if n == nil {
		return &idNode{owner: e.owner, bits: bit, slots: []idSlot{{leaf: leaf}}}
	}
	n = e.own(n)
	i := bits.OnesCount32(n.bits & (bit - 1))
	if n.bits&bit == 0 {
		n.bits |= bit
		n.slots = append(n.slots, idSlot{})
		copy(n.slots[i+1:], n.slots[i:])
		n.slots[i] = idSlot{leaf: leaf}
		return n
	}
	s := n.slots[i]
	if s.leaf != nil {
		rest := xxhash.Sum64String(s.leaf.id) >> (shift + idBits)
		if rest == h>>idBits { // the same hash: the bits before led both here
			leaf.next = s.leaf
			n.slots[i].leaf = leaf
			return n
		}
		s.sub = e.insert(nil, rest, shift+idBits, s.leaf)
	}
	n.slots[i] = idSlot{sub: e.insert(s.sub, h>>idBits, shift+idBits, leaf)}
	return n
}

// remove takes an id out of n, and returns nil when nothing is left.
func (e *idEdit) remove(n *idNode, h uint64, id string) *idNode {
	bit := uint32(1) << (h & 31)
	n = e.own(n)
	i := bits.OnesCount32(n.bits & (bit - 1))
	s := n.slots[i]
	if s.leaf != nil {
		s.leaf = s.leaf.without(id)
	} else if s.sub = e.remove(s.sub, h>>idBits, id); s.sub != nil && len(s.sub.slots) == 1 && s.sub.slots[0].leaf != nil {
		s = s.sub.slots[0]
	}
	if s.leaf != nil || s.sub != nil {
		n.slots[i] = s
		return n
	}
	if len(n.slots) == 1 {
		return nil
	}
	n.bits &^= bit
	n.slots = append(n.slots[:i], n.slots[i+1:]...)
	return n
}

func (l *idLeaf) without(id string) *idLeaf {
	if l == nil {
		return nil
	}
	if l.id == id {
		return l.next
	}
	return &idLeaf{id: l.id, at: l.at, next: l.next.without(id)}
}
