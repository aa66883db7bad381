package automation

import (
	"cmp"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"github.com/sluiceproxy/sluice/server/tls/automation/loaders"
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
	s := m.state()
	var out []CertificateStatus
	for _, e := range m.loaded.entries() {
		c := CertificateStatus{Source: SourceLoaded, Renewal: RenewalNone, Names: loaders.Names(e.certificate.TLS.Leaf), Tags: e.certificate.Tags}
		c.describe(e.certificate.TLS.Leaf)
		out = append(out, c)
	}
	for _, k := range m.known() {
		out = append(out, m.statusOf(s, k)...)
	}
	slices.SortFunc(out, func(a, b CertificateStatus) int {
		if n := cmp.Compare(a.Names[0], b.Names[0]); n != 0 {
			return n
		}
		return cmp.Compare(a.Source, b.Source)
	})
	return out
}

// known is a copy of what the table has of a name.
type knownName struct {
	name    string
	source  string
	binding *binding // nil for what policies say
	waiting bool
	fault   fault
}

func (m *Manager) known() []knownName {
	m.tableMu.RLock()
	defer m.tableMu.RUnlock()
	out := make([]knownName, 0, len(m.table.managed)+len(m.table.others))
	for name, n := range m.table.managed {
		out = append(out, knownName{name, SourceManaged, n.binding, n.waiting, n.fault})
	}
	for name, o := range m.table.others {
		out = append(out, knownName{name, SourceOnDemand, nil, false, o.fault})
	}
	return out
}

// statusOf describes the certificates of a name. There may be two for a moment.
func (m *Manager) statusOf(s *state, k knownName) (out []CertificateStatus) {
	b := k.binding
	if b == nil {
		b = s.lookup(k.name)
	}
	base := CertificateStatus{Names: []string{k.name}, Source: k.source}
	if f := k.fault; f.text != "" {
		base.LastError, base.LastErrorAt, base.NextTry, base.Attempts = f.text, &f.at, &f.next, f.attempts
	}
	for _, cert := range m.cached(k.name) {
		c := base
		c.Names, c.Renewal = cert.Names, RenewalValid
		c.describe(cert.Leaf)
		if due(b.config, cert, s.app.options.renew) {
			c.Renewal = RenewalDue
		}
		if c.LastError != "" {
			c.Renewal = RenewalFailed
		}
		out = append(out, c)
	}
	if len(out) > 0 {
		return out
	}
	switch {
	case k.waiting:
		base.Renewal = RenewalWaiting
	case base.LastError != "":
		base.Renewal = RenewalFailed
	case k.source == SourceOnDemand:
		return nil // it was pushed out of the cache
	default:
		base.Renewal = RenewalObtaining
	}
	return []CertificateStatus{base}
}

// due reports whether it is time to renew a certificate. certmagic's own answer writes to the log.
func due(c *certmagic.Config, cert certmagic.Certificate, interval time.Duration) bool {
	ratio := c.RenewalWindowRatio
	if ratio == 0 {
		ratio = certmagic.DefaultRenewalWindowRatio
	}
	left := time.Until(cert.Leaf.NotAfter)
	return left < time.Duration(float64(cert.Lifetime())*ratio) || left < 5*interval
}

func (c *CertificateStatus) describe(leaf *x509.Certificate) {
	c.Issuer = leaf.Issuer.CommonName
	if c.Issuer == "" {
		c.Issuer = strings.Join(leaf.Issuer.Organization, ", ")
	}
	if leaf.SerialNumber != nil {
		c.Serial = leaf.SerialNumber.Text(16)
	}
	c.NotBefore, c.NotAfter = &leaf.NotBefore, &leaf.NotAfter
}

// register makes the metrics.
func (m *Manager) register(r *metrics.Registry) {
	if r == nil {
		return
	}
	m.failures = r.Counters(metrics.Opts{
		Subsystem: "tls", Name: "certificate_failures_total", Labels: []string{"operation"},
		Help: "Failed attempts to load, obtain or renew a certificate, and certificates found to be revoked.",
	})
	r.GaugesFunc(metrics.Opts{
		Subsystem: "tls", Name: "certificate_not_after_timestamp_seconds", Labels: []string{"name", "source"},
		Help: "When the certificate in use expires, in seconds since 1970.",
	}, func(emit func(float64, ...string)) {
		for _, c := range m.Certificates() {
			if c.NotAfter != nil {
				emit(float64(c.NotAfter.Unix()), c.Names[0], c.Source)
			}
		}
	})
	r.GaugesFunc(metrics.Opts{
		Subsystem: "tls", Name: "certificates", Labels: []string{"source", "renewal"},
		Help: "Certificates, and names that still have none, by where they come from and the state of their renewal.",
	}, func(emit func(float64, ...string)) {
		count := map[[2]string]int{}
		for _, c := range m.Certificates() {
			count[[2]string{c.Source, c.Renewal}]++
		}
		for k, n := range count {
			emit(float64(n), k[0], k[1])
		}
	})
}
