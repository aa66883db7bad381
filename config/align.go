package config

import "sort"

// pairing says which elements of an old list the elements of a new one come from.
type pairing struct {
	from    []int  // for each new element the index of its old one, or -1; no old one is used twice
	ordered []bool // for each new element whether it is paired and in the same order as all others that are ordered
}

// align pairs the elements of two lists: equal ones at both ends first, then those with the same @id, then equal ones
// wherever they are, and what then is left between the same neighbours by position. Only the pairs by @id and by position
// can be unequal. It takes about linear time.
func align(old, new []*Node) pairing {
	p := pairing{from: make([]int, len(new)), ordered: make([]bool, len(new))}
	head := 0
	for head < len(old) && head < len(new) && Equal(old[head], new[head]) {
		p.from[head], p.ordered[head] = head, true
		head++
	}
	m, n := len(old), len(new)
	for m > head && n > head && Equal(old[m-1], new[n-1]) {
		m, n = m-1, n-1
		p.from[n], p.ordered[n] = m, true
	}
	for j := head; j < n; j++ {
		p.from[j] = -1
	}
	if head < m && head < n {
		a := aligner{pairing: p, old: old, new: new, head: head, m: m, n: n, used: make([]bool, m-head)}
		a.byID()
		a.byDigest()
		a.order()
		a.byPosition()
	}
	return p
}

// aligner pairs old[head:m] with new[head:n].
type aligner struct {
	pairing
	old, new   []*Node
	head, m, n int
	used       []bool // by old index - head
}

func (a *aligner) pair(i, j int) {
	a.from[j] = i
	a.used[i-a.head] = true
}

func (a *aligner) byID() {
	var byID map[string]int
	for i := a.head; i < a.m; i++ {
		if id, ok := nodeID(a.old[i]); ok {
			if byID == nil {
				byID = map[string]int{}
			}
			byID[id] = i
		}
	}
	if byID == nil {
		return
	}
	for j := a.head; j < a.n; j++ {
		if id, ok := nodeID(a.new[j]); ok {
			if i, ok := byID[id]; ok && !a.used[i-a.head] {
				a.pair(i, j)
			}
		}
	}
}

func (a *aligner) byDigest() {
	// Lists of the old elements of each digest, in order: first and then next, which hold index - head + 1.
	first := make(map[uint64]int, a.m-a.head)
	next := make([]int, a.m-a.head)
	for i := a.m - 1; i >= a.head; i-- {
		if !a.used[i-a.head] {
			d := a.old[i].digest
			next[i-a.head] = first[d]
			first[d] = i - a.head + 1
		}
	}
	for j := a.head; j < a.n; j++ {
		if a.from[j] >= 0 {
			continue
		}
		d := a.new[j].digest
		if k := first[d]; k > 0 && Equal(a.old[a.head+k-1], a.new[j]) {
			first[d] = next[k-1]
			a.pair(a.head+k-1, j)
		}
	}
}

// order finds the longest run of pairs that have the same order in both lists.
func (a *aligner) order() {
	var tails []int // tails[k]: the new index at which the best run of k+1 pairs ends
	before := make([]int, a.n-a.head)
	for j := a.head; j < a.n; j++ {
		if a.from[j] < 0 {
			continue
		}
		k := len(tails)
		if k > 0 && a.from[tails[k-1]] > a.from[j] {
			k = sort.Search(k, func(k int) bool { return a.from[tails[k]] > a.from[j] })
		}
		before[j-a.head] = -1
		if k > 0 {
			before[j-a.head] = tails[k-1]
		}
		if k == len(tails) {
			tails = append(tails, j)
		} else {
			tails[k] = j
		}
	}
	if len(tails) > 0 {
		for j := tails[len(tails)-1]; j >= 0; j = before[j-a.head] {
			a.ordered[j] = true
		}
	}
}

// byPosition pairs what is left between two neighbours that are ordered.
func (a *aligner) byPosition() {
	i, j := a.head, a.head
	for j < a.n {
		next, end := j, a.m // the neighbour after the gap
		for next < a.n && !a.ordered[next] {
			next++
		}
		if next < a.n {
			end = a.from[next]
		}
		for ; j < next; j++ {
			for i < end && a.used[i-a.head] {
				i++
			}
			if a.from[j] >= 0 || i >= end {
				continue
			}
			if compatible(a.old[i], a.new[j]) {
				a.pair(i, j)
				a.ordered[j] = true
			}
			i++
		}
		i, j = end+1, next+1
	}
}

// compatible reports whether n may be a later state of o: not if they say by their @id that they are two things.
func compatible(o, n *Node) bool {
	a, ok := nodeID(o)
	if !ok {
		return true
	}
	b, ok := nodeID(n)
	return !ok || a == b
}

// nodeID returns the @id of an object, as it is indexed.
func nodeID(n *Node) (string, bool) {
	if n.Kind() != Object || n.box.shape.id < 0 {
		return "", false
	}
	return idText(n.box.kids[n.box.shape.id])
}
