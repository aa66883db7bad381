// Package acmetest is certificate authorities for tests: pebble, the test server of Let's Encrypt, in the process of the
// test, and a name server that it asks and that takes dynamic updates.
package acmetest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/sluiceproxy/sluice/internal/porttest"
	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// CA is a running certificate authority. It resolves every name to 127.0.0.1.
type CA struct {
	// Directory is the URL of the ACME directory.
	Directory string
	// Roots and RootsFile is who has signed the certificate of the ACME server itself; the file is in PEM.
	Roots     *x509.CertPool
	RootsFile string
	// HTTPPort and TLSPort is where it checks names, in place of 80 and 443. Nobody listens there.
	HTTPPort, TLSPort int
	// DNS is the name server that it asks.
	DNS *DNS

	t  testing.TB
	ca *ca.CAImpl
}

// Options of a certificate authority.
type Options struct {
	// ExternalAccounts, if not empty, is the keys by their ids of those whom it serves; see NewKey.
	ExternalAccounts map[string]string
	// Profiles is the seconds for which certificates of the profiles are valid, 0 for 90 days. Default: one profile, default.
	Profiles map[string]uint64
	// AlternateRoots is how many other chains it offers.
	AlternateRoots int
	// Blocked is the domains for which it issues nothing.
	Blocked []string
	// HTTPPort and TLSPort, if not 0, is where it checks names.
	HTTPPort, TLSPort int
	// Wrap, if not nil, stands before the ACME server.
	Wrap func(http.Handler) http.Handler
}

// NewKey is a key for an external account, in base64url.
func NewKey() string {
	return base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte("sluice-key."), 4))
}

// Start starts a certificate authority that stops with the test. If the test fails its log is shown.
func Start(t testing.TB, o Options) *CA {
	t.Helper()
	// They are read when the server is made: no pauses before checks, no nonces refused for exercise, no checks left out.
	for name, value := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"} {
		if err := os.Setenv(name, value); err != nil {
			t.Fatal(err)
		}
	}
	c := &CA{t: t, HTTPPort: o.HTTPPort, TLSPort: o.TLSPort, DNS: StartDNS(t)}
	free := porttest.Free(t, 2)
	if c.HTTPPort == 0 {
		c.HTTPPort = free[0]
	}
	if c.TLSPort == 0 {
		c.TLSPort = free[1]
	}
	lines := &buffer{}
	logger := log.New(lines, "pebble ", log.LstdFlags)
	profiles := map[string]ca.Profile{}
	for name, seconds := range o.Profiles {
		profiles[name] = ca.Profile{Description: name, ValidityPeriod: seconds}
	}
	if len(profiles) == 0 {
		profiles["default"] = ca.Profile{Description: "the only one"}
	}
	store := db.NewMemoryStore()
	for id, key := range o.ExternalAccounts {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range o.Blocked {
		if err := store.AddBlockedDomain(name); err != nil {
			t.Fatal(err)
		}
	}
	c.ca = ca.New(logger, store, "", "ecdsa", o.AlternateRoots, 1, profiles)
	checker := va.New(logger, c.HTTPPort, c.TLSPort, false, c.DNS.Address, store)
	front := wfe.New(logger, store, checker, c.ca, []string{"pebble.test"}, false, len(o.ExternalAccounts) > 0, 0, 0)
	c.serve(impatient(front.Handler()), o.Wrap)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("pebble's log:\n%s", lines)
		}
	})
	return c
}

// impatient asks clients not to wait between questions.
func impatient(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "0")
		h.ServeHTTP(w, r)
	})
}

func (c *CA) serve(h http.Handler, wrap func(http.Handler) http.Handler) {
	if wrap != nil {
		h = wrap(h)
	}
	authority := trusttest.New(c.t)
	c.Roots, c.RootsFile = authority.Pool(), authority.File()
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Issue("127.0.0.1", "localhost")}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	c.t.Cleanup(server.Close)
	c.Directory = server.URL + wfe.DirectoryPath
}

// IssuedBy is who has signed the certificates that it issues: the root of its chain with the number, 0 for the default one.
func (c *CA) IssuedBy(chain int) *x509.Certificate { return c.ca.GetRootCert(chain).Cert }

// IssuedRoots is the roots of all its chains.
func (c *CA) IssuedRoots() *x509.CertPool {
	p := x509.NewCertPool()
	for i := range c.ca.GetNumberOfRootCerts() {
		p.AddCert(c.IssuedBy(i))
	}
	return p
}

// IssuedRootsFile writes the roots of all its chains to a file in PEM.
func (c *CA) IssuedRootsFile() string {
	var text []byte
	for i := range c.ca.GetNumberOfRootCerts() {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.IssuedBy(i).Raw})...)
	}
	name := filepath.Join(c.t.TempDir(), "issued.pem")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return name
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
