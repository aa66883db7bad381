package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// drops changes the document again and again under traffic and counts what
// broke. Drops of a peer are printed for comparison and fail nothing.
func (b *bench) drops() error {
	b.printf("drops: %d changes under traffic: whole documents and single values, of the proxy handler and of the one before it\n", b.reloads)
	upstream, err := startStreamer()
	if err != nil {
		return err
	}
	defer upstream.close()
	var failed error
	for _, m := range b.models() {
		t, took, err := b.disturb(m, upstream)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		dropped := t.print(b, m.name)
		b.printf("%-7s dropped: %d   %d changes, median %.1f ms, slowest %.1f ms\n", m.name, dropped, len(took), ms(median(took)), ms(slices.Max(took)))
		if dropped > 0 && m.name == "sluice" {
			failed = errDropped
		}
	}
	return failed
}

// disturb runs traffic through one server while its document changes.
func (b *bench) disturb(m *model, upstream *streamer) (*traffic, []time.Duration, error) {
	if err := b.place(m, "drops"); err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(m.home)
	if err := b.boot(m, changingSite(0, m.admin.addr, m.data, upstream.addr)); err != nil {
		return nil, nil, err
	}
	defer m.end()
	if err := m.waitPort(b.ctx, m.data); err != nil {
		return nil, nil, err
	}
	t := newTraffic(m.data)
	defer t.stop()
	if err := t.open(b.streams); err != nil {
		return nil, nil, err
	}
	if err := b.sleep(b.settle / 2); err != nil {
		return nil, nil, err
	}
	var took []time.Duration
	for k := range b.reloads {
		d, err := b.change(m, k+1, upstream.addr)
		if err != nil {
			return nil, nil, fmt.Errorf("change %d: %w", k+1, err)
		}
		took = append(took, d)
		if err := b.sleep(b.pause); err != nil {
			return nil, nil, err
		}
	}
	if err := b.sleep(b.settle / 2); err != nil {
		return nil, nil, err
	}
	t.stop()
	return t, took, nil
}

// change makes change number k, of one of three kinds.
func (b *bench) change(m *model, k int, upstream string) (time.Duration, error) {
	value := encode(list{fmt.Sprint(k)})
	switch k % 3 {
	case 0:
		return m.admin.timed(b, "POST", "/load", encode(changingSite(k, m.admin.addr, m.data, upstream)))
	case 1:
		return m.admin.timed(b, "PATCH", "/id/h/response/set/X-Gen", value)
	}
	return m.admin.timed(b, "PATCH", "/id/p/headers/request/set/X-Gen", value)
}

// tally counts one kind of traffic.
type tally struct {
	kind       string
	sent, lost int
	why        error // of the first that was lost
}

// traffic is everything that runs through the server.
type traffic struct {
	addr    string
	ending  chan struct{}
	once    sync.Once
	workers sync.WaitGroup

	mu      sync.Mutex
	tallies []*tally
}

func newTraffic(addr string) *traffic {
	return &traffic{addr: addr, ending: make(chan struct{})}
}

func (t *traffic) tally(kind string) *tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range t.tallies {
		if x.kind == kind {
			return x
		}
	}
	x := &tally{kind: kind}
	t.tallies = append(t.tallies, x)
	return x
}

// note counts one request or stream; err tells that it was lost.
func (t *traffic) note(x *tally, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x.sent++
	if err != nil {
		x.lost++
		if x.why == nil {
			x.why = err
		}
	}
}

func (t *traffic) over() bool {
	select {
	case <-t.ending:
		return true
	default:
		return false
	}
}

// pause waits, or until the traffic ends.
func (t *traffic) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ending:
	}
}

// stop ends the traffic and waits for what is under way.
func (t *traffic) stop() {
	t.once.Do(func() { close(t.ending) })
	t.workers.Wait()
}

// print prints what was sent and lost, and returns how much was lost.
func (t *traffic) print(b *bench, name string) int {
	lost := 0
	for _, x := range t.tallies {
		b.printf("%-7s %-10s %7d sent %5d lost", name, x.kind, x.sent, x.lost)
		if x.why != nil {
			b.printf("   first: %v", x.why)
		}
		b.printf("\n")
		lost += x.lost
	}
	return lost
}
