package automation

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/server/tls/automation/ech"
	"github.com/sluiceproxy/sluice/server/tls/automation/publishers"
	"go.uber.org/zap"
)

// publication is one of the document's.
type publication struct {
	configs    []string // public names, nil for all
	domains    []string // nil for all that servers handle
	publishers []publishers.Publisher
}

// Times of publishing.
const (
	// publishSettle is how long changes of names are waited for.
	publishSettle = 200 * time.Millisecond
	// noteEvery is after how many domains, and noteAfter how long, it is noted in the storage what was published.
	noteEvery, noteAfter = 500, 10 * time.Second
	// maxComplaints is how many domains are logged in one round.
	maxComplaints = 20
)

// publishing is the publication of configs of Encrypted ClientHello. One round runs at a time.
type publishing struct {
	m *Manager

	mu      sync.Mutex
	list    []publication
	configs []*ech.Config // the newest first
	served  iter.Seq2[string, []string]
	timer   *time.Timer
	due     time.Time // of the timer; zero if it is not set
	running bool
	again   bool // something has changed while a round was running

	// done is what was published as far as this process knows, skipped what was looked at and is not to be published, and
	// failing what is tried again at retryAt, after so many failures in a row.
	done, skipped, failing map[placeOfECH]stamp
	retryAt                time.Time
	failures               int
}

// placeOfECH is where configs are published.
type placeOfECH struct{ publisher, domain string }

// stamp is what is published there.
type stamp struct{ configs, alpn string }

func (p *publishing) init(m *Manager) {
	p.m, p.done, p.skipped, p.failing = m, map[placeOfECH]stamp{}, map[placeOfECH]stamp{}, map[placeOfECH]stamp{}
}

// use takes the publications of a document. It needs the Manager's lock.
func (p *publishing) use(list []publication) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list, p.failures = list, 0
	clear(p.failing)
	p.wake(publishSettle)
}

// rotated takes the configs there are now.
func (p *publishing) rotated(configs []*ech.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.configs = configs
	p.wake(publishSettle)
}

