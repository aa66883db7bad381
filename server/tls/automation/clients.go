package automation

import (
	"crypto/tls"
	"errors"
	"fmt"
)

// Need manages the certificate of a name that this process shows as a client, until [Manager.Unneed] was called as often. As
// with names of servers, one stays alone that a loaded certificate covers, or a wildcard that is managed.
func (m *Manager) Need(name string) {
	name = normal(name)
	m.needs(name, 1)
}

// Unneed takes one call of [Manager.Need] back.
func (m *Manager) Unneed(name string) {
	name = normal(name)
	m.needs(name, -1)
}

func (m *Manager) needs(name string, by int) {
	m.state()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := &m.names
	before := n.needed[name]
	if n.needed[name] += by; n.needed[name] <= 0 {
		delete(n.needed, name)
	}
	switch {
	case m.closed:
	case before == 0 && by > 0:
		m.want(normalAll([]string{name}), nil, neededName)
	case before > 0 && before+by <= 0:
		m.want(nil, normalAll([]string{name}), neededName)
	}
}

// ClientCertificate returns the present certificate for a name, for a server that asks for one: of several, the first that
// the server accepts.
func (m *Manager) ClientCertificate(name string, info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	name = normal(name)
	m.state()
	list := m.cache.AllMatchingCertificates(name)
	if len(list) == 0 {
		return nil, fmt.Errorf("there is no certificate for %s yet; GET /tls/certificates says why", name)
	}
	var refused []error
	for i := range list {
		err := info.SupportsCertificate(&list[i].Certificate)
		if err == nil {
			return &list[i].Certificate, nil
		}
		refused = append(refused, err)
	}
	return nil, fmt.Errorf("the upstream does not accept the certificate for %s: %w", name, errors.Join(refused...))
}
