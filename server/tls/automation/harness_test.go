package automation

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/tls/automation/loaders"
	"github.com/sluiceproxy/sluice/server/tls/automation/managers"
	"github.com/sluiceproxy/sluice/server/tls/automation/permission"
	"github.com/sluiceproxy/sluice/server/tls/automation/publishers"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/server/tls/handshake"
)

// authority is a certificate authority in memory, an issuer of both kinds.
type authority struct {
	key  string
	cert *x509.Certificate
	priv *ecdsa.PrivateKey
	life time.Duration

	mu     sync.Mutex
	issued map[string]int
	fail   func(name string) error // nil never fails
	gate   chan struct{}           // if set, issuing waits until it is closed
	ocsp   string                  // the URL of its OCSP server, if it has one
}

func newAuthority(key string) *authority {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA " + key}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, priv.Public(), priv)
	if err != nil {
		panic(err)
	}
	cert, _ := x509.ParseCertificate(der)
	return &authority{key: key, cert: cert, priv: priv, life: 90 * 24 * time.Hour, issued: map[string]int{}}
}

func (a *authority) Key() string                               { return a.key }
func (a *authority) IssuerKey() string                         { return a.key }
func (a *authority) With(issuance.Defaults) (Issuer, error)    { return a, nil }
func (a *authority) Issuer(*certmagic.Config) certmagic.Issuer { return a }
func (a *authority) times(name string) int                     { a.mu.Lock(); defer a.mu.Unlock(); return a.issued[name] }
func (a *authority) failing(f func(string) error)              { a.mu.Lock(); a.fail = f; a.mu.Unlock() }
func (a *authority) total() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.issued {
		n += k
	}
	return n
}

var serials atomic.Int64

func (a *authority) sign(names []string, public any, from, to time.Time) []byte {
	t := &x509.Certificate{SerialNumber: big.NewInt(1000 + serials.Add(1)), NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if a.ocsp != "" {
		t.OCSPServer = []string{a.ocsp}
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, public, a.priv)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (a *authority) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	names := slices.Clone(csr.DNSNames)
	for _, ip := range csr.IPAddresses {
		names = append(names, ip.String())
	}
	a.mu.Lock()
	fail, gate := a.fail, a.gate
	a.issued[names[0]]++
	a.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		if err := fail(names[0]); err != nil {
			return nil, err
		}
	}
	chain := a.sign(names, csr.PublicKey, time.Now().Add(-time.Minute), time.Now().Add(a.life))
	if a.ocsp != "" { // who has signed is needed to ask there
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	return &certmagic.IssuedCertificate{Certificate: chain}, nil
}

// pair makes a certificate with its key in PEM.
func (a *authority) pair(from, to time.Time, names ...string) (cert, key string) {
	priv, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, _ := x509.MarshalPKCS8PrivateKey(priv)
	return string(a.sign(names, priv.Public(), from, to)), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (a *authority) fresh(names ...string) (cert, key string) {
	return a.pair(time.Now().Add(-time.Hour), time.Now().Add(24*90*time.Hour), names...)
}

// memory is a storage in memory that can fail.
type memory struct {
	mu    sync.Mutex
	data  map[string][]byte
	at    map[string]time.Time
	locks map[string]chan struct{}
	fail  error
	loads map[string]int
}

func newMemory() *memory {
	return &memory{data: map[string][]byte{}, at: map[string]time.Time{}, locks: map[string]chan struct{}{}, loads: map[string]int{}}
}

func (s *memory) failing(err error) { s.mu.Lock(); s.fail = err; s.mu.Unlock() }

func (s *memory) Lock(ctx context.Context, name string) error {
	for {
		s.mu.Lock()
		wait, held := s.locks[name]
		if !held {
			s.locks[name] = make(chan struct{})
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *memory) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.locks[name]; c != nil {
		close(c)
		delete(s.locks, name)
	}
	return nil
}

func (s *memory) Store(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.data[key], s.at[key] = bytes.Clone(value), time.Now()
	return nil
}

func (s *memory) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads[key]++
	if s.fail != nil {
		return nil, s.fail
	}
	v, ok := s.data[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(v), nil
}

func (s *memory) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.data {
		if k == key || strings.HasPrefix(k, key+"/") {
			delete(s.data, k)
		}
	}
	return s.fail
}

func (s *memory) Exists(_ context.Context, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.data {
		if k == key || strings.HasPrefix(k, key+"/") {
			return true
		}
	}
	return false
}

func (s *memory) List(_ context.Context, prefix string, recursive bool) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	var out []string
	for k := range s.data {
		rest, ok := strings.CutPrefix(k, prefix+"/")
		if !ok {
			continue
		}
		if !recursive {
			rest, _, _ = strings.Cut(rest, "/")
		}
		if full := path.Join(prefix, rest); !slices.Contains(out, full) {
			out = append(out, full)
		}
	}
	if out == nil {
		return nil, fs.ErrNotExist
	}
	return out, nil
}

func (s *memory) Stat(_ context.Context, key string) (certmagic.KeyInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.data[key]
	if !ok {
		return certmagic.KeyInfo{}, fs.ErrNotExist
	}
	return certmagic.KeyInfo{Key: key, Modified: s.at[key], Size: int64(len(v)), IsTerminal: true}, nil
}

// bus counts events.
type bus struct {
	mu     sync.Mutex
	events []string
	veto   func(name string, data map[string]any) error
}

func (b *bus) Wanted(string, string) bool { return true }

func (b *bus) Emit(_ context.Context, origin, name string, data map[string]any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, origin+"/"+name)
	if b.veto != nil {
		return b.veto(name, data)
	}
	return nil
}

