package upstream

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Pool is the process-wide registry of hosts. Use one for all generations of the configuration. All methods are safe
// for concurrent use; none of them is needed on the way of a request to a dial text without placeholders.
type Pool struct {
	now    func() time.Time
	born   time.Time
	random func() float64 // for jitter

	mu    sync.Mutex
	hosts map[string]*Host // by raw dial text; those with refs == 0 are still serving requests

	flights sync.Mutex
	flying  map[string]*flight // by expanded address, of dial texts with placeholders

	streams     streams
	connections Connections

	changed func(host string, healthy bool)
}

// OnChange has f told when active checks find that a host is up or down. The host is as it is probed: host:port, or localhost
// for a unix socket. The probe waits for f. To be called before there are checkers.
func (p *Pool) OnChange(f func(host string, healthy bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed = f
}

// Connections counts the connections of the transports that are given it.
func (p *Pool) Connections() *Connections { return &p.connections }

type flight struct{ n int64 }

// NewPool returns an empty pool. now tells the time for failure windows; nil means time.Now.
func NewPool(now func() time.Time) *Pool {
	if now == nil {
		now = time.Now
	}
	return &Pool{now: now, born: now(), random: rand.Float64, hosts: map[string]*Host{}, flying: map[string]*flight{}}
}

// Acquire returns the host of a raw dial text and counts one holder. The record is made by the first holder; if an
// earlier one was released but still serves requests, it is taken up again with its counters.
func (p *Pool) Acquire(dial string) *Host {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[dial]
	if h == nil {
		h = &Host{pool: p, dial: strings.Clone(dial)}
		if !strings.Contains(dial, "{") {
			if a, err := ParseDial(dial); err == nil {
				h.address, h.literal = a, true
			}
		}
		p.hosts[h.dial] = h
	}
	h.refs++
	h.released.Store(false)
	return h
}

// Release gives back what one [Pool.Acquire] took. With the last holder the record goes, as soon as its last request
// has ended. Releasing what is not held panics: a count that is wrong would take the record from somebody else (HOST-8).
func (p *Pool) Release(h *Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.pool != p || h.refs == 0 {
		panic("upstream: release of a host that is not held: " + h.dial)
	}
	if h.refs--; h.refs > 0 {
		return
	}
	h.released.Store(true)
	p.remove(h)
}

func (p *Pool) reap(h *Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(h)
}

// remove forgets h if neither a holder nor a request is left. The caller holds p.mu.
func (p *Pool) remove(h *Host) {
	if h.refs == 0 && h.requests.Load() == 0 && p.hosts[h.dial] == h {
		h.stopClosing()
		delete(p.hosts, h.dial)
	}
}

// Enter counts one request to an expanded address (HOST-7). It is for dial texts with placeholders only: requests to the
// others are known from their host. Each Enter is paid back by one [Pool.Leave].
func (p *Pool) Enter(address string) {
	p.flights.Lock()
	defer p.flights.Unlock()
	f := p.flying[address]
	if f == nil {
		f = &flight{}
		p.flying[address] = f
	}
	f.n++
}

// Leave ends what [Pool.Enter] began.
func (p *Pool) Leave(address string) {
	p.flights.Lock()
	defer p.flights.Unlock()
	f := p.flying[address]
	if f == nil {
		return
	}
	if f.n--; f.n <= 0 {
		delete(p.flying, address)
	}
}

// Status is one line of the admin endpoint GET /reverse_proxy/upstreams.
type Status struct {
	// Address is a raw dial text, or the expanded address of requests in flight.
	Address string `json:"address"`
	// NumRequests counts running requests.
	NumRequests int64 `json:"num_requests"`
	// Fails counts the failures that are remembered.
	Fails int64 `json:"fails"`
	// Healthy reports whether all of Health find the host healthy; nil without any.
	Healthy *bool `json:"healthy,omitempty"`
	// Health is what the health checks and circuit breakers of the host say.
	Health []Verdict `json:"health,omitempty"`
	// Draining says that the host gets no more requests until that is undone.
	Draining bool `json:"draining,omitempty"`
	// Latency is how long it took to answer lately; nil without responses.
	Latency *Latency `json:"latency,omitempty"`
	// Connections counts the open connections to the address, idle ones too; those of the transport fastcgi are not counted.
	Connections int64 `json:"connections,omitempty"`
	// Streams counts the running requests that are streams.
	Streams int64 `json:"streams,omitempty"`
}

// status describes a host. The caller holds p.mu.
func (h *Host) status() Status {
	s := Status{
		Address: h.dial, NumRequests: h.requests.Load(), Fails: h.Fails(),
		Draining: h.drained.Load(), Streams: h.streams.Load(), Latency: h.recent(),
	}
	if h.literal {
		s.Connections = h.pool.connections.Count(h.address.HostPort)
	}
	if len(h.judges) > 0 {
		s.Health = h.verdicts()
		healthy := !slices.ContainsFunc(s.Health, func(v Verdict) bool { return !v.Healthy })
		s.Healthy = &healthy
	}
	return s
}

// Health returns the hosts that are held by the configuration as [Pool.List] shows them, in order of dial text.
func (p *Pool) Health() []Status {
	list := []Status{}
	p.mu.Lock()
	for _, h := range p.hosts {
		if h.refs > 0 {
			list = append(list, h.status())
		}
	}
	p.mu.Unlock()
	sortByAddress(list)
	return list
}

// List returns the hosts of the current configuration by raw dial text, then the expanded addresses that have running
// requests and are not literally one of those texts (ADM-2). It is never nil. Each part is in order of address.
func (p *Pool) List() []Status {
	byAddress := p.flightCounts()
	list := []Status{}
	p.mu.Lock()
	raw := make(map[string]bool, len(p.hosts))
	for dial, h := range p.hosts {
		if h.refs > 0 {
			raw[dial] = true
			list = append(list, h.status())
		}
		if n := h.requests.Load(); h.literal && n > 0 {
			byAddress[h.address.HostPort] += n
		}
	}
	p.mu.Unlock()
	sortByAddress(list)
	held := len(list)
	for address, n := range byAddress {
		if !raw[address] {
			list = append(list, Status{Address: address, NumRequests: n, Connections: p.connections.Count(address)})
		}
	}
	sortByAddress(list[held:])
	return list
}

// Hosts returns the hosts that are held by the configuration, in order of dial text; a metrics collector reads them.
func (p *Pool) Hosts() []*Host {
	p.mu.Lock()
	list := make([]*Host, 0, len(p.hosts))
	for _, h := range p.hosts {
		if h.refs > 0 {
			list = append(list, h)
		}
	}
	p.mu.Unlock()
	slices.SortFunc(list, func(a, b *Host) int { return strings.Compare(a.dial, b.dial) })
	return list
}

func (p *Pool) flightCounts() map[string]int64 {
	p.flights.Lock()
	defer p.flights.Unlock()
	counts := make(map[string]int64, len(p.flying))
	for address, f := range p.flying {
		counts[address] = f.n
	}
	return counts
}

func sortByAddress(list []Status) {
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Address, b.Address) })
}
