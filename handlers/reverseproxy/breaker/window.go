package breaker

import (
	"sync"
	"sync/atomic"
)

// steps is how many parts a window is made of. It slides by one part at a time.
const steps = 16

// window counts requests over the time that is just past. Adding to it takes a lock once in a step. Counts that come
// while a part is begun anew may be lost; it is for rates.
type window struct {
	step  int64 // nanoseconds
	parts [steps]part
	mu    sync.Mutex // held to begin a part anew
}

type part struct {
	number            atomic.Int64 // of the step that it counts, from 1
	all, failed, slow atomic.Int64
}

func (w *window) add(now int64, failed, slow bool) {
	n := now/w.step + 1
	p := &w.parts[n%steps]
	if p.number.Load() != n {
		w.begin(p, n)
	}
	p.all.Add(1)
	if failed {
		p.failed.Add(1)
	}
	if slow {
		p.slow.Add(1)
	}
}

func (w *window) begin(p *part, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.number.Load() >= n {
		return
	}
	p.clear()
	p.number.Store(n)
}

func (p *part) clear() {
	p.all.Store(0)
	p.failed.Store(0)
	p.slow.Store(0)
}

func (w *window) sum(now int64) (all, failed, slow int64) {
	n := now/w.step + 1
	for i := range w.parts {
		if p := &w.parts[i]; p.number.Load() > n-steps {
			all += p.all.Load()
			failed += p.failed.Load()
			slow += p.slow.Load()
		}
	}
	return all, failed, slow
}

// forget begins all anew.
func (w *window) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.parts {
		w.parts[i].clear()
	}
}
