package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/http"
	"testing"
	"time"
)

// holder is somebody with a key and certificates.
type holder struct {
	t    *testing.T
	name string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// client makes a client, who has signed its own certificate if by is nil.
func client(t *testing.T, name string, by *holder, change ...func(*x509.Certificate)) *holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{t: t, name: name, key: key}
	h.renew(by, change...)
	return h
}

// renew gives the client another certificate for its key.
func (h *holder) renew(by *holder, change ...func(*x509.Certificate)) *x509.Certificate {
	h.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		h.t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: h.name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, f := range change {
		f(tmpl)
	}
	parent, signer := tmpl, h.key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, h.key.Public(), signer)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.cert, err = x509.ParseCertificate(der); err != nil {
		h.t.Fatal(err)
	}
	return h.cert
}

func authority(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
}

func rulesOf(t *testing.T, rules ...Rule) *Rules {
	t.Helper()
	r, err := New(rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func of(certs ...*x509.Certificate) []*x509.Certificate { return certs }

func only(paths ...string) []Permission { return []Permission{{Paths: paths}} }

func status(err error) int {
	var d *Denied
	if errors.As(err, &d) {
		return d.Status
	}
	return 0
}

func TestPermissions(t *testing.T) {
	all, none := []string(nil), []string{}
	for _, c := range []struct {
		permissions  []Permission
		method, path string
		want         string
	}{
		{nil, "DELETE", "/config/", ""},
		{[]Permission{}, "DELETE", "/config/", ""},
		{[]Permission{{}}, "DELETE", "/config/", ""},
		{[]Permission{{all, all}}, "FOO", "/x", ""},
		{[]Permission{{none, all}}, "GET", "/x", "method"},
		{[]Permission{{all, none}}, "GET", "/x", "path"},
		{[]Permission{{[]string{"GET"}, all}}, "GET", "/x", ""},
		{[]Permission{{[]string{"GET"}, all}}, "get", "/x", "method"},
		{[]Permission{{[]string{"get"}, all}}, "GET", "/x", "method"},
		{[]Permission{{[]string{"GET", "PATCH"}, all}}, "PATCH", "/x", ""},
		{[]Permission{{[]string{"GET"}, []string{"/a"}}}, "POST", "/b", "method"},
		// Each entry must pass.
		{[]Permission{{[]string{"GET"}, all}, {all, []string{"/a"}}}, "GET", "/a", ""},
		{[]Permission{{[]string{"GET"}, all}, {all, []string{"/a"}}}, "GET", "/b", "path"},
		{[]Permission{{[]string{"GET"}, []string{"/a"}}, {[]string{"POST"}, []string{"/b"}}}, "GET", "/a", "method"},
		// Prefixes end where a segment does.
		{only("/pki/ca/prod"), "GET", "/pki/ca/prod", ""},
		{only("/pki/ca/prod"), "GET", "/pki/ca/prod/", ""},
		{only("/pki/ca/prod"), "GET", "/pki/ca/prod/certificates", ""},
		{only("/pki/ca/prod"), "GET", "/pki/ca/prod1", "path"},
		{only("/pki/ca/prod"), "GET", "/pki/ca/prod-backup", "path"},
		{only("/pki/ca/prod"), "GET", "/pki/ca", "path"},
		{only("/pki/ca/prod/"), "GET", "/pki/ca/prod/certificates", ""},
		{only("/pki/ca/prod/"), "GET", "/pki/ca/prod", "path"},
		{only("/"), "GET", "/anything", ""},
		{only("/"), "GET", "/", ""},
		{only(""), "GET", "/anything", ""},
		{only(""), "OPTIONS", "*", ""},
		{only("/"), "OPTIONS", "*", "path"},
		{only("/a", "/b"), "GET", "/b/c", ""},
		{only("/Config"), "GET", "/config", "path"},
		{only("config"), "GET", "/config", "path"},
		// A path that leads elsewhere must be allowed there as well.
		{only("/pki"), "GET", "/pki/../stop", "path"},
		{only("/pki"), "GET", "/pki/./ca", ""},
		{only("/pki"), "GET", "//pki", "path"},
		{only("/pki"), "GET", "/pki//ca", ""},
		{only("/config/a", "/config/b"), "GET", "/config/a/../b", ""},
		{only("/config/a"), "GET", "/config/a/../a/../../stop", "path"},
	} {
		g := &Grant{rule: &Rule{Permissions: c.permissions}}
		got := ""
		switch err := g.Allow(c.method, c.path); err {
		case nil:
		case error(errMethod):
			got = "method"
		case error(errPath):
			got = "path"
		default:
			t.Errorf("%v", err)
		}
		if got != c.want {
			t.Errorf("%+v: %s %s is refused for its %q, want %q", c.permissions, c.method, c.path, got, c.want)
		}
	}
	if status(errIdentity) != 401 || status(errMethod) != 403 || status(errPath) != 403 {
		t.Error("statuses")
	}
}

func TestFind(t *testing.T) {
	now := time.Now()
	ca := client(t, "ca", nil, authority)
	middle := client(t, "middle", ca, authority)
	signed, deep := client(t, "signed", ca), client(t, "deep", middle)
	alone, stranger := client(t, "alone", nil), client(t, "stranger", nil)
	other := client(t, "ca", nil, authority) // with the name of the first
	forged := client(t, "signed", other)
	r := rulesOf(t,
		Rule{of(alone.cert), only("/alone")},
		Rule{of(signed.cert), only("/signed")},
		Rule{of(ca.cert), only("/ca")},
		Rule{of(alone.cert), only("/late")})
	for _, c := range []struct {
		what string
		sent []*x509.Certificate
		path string
	}{
		{"its own certificate is listed", of(alone.cert), "/alone"},
		{"it is signed by one that is listed, and listed itself before", of(signed.cert), "/signed"},
		{"it is signed by one that is listed", of(deep.cert, middle.cert), "/ca"},
		{"what it sends besides does not count", of(alone.cert, ca.cert, signed.cert), "/alone"},
	} {
		g, err := r.Find(c.sent, now)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		for _, p := range []string{"/alone", "/signed", "/ca", "/late"} {
			if (g.Allow("GET", p) == nil) != (p == c.path) {
				t.Errorf("%s: %s: %v", c.what, p, g.Allow("GET", p))
			}
		}
	}
	server := client(t, "server", ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	for what, sent := range map[string][]*x509.Certificate{
		"none": nil, "a stranger": of(stranger.cert), "a stranger with the authority in its chain": of(stranger.cert, ca.cert),
		"signed by somebody of the same name": of(forged.cert), "without what is between": of(deep.cert), "the certificate of a server": of(server.cert),
		"the same key in another certificate": of(alone.renew(nil)),
	} {
		if _, err := r.Find(sent, now); status(err) != 401 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := r.Find(of(signed.cert), now.Add(2*time.Hour)); status(err) != 401 {
		t.Errorf("an expired certificate: %v", err)
	}
	if _, err := rulesOf(t).Find(of(alone.cert), now); status(err) != 401 {
		t.Errorf("without rules: %v", err)
	}
}

// TestSameKey: a rule is for a key, whatever certificate has it.
func TestSameKey(t *testing.T) {
	ca := client(t, "ca", nil, authority)
	c := client(t, "c", ca)
	first := c.cert
	second := c.renew(ca)
	r := rulesOf(t, Rule{of(first), only("/first")}, Rule{of(ca.cert), only("/ca")})
	g, err := r.Find(of(second), time.Now())
	if err != nil || g.Allow("GET", "/first") != nil {
		t.Errorf("a renewed certificate: %v", err)
	}
}

func TestOf(t *testing.T) {
	ca := client(t, "ca", nil, authority)
	short := client(t, "short", ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Minute) })
	state := &tls.ConnectionState{PeerCertificates: of(short.cert)}
	req := func(ctx context.Context) *http.Request {
		r := (&http.Request{}).WithContext(ctx)
		r.TLS = state
		return r
	}
	now := time.Now()
	r := rulesOf(t, Rule{Certificates: of(ca.cert)})
	conn := OnConnection(t.Context())
	first, err := r.Of(req(conn), now)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Of(req(conn), now.Add(time.Second)); again != first || err != nil {
		t.Errorf("it is verified again: %v", err)
	}
	if _, err := r.Of(req(conn), now.Add(2*time.Minute)); status(err) != 401 {
		t.Errorf("an expired certificate: %v", err)
	}
	if _, err := r.Of(req(t.Context()), now); err != nil {
		t.Errorf("without a connection: %v", err)
	}
	conn = OnConnection(t.Context())
	for _, c := range []struct {
		rules *Rules
		want  int
	}{{r, 0}, {rulesOf(t), 401}, {rulesOf(t, Rule{Certificates: of(ca.cert)}), 0}, {rulesOf(t, Rule{Certificates: of(client(t, "x", nil).cert)}), 401}} {
		if _, err := c.rules.Of(req(conn), now); status(err) != c.want {
			t.Errorf("%v, want %d", err, c.want)
		}
	}
	state = nil
	if _, err := r.Of(req(conn), now); status(err) != 401 {
		t.Errorf("without TLS: %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		cert *x509.Certificate
		want string
	}{
		{&x509.Certificate{Subject: pkix.Name{CommonName: "ci"}, DNSNames: []string{"x"}}, "ci"},
		{&x509.Certificate{DNSNames: []string{"a.test"}}, "a.test"},
		{&x509.Certificate{EmailAddresses: []string{"me@a.test"}}, "me_a.test"},
		{&x509.Certificate{SerialNumber: big.NewInt(255)}, "certificate_ff"},
		{&x509.Certificate{Subject: pkix.Name{CommonName: "a b\n\x00\u2028@c"}}, "a_b____c"},
		{&x509.Certificate{Subject: pkix.Name{CommonName: string(make([]byte, 100))}}, "________________________________________________________________"},
	} {
		if got := nameOf(c.cert); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestCheckCertificate(t *testing.T) {
	pub, _, _ := ed25519.GenerateKey(rand.Reader)
	if err := CheckCertificate(&x509.Certificate{PublicKey: pub}); err != nil {
		t.Error(err)
	}
	bad := &x509.Certificate{PublicKey: struct{}{}}
	if CheckCertificate(bad) == nil {
		t.Error("a key of no kind passes")
	}
	if _, err := New([]Rule{{Certificates: of(bad)}}); err == nil {
		t.Error("rules with a key of no kind")
	}
}