// recheck has names looked at again that nothing was to be published for, and forgets those that nobody has any more.
func (p *publishing) recheck() {
	p.mu.Lock()
	list, served := p.list, p.served
	p.mu.Unlock()
	wanted := map[placeOfECH]bool{}
	for _, w := range planOf(list, served) {
		for name := range w.domains {
			wanted[placeOfECH{w.publisher.Key(), name}] = true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.skipped, func(at placeOfECH, _ stamp) bool { return !wanted[at] })
	for at := range p.skipped {
		p.skipped[at] = stamp{}
	}
	maps.DeleteFunc(p.done, func(at placeOfECH, _ stamp) bool { return !wanted[at] })
	p.wake(publishSettle)
}

// Serves says which names servers serve with TLS, and which protocols they speak there, as in ALPN; a name may come more than
// once. The sequence takes the place of the one before. It is read later, by another goroutine, any number of times.
func (m *Manager) Serves(names iter.Seq2[string, []string]) {
	p := &m.publishing
	p.mu.Lock()
	defer p.mu.Unlock()
	p.served = names
	p.wake(publishSettle)
}

// wake begins a round after some time. It needs the lock.
func (p *publishing) wake(after time.Duration) {
	if len(p.list) == 0 || len(p.configs) == 0 {
		return
	}
	if p.running {
		p.again = true
		return
	}
	due := time.Now().Add(after)
	if !p.due.IsZero() && !p.due.After(due) {
		return
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.due = due
	p.timer = time.AfterFunc(after, p.begin)
}

// begin begins a round.
func (p *publishing) begin() {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due.IsZero() || time.Now().Before(p.due) || p.running {
		return // another timer has taken its place
	}
	p.due = time.Time{}
	if p.m.closed {
		return
	}
	p.running, p.again = true, false
	p.m.running.Go(p.round)
}

// round publishes what is not published yet.
func (p *publishing) round() {
	p.mu.Lock()
	if !time.Now().Before(p.retryAt) {
		clear(p.failing)
	}
	p.mu.Unlock()
	failed := p.publishAll()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = false
	switch {
	case failed && !time.Now().Before(p.retryAt):
		p.retryAt = time.Now().Add(retries[min(p.failures, len(retries)-1)])
		p.failures++
	case !failed && len(p.failing) == 0:
		p.failures = 0
	}
	if p.again {
		p.wake(publishSettle)
	} else if len(p.failing) > 0 || failed {
		p.wake(time.Until(p.retryAt))
	}
}

// workOfECH is what one publisher has to do.
type workOfECH struct {
	publisher publishers.Publisher
	names     []string // public names, for which the newest config counts
	domains   map[string]uint8
}

// Protocols of a domain, as bits in the order in which they are advertised.
var protocolsOfECH = [...]string{"h3", "h2", "http/1.1"}

// planOf puts together what each publisher has to publish.
func planOf(publications []publication, names iter.Seq2[string, []string]) (list []*workOfECH) {
	served := map[string]uint8{}
	if len(publications) > 0 && names != nil {
		readServed(served, names)
	}
	for _, pub := range publications {
		for _, to := range pub.publishers {
			w := &workOfECH{publisher: to, names: pub.configs, domains: map[string]uint8{}}
			for _, name := range pub.domains {
				w.domains[name] = served[name]
			}
			for name, bits := range served {
				if pub.domains == nil && !certmagic.SubjectIsInternal(name) {
					w.domains[name] = bits
				}
			}
			list = append(list, w)
		}
	}
	return list
}

// readServed unites what servers say of each name.
func readServed(to map[string]uint8, names iter.Seq2[string, []string]) {
	for name, list := range names {
		name = normal(strings.TrimSuffix(name, "."))
		if isIP(name) || !certmagic.SubjectQualifiesForCert(name) {
			continue
		}
		bits := to[name]
		for i, protocol := range protocolsOfECH {
			if slices.Contains(list, protocol) {
				bits |= 1 << i
			}
		}
		to[name] = bits
	}
}

// newest is the newest config of each of the names, of all if they are nil.
func newest(configs []*ech.Config, names []string) (list []*ech.Config) {
	seen := map[string]bool{}
	for _, c := range configs {
		if !seen[c.PublicName] && (names == nil || slices.Contains(names, c.PublicName)) {
			seen[c.PublicName] = true
			list = append(list, c)
		}
	}
	return list
}

// idsOf tells lists of configs apart.
func idsOf(list []*ech.Config) string {
	var b []byte
	for _, c := range list {
		b = strconv.AppendInt(append(b, ' '), c.Created.UnixNano(), 36)
		b = append(append(b, '/'), c.ID)
	}
	return string(b)
}

func alpnOf(bits uint8) (list []string) {
	for i, protocol := range protocolsOfECH {
		if bits&(1<<i) != 0 {
			list = append(list, protocol)
		}
	}
	return list
}

// publishAll does one round, and reports whether another may do better.
func (p *publishing) publishAll() (failed bool) {
	p.mu.Lock()
	configs, publications, served := p.configs, p.list, p.served
	p.mu.Unlock()
	for _, w := range planOf(publications, served) {
		if list := newest(configs, w.names); len(list) > 0 && p.m.ctx.Err() == nil {
			failed = p.publish(w, list) || failed
		}
	}
	return failed && p.m.ctx.Err() == nil
}

// missing lists the domains for which nothing is known.
func (p *publishing) missing(w *workOfECH, want string) (list []publishers.Domain) {
	key := w.publisher.Key()
	for _, name := range slices.Sorted(maps.Keys(w.domains)) {
		d := publishers.Domain{Name: name, ALPN: alpnOf(w.domains[name])}
		at, is := placeOfECH{key, name}, stamp{want, strings.Join(d.ALPN, ",")}
		if p.done[at] != is && p.skipped[at] != is && p.failing[at] != is {
			list = append(list, d)
		}
	}
	return list
}

// publish publishes a list of configs with one publisher.
func (p *publishing) publish(w *workOfECH, list []*ech.Config) (failed bool) {
	want := idsOf(list)
	p.mu.Lock()
	missing := p.missing(w, want)
	p.mu.Unlock()
	if len(missing) == 0 {
		return false
	}
	err := ech.Publishing(p.m.ctx, p.m.storage, func() error {
		r := &roundOfECH{p: p, key: w.publisher.Key(), configs: list, want: want, noted: time.Now()}
		if err := r.leaveOut(&missing); err != nil || len(missing) == 0 {
			return err
		}
		w.publisher.Publish(p.m.ctx, p.m.log, missing, ech.List(list), r.report)
		r.note()
		failed = r.end(len(missing))
		return nil
	})
	if err != nil && p.m.ctx.Err() == nil {
		p.m.log.Error("publishing the configs of Encrypted ClientHello", zap.String("publisher", w.publisher.Key()), zap.Error(err))
		p.m.count("publish")
		return true
	}
	return failed
}
