package automation

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Bounds of work at once: certificates that are read from a storage, and those for which a first attempt is made to obtain
// them. What waits to try again does not count.
const (
	maxLoads   = 64
	maxObtains = 200
)

// job is a piece of work on a name. It is void once the name has another number of work.
type job struct {
	n       *managed
	binding *binding
	ctx     context.Context
	number  uint64
}

// queue is the jobs that wait for a worker.
type queue struct {
	m       *Manager
	slots   chan struct{} // of first attempts to obtain
	mu      sync.Mutex
	jobs    []job
	head    int
	workers int
	// due says that a certificate was found that should be renewed.
	due bool
}

func (q *queue) init(m *Manager) { q.m, q.slots = m, make(chan struct{}, maxObtains) }

// add adds a job. The Manager must not be closed, so it needs its lock.
func (q *queue) add(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, j)
	if q.workers < maxLoads {
		q.workers++
		q.m.running.Go(q.run)
	}
}

// next takes a job out, or ends a worker.
func (q *queue) next() (j job, ok, renew bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == len(q.jobs) {
		q.jobs, q.head = nil, 0
		q.workers--
		renew = q.due && q.workers == 0
		q.due = q.due && !renew
		return job{}, false, renew
	}
	j = q.jobs[q.head]
	q.jobs[q.head] = job{}
	q.head++
	return j, true, false
}

func (q *queue) run() {
	for {
		j, ok, renew := q.next()
		if renew {
			q.m.renew()
		}
		if !ok {
			return
		}
		q.m.load(j)
	}
}

// begin starts to manage a name. It needs the lock.
func (m *Manager) begin(name string) {
	b := m.current.Load().derived(name, m.names.wanted[name]&listedName == 0)
	n := &managed{name: name, binding: b}
	m.lingering.keep(name)
	m.tableMu.Lock()
	m.table.managed[name] = n
	delete(m.table.others, name)
	m.tableMu.Unlock()
	m.start(n, b)
}

// start begins work on a name, in place of what is being done. It needs the lock.
func (m *Manager) start(n *managed, b *binding) {
	m.tableMu.Lock()
	n.stop()
	n.binding, n.waiting = b, b.onDemand()
	if n.waiting {
		n.settle()
		m.tableMu.Unlock()
		return
	}
	if n.settled == nil && !n.ready && n.fault.text == "" {
		n.settled = make(chan struct{})
	}
	j := job{n: n, binding: b, number: n.work}
	j.ctx, n.cancel = context.WithCancel(m.ctx)
	m.tableMu.Unlock()
	m.queue.add(j)
}

// stop ends the work in progress. It needs the table's lock.
func (n *managed) stop() {
	n.work++
	if n.cancel != nil {
		n.cancel()
		n.cancel = nil
	}
}

// move gives a name another binding and works on it if its certificate is another one then. It needs the lock.
func (m *Manager) move(name string, b *binding) {
	m.tableMu.Lock()
	n := m.table.managed[name]
	old := n.binding
	keep := n.ready && sameIssuers(old.keys, b.keys) && sameStorage(old.policy.storage, b.policy.storage) &&
		(b.policy.storage != nil || old.context.storage == b.context.storage)
	if keep {
		n.binding, n.waiting = b, b.onDemand()
	}
	m.tableMu.Unlock()
	if !keep {
		m.start(n, b)
	}
}

// sameStorage compares storages; those that cannot be compared are different.
func sameStorage(a, b certmagic.Storage) (same bool) {
	defer func() { _ = recover() }()
	return a == b
}

// end stops managing a name; by is the wildcard that takes over, if one does. Its certificate goes when nobody needs it any more.
// It needs the lock.
func (m *Manager) end(name, by string) {
	m.tableMu.Lock()
	n := m.table.managed[name]
	n.stop()
	n.settle()
	delete(m.table.managed, name)
	waits := m.waitFor(n, by)
	m.tableMu.Unlock()
	if len(waits) > 0 {
		m.lingering.add(name, waits)
	} else {
		m.drop(name)
	}
	for _, other := range m.lingering.done(name) {
		m.drop(other)
	}
}

// waitFor lists the names that need a certificate of their own before that of a name can go. It needs the table's lock.
func (m *Manager) waitFor(n *managed, by string) (waits []string) {
	if !n.ready {
		return nil
	}
	if by != "" {
		if w := m.table.managed[by]; w != nil && !w.ready && !w.waiting {
			waits = append(waits, by)
		}
		return waits
	}
	for _, child := range m.names.coveredBy(n.name) {
		if c := m.table.managed[child]; c == nil || !c.ready && !c.waiting {
			waits = append(waits, child)
		}
	}
	return waits
}

func (m *Manager) drop(name string) {
	m.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: name}})
}

