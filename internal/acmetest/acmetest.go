// Package acmetest is certificate authorities for tests: pebble, the test server of Let's Encrypt, in the process of the
// test, and a name server that it asks and that takes dynamic updates.
package acmetest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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

	t         testing.TB
	ca        *ca.CAImpl
	store     *db.MemoryStore
	lines     *buffer
	handler   http.Handler
	tls       *tls.Config
	address   string
	server    *http.Server // nil while it is down
	responder *responder   // nil without OCSP
	mu        sync.Mutex
	counts    map[string]int
	windows   map[string][]byte // renewal information, by the ids of certificates
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
	// RejectNonces is how many of 100 good nonces it takes for bad ones.
	RejectNonces int
	// OCSP makes certificates name a responder, whose answers are good for two seconds. It needs RSA keys, which take their
	// time to be made.
	OCSP bool
	// AskAgain, if not 0, is after how long it wants to be asked again when a certificate should be renewed. Default: six hours.
	AskAgain time.Duration
	// Wrap, if not nil, stands before the ACME server.
	Wrap func(http.Handler) http.Handler
}

// Paths of the ACME server, for [CA.Requests].
const (
	Account  = "/sign-me-up"
	Order    = "/order-plz"
	Check    = "/chalZ/"
	Finalize = "/finalize-order/"
	Renewal  = "/draft-ietf-acme-ari-03/renewalInfo/"
)

// environment is what pebble reads when it is made. The lock is held from before it is set until it has been read.
var environment sync.Mutex

// NewKey is a key for an external account, in base64url.
func NewKey() string {
	return base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte("sluice-key."), 4))
}

// Start starts a certificate authority that stops with the test. If the test fails its log is shown.
func Start(t testing.TB, o Options) *CA {
	t.Helper()
	c := &CA{t: t, HTTPPort: o.HTTPPort, TLSPort: o.TLSPort, DNS: StartDNS(t), store: db.NewMemoryStore(), lines: &buffer{}, counts: map[string]int{}, windows: map[string][]byte{}}
	free := porttest.Free(t, 3)
	if c.HTTPPort == 0 {
		c.HTTPPort = free[0]
	}
	if c.TLSPort == 0 {
		c.TLSPort = free[1]
	}
	for id, key := range o.ExternalAccounts {
		if err := c.store.AddExternalAccountKeyByID(id, key); err != nil {
			t.Fatal(err)
		}
	}
	c.Block(o.Blocked...)
	h := c.pebble(o)
	h = impatient(c.renewals(h, o.AskAgain))
	if o.Wrap != nil {
		h = o.Wrap(h)
	}
	c.handler = c.count(h)
	authority := trusttest.New(t)
	c.Roots, c.RootsFile = authority.Pool(), authority.File()
	c.tls = &tls.Config{Certificates: []tls.Certificate{authority.Issue("127.0.0.1", "localhost")}}
	c.address = fmt.Sprintf("127.0.0.1:%d", free[2])
	c.Directory = "https://" + c.address + wfe.DirectoryPath
	c.Up()
	t.Cleanup(func() {
		c.Down()
		if t.Failed() {
			t.Logf("pebble's log:\n%s", c.lines)
		}
	})
	return c
}

// pebble makes the authority and its server.
func (c *CA) pebble(o Options) http.Handler {
	logger := log.New(c.lines, "pebble ", log.LstdFlags)
	profiles := map[string]ca.Profile{}
	for name, seconds := range o.Profiles {
		profiles[name] = ca.Profile{Description: name, ValidityPeriod: seconds}
	}
	if len(profiles) == 0 {
		profiles["default"] = ca.Profile{Description: "the only one"}
	}
	environment.Lock()
	defer environment.Unlock()
	for name, value := range map[string]string{
		"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_VA_ALWAYS_VALID": "0", "PEBBLE_AUTHZREUSE": "0", "PEBBLE_WFE_NONCEREJECT": strconv.Itoa(o.RejectNonces),
	} {
		if err := os.Setenv(name, value); err != nil {
			c.t.Fatal(err)
		}
	}
	keys, url := "ecdsa", ""
	if o.OCSP {
		c.responder = newResponder(c.t, c.store)
		keys, url = "rsa", c.responder.url()
	}
	c.ca = ca.New(logger, c.store, url, keys, o.AlternateRoots, 1, profiles)
	if o.OCSP {
		c.responder.start(c.ca.GetIntermediateCert(0).Cert, c.ca.GetIntermediateKey(0))
	}
	checker := va.New(logger, c.HTTPPort, c.TLSPort, false, c.DNS.Address, c.store)
	front := wfe.New(logger, c.store, checker, c.ca, []string{"pebble.test"}, false, len(o.ExternalAccounts) > 0, 0, 0)
	return front.Handler()
}

// Up makes the ACME server answer again after Down.
func (c *CA) Up() {
	c.t.Helper()
	l, err := net.Listen("tcp", c.address)
	if err != nil {
		c.t.Fatal(err)
	}
	c.server = &http.Server{Handler: c.handler, TLSConfig: c.tls, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = c.server.ServeTLS(l, "", "") }()
}

// Down ends the ACME server: connections to it are refused. It keeps what it knows.
func (c *CA) Down() {
	if c.server != nil {
		_ = c.server.Close()
		c.server = nil
	}
}

// Block makes it issue nothing for domains.
func (c *CA) Block(names ...string) {
	c.t.Helper()
	for _, name := range names {
		if err := c.store.AddBlockedDomain(name); err != nil {
			c.t.Fatal(err)
		}
	}
}

// Requests counts the requests to the ACME server whose path begins with a prefix.
func (c *CA) Requests(prefix string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, count := range c.counts {
		if strings.HasPrefix(path, prefix) {
			n += count
		}
	}
	return n
}

// Issued counts the certificates that were issued.
func (c *CA) Issued() int { return strings.Count(c.lines.String(), "Issued certificate serial") }

func (c *CA) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.counts[r.URL.Path]++
		c.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

// impatient asks clients not to wait between questions.
func impatient(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "0")
		h.ServeHTTP(w, r)
	})
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