func (b *bus) count(event string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e == event {
			n++
		}
	}
	return n
}

// rig is a Manager with documents.
type rig struct {
	t       testing.TB
	m       *Manager
	storage certmagic.Storage
	public  *authority
	own     *authority
	other   *authority // the issuer "other"
	bus     *bus
	builder *module.Builder
	built   *module.Built
	second  *memory // the storage "second"
}

func newRig(t testing.TB, storage certmagic.Storage, o ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, storage: storage, public: newAuthority("public"), own: newAuthority("local"), other: newAuthority("other"), bus: &bus{}, second: newMemory()}
	opt := Options{Storage: storage, Log: zap.NewNop(), Events: r.bus, Public: []Issuer{r.public}, Internal: r.own}
	for _, f := range o {
		f(&opt)
	}
	r.m = New(opt)
	t.Cleanup(r.m.Close)
	issuer := func(id string, a *authority) module.Spec {
		return module.New("tls.issuance."+id, "An authority.", nil, func(*module.Env, *struct{}) (Issuer, error) { return a, nil })
	}
	specs := append(Specs(), loaders.Specs()...)
	specs = append(specs, managers.Specs()...)
	specs = append(append(specs, publishers.Specs()...), dnsproviders.Specs()...)
	specs = append(specs, permission.Spec(), issuer("acme", r.public), issuer("internal", r.own), issuer("other", r.other),
		module.New("tls.issuance.picky", "Needs a provider.", nil, func(*module.Env, *struct{}) (Issuer, error) { return picky{r.other}, nil }),
		module.New("caddy.storage.second", "Another.", nil, func(*module.Env, *struct{}) (certmagic.Storage, error) { return r.second, nil }))
	table, err := module.NewTable(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, r.m)
	tickets, err := handshake.NewTickets(handshake.TicketsOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(tickets.Close)
	module.Provide(services, tickets)
	r.builder = &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.NewGlobal(), Services: services}}
	return r
}

// picky is an issuer that cannot be used without a DNS provider.
type picky struct{ *authority }

func (p picky) With(d issuance.Defaults) (Issuer, error) {
	if d.DNS == nil {
		return nil, module.Problem("/challenges/dns", "DNS challenge enabled, but no DNS provider configured")
	}
	return p, nil
}

// build compiles a document of the app.
func (r *rig) build(doc string) module.Result {
	r.t.Helper()
	node, _, err := config.Parse([]byte(doc), config.Limits{})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.built != nil {
		node = config.Reuse(r.built.Node(), node)
	}
	return r.builder.Build(r.built, AppID, node, module.Options{})
}

// load puts a document to use, as the engine does.
func (r *rig) load(doc string) {
	r.t.Helper()
	res := r.build(doc)
	if len(res.Problems) > 0 {
		r.t.Fatalf("%s: %v", doc, res.Problems)
	}
	for _, b := range res.New {
		for _, o := range b.Owned() {
			if err := o.Prepare(); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	for _, b := range res.New {
		for _, o := range b.Owned() {
			o.Start()
		}
	}
	for _, b := range res.Gone {
		for _, o := range b.Owned() {
			o.Close()
		}
	}
	r.built = res.Root
}

// hello makes a handshake and returns the server's certificate, or nil.
func (r *rig) hello(name string) (*x509.Certificate, error) {
	client, server := net.Pipe()
	defer client.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		c := tls.Server(server, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			return r.m.Config(h.ServerName).TLSConfig(), nil
		}})
		_ = c.Handshake()
	}()
	c := tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	err := c.Handshake()
	client.Close()
	<-done
	if err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

// issuer is who has signed what is served for a name, or "".
func (r *rig) issuer(name string) string {
	c, err := r.hello(name)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(c.Issuer.CommonName, "CA ")
}

// until polls for a condition.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (r *rig) served(name, by string) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%s is served with a certificate of %q (now %q)", name, by, r.issuer(name)), func() bool { return r.issuer(name) == by })
}

// status finds what is said of a name.
func (r *rig) status(name string) (out []CertificateStatus) {
	for _, c := range r.m.Certificates() {
		if slices.Contains(c.Names, name) {
			out = append(out, c)
		}
	}
	return out
}

// managedNames lists the names that are managed.
func (r *rig) managedNames() (out []string) {
	r.m.tableMu.RLock()
	defer r.m.tableMu.RUnlock()
	for name := range r.m.table.managed {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func files(t testing.TB) *certmagic.FileStorage { return &certmagic.FileStorage{Path: t.TempDir()} }

var errBroken = errors.New("the disk is broken")
