package automation

import (
	"crypto/tls"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/server/tls/automation/ech"
	"go.uber.org/zap"
)

// echCheck is the time between looks at the age of keys, and echRetry that after a failure.
const (
	echCheck = time.Hour
	echRetry = time.Minute
)

// echKeys is the keys of Encrypted ClientHello.
type echKeys struct {
	keys   atomic.Pointer[[]tls.EncryptedClientHelloKey]
	mu     sync.Mutex // one rotation at a time
	nameMu sync.Mutex
	names  []string
}

// use says which public names there are. It needs the Manager's lock.
func (e *echKeys) use(m *Manager, names []string) {
	e.nameMu.Lock()
	same := slices.Equal(e.names, names)
	e.names = names
	e.nameMu.Unlock()
	switch {
	case len(names) == 0:
		e.keys.Store(nil)
		m.publishing.rotated(nil)
	case !same:
		m.running.Go(func() { e.rotate(m) })
	}
}

func (e *echKeys) current() []string {
	e.nameMu.Lock()
	defer e.nameMu.Unlock()
	return e.names
}

// rotate renews the keys that are old. Where the storage fails those before serve on.
func (e *echKeys) rotate(m *Manager) {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := e.current()
	if len(names) == 0 || m.ctx.Err() != nil {
		return
	}
	configs, err := ech.Rotate(m.ctx, m.storage, names, time.Now())
	if err != nil && m.ctx.Err() == nil {
		m.log.Error("keys of Encrypted ClientHello", zap.Error(err))
		time.AfterFunc(echRetry, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if !m.closed {
				m.running.Go(func() { e.rotate(m) })
			}
		})
	}
	if len(configs) > 0 && slices.Equal(names, e.current()) {
		keys := ech.Keys(configs)
		e.keys.Store(&keys)
		m.publishing.rotated(configs)
	}
}
