package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/server/certstore"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// authority is an issuer in memory.
type authority struct {
	key  string
	cert *x509.Certificate
	priv *ecdsa.PrivateKey

	mu     sync.Mutex
	life   time.Duration
	issued int
	ports  []int         // of the configs that it was asked for
	gate   chan struct{} // if set, issuing waits until it is closed
}

func newAuthority(t *testing.T, key string) *authority {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: key}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, priv.Public(), priv)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key: key, cert: cert, priv: priv, life: 90 * 24 * time.Hour}
}

func (a *authority) Key() string                               { return a.key }
func (a *authority) IssuerKey() string                         { return a.key }
func (a *authority) Issuer(*certmagic.Config) certmagic.Issuer { return a }

func (a *authority) With(d issuance.Defaults) (issuance.Issuer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ports = append(a.ports, d.HTTPPort)
	return a, nil
}

func (a *authority) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issued
}

func (a *authority) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *authority) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	a.mu.Lock()
	a.issued++
	gate, life := a.gate, a.life
	a.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{SerialNumber: serial, DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, csr.PublicKey, a.priv)
	if err != nil {
		return nil, err
	}
	return &certmagic.IssuedCertificate{Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// rig is a service with documents.
type rig struct {
	t *testing.T
	*Service
	storage *certstore.FileSystem
	ca      *authority // the default
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, storage: certstore.NewFileSystem(t.TempDir()), ca: newAuthority(t, "default")}
	r.again()
	return r
}

// again begins a new process with the storage.
func (r *rig) again() {
	if r.Service != nil {
		r.Close()
	}
	r.Service = New(Options{Storage: r.storage, Default: r.ca})
	r.t.Cleanup(r.Close)
}

// prepare prepares a document with these names.
func (r *rig) prepare(issuers []issuance.Issuer, names ...string) *Settings {
	r.t.Helper()
	set := &Settings{Names: names, Issuers: issuers}
	if err := r.Prepare(set); err != nil {
		r.t.Fatal(err)
	}
	return set
}

// use puts a document into force, in place of the one before if that is not nil.
func (r *rig) use(old *Settings, issuers []issuance.Issuer, names ...string) *Settings {
	r.t.Helper()
	set := r.prepare(issuers, names...)
	r.Start(set)
	if old != nil {
		r.Release(old)
	}
	return set
}

