package handshake

import "crypto/tls"

// DefaultPolicy returns a policy without any setting: what a document means that says nothing of policies.
func DefaultPolicy(t *Tickets) *Policy {
	p := &Policy{tickets: t, min: tls.VersionTLS12, max: tls.VersionTLS13}
	p.ciphers, _ = cipherSuites(nil, nil) // no names, so nothing to warn of
	p.curves, _ = curveIDs(nil)
	return p
}
