package route

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/nameset"
)

// List is a compiled list of routes. It is immutable, shares its structure with
// the lists it was made from, and is safe for concurrent use.
type List struct {
	exact *iradix.Tree[*paths]
	wild  *iradix.Tree[*paths]
	any   *paths
	hosts nameset.Set // the host patterns of all routes
	// those of hosts that have placeholders
	templated nameset.Set
	n         int
	// single, when set, is the only route: there is no index.
	single *entry
	// overlays are routes that the document does not have, in order.
	overlays []*entry
}

// NewList makes a list of routes, as a document with these routes would.
func NewList(routes ...*Route) *List {
	items := make([]module.Item[*Route], len(routes))
	for i, r := range routes {
		items[i] = module.Item[*Route]{Label: int64(i), Value: r}
	}
	return (*List)(nil).update(module.Delta[*Route]{Reset: true, Added: items})
}

// Len is the number of routes.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return l.n
}

// Overlaid returns the list with two routes that are not in the document: one right behind the last route that names a
// host, or before all if none does, and one at the end. The cost is that of looking at all routes.
func (l *List) Overlaid(behindHosts, last *Route) *List {
	out := &List{}
	if l != nil {
		*out = *l
	} else {
		out.exact, out.wild = iradix.New[*paths](), iradix.New[*paths]()
	}
	out.overlays = []*entry{{out.lastHost(), behindHosts}, {math.MaxInt64, last}}
	return out
}

// lastHost is the label of the last route that names a host.
func (l *List) lastHost() int64 {
	label := int64(math.MinInt64)
	see := func(_ []byte, p *paths) bool {
		p.each(func(e *entry) { label = max(label, e.label) })
		return false
	}
	l.exact.Root().Walk(see)
	l.wild.Root().Walk(see)
	if l.any != nil {
		l.any.each(func(e *entry) {
			if len(e.route.hosts()) > 0 {
				label = max(label, e.label)
			}
		})
	}
	return label
}

// Hosts is the host patterns that the routes of the list name, as they are written.
func (l *List) Hosts() nameset.Set {
	if l == nil {
		return nameset.Set{}
	}
	return l.hosts
}

// Templated is those of Hosts that have placeholders.
func (l *List) Templated() nameset.Set {
	if l == nil {
		return nameset.Set{}
	}
	return l.templated
}

// HasHost reports whether a route of the list names the host, given in lower
// case, as it is: without wildcards or placeholders.
func (l *List) HasHost(name string) bool {
	return l != nil && !strings.ContainsAny(name, "*{") && l.hosts.Has(name)
}

// update derives the next list. It does not change l.
func (l *List) update(d module.Delta[*Route]) *List {
	if l == nil || d.Reset {
		l = &List{exact: iradix.New[*paths](), wild: iradix.New[*paths]()}
	}
	removed, added := entries(d.Removed), entries(d.Added)
	out := &List{n: l.n + len(added) - len(removed)}
	gone, came := groupByHost(removed), groupByHost(added)
	out.exact = rehost(l.exact, exactHost, gone.exact, came.exact)
	out.wild = rehost(l.wild, wildHost, gone.wild, came.wild)
	out.any = l.any
	if len(gone.any)+len(came.any) > 0 {
		out.any = l.any.with(anyHost, "", gone.any, came.any)
	}
	out.hosts = recount(l.hosts, removed, added, func(string) bool { return true })
	out.templated = recount(l.templated, removed, added, func(h string) bool { return strings.Contains(h, "{") })
	return out
}

func entries(items []module.Item[*Route]) bucket {
	b := make(bucket, len(items))
	for i, it := range items {
		b[i] = &entry{it.Label, it.Value}
	}
	slices.SortFunc(b, func(a, b *entry) int { return cmp.Compare(a.label, b.label) })
	return b
}

type hostGroups struct {
	exact, wild map[string][]filing
	any         []filing
}

func groupByHost(b bucket) hostGroups {
	g := hostGroups{exact: map[string][]filing{}, wild: map[string][]filing{}}
	for _, e := range b {
		for _, k := range e.route.keys {
			f := filing{e, k.pathKind, k.path}
			switch k.hostKind {
			case exactHost:
				g.exact[k.host] = append(g.exact[k.host], f)
			case wildHost:
				g.wild[k.host] = append(g.wild[k.host], f)
			default:
				g.any = append(g.any, f)
			}
		}
	}
	return g
}

func rehost(tree *iradix.Tree[*paths], kind hostKind, gone, came map[string][]filing) *iradix.Tree[*paths] {
	if len(gone)+len(came) == 0 {
		return tree
	}
	txn := tree.Txn()
	change := func(host string) {
		old, _ := txn.Get([]byte(host))
		if p := old.with(kind, host, gone[host], came[host]); p != nil {
			txn.Insert([]byte(host), p)
		} else {
			txn.Delete([]byte(host))
		}
	}
	for host := range gone {
		change(host)
	}
	for host := range came {
		if _, done := gone[host]; !done {
			change(host)
		}
	}
	return txn.Commit()
}

func recount(hosts nameset.Set, removed, added bucket, counts func(host string) bool) nameset.Set {
	delta := map[string]int{}
	for _, e := range removed {
		for _, h := range e.route.hosts() {
			if counts(h) {
				delta[h]--
			}
		}
	}
	for _, e := range added {
		for _, h := range e.route.hosts() {
			if counts(h) {
				delta[h]++
			}
		}
	}
	if hosts.Len() == 0 {
		return nameset.Of(delta)
	}
	for name, d := range delta {
		hosts = hosts.Add(name, d)
	}
	return hosts
}

// candidates finds the buckets in which a route for this host and path may be.
// The host is without port, both are lower-case.
func (l *List) candidates(host, path string, dst []bucket) []bucket {
	dst = l.any.candidates(path, dst)
	if l.exact.Len() > 0 {
		if p, ok := l.exact.Get([]byte(host)); ok {
			dst = p.candidates(path, dst)
		}
	}
	if l.wild.Len() > 0 {
		if i := strings.IndexByte(host, '.'); i >= 0 {
			if p, ok := l.wild.Get([]byte(host[i+1:])); ok {
				dst = p.candidates(path, dst)
			}
		}
	}
	return dst
}

// Serve runs the list: the first matching route, then, as far as handlers call
// next, the matching routes behind it, and at the end next.
func (l *List) Serve(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	return l.ServeObserved(w, r, next, nil)
}

// Observer is told which routes of a list run.
type Observer interface {
	// Reached is called before a route of the list runs, with the module name of
	// its first handler; routes without handlers, and those of lists within, are
	// not reported.
	Reached(handler string)
}

// ServeObserved is Serve with an observer, which may be nil.
func (l *List) ServeObserved(w http.ResponseWriter, r *http.Request, next handlers.Next, o Observer) error {
	if l == nil {
		return next.ServeHTTP(w, r)
	}
	x := handlers.Of(r)
	if err := x.Enter(); err != nil {
		return err
	}
	defer x.Leave()
	c := &cursor{list: l, exchange: x, next: next, observer: o}
	x.Chains = append(x.Chains, c)
	return c.run(w, r, nil)
}
