package config

// Span is a part of an array that was replaced: old[OldStart:OldEnd] by new[NewStart:NewEnd], either of which may be empty.
type Span struct{ OldStart, OldEnd, NewStart, NewEnd int }

// DiffArrays compares two versions of an array by the identity of their elements. The spans ascend and don't overlap;
// outside of them the elements are the same nodes in both, in the same order. It is cheap if the versions come from each
// other by edits, whatever their length. What is not an array counts as an empty one.
func DiffArrays(old, new *Node) []Span {
	if old == new {
		return nil
	}
	a, b := runs(old), runs(new)
	// What is the same at both ends is taken by identity alone: labels may have been given out afresh.
	head := commonHead(a, b)
	tail := commonTail(a, b, min(old.Len(), new.Len())-head)
	var spans []Span
	from, to := cursorAt(a, head, old.Len()-tail), cursorAt(b, head, new.Len()-tail)
	merge(from, to, func(i, j int, o, n *Node, _ int64) {
		oldEnd, newEnd := i, j
		if o != nil {
			oldEnd++
		}
		if n != nil {
			newEnd++
		}
		if k := len(spans) - 1; k >= 0 && spans[k].OldEnd == i && spans[k].NewEnd == j {
			spans[k].OldEnd, spans[k].NewEnd = oldEnd, newEnd
			return
		}
		spans = append(spans, Span{i, oldEnd, j, newEnd})
	})
	return spans
}

// runs returns the elements of an array as chunks of which only elements and labels may be used.
func runs(n *Node) []*chunk {
	if n.Kind() != Array || n.Len() == 0 {
		return nil
	}
	if n.box.vec != nil {
		return n.box.vec.chunks
	}
	return []*chunk{{kids: n.box.kids}}
}

// sameRun reports whether two chunks share the memory of their elements.
func sameRun(a, b *chunk) bool {
	return a == b || len(a.kids) == len(b.kids) && &a.kids[0] == &b.kids[0]
}

func commonHead(a, b []*chunk) int {
	n := 0
	for i, j := (cursor{chunks: a}), (cursor{chunks: b}); !i.done() && !j.done(); {
		if i.off == 0 && j.off == 0 && sameRun(i.chunk(), j.chunk()) {
			n += len(i.chunk().kids)
			i.skip()
			j.skip()
			continue
		}
		if i.node() != j.node() {
			break
		}
		n++
		i.next()
		j.next()
	}
	return n
}

// commonTail counts at most limit elements.
func commonTail(a, b []*chunk, limit int) int {
	n := 0
	c, d := len(a)-1, len(b)-1
	x, y := 0, 0 // how many elements of the chunks were seen from their ends
	for n < limit {
		if x == len(a[c].kids) {
			c, x = c-1, 0
			continue
		}
		if y == len(b[d].kids) {
			d, y = d-1, 0
			continue
		}
		if k := len(a[c].kids); x == 0 && y == 0 && n+k <= limit && sameRun(a[c], b[d]) {
			n, x, y = n+k, k, k
			continue
		}
		if a[c].kids[len(a[c].kids)-1-x] != b[d].kids[len(b[d].kids)-1-y] {
			break
		}
		n, x, y = n+1, x+1, y+1
	}
	return n
}

// cursor walks over the elements of chunks.
type cursor struct {
	chunks []*chunk
	off    int // in chunks[0]
	index  int // in the array
	end    int // where to stop, used by merge
}

// cursorAt returns a cursor that stands before the element at index.
func cursorAt(chunks []*chunk, index, end int) cursor {
	c := cursor{chunks: chunks, end: end, off: index, index: index}
	for len(c.chunks) > 0 && c.off >= len(c.chunks[0].kids) {
		c.off -= len(c.chunks[0].kids)
		c.chunks = c.chunks[1:]
	}
	return c
}

func (c *cursor) done() bool    { return len(c.chunks) == 0 }
func (c *cursor) chunk() *chunk { return c.chunks[0] }
func (c *cursor) node() *Node   { return c.chunks[0].kids[c.off] }
func (c *cursor) label() int64  { return c.chunks[0].label(c.off) }

func (c *cursor) next() {
	c.index++
	if c.off++; c.off == len(c.chunks[0].kids) {
		c.chunks, c.off = c.chunks[1:], 0
	}
}

// skip moves from the start of a chunk to that of the next.
func (c *cursor) skip() {
	c.index += len(c.chunks[0].kids)
	c.chunks = c.chunks[1:]
}

// merge walks over two versions of an array in the order of labels, and calls visit for each label whose elements are not
// the same node, with nil for a version that has no such label. i and j are the positions in the two versions.
func merge(a, b cursor, visit func(i, j int, old, new *Node, label int64)) {
	for {
		more, moreNew := a.index < a.end, b.index < b.end
		switch {
		case !more && !moreNew:
			return
		case !moreNew || more && a.label() < b.label():
			visit(a.index, b.index, a.node(), nil, a.label())
			a.next()
		case !more || b.label() < a.label():
			visit(a.index, b.index, nil, b.node(), b.label())
			b.next()
		case a.off == 0 && b.off == 0 && a.chunk() == b.chunk() && a.index+len(a.chunk().kids) <= a.end &&
			b.index+len(b.chunk().kids) <= b.end:
			a.skip()
			b.skip()
		default:
			if a.node() != b.node() {
				visit(a.index, b.index, a.node(), b.node(), a.label())
			}
			a.next()
			b.next()
		}
	}
}