// certificate waits for the certificate.
func (r *rig) certificate() *tls.Certificate {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	c, err := r.ClientCertificate(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	if c.PrivateKey == nil {
		r.t.Fatal("no private key")
	}
	return c
}

// none requires that there is no certificate now.
func (r *rig) none(what string) error {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	cancel()
	_, err := r.ClientCertificate(ctx)
	if err == nil {
		r.t.Errorf("%s: there is a certificate", what)
	}
	return err
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// quiet waits until no name is worked on.
func (r *rig) quiet() {
	r.t.Helper()
	r.eventually("the work to end", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, w := range r.names {
			if w.cancel != nil {
				return false
			}
		}
		return true
	})
}

func serialOf(c *tls.Certificate) string { return c.Leaf.SerialNumber.String() }

func TestNoneWithoutDocument(t *testing.T) {
	r := newRig(t)
	if err := r.none("no document"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	if _, err := r.GetCertificate(&tls.ClientHelloInfo{}); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	r.use(nil, nil)
	if err := r.none("no names"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

// TestRefusedDocument: what is only prepared obtains nothing and leaves nothing.
func TestRefusedDocument(t *testing.T) {
	r := newRig(t)
	set := r.prepare(nil, "a.test")
	if err := r.none("a document that is only prepared"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "a.test") {
		t.Error(err)
	}
	if _, err := r.GetCertificate(&tls.ClientHelloInfo{}); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	r.Release(set)
	r.Release(set)
	if r.ca.count() != 0 || r.cache.Load() != nil || len(r.names) != 0 || len(r.live) != 0 {
		t.Error("something is left of a document that was refused")
	}
	if err := r.none("a refused document"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	list, _ := r.storage.List(t.Context(), "certificates", true)
	if len(list) != 0 {
		t.Errorf("stored: %v", list)
	}
}

// TestEditsKeepEverything: the certificate is obtained once, whatever documents come.
func TestEditsKeepEverything(t *testing.T) {
	r := newRig(t)
	set := r.use(nil, nil, "a.test")
	first := serialOf(r.certificate())
	for range 5 {
		old := set
		set = r.prepare(nil, "a.test")
		if set.config != old.config {
			t.Fatal("the work would begin anew")
		}
		r.Start(set)
		if c, err := r.GetCertificate(&tls.ClientHelloInfo{ServerName: "a.test"}); err != nil || serialOf(c) != first {
			t.Fatalf("%v", err)
		}
		r.Release(old)
		r.Release(r.prepare(nil, "a.test")) // refused
	}
	if serialOf(r.certificate()) != first || r.ca.count() != 1 {
		t.Errorf("issued %d times", r.ca.count())
	}
	r.Release(set)
	if err := r.none("no document"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	// It is in the storage: for a document that is prepared, and for one that is used, of this process and of another.
	set = r.prepare(nil, "a.test")
	if serialOf(r.certificate()) != first {
		t.Error("another certificate")
	}
	r.Release(set)
	r.again()
	r.use(nil, nil, "a.test")
	if serialOf(r.certificate()) != first || r.ca.count() != 1 {
		t.Errorf("issued %d times", r.ca.count())
	}
}

// TestWorkGoesOn: an edit does not begin the work of the document before anew.
func TestWorkGoesOn(t *testing.T) {
	r := newRig(t)
	gate := make(chan struct{})
	r.ca.gate = gate
	set := r.use(nil, nil, "a.test")
	r.eventually("the issuer to be asked", func() bool { return r.ca.count() == 1 })
	set = r.use(set, nil, "a.test")
	set = r.use(set, nil, "a.test", "b.test")
	r.eventually("the issuer to be asked for the other name", func() bool { return r.ca.count() == 2 })
	if _, err := r.GetCertificate(&tls.ClientHelloInfo{}); !errors.Is(err, errNotYet) {
		t.Error(err)
	}
	close(gate)
	r.certificate()
	r.quiet()
	if r.ca.count() != 2 {
		t.Errorf("issued %d times", r.ca.count())
	}
	r.use(set, nil, "b.test")
	r.quiet()
	if c := r.certificate(); c.Leaf.DNSNames[0] != "b.test" || r.ca.count() != 2 || len(r.cached("a.test")) != 0 {
		t.Errorf("%v, issued %d times", c.Leaf.DNSNames, r.ca.count())
	}
}

// TestOtherIssuer: the certificate of another issuer takes the place of the one before when it is there.
func TestOtherIssuer(t *testing.T) {
	r := newRig(t)
	set := r.use(nil, nil, "a.test")
	r.certificate()
	r.quiet()
	other := newAuthority(t, "other")
	gate := make(chan struct{})
	other.gate = gate
	set = r.use(set, []issuance.Issuer{other}, "a.test")
	r.eventually("the other issuer to be asked", func() bool { return other.count() == 1 })
	if c := r.certificate(); c.Leaf.CheckSignatureFrom(r.ca.cert) != nil {
		t.Error("the certificate is gone before there is another")
	}
	close(gate)
	r.eventually("the other certificate", func() bool { return r.certificate().Leaf.CheckSignatureFrom(other.cert) == nil })
	r.quiet()
	if n := len(r.cached("a.test")); n != 1 {
		t.Errorf("%d certificates in memory", n)
	}
	// A refused document with the first issuer changes nothing.
	r.Release(r.prepare(nil, "a.test"))
	if r.certificate().Leaf.CheckSignatureFrom(other.cert) != nil {
		t.Error("a refused document changed the certificate")
	}
	// The first issuer's is in the storage still.
	r.use(set, nil, "a.test")
	r.eventually("the first certificate", func() bool { return r.certificate().Leaf.CheckSignatureFrom(r.ca.cert) == nil })
	if r.ca.count() != 1 {
		t.Errorf("issued %d times", r.ca.count())
	}
}

func TestPorts(t *testing.T) {
	r := newRig(t)
	r.SetPorts(8080, 8443)
	gate := make(chan struct{})
	r.ca.gate = gate
	set := r.use(nil, nil, "a.test")
	r.eventually("the issuer to be asked", func() bool { return r.ca.count() == 1 })
	r.SetPorts(8080, 8443) // nothing new
	r.SetPorts(0, 0)
	r.eventually("the issuer to be asked again", func() bool { return r.ca.count() == 2 })
	close(gate)
	first := serialOf(r.certificate())
	r.quiet()
	r.SetPorts(8081, 0)
	r.use(set, nil, "a.test")
	r.quiet()
	if serialOf(r.certificate()) != first || r.ca.count() != 2 {
		t.Errorf("issued %d times", r.ca.count())
	}
	r.ca.mu.Lock()
	defer r.ca.mu.Unlock()
	if len(r.ca.ports) != 3 || r.ca.ports[0] != 8080 || r.ca.ports[1] != 80 || r.ca.ports[2] != 8081 {
		t.Errorf("ports %v", r.ca.ports)
	}
}

// TestRenewal: a certificate of the storage that is due is renewed, and shown until then.
func TestRenewal(t *testing.T) {
	r := newRig(t)
	r.ca.set(func() { r.ca.life = time.Second }) // an hour old, so most of its life is over
	r.use(nil, nil, "a.test")
	first := serialOf(r.certificate())
	r.ca.set(func() { r.ca.life = 24 * time.Hour })
	r.eventually("the renewal", func() bool { return serialOf(r.certificate()) != first })
	r.again()
	r.use(nil, nil, "a.test")
	if life := time.Until(r.certificate().Leaf.NotAfter); life < 23*time.Hour {
		t.Errorf("the renewed certificate ends in %s", life)
	}
}

// TestUnusable: what is wrong in the storage is replaced.
func TestUnusable(t *testing.T) {
	r := newRig(t)
	r.use(nil, nil, "a.test")
	first := serialOf(r.certificate())
	r.again()
	if err := r.storage.Store(t.Context(), certmagic.StorageKeys.SiteCert("default", "a.test"), []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	r.use(nil, nil, "a.test")
	if serialOf(r.certificate()) == first || r.ca.count() != 2 {
		t.Errorf("issued %d times", r.ca.count())
	}
}

// TestChoice: which of several certificates a client sees.
func TestChoice(t *testing.T) {
	r := newRig(t)
	r.use(nil, nil, "a.test", "b.test", "127.0.0.1")
	r.quiet()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, c := range []struct {
		hello tls.ClientHelloInfo
		want  string
	}{
		{tls.ClientHelloInfo{}, "a.test"},
		{tls.ClientHelloInfo{ServerName: "b.test"}, "b.test"},
		{tls.ClientHelloInfo{ServerName: "B.test", Conn: conn}, "b.test"},
		{tls.ClientHelloInfo{ServerName: "c.test", Conn: conn}, "a.test"},
		{tls.ClientHelloInfo{Conn: conn}, "127.0.0.1"},
	} {
		got, err := r.GetCertificate(&c.hello)
		if err != nil {
			t.Fatal(err)
		}
		if got.Leaf.VerifyHostname(c.want) != nil {
			t.Errorf("%q: %v %v, want %s", c.hello.ServerName, got.Leaf.DNSNames, got.Leaf.IPAddresses, c.want)
		}
	}
}

// TestClose: whoever waits is told, and what is under way ends.
func TestClose(t *testing.T) {
	r := newRig(t)
	r.ca.gate = make(chan struct{})
	r.use(nil, nil, "a.test")
	r.eventually("the issuer to be asked", func() bool { return r.ca.count() == 1 })
	waits := make(chan error, 1)
	go func() {
		_, err := r.ClientCertificate(t.Context())
		waits <- err
	}()
	r.Close()
	if err := <-waits; !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	if r.Prepare(&Settings{Names: []string{"b.test"}}) == nil {
		t.Error("a closed service takes a document")
	}
	r.Start(&Settings{})
	r.SetPorts(1, 2)
}

func TestName(t *testing.T) {
	for text, want := range map[string]string{
		"A.Test": "a.test", " a.test ": "a.test", "[::1]": "::1", "0:0:0:0:0:0:0:1": "::1", "127.0.0.1": "127.0.0.1", "*.a.test": "*.a.test",
		"bücher.test": "xn--bcher-kva.test", "localhost": "localhost", "": "", "a b": "", "a.test:80": "", "[::1]:80": "", "spiffe://a.test/b": "spiffe://a.test/b",
	} {
		got, ok := Name(text)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q %v", text, got, ok)
		}
	}
}
