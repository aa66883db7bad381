package server

import (
	"slices"
	"strings"
	"sync"

	"github.com/sluiceproxy/sluice/config/module"
)

// reclaimer closes what generations leave behind. A module lives from one
// generation to another without a gap, so what left with generation n can be
// closed when n and all before it are drained.
type reclaimer struct {
	mu      sync.Mutex
	waiting []*leftover // in order of generations
}

type leftover struct {
	drained bool
	gone    []*module.Built
}

// expect notes a generation that is about to be replaced. When it is drained,
// drain must be called with the result.
func (r *reclaimer) expect() *leftover {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &leftover{}
	r.waiting = append(r.waiting, l)
	return l
}

// drain closes what can be closed, now that l's generation is drained.
func (r *reclaimer) drain(l *leftover) {
	r.mu.Lock()
	l.drained = true
	var ready []*module.Built
	for len(r.waiting) > 0 && r.waiting[0].drained {
		ready = append(ready, r.waiting[0].gone...)
		r.waiting = r.waiting[1:]
	}
	r.mu.Unlock()
	closeAll(ready)
}

// pending is how many replaced generations are not drained yet.
func (r *reclaimer) pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting)
}

// closeAll closes the resources of modules, last acquired first.
func closeAll(list []*module.Built) {
	for i := len(list) - 1; i >= 0; i-- {
		owned := list[i].Owned()
		for k := len(owned) - 1; k >= 0; k-- {
			owned[k].Close()
		}
	}
}

// rank says how early the resources of a module are prepared and started,
// wherever the document has it: storages, which stand on nothing, before the
// authorities, which certificates are made with, and these before all else.
func rank(b *module.Built) int {
	switch id := b.ID(); {
	case strings.HasPrefix(id, "caddy.storage."):
		return 0
	case id == "pki":
		return 1
	}
	return 2
}

// inOrder puts modules first on which others stand.
func inOrder(list []*module.Built) []*module.Built {
	if !slices.ContainsFunc(list, func(b *module.Built) bool { return rank(b) < 2 }) {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b *module.Built) int { return rank(a) - rank(b) })
	return list
}

// prepareAll prepares the resources of new modules, or none.
func prepareAll(list []*module.Built) error {
	list = inOrder(list)
	for i, b := range list {
		for k, res := range b.Owned() {
			err := res.Prepare()
			if err == nil {
				continue
			}
			for k--; k >= 0; k-- {
				b.Owned()[k].Close()
			}
			closeAll(list[:i])
			return err
		}
	}
	return nil
}

// leaveAll tells resources of modules that the document has them no more.
func leaveAll(list []*module.Built) {
	for _, b := range list {
		for _, res := range b.Owned() {
			if l, ok := res.(module.Leaver); ok {
				l.Leave()
			}
		}
	}
}

func startAll(list []*module.Built) {
	for _, b := range inOrder(list) {
		for _, res := range b.Owned() {
			res.Start()
		}
	}
}