// load reads a certificate from the storage, or has it obtained.
func (m *Manager) load(j job) {
	if j.ctx.Err() != nil {
		return
	}
	before := m.hashes(j.n.name)
	cert, err := j.binding.config.CacheManagedCertificate(j.ctx, j.n.name)
	switch {
	case j.ctx.Err() != nil:
		m.discard(j, cert)
	case err == nil:
		m.arrived(j, cert, before)
	case errors.Is(err, fs.ErrNotExist):
		m.running.Go(func() { m.obtain(j, before, false) })
	case m.unusable(j):
		m.log.Error("the certificate in the storage cannot be used; getting another", zap.String("name", j.n.name), zap.Error(err))
		m.running.Go(func() { m.obtain(j, before, true) })
	default:
		m.failed(j, "load", err)
	}
}

// discard takes a certificate back that has come for a name which nobody wants any more.
func (m *Manager) discard(j job, cert certmagic.Certificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tableMu.RLock()
	unwanted := m.table.managed[j.n.name] == nil
	m.tableMu.RUnlock()
	if unwanted && !cert.Empty() && !m.lingering.has(j.n.name) {
		m.cache.Remove([]string{cert.Hash()})
	}
}

// unusable reports whether the storage gives all parts of a certificate, so that they themselves are what is wrong.
func (m *Manager) unusable(j job) bool {
	c := j.binding.config
	for _, key := range j.binding.keys {
		all := true
		for _, name := range []string{certmagic.StorageKeys.SitePrivateKey(key, j.n.name), certmagic.StorageKeys.SiteCert(key, j.n.name), certmagic.StorageKeys.SiteMeta(key, j.n.name)} {
			_, err := c.Storage.Load(j.ctx, name)
			all = all && err == nil
		}
		if all {
			return true
		}
	}
	return false
}

// hashes lists what is cached for exactly this name and is managed.
func (m *Manager) hashes(name string) (list []string) {
	for _, c := range m.cached(name) {
		list = append(list, c.Hash())
	}
	return list
}

// cached lists the managed certificates in the cache for exactly this name.
func (m *Manager) cached(name string) (list []certmagic.Certificate) {
	for _, c := range m.cache.AllMatchingCertificates(name) {
		if len(c.Names) > 0 && c.Names[0] == name && !m.loaded.has(c.Hash()) {
			list = append(list, c)
		}
	}
	return list
}

// obtain gets a certificate of an issuer. certmagic tries for as long as it takes; what it gives up at once is tried again
// here.
func (m *Manager) obtain(j job, before []string, force bool) {
	select {
	case m.queue.slots <- struct{}{}:
	case <-j.ctx.Done():
		return
	}
	release := sync.OnceFunc(func() { <-m.queue.slots })
	defer release()
	m.tableMu.Lock()
	j.n.slot = release
	m.tableMu.Unlock()
	var err error
	if force {
		err = j.binding.config.RenewCertAsync(j.ctx, j.n.name, true)
	} else {
		err = j.binding.config.ObtainCertAsync(j.ctx, j.n.name)
	}
	if err != nil {
		if j.ctx.Err() == nil {
			m.failed(j, "obtain", err)
		}
		return
	}
	cert, err := j.binding.config.CacheManagedCertificate(j.ctx, j.n.name)
	switch {
	case j.ctx.Err() != nil:
		m.discard(j, cert)
	case err != nil:
		m.failed(j, "load", err)
	default:
		m.arrived(j, cert, before)
	}
}

// arrived notes that a name has its certificate, and removes those it had before.
func (m *Manager) arrived(j job, cert certmagic.Certificate, before []string) {
	m.tableMu.Lock()
	if m.table.managed[j.n.name] == j.n && j.n.work == j.number {
		j.n.ready, j.n.fault = true, fault{}
		j.n.settle()
		j.n.view.settle([]seen{seenOf(cert.Names, cert.Leaf)}, time.Now())
		j.n.stop()
	}
	m.tableMu.Unlock()
	for _, hash := range before {
		if hash != cert.Hash() {
			m.cache.Remove([]string{hash})
			m.lookAgain(j.n.name)
		}
	}
	if cert.NeedsRenewal(j.binding.config) {
		m.queue.mu.Lock()
		m.queue.due = true
		alone := m.queue.workers == 0
		m.queue.due = !alone
		m.queue.mu.Unlock()
		if alone {
			m.renew()
		}
	}
	if m.lingering.count.Load() > 0 {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, other := range m.lingering.done(j.n.name) {
			m.drop(other)
		}
	}
}

// failed notes what certmagic does not try again, and does so.
func (m *Manager) failed(j job, operation string, err error) {
	m.count(operation)
	m.tableMu.Lock()
	if m.table.managed[j.n.name] != j.n || j.n.work != j.number {
		m.tableMu.Unlock()
		return
	}
	j.n.fault.add(err)
	j.n.settle()
	wait := time.Until(j.n.fault.next)
	m.tableMu.Unlock()
	m.log.Error("managing a certificate", zap.String("name", j.n.name), zap.Duration("retrying_in", wait), zap.Error(err))
	time.AfterFunc(wait, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !m.closed && j.ctx.Err() == nil {
			m.queue.add(j)
		}
	})
}
