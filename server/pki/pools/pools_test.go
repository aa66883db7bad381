package pools_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/sluiceproxy/sluice/server/pki/pools"
	"github.com/sluiceproxy/sluice/server/trust"
)

// holder is a document with authorities and a pool.
type holder struct {
	PKI module.Ref[any]         `json:"pki" module:"=pki"`
	CA  module.Ref[*trust.Pool] `json:"ca" module:"tls.ca_pool.source" inline:"provider"`
}

type process struct {
	*pki.Authorities
	t       *testing.T
	dir     string
	builder *module.Builder
}

func newProcess(t *testing.T) *process {
	t.Helper()
	specs := slices.Concat(pki.Specs(), pools.Specs(), trust.Specs(), []module.Spec{
		module.New("holder", "Holds a pool.", nil, func(_ *module.Env, c *holder) (*trust.Pool, error) { return c.CA.Value(), nil }),
	})
	table, err := module.NewTable(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, dir: t.TempDir()}
	p.Authorities = pki.NewAuthorities(pki.Options{Storage: &certmagic.FileStorage{Path: p.dir}})
	t.Cleanup(p.Close)
	services := module.Services{}
	module.Provide(services, p.Authorities)
	p.builder = &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.Map{}, Services: services}}
	return p
}

func (p *process) build(text string) module.Result {
	p.t.Helper()
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.builder.Build(nil, "holder", node, module.Options{})
}

// prepare prepares a document, which holds the app first.
func (p *process) prepare(text string) (*trust.Pool, []module.Resource, error) {
	p.t.Helper()
	res := p.build(text)
	if len(res.Problems) > 0 {
		p.t.Fatalf("%s: %v", text, res.Problems)
	}
	var all []module.Resource
	for _, b := range res.New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				return nil, nil, err
			}
			all = append(all, r)
		}
	}
	return res.Root.Value().(*trust.Pool), all, nil
}

func leaf(t *testing.T, a *pki.Authority) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := a.SignTemplate(t.Context(), &x509.Certificate{DNSNames: []string{"a.test"}, PublicKey: key.Public(), NotAfter: time.Now().Add(time.Hour)}, false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func trusts(p *trust.Pool, c *x509.Certificate, chain ...*x509.Certificate) bool {
	between := x509.NewCertPool()
	for _, i := range chain {
		between.AddCert(i)
	}
	_, err := c.Verify(x509.VerifyOptions{Roots: p.CertPool(), Intermediates: between})
	return err == nil
}

func TestPools(t *testing.T) {
	p := newProcess(t)
	if res := p.build(`{"ca":{"provider":"pki_root","authority":["local"]}}`); len(res.Problems) > 0 {
		t.Fatal(res.Problems)
	}
	if list, _ := os.ReadDir(p.dir); len(list) > 0 {
		t.Fatalf("compiling has made %v", list)
	}
	const defined = `"pki":{"certificate_authorities":{"corp":{"install_trust":false}}},`
	for _, tt := range []struct {
		ca                 string
		local, corp, alone bool // alone: without the intermediate from the peer
	}{
		{`{"provider":"pki_root","authority":["local"]}`, true, false, false},
		{`{"provider":"pki_root","authority":["corp"]}`, false, true, false},
		{`{"provider":"pki_root","authority":["local","corp"]}`, true, true, false},
		{`{"provider":"pki_intermediate","authority":["local"]}`, true, false, true},
		{`{"provider":"pki_intermediate","authority":["corp","local"]}`, true, true, true},
		{`{"provider":"combined","sources":[{"provider":"pki_root","authority":["corp"]},{"provider":"pki_root","authority":["local"]}]}`, true, true, false},
	} {
		pool, owned, err := p.prepare(`{` + defined + `"ca":` + tt.ca + `}`)
		if err != nil {
			t.Fatalf("%s: %v", tt.ca, err)
		}
		for _, r := range owned {
			r.Start()
		}
		for id, want := range map[string]bool{"local": tt.local, "corp": tt.corp} {
			a, err := p.Get(id)
			if err != nil {
				t.Fatal(err)
			}
			c := leaf(t, a)
			if trusts(pool, c, a.Chain()...) != want || trusts(pool, c) != (want && tt.alone) {
				t.Errorf("%s: wrong about %s", tt.ca, id)
			}
		}
		if len(pool.Certificates()) == 0 || pool.Key() == (&trust.Pool{}).Key() {
			t.Errorf("%s: an empty pool", tt.ca)
		}
	}
	if _, err := os.Stat(filepath.Join(p.dir, "pki", "authorities", "corp", "root.key")); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	p := newProcess(t)
	for ca, want := range map[string]string{
		`{"provider":"pki_root"}`:                             "/ca/authority",
		`{"provider":"pki_root","authority":[]}`:              "/ca/authority",
		`{"provider":"pki_intermediate","authority":[""]}`:    "/ca/authority/0",
		`{"provider":"pki_intermediate","authority":"local"}`: "/ca/authority",
		`{"provider":"pki_root","authorities":["local"]}`:     "/ca/authorities",
	} {
		res := p.build(`{"ca":` + ca + `}`)
		if !slices.ContainsFunc(res.Problems, func(p schema.Problem) bool { return p.Pointer == want }) {
			t.Errorf("%s: %v, want one at %s", ca, res.Problems, want)
		}
	}
	for _, provider := range []string{"pki_root", "pki_intermediate"} {
		if _, _, err := p.prepare(`{"ca":{"provider":"` + provider + `","authority":["nope"]}}`); err == nil || !strings.Contains(err.Error(), "no certificate authority configured with id: nope") {
			t.Errorf("%s: %v", provider, err)
		}
	}
	// A storage that cannot be used is a reason to refuse the document.
	if err := os.WriteFile(filepath.Join(p.dir, "pki"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.prepare(`{"ca":{"provider":"pki_root","authority":["local"]}}`); err == nil || !strings.Contains(err.Error(), `certificate authority "local"`) {
		t.Errorf("a broken storage: %v", err)
	}
}

func TestWords(t *testing.T) {
	read := func(text string) (string, error) {
		h, err := adapttest.Handler(t, "reverse_proxy a:1 {\ntransport http {\ntls_trust_pool "+text+"\n}\n}")
		return string(h.Get("transport").Get("tls").Get("ca").AppendJSON(nil)), err
	}
	for text, want := range map[string]string{
		"pki_root local":                         `{"provider":"pki_root","authority":["local"]}`,
		"pki_root a b {\nauthority c d\n}":       `{"provider":"pki_root","authority":["a","b","c","d"]}`,
		"pki_intermediate {\nauthority local\n}": `{"provider":"pki_intermediate","authority":["local"]}`,
	} {
		got, err := read(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		adapttest.Same(t, got, want)
	}
	for _, text := range []string{"pki_root", "pki_intermediate {\n}", "pki_root {\nauthority\n}", "pki_root a {\nx\n}"} {
		if got, err := read(text); err == nil || !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}
