package config

import (
	"slices"
	"sort"
)

// Arrays. A long array is a list of chunks, so that an edit copies one chunk and the list, and two versions of an array
// share all other chunks. Each element has a label; see Node.Label.

const (
	stride   = int64(1) << 32  // between labels of neighbours, where nothing was inserted
	noLabel  = int64(-1) << 63 // is never a label
	chunkMax = 512             // a longer chunk is split
	chunkMin = 64              // a shorter one is joined with a neighbour
	chunkLen = 256             // what splitting aims at
)

// vector is a list of chunks, none of them empty.
type vector struct {
	chunks []*chunk
	starts []int // the index of the first element of each chunk
	len    int
}

// chunk is a run of elements. It never changes.
type chunk struct {
	kids   []*Node
	labels []int64 // nil: base, base+stride, ...
	base   int64   // the first label
	poly   uint64  // polyOf(kids)
	pow    uint64  // polyPow(len(kids))
	height int32   // the greatest of kids
	hasID  bool
}

func (c *chunk) label(i int) int64 {
	if c.labels != nil {
		return c.labels[i]
	}
	return c.base + int64(i)*stride
}

func (c *chunk) last() int64 { return c.label(len(c.kids) - 1) }

// allLabels returns the labels as a new slice with room for one more.
func (c *chunk) allLabels() []int64 {
	l := make([]int64, len(c.kids), len(c.kids)+1)
	for i := range l {
		l[i] = c.label(i)
	}
	return l
}

// newChunk makes a chunk of kids with labels, both of which are kept.
func newChunk(kids []*Node, labels []int64) *chunk {
	c := &chunk{kids: kids, labels: labels, base: labels[0], poly: polyOf(kids), pow: polyPow(len(kids))}
	regular := true
	for i, l := range labels {
		regular = regular && l-c.base == int64(i)*stride
	}
	if regular {
		c.labels = nil
	}
	c.measure()
	return c
}

func (c *chunk) measure() {
	for _, k := range c.kids {
		if k.box != nil {
			c.height = max(c.height, k.box.height)
			c.hasID = c.hasID || k.box.hasID
		}
	}
}

// replaced returns the chunk with its i-th element replaced.
func (c *chunk) replaced(i int, n *Node) *chunk {
	old := c.kids[i]
	r := &chunk{kids: slices.Clone(c.kids), labels: c.labels, base: c.base, pow: c.pow}
	r.kids[i] = n
	delta := mod61(mod61(n.digest) + prime61 - mod61(old.digest))
	r.poly = mod61(c.poly + mul61(delta, polyPow(len(c.kids)-1-i)))
	if old.hasID() != n.hasID() || old.height() == c.height {
		r.measure()
	} else {
		r.height, r.hasID = max(c.height, n.height()), c.hasID
	}
	return r
}

// split cuts kids and labels into chunks.
func split(chunks []*chunk, kids []*Node, labels []int64) []*chunk {
	n := len(kids)
	if n == 0 {
		return chunks
	}
	parts := 1
	if n > chunkMax {
		parts = (n + chunkLen - 1) / chunkLen
	}
	for p := range parts {
		from, to := p*n/parts, (p+1)*n/parts
		k, l := kids[from:to:to], labels[from:to:to]
		if parts > 1 {
			// Own memory for each, so that one chunk doesn't keep the memory of all.
			k, l = slices.Clone(k), slices.Clone(l)
		}
		chunks = append(chunks, newChunk(k, l))
	}
	return chunks
}

func newVector(chunks []*chunk) *vector {
	v := &vector{chunks: chunks, starts: make([]int, len(chunks))}
	for i, c := range chunks {
		v.starts[i] = v.len
		v.len += len(c.kids)
	}
	return v
}

func (v *vector) chunkOf(i int) int {
	if i < 0 || i >= v.len {
		panic("config: array index out of range")
	}
	return sort.Search(len(v.starts), func(c int) bool { return v.starts[c] > i }) - 1
}

func (v *vector) at(i int) *Node {
	c := v.chunkOf(i)
	return v.chunks[c].kids[i-v.starts[c]]
}

func (v *vector) label(i int) int64 {
	c := v.chunkOf(i)
	return v.chunks[c].label(i - v.starts[c])
}

func (v *vector) find(l int64) (int, bool) {
	c := sort.Search(len(v.chunks), func(c int) bool { return v.chunks[c].base > l }) - 1
	if c < 0 {
		return 0, false
	}
	ch := v.chunks[c]
	if ch.labels != nil {
		i, ok := slices.BinarySearch(ch.labels, l)
		return v.starts[c] + i, ok
	}
	d := uint64(l - ch.base) // l >= base, so the difference is right modulo 2^64
	if d%uint64(stride) != 0 || d/uint64(stride) >= uint64(len(ch.kids)) {
		return 0, false
	}
	return v.starts[c] + int(d/uint64(stride)), true
}

// newArray makes an array of kids, which are kept, with fresh labels.
func newArray(kids []*Node) *Node {
	if len(kids) <= chunkMax {
		a := &container{box: box{kids: kids, height: 1}}
		for _, k := range kids {
			if k.box != nil {
				a.box.height = max(a.box.height, k.box.height+1)
				a.box.hasID = a.box.hasID || k.box.hasID
			}
		}
		a.node.digest = digestArray(polyOf(kids), len(kids))
		a.node.box = &a.box
		return &a.node
	}
	return arrayOf(split(nil, kids, freshLabels(0, len(kids))))
}

