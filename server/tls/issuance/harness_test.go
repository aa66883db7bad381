package issuance_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/networkproxy"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// holder is a config with an issuer in it.
type holder struct {
	PKI    module.Ref[*pki.App]        `json:"apps_pki" module:"=pki"`
	Issuer module.Ref[issuance.Issuer] `json:"issuer" module:"tls.issuance" inline:"module"`
}

func table(t *testing.T) *module.Table {
	t.Helper()
	specs := append(issuance.Specs(), dnsproviders.Specs()...)
	specs = append(specs, networkproxy.Specs()...)
	specs = append(specs, pki.Specs()...)
	specs = append(specs, module.New("holder", "Holds an issuer.", nil, func(_ *module.Env, c *holder) (issuance.Issuer, error) { return c.Issuer.Value(), nil }))
	tab, err := module.NewTable(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// world is what an issuer is built in.
type world struct {
	globals     vars.Map
	authorities *pki.Authorities
}

func newWorld(t *testing.T, globals vars.Map) *world {
	t.Helper()
	w := &world{globals: globals, authorities: pki.NewAuthorities(pki.Options{Storage: &certmagic.FileStorage{Path: t.TempDir()}})}
	t.Cleanup(w.authorities.Close)
	return w
}

func (w *world) build(t *testing.T, text string) module.Result {
	t.Helper()
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, w.authorities)
	b := &module.Builder{Table: table(t), Sources: module.Sources{ReadFile: os.ReadFile, Globals: w.globals, Services: services}}
	return b.Build(nil, "holder", node, module.Options{})
}

// issuer builds an issuer and prepares what it owns.
func (w *world) issuer(t *testing.T, text string) issuance.Issuer {
	t.Helper()
	res := w.build(t, `{"issuer":`+text+`}`)
	if len(res.Problems) > 0 {
		t.Fatal(res.Problems)
	}
	start(t, res)
	return res.Root.Value().(issuance.Issuer)
}

func start(t *testing.T, res module.Result) {
	t.Helper()
	for _, n := range res.New {
		for _, r := range n.Owned() {
			if err := r.Prepare(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(r.Close)
		}
	}
	for _, n := range res.New {
		for _, r := range n.Owned() {
			r.Start()
		}
	}
}

// site is a config of certmagic with one issuer, and what it logs.
type site struct {
	*certmagic.Config
	log *lines
}

func newSite(t *testing.T, i issuance.Issuer, storage certmagic.Storage) *site {
	t.Helper()
	if storage == nil {
		storage = &certmagic.FileStorage{Path: t.TempDir()}
	}
	s := &site{log: &lines{}}
	logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), s.log, zap.DebugLevel))
	cache := certmagic.NewCache(certmagic.CacheOptions{Logger: logger, GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return s.Config, nil }})
	t.Cleanup(cache.Stop)
	s.Config = certmagic.New(cache, certmagic.Config{Storage: storage, Logger: logger, DisableARI: false, OCSP: certmagic.OCSPConfig{DisableStapling: true}})
	s.Issuers = []certmagic.Issuer{i.Issuer(s.Config)}
	return s
}

// obtain gets the chain of a certificate.
func (s *site) obtain(t *testing.T, name string) []*x509.Certificate {
	t.Helper()
	if err := s.try(t.Context(), name); err != nil {
		t.Fatalf("getting a certificate for %s: %v\nlog:\n%s", name, err, s.log)
	}
	text, err := s.Storage.Load(t.Context(), certmagic.StorageKeys.SiteCert(s.Issuers[0].IssuerKey(), name))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

func (s *site) try(ctx context.Context, name string) error { return s.ObtainCertSync(ctx, name) }

func parse(t *testing.T, text []byte) (list []*x509.Certificate) {
	t.Helper()
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return list
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		list, text = append(list, c), rest
	}
}

// verify checks a chain for a name.
func verify(t *testing.T, chain []*x509.Certificate, roots *x509.CertPool, name string) {
	t.Helper()
	pool := x509.NewCertPool()
	for _, c := range chain[1:] {
		pool.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: pool}); err != nil {
		t.Errorf("the chain for %s: %v", name, err)
	}
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) Sync() error { return nil }

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func dnsOf(t *testing.T, i issuance.Issuer) dnsproviders.Provider {
	t.Helper()
	p := issuance.ProviderOf(i)
	if p == nil {
		t.Fatal("the issuer has no provider")
	}
	return p
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}
