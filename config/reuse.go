package config

import "slices"

// Reuse returns a tree equal to new that takes the nodes of old wherever a subtree of new is equal to one of old in the same
// place: members of objects by their key; elements of arrays from both ends, then by @id, then by content, then by position
// between such neighbours, which are gone into if they are not equal. No array or object of old is used twice. If all is
// equal, old itself is returned. It takes about linear time.
//
// The arrays and objects of new must not be part of old; see Edit.Value.
func Reuse(old, new *Node) *Node {
	if old == nil || new == nil {
		return new
	}
	if Equal(old, new) {
		return old
	}
	switch {
	case old.Kind() == Object && new.Kind() == Object:
		return reuseObject(old, new)
	case old.Kind() == Array && new.Kind() == Array:
		return reuseArray(old, new)
	}
	return new
}

func reuseObject(old, new *Node) *Node {
	kids := make([]*Node, len(new.box.kids))
	same, allKeys := true, len(kids) == len(old.box.kids)
	for i, k := range new.box.shape.keys {
		n := new.box.kids[i]
		o := old.Get(k)
		kids[i] = Reuse(o, n)
		same = same && kids[i] == n
		allKeys = allKeys && o != nil
	}
	if same {
		return new
	}
	if allKeys {
		return newObject(old.box.shape, kids)
	}
	return newObject(new.box.shape, kids)
}

func reuseArray(old, new *Node) *Node {
	from, to := old.elements(), new.elements()
	p := align(from, to)
	kids := make([]*Node, len(to))
	for j, n := range to {
		kids[j] = n
		if i := p.from[j]; i >= 0 {
			kids[j] = Reuse(from[i], n)
		}
	}
	labels, ok := carryLabels(old, p)
	if !ok {
		return newArray(kids)
	}
	return arrayOf(shareChunks(sharable(old), kids, labels, p))
}

// sharable returns the chunks of an array that can be taken as they are: none of a short one, which has no digests for them.
func sharable(n *Node) []*chunk {
	if n.box.vec == nil {
		return nil
	}
	return n.box.vec.chunks
}

// carryLabels gives the ordered elements the labels of their old ones, and the others labels in between. It is not ok if
// there is no room.
func carryLabels(old *Node, p pairing) ([]int64, bool) {
	had := make([]int64, 0, old.Len())
	for _, c := range runs(old) {
		for i := range c.kids {
			had = append(had, c.label(i))
		}
	}
	labels := make([]int64, len(p.from))
	for j := 0; j < len(labels); j++ {
		if p.ordered[j] {
			labels[j] = had[p.from[j]]
			continue
		}
		end := j
		for end < len(labels) && !p.ordered[end] {
			end++
		}
		before, after := noLabel, noLabel
		if j > 0 {
			before = labels[j-1]
		}
		if end < len(labels) {
			after = had[p.from[end]]
		}
		if !spread(labels[j:end], before, after) {
			return nil, false
		}
		j = end - 1
	}
	return labels, true
}

// spread fills labels with ascending ones between before and after, either of which can be missing.
func spread(labels []int64, before, after int64) bool {
	first, step, n := int64(0), stride, int64(len(labels))
	switch {
	case before != noLabel && after != noLabel:
		step = int64((uint64(after) - uint64(before)) / uint64(n+1))
		first = before + step
	case before != noLabel:
		if before > (1<<63-1)-(n+1)*stride {
			return false
		}
		first = before + stride
	case after != noLabel:
		if after < noLabel+(n+1)*stride {
			return false
		}
		first = after - n*stride
	}
	for i := range labels {
		labels[i] = first + int64(i)*step
	}
	return step > 0
}

// shareChunks makes chunks of kids and labels, taking those of the old array that are in it as they were.
func shareChunks(old []*chunk, kids []*Node, labels []int64, p pairing) []*chunk {
	var chunks []*chunk
	pending, at := 0, 0 // the first element that is in no chunk yet; the start of old[0] in the old array
	for j := 0; j < len(kids); {
		if !p.ordered[j] {
			j++
			continue
		}
		for len(old) > 0 && at < p.from[j] {
			at += len(old[0].kids)
			old = old[1:]
		}
		// A few elements before the chunk are put together with it, lest chunks become ever smaller.
		small := j > pending && j-pending < chunkMin
		if len(old) == 0 || at != p.from[j] || small || !holds(old[0], kids[j:], labels[j:]) {
			j++
			continue
		}
		// Own memory for each part, as in split.
		chunks = append(split(chunks, slices.Clone(kids[pending:j]), slices.Clone(labels[pending:j])), old[0])
		j += len(old[0].kids)
		pending = j
	}
	return split(chunks, slices.Clone(kids[pending:]), slices.Clone(labels[pending:]))
}

// holds reports whether kids and labels begin with what is in c.
func holds(c *chunk, kids []*Node, labels []int64) bool {
	if len(c.kids) > len(kids) {
		return false
	}
	for i, k := range c.kids {
		if kids[i] != k || labels[i] != c.label(i) {
			return false
		}
	}
	return true
}
