package route

import (
	"sort"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// entry is a route at its place in a list. Labels rise along the list.
type entry struct {
	label int64
	route *Route
}

// bucket is entries in list order.
type bucket []*entry

// after returns the first entry behind label, or nil.
func (b bucket) after(label int64) *entry {
	i := sort.Search(len(b), func(i int) bool { return b[i].label > label })
	if i == len(b) {
		return nil
	}
	return b[i]
}

// with returns the bucket without the removed and with the added labels. Both
// are in list order.
func (b bucket) with(removed, added bucket) bucket {
	out := make(bucket, 0, max(len(b)-len(removed), 0)+len(added))
	for _, e := range b {
		for len(removed) > 0 && removed[0].label < e.label {
			removed = removed[1:]
		}
		if len(removed) > 0 && removed[0].label == e.label {
			continue
		}
		for len(added) > 0 && added[0].label < e.label {
			out, added = append(out, added[0]), added[1:]
		}
		out = append(out, e)
	}
	return append(out, added...)
}

// splitAt is how many routes one host may have before they are indexed by path.
const splitAt = 16

// paths is the routes of one host: a plain bucket while they are few, indexed
// by path once they have been many. Immutable.
type paths struct {
	n     int
	all   bucket // until split
	rest  bucket // when split: those that are tried for every path
	exact *iradix.Tree[bucket]
	under *iradix.Tree[bucket]
}

// filing is one entry to be filed under a path.
type filing struct {
	entry *entry
	kind  pathKind
	path  string
}

// with returns the paths of a host with the changes made. Filings are in list
// order.
func (p *paths) with(kind hostKind, host string, removed, added []filing) *paths {
	out := &paths{}
	if p != nil {
		*out = *p
	}
	gone, came := entriesOf(removed), entriesOf(added)
	out.n += len(came) - len(gone)
	switch {
	case out.n == 0:
		return nil
	case out.exact != nil:
		out.file(removed, added)
	default:
		out.all = out.all.with(gone, came)
		if out.n >= splitAt {
			out.exact, out.under = iradix.New[bucket](), iradix.New[bucket]()
			out.file(nil, filingsOf(out.all, kind, host))
			out.all = nil
		}
	}
	return out
}

// filingsOf is the filings of all entries under one host.
func filingsOf(all bucket, kind hostKind, host string) []filing {
	var out []filing
	for _, e := range all {
		for _, k := range e.route.keys {
			if k.hostKind == kind && k.host == host {
				out = append(out, filing{e, k.pathKind, k.path})
			}
		}
	}
	return out
}

func (p *paths) file(removed, added []filing) {
	gone, came := groupByPath(removed), groupByPath(added)
	p.rest = p.rest.with(gone.rest, came.rest)
	p.exact = refile(p.exact, gone.exact, came.exact)
	p.under = refile(p.under, gone.under, came.under)
}

type grouped struct {
	rest         bucket
	exact, under map[string]bucket
}

func groupByPath(list []filing) grouped {
	g := grouped{exact: map[string]bucket{}, under: map[string]bucket{}}
	for _, f := range list {
		switch f.kind {
		case exactPath:
			g.exact[f.path] = appendOnce(g.exact[f.path], f.entry)
		case prefixPath:
			g.under[f.path] = appendOnce(g.under[f.path], f.entry)
		default:
			g.rest = appendOnce(g.rest, f.entry)
		}
	}
	return g
}

func appendOnce(b bucket, e *entry) bucket {
	if len(b) > 0 && b[len(b)-1] == e {
		return b
	}
	return append(b, e)
}

func entriesOf(list []filing) bucket {
	var b bucket
	for _, f := range list {
		b = appendOnce(b, f.entry)
	}
	return b
}

func refile(tree *iradix.Tree[bucket], gone, came map[string]bucket) *iradix.Tree[bucket] {
	txn := tree.Txn()
	change := func(path string) {
		old, _ := txn.Get([]byte(path))
		if b := old.with(gone[path], came[path]); len(b) > 0 {
			txn.Insert([]byte(path), b)
		} else {
			txn.Delete([]byte(path))
		}
	}
	for path := range gone {
		change(path)
	}
	for path := range came {
		if _, done := gone[path]; !done {
			change(path)
		}
	}
	return txn.Commit()
}

// candidates appends the buckets in which a route for the path may be.
func (p *paths) candidates(path string, dst []bucket) []bucket {
	if p == nil {
		return dst
	}
	if p.exact == nil {
		return append(dst, p.all)
	}
	if len(p.rest) > 0 {
		dst = append(dst, p.rest)
	}
	if b, ok := p.exact.Get([]byte(path)); ok {
		dst = append(dst, b)
	}
	p.under.Root().WalkPath([]byte(path), func(_ []byte, b bucket) bool {
		dst = append(dst, b)
		return false
	})
	return dst
}

// each calls f for each entry, for some more than once.
func (p *paths) each(f func(e *entry)) {
	visit := func(_ []byte, b bucket) bool {
		for _, e := range b {
			f(e)
		}
		return false
	}
	visit(nil, p.all)
	visit(nil, p.rest)
	if p.exact != nil {
		p.exact.Root().Walk(visit)
		p.under.Root().Walk(visit)
	}
}