func freshLabels(first int64, n int) []int64 {
	l := make([]int64, n)
	for i := range l {
		l[i] = first + int64(i)*stride
	}
	return l
}

// arrayOf makes an array of chunks.
func arrayOf(chunks []*chunk) *Node {
	if len(chunks) == 0 {
		return newArray(nil)
	}
	a := &container{box: box{height: 1}}
	if c := chunks[0]; len(chunks) == 1 && c.labels == nil && c.base == 0 && len(c.kids) <= chunkMax {
		a.box.kids = c.kids
	} else {
		a.box.vec = newVector(chunks)
	}
	var poly uint64
	n := 0
	for _, c := range chunks {
		poly = mod61(mul61(poly, c.pow) + c.poly)
		n += len(c.kids)
		a.box.height = max(a.box.height, c.height+1)
		a.box.hasID = a.box.hasID || c.hasID
	}
	a.node.digest = digestArray(poly, n)
	a.node.box = &a.box
	return &a.node
}

// chunks returns the elements of an array as chunks. For a short array they are made on the spot.
func (n *Node) chunks() []*chunk {
	if n.box.vec != nil {
		return n.box.vec.chunks
	}
	if len(n.box.kids) == 0 {
		return nil
	}
	return []*chunk{newChunk(n.box.kids, freshLabels(0, len(n.box.kids)))}
}

// locate returns the chunk that holds element i, and the place in it.
func (n *Node) locate(i int) (c, off int) {
	if n.box.vec == nil {
		return 0, i
	}
	c = n.box.vec.chunkOf(i)
	return c, i - n.box.vec.starts[c]
}

// withElement returns the array n with its i-th element replaced by e.
func (n *Node) withElement(i int, e *Node) *Node {
	if n.Index(i) == e {
		return n
	}
	c, off := n.locate(i)
	chunks := slices.Clone(n.chunks())
	chunks[c] = chunks[c].replaced(off, e)
	return arrayOf(chunks)
}

// withoutElement returns the array n without its i-th element.
func (n *Node) withoutElement(i int) *Node {
	c, off := n.locate(i)
	chunks := n.chunks()
	kids, labels := removed(chunks[c].kids, off), removed(chunks[c].allLabels(), off)
	return arrayOf(respliced(chunks, c, kids, labels))
}

// withInserted returns the array n with e before its i-th element, or at its end.
func (n *Node) withInserted(i int, e *Node) *Node {
	if i == n.Len() {
		return n.withAppended([]*Node{e})
	}
	label, ok := n.labelBefore(i)
	if !ok {
		n = n.relabelled()
		label, _ = n.labelBefore(i)
	}
	c, off := n.locate(i)
	chunks := n.chunks()
	kids, labels := inserted(chunks[c].kids, off, e), inserted(chunks[c].allLabels(), off, label)
	return arrayOf(respliced(chunks, c, kids, labels))
}

// withAppended returns the array n with more elements at its end.
func (n *Node) withAppended(more []*Node) *Node {
	if len(more) == 0 {
		return n
	}
	if n.Len() == 0 {
		return newArray(slices.Clone(more))
	}
	if last := n.Label(n.Len() - 1); last > (1<<63-1)-int64(len(more))*stride-stride {
		n = n.relabelled()
	}
	chunks := n.chunks()
	c := len(chunks) - 1
	kids := slices.Concat(chunks[c].kids, more)
	labels := append(chunks[c].allLabels(), freshLabels(chunks[c].last()+stride, len(more))...)
	return arrayOf(respliced(chunks, c, kids, labels))
}

// labelBefore finds a label for a new element before element i.
func (n *Node) labelBefore(i int) (int64, bool) {
	next := n.Label(i)
	if i == 0 {
		return next - stride, next > noLabel+stride
	}
	prev := n.Label(i - 1)
	mid := prev + int64(uint64(next-prev)/2)
	return mid, mid > prev
}

// relabelled returns the same array with fresh labels.
func (n *Node) relabelled() *Node {
	old := n.chunks()
	chunks := make([]*chunk, len(old))
	at := 0
	for i, c := range old {
		fresh := *c
		fresh.labels, fresh.base = nil, int64(at)*stride
		chunks[i] = &fresh
		at += len(c.kids)
	}
	return arrayOf(chunks)
}

// respliced returns chunks with chunk c replaced by one or more of kids and labels, which are kept.
func respliced(chunks []*chunk, c int, kids []*Node, labels []int64) []*chunk {
	from, to := c, c+1
	if len(kids) < chunkMin && len(chunks) > 1 {
		if c > 0 {
			from--
			kids = slices.Concat(chunks[from].kids, kids)
			labels = append(chunks[from].allLabels(), labels...)
		} else {
			kids = slices.Concat(kids, chunks[to].kids)
			labels = append(labels, chunks[to].allLabels()...)
			to++
		}
	}
	r := make([]*chunk, 0, len(chunks)+1)
	r = append(r, chunks[:from]...)
	r = split(r, kids, labels)
	return append(r, chunks[to:]...)
}
