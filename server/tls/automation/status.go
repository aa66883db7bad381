package automation

import (
	"cmp"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/internal/metrics"
)

// Where certificates come from.
const (
	SourceManaged  = "managed"   // obtained and renewed for a name of the document
	SourceLoaded   = "loaded"    // given by the document
	SourceOnDemand = "on-demand" // obtained since a client asked
)

// States of renewal.
const (
	RenewalNone      = "none"      // nobody renews it
	RenewalWaiting   = "waiting"   // it is obtained when a client asks for it
	RenewalObtaining = "obtaining" // there is none yet
	RenewalValid     = "valid"     // it is not time yet
	RenewalDue       = "due"       // it is time
	RenewalFailed    = "failed"    // it was time, and went wrong; there will be another attempt
)

// CertificateStatus is what is known of one certificate, or of a name that has none yet.
type CertificateStatus struct {
	// Names is for whom it is.
	Names []string `json:"names"`
	// Source is managed, loaded or on-demand.
	Source string `json:"source"`
	// Issuer is who has signed it, "" if there is none.
	Issuer string `json:"issuer,omitempty"`
	// Serial is its serial number in hexadecimal.
	Serial string `json:"serial,omitempty"`
	// NotBefore and NotAfter is when it is valid.
	NotBefore *time.Time `json:"not_before,omitempty"`
	NotAfter  *time.Time `json:"not_after,omitempty"`
	// Tags is what certificate_selection knows it by.
	Tags []string `json:"tags,omitempty"`
	// Renewal is none, waiting, obtaining, valid, due or failed.
	Renewal string `json:"renewal"`
	// LastError is what went wrong last, "" if the last attempt was a success, LastErrorAt when that was, and Attempts how often
	// in a row.
	LastError   string     `json:"last_error,omitempty"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty"`
	Attempts    int        `json:"attempts,omitempty"`
	// NextTry is when the next attempt will be about; it comes at the first look after that time.
	NextTry *time.Time `json:"next_try,omitempty"`
}

// Certificates lists all certificates, and the names that still have none, by their first name.
func (m *Manager) Certificates() []CertificateStatus {
	var list []CertificateStatus
	m.describe(func(c *CertificateStatus) { list = append(list, *c) })
	order := make([]*CertificateStatus, len(list))
	for i := range list {
		order[i] = &list[i]
	}
	slices.SortFunc(order, func(a, b *CertificateStatus) int {
		if n := cmp.Compare(a.Names[0], b.Names[0]); n != 0 {
			return n
		}
		return cmp.Compare(a.Source, b.Source)
	})
	out := make([]CertificateStatus, len(list))
	for i, c := range order {
		out[i] = *c
	}
	return out
}

// describe tells of all certificates, in no order. What is given is valid until tell returns, but for what it points to.
func (m *Manager) describe(tell func(*CertificateStatus)) {
	s, now := m.state(), time.Now()
	var c CertificateStatus
	for _, e := range m.loaded.entries() {
		c = CertificateStatus{Source: SourceLoaded, Renewal: RenewalNone, Tags: e.certificate.Tags}
		c.see(&e.seen)
		tell(&c)
	}
	names := m.known(now)
	m.look(names, now)
	for i := range names {
		g := &names[i]
		if len(g.list) == 0 {
			if c = g.without(); c.Renewal != "" {
				tell(&c)
			}
		}
		for k := range g.list { // there may be two for a moment
			c = g.with(s, &g.list[k], now)
			tell(&c)
		}
	}
}

// status is what goes for all certificates of a name.
func (g *glance) status() CertificateStatus {
	c := CertificateStatus{Source: g.source}
	if f := &g.fault; f.text != "" {
		c.LastError, c.LastErrorAt, c.NextTry, c.Attempts = f.text, &f.at, &f.next, f.attempts
	}
	return c
}

// with describes a certificate of a name.
func (g *glance) with(s *state, cert *seen, now time.Time) CertificateStatus {
	b := g.binding
	if b == nil {
		b = s.lookup(g.name)
	}
	ratio := b.config.RenewalWindowRatio
	if ratio == 0 {
		ratio = certmagic.DefaultRenewalWindowRatio
	}
	c := g.status()
	c.see(cert)
	c.Renewal = RenewalValid
	if cert.due(ratio, s.app.options.renew, now) {
		c.Renewal = RenewalDue
	}
	if c.LastError != "" {
		c.Renewal = RenewalFailed
	}
	return c
}

// without describes a name that has no certificate, if that is worth telling.
func (g *glance) without() CertificateStatus {
	c := g.status()
	switch {
	case g.waiting:
		c.Renewal = RenewalWaiting
	case c.LastError != "":
		c.Renewal = RenewalFailed
	case g.source == SourceOnDemand:
		return CertificateStatus{} // it was pushed out of the cache
	default:
		c.Renewal = RenewalObtaining
	}
	c.Names = []string{g.name}
	return c
}

func (c *CertificateStatus) see(s *seen) {
	c.Names, c.Issuer, c.Serial, c.NotBefore, c.NotAfter = s.names, s.issuer, s.serial, &s.from, &s.to
}

// register makes the metrics.
func (m *Manager) register(r *metrics.Registry) {
	if r == nil {
		return
	}
	m.failures = r.Counters(metrics.Opts{
		Subsystem: "tls", Name: "certificate_failures_total", Labels: []string{"operation"},
		Help: "Failed attempts to load, obtain or renew a certificate, or to publish Encrypted ClientHello, and certificates found to be revoked.",
	})
	r.GaugesFunc(metrics.Opts{
		Subsystem: "tls", Name: "certificate_not_after_timestamp_seconds", Labels: []string{"name", "source"},
		Help: "When the certificate in use expires, in seconds since 1970.",
	}, func(emit func(float64, ...string)) {
		m.describe(func(c *CertificateStatus) {
			if c.NotAfter != nil {
				emit(float64(c.NotAfter.Unix()), c.Names[0], c.Source)
			}
		})
	})
	r.GaugesFunc(metrics.Opts{
		Subsystem: "tls", Name: "certificates", Labels: []string{"source", "renewal"},
		Help: "Certificates, and names that still have none, by where they come from and the state of their renewal.",
	}, func(emit func(float64, ...string)) {
		count := map[[2]string]int{}
		m.describe(func(c *CertificateStatus) { count[[2]string{c.Source, c.Renewal}]++ })
		for k, n := range count {
			emit(float64(n), k[0], k[1])
		}
	})
}

// Resolvers is the DNS servers of the current document for whoever names none, nil for those of the system.
func (m *Manager) Resolvers() []string {
	if s := m.current.Load(); s != nil {
		return s.app.Resolvers()
	}
	return nil
}
