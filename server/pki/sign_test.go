package pki

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSign(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// Authorities with keys of each kind sign.
	p := newProcess(t, newMemory(), nil)
	defer p.Close()
	signers := map[string]*Authority{"generated": p.get("local")}
	for name, key := range map[string]crypto.Signer{"rsa": rsaKey, "ed25519": edKey} {
		root := issue(t, nil, name, 400*24*time.Hour, nil)
		raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name + " intermediate"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}, root.cert, key.Public(), root.key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		p.load(doc(name, `"root":`+pairOf(t, root)+`,"intermediate":`+pairOf(t, &issued{c, key}, root.cert)))
		signers[name] = p.get(name)
	}
	uri, _ := url.Parse("spiffe://a/b")
	names := func(r *x509.CertificateRequest) {
		r.Subject.CommonName = "a.test"
		r.DNSNames = []string{"a.test", "*.b.test"}
		r.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.ParseIP("::1")}
		r.EmailAddresses = []string{"a@a.test"}
		r.URIs = []*url.URL{uri}
	}
	serials := map[string]bool{}
	for name, a := range signers {
		for kind, key := range map[string]crypto.Signer{"ecdsa": ecKey, "rsa": rsaKey, "ed25519": edKey} {
			for _, withRoot := range []bool{false, true} {
				chain, err := a.Sign(context.Background(), request(t, key, names), 0, withRoot)
				if err != nil {
					t.Fatalf("%s, %s: %v", name, kind, err)
				}
				want := 2
				if withRoot {
					want = 1
				}
				if len(chain) != want {
					t.Errorf("%s, with root %v: a chain of %d", name, withRoot, len(chain))
				}
				leaf := verify(t, chain, a.Root())
				if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(leaf.PublicKey) || leaf.IsCA || leaf.Subject.CommonName != "a.test" ||
					!reflect.DeepEqual(leaf.DNSNames, []string{"a.test", "*.b.test"}) || len(leaf.IPAddresses) != 2 || len(leaf.EmailAddresses) != 1 || len(leaf.URIs) != 1 {
					t.Errorf("%s, %s: %+v", name, kind, leaf)
				}
				if encipher := leaf.KeyUsage&x509.KeyUsageKeyEncipherment != 0; encipher != (kind == "rsa") || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
					t.Errorf("%s: key usage %b", kind, leaf.KeyUsage)
				}
				if d := time.Until(leaf.NotAfter) - DefaultLifetime; d > time.Second || d < -time.Minute {
					t.Errorf("%s ends at %s", name, leaf.NotAfter)
				}
				serials[leaf.SerialNumber.String()] = true
				if leaf.SerialNumber.BitLen() < 64 || leaf.SerialNumber.BitLen() > 128 || leaf.SerialNumber.Sign() <= 0 {
					t.Errorf("the serial number %x", leaf.SerialNumber)
				}
			}
		}
	}
	if len(serials) != 18 {
		t.Errorf("%d serial numbers for 18 certificates", len(serials))
	}
}

