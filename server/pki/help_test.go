package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/certstore"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// memory is a storage in memory that may be shared, with faults.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
	locks  map[string]chan struct{}
	stored map[string]int // how often each key was stored
	fail   error          // of the next calls
	failAt string         // only for keys that end so
}

func newMemory() *memory {
	return &memory{values: map[string][]byte{}, locks: map[string]chan struct{}{}, stored: map[string]int{}}
}

func (m *memory) String() string { return "memory" }

func (m *memory) fault(key string) error {
	if m.fail != nil && strings.HasSuffix(key, m.failAt) {
		return m.fail
	}
	return nil
}

func (m *memory) setFault(err error, at string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail, m.failAt = err, at
}

func (m *memory) Lock(ctx context.Context, name string) error {
	m.mu.Lock()
	l := m.locks[name]
	if l == nil {
		l = make(chan struct{}, 1)
		m.locks[name] = l
	}
	m.mu.Unlock()
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memory) Unlock(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	<-m.locks[name]
	return nil
}

func (m *memory) Store(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fault(key); err != nil {
		return err
	}
	m.values[key] = value
	m.stored[filepath.Base(key)]++
	return nil
}

func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fault(key); err != nil {
		return nil, err
	}
	v, ok := m.values[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return v, nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return nil
}

func (m *memory) Exists(ctx context.Context, key string) bool {
	_, err := m.Load(ctx, key)
	return err == nil
}

func (m *memory) List(context.Context, string, bool) ([]string, error) {
	return nil, errors.ErrUnsupported
}

func (m *memory) Stat(context.Context, string) (certmagic.KeyInfo, error) {
	return certmagic.KeyInfo{}, errors.ErrUnsupported
}

func (m *memory) copy() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.values)
}

func (m *memory) count(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stored[name]
}

// process is a process's authorities with what it logs.
type process struct {
	*Authorities
	t       testing.TB
	builder *module.Builder
	logs    *observer.ObservedLogs
	last    *module.Built
}

func newProcess(t testing.TB, storage certmagic.Storage, installer Installer) *process {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	logger := zap.New(core)
	globals := &vars.Global{Now: time.Now}
	p := &process{t: t, logs: logs, Authorities: NewAuthorities(Options{
		Storage: storage, Globals: globals, Trust: installer, Logger: func(name string) *zap.Logger { return logger.Named(name) },
	})}
	table, err := module.NewTable(append(Specs(), certstore.Specs()...), nil)
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, p.Authorities)
	module.Provide(services, certstore.NewStores(filepath.Join(t.TempDir(), "unused")))
	p.builder = &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: globals, Services: services}}
	return p
}

func (p *process) compile(text string) module.Result {
	p.t.Helper()
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		p.t.Fatal(err)
	}
	if p.last != nil {
		node = config.Reuse(p.last.Node(), node)
	}
	return p.builder.Build(p.last, AppID, node, module.Options{})
}

// load puts a document to use, as the engine does.
func (p *process) load(text string) {
	p.t.Helper()
	res := p.compile(text)
	if len(res.Problems) > 0 {
		p.t.Fatalf("%s: %v", text, res.Problems)
	}
	if err := prepareAll(res.New); err != nil {
		p.t.Fatalf("%s: %v", text, err)
	}
	for _, b := range res.New {
		for _, r := range b.Owned() {
			r.Start()
		}
	}
	closeAll(res.Gone)
	p.last = res.Root
}

// dryRun prepares a document and takes it back.
func (p *process) dryRun(text string) error {
	p.t.Helper()
	res := p.compile(text)
	if len(res.Problems) > 0 {
		p.t.Fatalf("%s: %v", text, res.Problems)
	}
	err := prepareAll(res.New)
	if err == nil {
		closeAll(res.New)
	}
	return err
}

func (p *process) get(id string) *Authority {
	p.t.Helper()
	a, err := p.Get(id)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// logged counts the entries with a text in their message.
func (p *process) logged(text string) int {
	n := 0
	for _, e := range p.logs.All() {
		if strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}

func prepareAll(list []*module.Built) error {
	for _, b := range list {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				return err
			}
		}
	}
	return nil
}

func closeAll(list []*module.Built) {
	for _, b := range list {
		for _, r := range b.Owned() {
			r.Close()
		}
	}
}

// issued is a certificate with its key, made by hand.
type issued struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issue makes a certificate; by is nil for one that signs itself.
func issue(t testing.TB, by *issued, name string, lifetime time.Duration, change func(c *x509.Certificate)) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1, KeyUsage: x509.KeyUsageCertSign,
	}
	if change != nil {
		change(c)
	}
	parent, signer := c, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{cert, key}
}

func (i *issued) keyPEM(t testing.TB) []byte {
	t.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// file writes a file for a document.
func file(t testing.TB, parts ...[]byte) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "*.pem")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range parts {
		if _, err := f.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	return f.Name()
}

// pairOf writes a key pair and returns its JSON.
func pairOf(t testing.TB, i *issued, chain ...*x509.Certificate) string {
	t.Helper()
	return pairFiles(file(t, encode(append([]*x509.Certificate{i.cert}, chain...)...)), file(t, i.keyPEM(t)))
}

func pairFiles(certificate, key string) string {
	m := map[string]string{"certificate": certificate}
	if key != "" {
		m["private_key"] = key
	}
	text, _ := json.Marshal(m)
	return string(text)
}

// doc is a document with one authority that touches no trust store.
func doc(id, fields string) string {
	if fields != "" {
		fields = "," + fields
	}
	return `{"certificate_authorities":{"` + id + `":{"install_trust":false` + fields + `}}}`
}

// request makes a signed request for a certificate.
func request(t testing.TB, key crypto.Signer, change func(r *x509.CertificateRequest)) *x509.CertificateRequest {
	t.Helper()
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	r := &x509.CertificateRequest{DNSNames: []string{"a.test"}}
	if change != nil {
		change(r)
	}
	raw, err := x509.CreateCertificateRequest(rand.Reader, r, key)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = x509.ParseCertificateRequest(raw); err != nil {
		t.Fatal(err)
	}
	return r
}

// verify checks a chain as a client that trusts the root does, and returns the leaf.
func verify(t testing.TB, chain [][]byte, root *x509.Certificate) *x509.Certificate {
	t.Helper()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	var leaf *x509.Certificate
	for i, raw := range chain {
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			leaf = c
		} else {
			between.AddCert(c)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Errorf("a client that trusts the root refuses the chain: %v", err)
	}
	return leaf
}
