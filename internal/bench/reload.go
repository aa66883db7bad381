package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/sluiceproxy/sluice/internal/bench/machine"
)

// growth is what one server did with a document of many routes.
type growth struct {
	load, restart time.Duration
	patches       []time.Duration
	sync          time.Duration
	first, last   time.Duration
	rss           [2]float64
	goroutines    [2]int
	watch         watch
}

// watch is what is seen during many PATCHes.
type watch struct {
	live             [2]float64 // MB after a collection
	stored, storeTop float64    // MB at the end, and the most there was
}

// manyPatches is from how many PATCHes on memory and store are watched.
const manyPatches = aRow

// reload measures the cost of change as the document grows.
func (b *bench) reload() error {
	b.printf("reload: load N routes, change one value in one of them, ask for the first and the last; sync is a 4 kB write with fdatasync\n")
	for _, n := range b.routes {
		for _, by := range b.kinds {
			var own *growth
			for _, m := range b.models() {
				if own != nil && n > b.peerRoutes {
					break
				}
				g, err := b.grow(m, n, by)
				if err != nil {
					return fmt.Errorf("%s with %d routes by %s: %w", m.name, n, by, err)
				}
				b.printGrowth(m.name, n, by, g)
				if own == nil {
					own = g
					continue
				}
				b.printf("%*s sluice/%s: load %s  patch %s  last %s  rss %s  restart %s\n", 21, "", m.name,
					ratio(ms(own.load), ms(g.load)), ratio(ms(median(own.patches)), ms(median(g.patches))),
					ratio(us(own.last), us(g.last)), ratio(own.rss[0], g.rss[0]), ratio(ms(own.restart), ms(g.restart)))
			}
		}
	}
	return nil
}

// grow takes one server through the case.
func (b *bench) grow(m *model, n int, by string) (*growth, error) {
	if err := b.place(m, fmt.Sprintf("%d-%s", n, by)); err != nil {
		return nil, err
	}
	defer os.RemoveAll(m.home)
	if err := b.boot(m, document(m.admin.addr, nil)); err != nil {
		return nil, err
	}
	defer func() { m.end() }()
	g := &growth{}
	text := encode(manyRoutes(n, by, m.admin.addr, m.data))
	var err error
	if g.load, err = m.admin.timed(b, "POST", "/load", text); err != nil {
		return nil, err
	}
	if g.rss[0], g.goroutines[0], err = b.weigh(m); err != nil {
		return nil, err
	}
	if err := b.patch(m, g); err != nil {
		return nil, err
	}
	if err := b.ask(m, by, g); err != nil {
		return nil, err
	}
	if g.rss[1], g.goroutines[1], err = b.weigh(m); err != nil {
		return nil, err
	}
	m.end()
	g.restart, err = b.resume(m, by)
	return g, err
}

// weigh waits until the server has settled and looks at its size.
func (b *bench) weigh(m *model) (float64, int, error) {
	if err := b.sleep(b.settle); err != nil {
		return 0, 0, err
	}
	rss, err := machine.ResidentMB(m.pid())
	return rss, m.goroutines(b), err
}

// patch changes one route again and again.
func (b *bench) patch(m *model, g *growth) error {
	many := b.patches >= manyPatches
	var err error
	if many {
		if g.watch.live[0], err = m.liveMB(b); err != nil {
			return err
		}
	}
	disk, err := newDisk(b.dir)
	if err != nil {
		return err
	}
	defer disk.close()
	every := max(1, b.patches/50)
	for k := range b.patches {
		d, err := m.admin.timed(b, "PATCH", patchedPath, encode(list{"v" + strconv.Itoa(k)}))
		if err != nil {
			return err
		}
		g.patches = append(g.patches, d)
		if k%every == 0 {
			if err := disk.measure(); err != nil {
				return err
			}
			g.watch.stored = m.storedMB()
			g.watch.storeTop = max(g.watch.storeTop, g.watch.stored)
		}
	}
	g.sync = median(disk.times)
	if many {
		g.watch.live[1], err = m.liveMB(b)
	}
	return err
}

