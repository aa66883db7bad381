package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/internal/bench/machine"
)

// holder is a proxy whose memory the case websockets watches.
type holder struct {
	*process
	name  string
	addr  string
	admin *adminClient // collects garbage; nil if there is none to collect
	home  string       // is removed at the end
}

// idleLimitKB is how much memory a WebSocket of sluice may cost.
const idleLimitKB = 32

// idle measures the resident memory of an idle WebSocket.
func (b *bench) idle() error {
	b.printf("websockets: resident memory of an idle WebSocket through which a message went both ways; garbage is collected\n")
	files := machine.OpenFiles()
	upstream, plain, _, err := b.startStreamUpstream()
	if upstream != nil {
		defer upstream.stop()
	}
	if err != nil {
		return err
	}
	for _, n := range b.sockets {
		if need := 2*n + 500; need > files {
			b.printf("N=%-5d left out: a proxy would need %d open files and may have %d (ulimit -n)\n", n, need, files)
			continue
		}
		for _, start := range b.holders() {
			w, name, err := b.hold(start, plain, n)
			if err != nil {
				return fmt.Errorf("%s with %d WebSockets: %w", name, n, err)
			}
			b.printWeight(name, n, w)
		}
	}
	return nil
}

// holders are functions that start what is to be measured before an upstream.
func (b *bench) holders() []func(upstream string) (*holder, error) {
	var out []func(string) (*holder, error)
	for _, m := range b.models() {
		out = append(out, func(upstream string) (*holder, error) { return b.holdModel(m, upstream) })
	}
	out = slices.Insert(out, 1, b.holdStandard)
	if b.path["nginx"] != "" {
		out = append(out, b.holdNginx)
	}
	return out
}

func (b *bench) holdModel(m *model, upstream string) (*holder, error) {
	h := &holder{name: m.name}
	if err := b.place(m, "websockets"); err != nil {
		return h, err
	}
	h.home = m.home
	site := document(m.admin.addr, object{"s": httpServer(m.data, list{handle(proxyTo(upstream))})})
	if err := b.boot(m, site); err != nil {
		return h, err
	}
	h.process, h.addr, h.admin = m.process, m.data, m.admin
	return h, m.waitPort(b.ctx, m.data)
}

// holdStandard starts the proxy of Go's standard library.
func (b *bench) holdStandard(upstream string) (*holder, error) {
	h := &holder{name: "net/http"}
	var err error
	if h.addr, err = b.port.take(); err != nil {
		return h, err
	}
	h.admin = newAdminClient(h.addr)
	h.process, err = b.startChild("standard", h.addr, childProxy, h.addr, upstream)
	return h, err
}

func (b *bench) holdNginx(upstream string) (*holder, error) {
	h := &holder{name: "nginx"}
	rpc, err := b.port.take()
	if err != nil {
		return h, err
	}
	if h.addr, err = b.port.take(); err != nil {
		return h, err
	}
	h.process, err = b.startNginx("nginx-websockets", nginxStreams(h.addr, rpc, upstream, upstream), h.addr)
	return h, err
}

// weight is what one server needed before and with the WebSockets.
type weight struct{ before, with memory }

// memory is what a process needs, in KB. Of a server that does not say it, heap
// and stacks are 0.
type memory struct{ resident, heap, stacks float64 }

// hold opens n WebSockets through a server and weighs it before and after.
func (b *bench) hold(start func(string) (*holder, error), upstream string, n int) (weight, string, error) {
	var w weight
	h, err := start(upstream)
	defer h.end()
	if err != nil {
		return w, h.name, err
	}
	// What is needed once, however many there are, is not to count.
	all, err := openSockets(h.addr, min(n/10+1, 200))
	closeSockets(all)
	if err != nil {
		return w, h.name, err
	}
	if w.before, err = b.steady(h); err != nil {
		return w, h.name, err
	}
	all, err = openSockets(h.addr, n)
	defer closeSockets(all)
	if err != nil {
		return w, h.name, err
	}
	if w.with, err = b.steady(h); err != nil {
		return w, h.name, err
	}
	for i, s := range all { // they were open all the time
		if err := errors.Join(s.SetDeadline(time.Now().Add(streamTimeout)), s.exchange()); err != nil {
			return w, h.name, fmt.Errorf("WebSocket %d was not open any more: %w", i, err)
		}
	}
	return w, h.name, nil
}

func (h *holder) end() {
	if h.admin != nil {
		h.admin.close()
	}
	if h.process != nil {
		h.stop()
	}
	if h.home != "" {
		_ = os.RemoveAll(h.home)
	}
}

// openSockets opens WebSockets, each of which has sent and received a message.
// Those that are open are returned on an error too.
func openSockets(addr string, n int) ([]*socket, error) {
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		all  []*socket
		errs []error
	)
	const workers = 8
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				s, err := openSocket(addr)
				if err == nil {
					err = errors.Join(s.exchange(), s.SetDeadline(time.Time{}))
				}
				mu.Lock()
				if s != nil {
					all = append(all, s)
				}
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

func closeSockets(all []*socket) {
	for _, s := range all {
		_ = s.Close()
	}
}

// steady waits until collecting garbage changes the memory of a server no more.
func (b *bench) steady(h *holder) (memory, error) {
	const readings = 6
	var last []float64
	for range 200 {
		m, err := b.collect(h)
		if err != nil {
			return m, err
		}
		last = append(last, m.resident)
		if len(last) >= readings {
			last = last[len(last)-readings:]
			if slices.Max(last)-slices.Min(last) <= 256 {
				return m, nil
			}
		}
		if err := b.sleep(b.settle / 4); err != nil {
			return m, err
		}
	}
	return memory{}, fmt.Errorf("the resident memory of %s does not come to rest: %.0f KB", h.name, last)
}

// collect makes a server collect its garbage and reads its memory.
func (b *bench) collect(h *holder) (memory, error) {
	var m memory
	if h.admin != nil {
		text, err := h.admin.call(b, "GET", "/debug/pprof/heap?gc=1&debug=1", nil)
		if err != nil {
			return m, err
		}
		if m.heap, err = memStat(text, "HeapAlloc"); err != nil {
			return m, err
		}
		if m.stacks, err = memStat(text, "Stack"); err != nil {
			return m, err
		}
	}
	mb, err := machine.ResidentTotal(h.pid())
	m.resident = mb * 1024
	return m, err
}

// memStat is one number of a heap profile in KB: the first of "# Name = 1 / 2".
func memStat(profile []byte, name string) (float64, error) {
	for line := range bytes.Lines(profile) {
		if rest, ok := bytes.CutPrefix(line, []byte("# "+name+" = ")); ok {
			first, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
			n, err := strconv.ParseFloat(string(first), 64)
			return n / 1024, err
		}
	}
	return 0, fmt.Errorf("the heap profile does not say %s", name)
}

func (b *bench) printWeight(name string, n int, w weight) {
	each := func(before, with float64) float64 { return (with - before) / float64(n) }
	own := each(w.before.resident, w.with.resident)
	b.printf("N=%-5d %-8s %6.1f KB each  resident %6.1f -> %6.1f MB", n, name, own, w.before.resident/1024, w.with.resident/1024)
	if w.with.heap > 0 {
		b.printf("  of it live heap %5.1f KB, stacks %5.1f KB", each(w.before.heap, w.with.heap), each(w.before.stacks, w.with.stacks))
	}
	if name == "sluice" {
		b.printf("%s", verdict(own, idleLimitKB, "%g KB"))
	}
	b.printf("\n")
}
