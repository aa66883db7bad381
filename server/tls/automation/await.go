package automation

import (
	"context"
	"strings"
	"time"
)

// maxAwait is how long a handshake waits for the first certificate of a name.
const maxAwait = 10 * time.Second

// settle lets go who waits for the first work on a name. It needs the table's lock.
func (n *managed) settle() {
	if n.settled != nil {
		close(n.settled)
		n.settled = nil
	}
}

// Await waits while the first certificate of a managed name is being read or obtained, if there is no other that could
// be shown for it: at the start of a process, and after a name has been added. It returns when that is done or has
// failed, when ctx ends, and after 10 seconds. For all other names it returns at once.
func (m *Manager) Await(ctx context.Context, serverName string) {
	name := normal(serverName)
	settled := m.settling(name)
	if settled == nil || len(m.cache.AllMatchingCertificates(name)) > 0 {
		return
	}
	timer := time.NewTimer(maxAwait)
	defer timer.Stop()
	select {
	case <-settled:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// settling returns what is closed when the work on a name, or on the wildcard that stands for it, is done; nil if none
// is under way.
func (m *Manager) settling(name string) chan struct{} {
	m.tableMu.RLock()
	defer m.tableMu.RUnlock()
	n := m.table.managed[name]
	if n == nil {
		if _, rest, ok := strings.Cut(name, "."); ok {
			n = m.table.managed["*."+rest]
		}
	}
	if n == nil {
		return nil
	}
	return n.settled
}