// ask compares requests to the first and to the last route, in turns so that
// both see the same machine.
func (b *bench) ask(m *model, by string, g *growth) error {
	c := newClient(m.data, 20*time.Second)
	defer c.close()
	const turns, each = 20, 25
	times := map[string][]time.Duration{}
	for range turns {
		for _, who := range []string{"first", "last"} {
			request := endRequest(who, by)
			for range each {
				start := time.Now()
				if err := c.expect(request, who); err != nil {
					return fmt.Errorf("asking for the %s route: %w", who, err)
				}
				times[who] = append(times[who], time.Since(start))
			}
		}
	}
	g.first, g.last = median(times["first"]), median(times["last"])
	return nil
}

// resume starts the server again with what it has stored, and waits until the
// last route answers.
func (b *bench) resume(m *model, by string) (time.Duration, error) {
	start := time.Now()
	if err := b.launch(m, "run", "--resume"); err != nil {
		return 0, err
	}
	c := newClient(m.data, 20*time.Second)
	defer c.close()
	request := endRequest("last", by)
	for {
		err := c.expect(request, "last")
		if err == nil {
			return time.Since(start), nil
		}
		select {
		case <-m.done:
			return 0, m.failed("ended when it was to resume")
		default:
		}
		if time.Since(start) > 2*time.Minute {
			return 0, fmt.Errorf("resuming: %w", err)
		}
		if err := b.sleep(5 * time.Millisecond); err != nil {
			return 0, err
		}
	}
}

func (b *bench) printGrowth(name string, n int, by string, g *growth) {
	p := slices.Sorted(slices.Values(g.patches))
	mid, slowest := quantile(p, 0.5), p[len(p)-1]
	b.printf("N=%-6d %-6s %-6s load %7.0f ms  patch %8.2f ms (max %.1f, sync %.2f, beyond 2 syncs %.2f)  first %.0f us  last %.0f us (%s)  rss %.0f -> %.0f MB  goroutines %d -> %d  restart %.0f ms\n",
		n, by, name, ms(g.load), ms(mid), ms(slowest), ms(g.sync), ms(mid-2*g.sync),
		us(g.first), us(g.last), ratio(us(g.last), us(g.first)), g.rss[0], g.rss[1], g.goroutines[0], g.goroutines[1], ms(g.restart))
	if len(p) < manyPatches {
		return
	}
	w := g.watch
	b.printf("%*s %d patches: 99%% within %.2f ms, slowest %s of the median, of %d in a row typically %s; live heap %.1f -> %.1f MB; stored %.1f MB, at most %.1f MB\n", 21, "",
		len(p), ms(quantile(p, 0.99)), ratio(ms(slowest), ms(mid)), aRow, ratio(ms(typicalSlowest(g.patches)), ms(mid)),
		w.live[0], w.live[1], w.stored, w.storeTop)
}

// aRow is about how many PATCHes there are from one snapshot of the store to
// the next.
const aRow = 200

// typicalSlowest is the median of the slowest PATCHes of each row. What the
// server does at each snapshot shows in it, and what the machine does now and
// then does not.
func typicalSlowest(patches []time.Duration) time.Duration {
	var slowest []time.Duration
	for row := range slices.Chunk(patches, aRow) {
		if len(row) == aRow {
			slowest = append(slowest, slices.Max(row))
		}
	}
	return median(slowest)
}

// disk measures how long a small write takes to be safe.
type disk struct {
	file  *os.File
	times []time.Duration
}

func newDisk(dir string) (*disk, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	return &disk{file: f}, err
}

func (d *disk) measure() error {
	block := make([]byte, 4096)
	start := time.Now()
	if _, err := d.file.WriteAt(block, 0); err != nil {
		return err
	}
	if err := machine.SyncData(d.file); err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	d.times = append(d.times, time.Since(start))
	return nil
}

func (d *disk) close() { _ = d.file.Close() }
