package automation

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/server/tls/automation/loaders"
	"go.uber.org/zap"
)

// digest stands for a chain of certificates.
type digest [sha256.Size]byte

// loaded is the loaded certificates in the cache.
type loaded struct {
	mu     sync.RWMutex
	list   map[digest]*entry
	hashes map[string]struct{} // by which certmagic knows them
}

// entry is one loaded certificate.
type entry struct {
	certificate loaders.Certificate
	hash        string
	seen        seen
}

func (l *loaded) init() { l.list, l.hashes = map[digest]*entry{}, map[string]struct{}{} }

func (l *loaded) has(hash string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, ok := l.hashes[hash]
	return ok
}

// entries lists the certificates.
func (l *loaded) entries() []*entry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := make([]*entry, 0, len(l.list))
	for _, e := range l.list {
		out = append(out, e)
	}
	return out
}

func digestOf(c *loaders.Certificate) (d digest) {
	h := sha256.New()
	for _, der := range c.TLS.Certificate {
		h.Write(der)
	}
	h.Sum(d[:0])
	return d
}

// use makes a list the loaded certificates: those that are new come into the cache, those that are in it already stay, and the
// others go. It needs the Manager's lock.
func (l *loaded) use(m *Manager, s *state, list []loaders.Certificate) {
	wanted := make(map[digest]loaders.Certificate, len(list))
	for _, c := range list {
		d := digestOf(&c)
		if before, ok := wanted[d]; ok { // one certificate, loaded twice, has all tags
			c.Tags = append(slices.Clone(before.Tags), c.Tags...)
		}
		wanted[d] = c
	}
	for d, c := range wanted {
		if e := l.list[d]; e != nil && slices.Equal(e.certificate.Tags, c.Tags) {
			continue
		}
		l.remove(m, d)
		l.add(m, s, d, c)
	}
	for d, e := range l.list {
		if _, ok := wanted[d]; ok {
			continue
		}
		l.remove(m, d)
		for _, name := range loaders.Names(e.certificate.TLS.Leaf) {
			l.restore(m, name)
		}
	}
}

// restore reads the certificate of a managed name again, in case that was what has just been removed.
func (l *loaded) restore(m *Manager, name string) {
	m.tableMu.RLock()
	n := m.table.managed[name]
	m.tableMu.RUnlock()
	if n != nil && len(m.cached(name)) == 0 {
		m.lookAgain(name)
		m.start(n, n.binding)
	}
}

func (l *loaded) remove(m *Manager, d digest) {
	e := l.list[d]
	if e == nil {
		return
	}
	m.cache.Remove([]string{e.hash})
	l.mu.Lock()
	delete(l.list, d)
	delete(l.hashes, e.hash)
	l.mu.Unlock()
}

// add brings a certificate into the cache, at once; what its OCSP server says comes later.
func (l *loaded) add(m *Manager, s *state, d digest, c loaders.Certificate) {
	plain := *s.loaded
	plain.OCSP.DisableStapling = true
	hash, err := plain.CacheUnmanagedTLSCertificate(m.ctx, c.TLS, c.Tags)
	if err != nil { // cannot be: the loader has looked at it
		m.log.Error("a loaded certificate cannot be used", zap.Strings("names", loaders.Names(c.TLS.Leaf)), zap.Error(err))
		return
	}
	e := &entry{c, hash, seenOf(loaders.Names(c.TLS.Leaf), c.TLS.Leaf)}
	l.mu.Lock()
	l.list[d], l.hashes[hash] = e, struct{}{}
	l.mu.Unlock()
	if len(c.TLS.Leaf.OCSPServer) > 0 && !s.loaded.OCSP.DisableStapling {
		config := *s.loaded
		m.running.Go(func() { l.staple(m, &config, d, e) })
	}
}

// staple puts the certificate into the cache a second time, with an OCSP response. certmagic fetches that on the way, and does not
// replace what is there, so the one before is removed in between.
func (l *loaded) staple(m *Manager, config *certmagic.Config, d digest, e *entry) {
	config.OnEvent = func(context.Context, string, map[string]any) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.list[d] == e {
			m.cache.Remove([]string{e.hash})
		}
		return nil
	}
	if _, err := config.CacheUnmanagedTLSCertificate(m.ctx, e.certificate.TLS, e.certificate.Tags); err != nil {
		m.log.Error("stapling an OCSP response", zap.Strings("names", loaders.Names(e.certificate.TLS.Leaf)), zap.Error(err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.list[d] != e && !l.has(e.hash) {
		m.cache.Remove([]string{e.hash})
	}
}