func TestSignRefuses(t *testing.T) {
	p := newProcess(t, newMemory(), nil)
	defer p.Close()
	a := p.get("local")
	forged := request(t, nil, nil)
	forged.PublicKey = request(t, nil, nil).PublicKey
	small := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	good := request(t, nil, nil).PublicKey
	for name, tt := range map[string]struct {
		sign func() ([][]byte, error)
		want string
	}{
		"forged": {func() ([][]byte, error) { return a.Sign(context.Background(), forged, 0, false) }, "request is not signed"},
		"short": {func() ([][]byte, error) {
			return a.Sign(context.Background(), request(t, nil, nil), time.Minute, false)
		}, "too short; want at least 5m"},
		"negative": {func() ([][]byte, error) { return a.Sign(context.Background(), request(t, nil, nil), -time.Hour, false) }, "too short"},
		"no name": {func() ([][]byte, error) {
			return a.Sign(context.Background(), request(t, nil, func(r *x509.CertificateRequest) { r.DNSNames = nil }), 0, false)
		}, "no name"},
		"small key": {func() ([][]byte, error) {
			return a.SignTemplate(context.Background(), &x509.Certificate{DNSNames: []string{"a"}, PublicKey: small}, false)
		}, "1024 bits"},
		"no key": {func() ([][]byte, error) {
			return a.SignTemplate(context.Background(), &x509.Certificate{DNSNames: []string{"a"}}, false)
		}, "not supported"},
		"authority": {func() ([][]byte, error) {
			return a.SignTemplate(context.Background(), &x509.Certificate{DNSNames: []string{"a"}, PublicKey: good, IsCA: true}, false)
		}, "another authority"},
		"too late": {func() ([][]byte, error) {
			begin := time.Now().Add(30 * 24 * time.Hour)
			return a.SignTemplate(context.Background(), &x509.Certificate{DNSNames: []string{"a"}, PublicKey: good, NotBefore: begin, NotAfter: begin.Add(time.Hour)}, false)
		}, "what signs it expires"},
	} {
		if _, err := tt.sign(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "c"}, PublicKey: good, NotBefore: time.Now().Add(time.Hour).Truncate(time.Second), NotAfter: time.Now().Add(2 * time.Hour).Truncate(time.Second),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	chain, err := a.SignTemplate(context.Background(), template, false)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, _ := x509.ParseCertificate(chain[0]); !leaf.NotBefore.Equal(template.NotBefore) || !leaf.NotAfter.Equal(template.NotAfter) || !reflect.DeepEqual(leaf.ExtKeyUsage, template.ExtKeyUsage) {
		t.Errorf("%+v", leaf)
	}
}

func TestLifetimeEndsBeforeTheSigner(t *testing.T) {
	p := newProcess(t, newMemory(), nil)
	defer p.Close()
	a := p.get("local")
	for _, tt := range []struct {
		lifetime time.Duration
		withRoot bool
		signer   *x509.Certificate // that shortens it
	}{
		{5 * time.Minute, false, nil},
		{24 * time.Hour, false, nil},
		{8 * 24 * time.Hour, false, a.Intermediate()},
		{8 * 24 * time.Hour, true, nil},
		{4000 * 24 * time.Hour, true, a.Root()},
	} {
		before := time.Now()
		chain, err := a.Sign(context.Background(), request(t, nil, nil), tt.lifetime, tt.withRoot)
		if err != nil {
			t.Fatal(err)
		}
		leaf := verify(t, chain, a.Root())
		if tt.signer != nil {
			if !leaf.NotAfter.Before(tt.signer.NotAfter) || tt.signer.NotAfter.Sub(leaf.NotAfter) > time.Minute {
				t.Errorf("%s: ends at %s, the signer at %s", tt.lifetime, leaf.NotAfter, tt.signer.NotAfter)
			}
		} else if d := leaf.NotAfter.Sub(before.Add(tt.lifetime)); d < -2*time.Second || d > 10*time.Second {
			t.Errorf("%s: off by %s", tt.lifetime, d)
		}
		if leaf.NotBefore.After(before) {
			t.Error("it is not valid yet")
		}
	}
}

// Given pairs: with chains, without the root's key, as openssl writes them.
func TestGivenPairs(t *testing.T) {
	top := issue(t, nil, "top", 400*24*time.Hour, nil)
	root := issue(t, top, "root", 300*24*time.Hour, nil)
	inner := issue(t, root, "inner", 200*24*time.Hour, nil)
	signer := issue(t, inner, "signer", 100*24*time.Hour, nil)
	storage := newMemory()
	p := newProcess(t, storage, nil)
	defer p.Close()
	check := func(fields string, trusted *x509.Certificate, chain int, generated bool) *Authority {
		t.Helper()
		storage.setFault(nil, "")
		p.load(doc("a", fields))
		a := p.get("a")
		der, err := a.Sign(context.Background(), request(t, nil, nil), 0, false)
		if err != nil {
			t.Fatal(err)
		}
		verify(t, der, trusted)
		if len(der) != 1+chain || len(a.Chain()) != chain {
			t.Errorf("a chain of %d and %d, want %d", len(der)-1, len(a.Chain()), chain)
		}
		if a.Managed() != generated {
			t.Error("who cares for the intermediate?")
		}
		return a
	}
	// All is given; the root has no key.
	check(`"root":`+pairFiles(file(t, encode(top.cert)), "")+`,"intermediate":`+pairOf(t, signer, inner.cert, root.cert, top.cert), top.cert, 3, false)
	if len(storage.copy()) > 0 {
		t.Error("something was generated although all is given")
	}
	if _, err := p.get("a").Sign(context.Background(), request(t, nil, nil), 0, true); err == nil || !strings.Contains(err.Error(), "no private key") {
		t.Errorf("signing with a root without a key: %v", err)
	}
	// The intermediate is generated; the root is signed by another, so that is sent too.
	a := check(`"root":`+pairOf(t, root, top.cert), top.cert, 2, true)
	if !a.Root().Equal(root.cert) || storage.copy()["pki/authorities/a/root.crt"] != nil || storage.copy()["pki/authorities/a/intermediate.key"] == nil {
		t.Error("the storage has what it should not have, or not what it should")
	}
	der, err := a.Sign(context.Background(), request(t, nil, nil), 0, true)
	if err != nil || len(der) != 2 {
		t.Fatalf("%v, a chain of %d", err, len(der))
	}
	verify(t, der, top.cert)
	text, err := p.Certificates("a")
	if err != nil || bytes.Count(text, []byte("BEGIN")) != 2 || !bytes.HasSuffix(text, encode(root.cert)) {
		t.Errorf("%v\n%s", err, text)
	}
	// With an intermediate in the storage a root needs no key; another root does.
	check(`"root":`+pairFiles(file(t, encode(root.cert, top.cert)), ""), top.cert, 2, true)
	if err := p.dryRun(doc("a", `"root":`+pairFiles(file(t, encode(top.cert)), ""))); err == nil || !strings.Contains(err.Error(), `certificate authority "a": the root has no private key`) {
		t.Errorf("a root without a key that has to sign: %v", err)
	}
	if p.get("a").Root() == nil || !p.get("a").Root().Equal(root.cert) {
		t.Error("the document that was refused counts")
	}
	before := p.get("a").Intermediate()
	if a := check(`"root":`+pairOf(t, top), top.cert, 1, true); a.Intermediate().Equal(before) {
		t.Error("the intermediate of another root is still used")
	}
	// As openssl writes keys of elliptic curves.
	raw, err := x509.MarshalECPrivateKey(top.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	key := file(t, pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 1, 0}}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}))
	check(`"root":`+pairFiles(file(t, encode(top.cert)), key), top.cert, 1, true)
}

func TestDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		now := time.Now()
		for _, tt := range []struct {
			ratio float64
			left  time.Duration
			want  bool
		}{
			{0.2, 10 * day, true}, {0.2, 21 * day, false}, {0.2, 50 * day, false}, {0.5, 30 * day, true}, {0.5, 51 * day, false},
			{0, 19 * day, true}, {0, 21 * day, false}, {2, 21 * day, false}, {1, 99 * day, true}, {0.2, -day, true},
		} {
			d := definitionOf("a", &CA{RenewalWindowRatio: tt.ratio}, nil)
			c := &x509.Certificate{NotBefore: now.Add(tt.left - 100*day), NotAfter: now.Add(tt.left)}
			if got := d.due(c, now); got != tt.want {
				t.Errorf("ratio %v with %s left: %v", tt.ratio, tt.left, got)
			}
		}
	})
}
