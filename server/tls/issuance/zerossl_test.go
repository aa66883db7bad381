package issuance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"

	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/acmetest"
	"github.com/sluiceproxy/sluice/internal/porttest"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// zerossl is the API of ZeroSSL as far as certificates need it. It checks names over HTTP at a port, or with a name server.
type zerossl struct {
	t      *testing.T
	key    string
	port   int
	dns    string // the address of a name server
	days   any    // asked for
	root   *x509.Certificate
	signer *ecdsa.PrivateKey

	mu  sync.Mutex
	csr *x509.CertificateRequest
}

func (z *zerossl) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "api.zerossl.com" || r.URL.Scheme != "https" {
		return nil, fmt.Errorf("nobody is at %s", r.URL.Host)
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("Authorization") != "ApiKey "+z.key {
		fmt.Fprint(w, `{"success":false,"error":{"code":101,"type":"invalid_access_key"}}`)
		return w.Result(), nil
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	answer := z.serve(r)
	text, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	w.Write(text)
	return w.Result(), nil
}

type object = map[string]any

func (z *zerossl) serve(r *http.Request) object {
	refuse := func(kind string) object {
		return object{"success": false, "error": object{"code": 2800, "type": kind}}
	}
	switch r.URL.Path {
	case "/certificates":
		var body object
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return refuse("bad_json")
		}
		block, _ := pem.Decode([]byte(body["certificate_csr"].(string)))
		csr, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			return refuse("bad_csr")
		}
		z.csr, z.days = csr, body["certificate_validity_days"]
		return object{"id": "42", "status": "draft", "validation": object{"other_methods": object{csr.Subject.CommonName: z.methods(csr.Subject.CommonName)}}}
	case "/certificates/42/challenges":
		if why := z.check(z.csr.Subject.CommonName); why != "" {
			return refuse(why)
		}
		return object{"id": "42", "status": "issued"}
	case "/certificates/42/download/return":
		return object{"certificate.crt": z.issue(), "ca_bundle.crt": ""}
	}
	return refuse("no_such_call")
}

const proofPath = "/.well-known/pki-validation/ABC.txt"

func (z *zerossl) methods(name string) object {
	return object{"file_validation_url_http": "http://" + name + proofPath, "file_validation_content": []string{"one", "two"},
		"cname_validation_p1": "_p1." + name, "cname_validation_p2": "p2.sectigo.test"}
}

func (z *zerossl) check(name string) string {
	if z.dns != "" {
		m, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion("_p1."+name+".", dns.TypeCNAME), z.dns)
		if err != nil || len(m.Answer) != 1 || m.Answer[0].(*dns.CNAME).Target != "p2.sectigo.test." {
			return "no_cname"
		}
		return ""
	}
	r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", z.port, proofPath), nil)
	if err != nil {
		return "broken"
	}
	r.Host = name
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return "nobody_answers"
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if string(body) != "one\ntwo" {
		return "wrong_answer"
	}
	return ""
}

func (z *zerossl) issue() string {
	c := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{z.csr.Subject.CommonName}}
	raw, err := x509.CreateCertificate(rand.Reader, c, z.root, z.csr.PublicKey, z.signer)
	if err != nil {
		z.t.Error(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
}

func newZeroSSL(t *testing.T) *zerossl {
	t.Helper()
	z := &zerossl{t: t, key: "access-key-of-mine", port: porttest.Free(t, 1)[0]}
	var err error
	if z.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "zero"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, &z.signer.PublicKey, z.signer)
	if err != nil {
		t.Fatal(err)
	}
	if z.root, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	old := http.DefaultTransport
	http.DefaultTransport = z // which is what the client of the API uses
	t.Cleanup(func() { http.DefaultTransport = old })
	return z
}

// No t.Parallel: the transport that the API is reached by is one for the process.
func TestZeroSSL(t *testing.T) {
	z := newZeroSSL(t)
	roots := x509.NewCertPool()
	roots.AddCert(z.root)
	w := newWorld(t, vars.Map{"env.KEY": z.key})

	i, err := w.issuer(t, `{"module":"zerossl","api_key":"{env.KEY}","validity_days":30,"listen_host":"127.0.0.1"}`).With(issuance.Defaults{HTTPPort: z.port})
	if err != nil {
		t.Fatal(err)
	}
	if i.Key() != "zerossl" {
		t.Errorf("its key is %s", i.Key())
	}
	s := newSite(t, i, nil)
	verify(t, s.obtain(t, "zero.test"), roots, "zero.test")
	if z.days != float64(30) {
		t.Errorf("it asks for %v days", z.days)
	}

	d := acmetest.StartDNS(t)
	z.dns = d.Address
	i = w.issuer(t, fmt.Sprintf(`{"module":"zerossl","api_key":"{env.KEY}","cname_validation":{"provider":%s,"resolvers":[%q],"propagation_timeout":-1}}`, provider(d), d.Address))
	verify(t, newSite(t, i, nil).obtain(t, "cname.test"), roots, "cname.test")
	if seen := d.Seen(); !slices.Contains(seen, "_p1.cname.test. CNAME") || len(d.Records()) > 0 {
		t.Errorf("records %q, left %q", seen, d.Records())
	}

	wrong := newSite(t, w.issuer(t, `{"module":"zerossl","api_key":"not-the-key"}`), nil)
	if err := wrong.try(t.Context(), "zero.test"); err == nil || !strings.Contains(err.Error(), "invalid_access_key") || strings.Contains(fmt.Sprint(err, wrong.log), "not-the-key") {
		t.Errorf("a wrong key: %v", err)
	}
	if strings.Contains(s.log.String(), z.key) {
		t.Error("the key is in the log")
	}
}

// An account at ZeroSSL's ACME server is tied to one that its API makes for an e-mail address.
func TestExternalAccountOfZeroSSL(t *testing.T) {
	key := acmetest.NewKey()
	ca := acmetest.Start(t, acmetest.Options{ExternalAccounts: map[string]string{"of ops": key}})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch email := r.PostFormValue("email"); email {
		case "ops@example.test":
			fmt.Fprintf(w, `{"success":true,"eab_kid":"of ops","eab_hmac_key":%q}`, key)
		case "html@example.test":
			fmt.Fprint(w, "<h1>sorry</h1>")
		case "empty@example.test":
			fmt.Fprint(w, "{}")
		default:
			fmt.Fprint(w, `{"success":false,"error":{"code":2900,"type":"invalid_email"}}`)
		}
	}))
	defer api.Close()
	for email, want := range map[string]string{"ops@example.test": "", "html@example.test": "not the JSON", "empty@example.test": "no key", "x@example.test": "invalid_email"} {
		i := newWorld(t, nil).issuer(t, acmeJSON(ca, fmt.Sprintf(`"email":%q,%s}}`, email, ports(ca, ""))))
		issuance.AskForEAB(i, api.URL)
		s := newSite(t, i, nil)
		if want == "" {
			verify(t, s.obtain(t, "eabzero.test"), ca.IssuedRoots(), "eabzero.test")
			if strings.Contains(s.log.String(), key) {
				t.Error("the key is in the log")
			}
		} else if err := s.try(t.Context(), "eabzero.test"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", email, err, want)
		}
	}
	w := newWorld(t, nil)
	for text, want := range map[string]bool{
		`{"module":"acme","ca":"https://acme.zerossl.com/v2/DV90","email":"a@b.test"}`:                                                           true,
		`{"module":"acme","ca":"https://acme.zerossl.com/v2/DV90","email":"a@b.test","external_account":{"key_id":"a","mac_key":"` + key + `"}}`: false,
		`{"module":"acme","ca":"https://acme.other.test/dir","email":"a@b.test"}`:                                                                false,
	} {
		if got := issuance.EAB(w.issuer(t, text)) != ""; got != want {
			t.Errorf("%s: fetches an external account: %v", text, got)
		}
	}
}

func TestChallengeService(t *testing.T) {
	ca := acmetest.Start(t, acmetest.Options{})
	service := issuance.NewChallenges(nil)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !service.HandleHTTP(w, r) {
			http.Error(w, "a page of the user", http.StatusTeapot)
		}
	})}
	l := listen(t, ca.HTTPPort)
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	text := acmeJSON(ca, fmt.Sprintf(`"challenges":{"tls-alpn":{"disabled":true},"http":{"alternate_port":%d},"bind_host":"127.0.0.1"}`, ca.HTTPPort))
	s := newSite(t, newWorld(t, nil).issuer(t, text), nil)
	verify(t, s.obtain(t, "served.test"), ca.IssuedRoots(), "served.test")

	// What another process has begun is in the storage that they share.
	other := newSite(t, newWorld(t, nil).issuer(t, `{"module":"acme","ca":"https://ca.test/acme/dir","test_ca":"https://ca.test/staging"}`), nil)
	zero := newSite(t, newWorld(t, nil).issuer(t, `{"module":"zerossl","api_key":"k"}`), nil)
	lone := newSite(t, newWorld(t, nil).issuer(t, `{"module":"acme","ca":"https://ca.test/acme/dir","challenges":{"distributed":false}}`), nil)
	put := func(s *site, key, kind, name, token, url string) {
		t.Helper()
		c, err := json.Marshal(acme.Challenge{Type: kind, Token: token, URL: url, KeyAuthorization: token + ".key", Identifier: acme.Identifier{Type: "dns", Value: name}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Storage.Store(t.Context(), key, c); err != nil {
			t.Fatal(err)
		}
	}
	put(other, "acme/ca.test-acme-dir/challenge_tokens/a.test.json", "http-01", "a.test", "tok", "")
	put(other, "acme/ca.test-staging/challenge_tokens/s.test.json", "http-01", "s.test", "tok", "")
	put(other, "acme/ca.test-acme-dir/challenge_tokens/alpn.test.json", "tls-alpn-01", "alpn.test", "tok", "")
	put(lone, "acme/ca.test-acme-dir/challenge_tokens/lone.test.json", "http-01", "lone.test", "tok", "")
	put(zero, "zerossl/challenge_tokens/z.test.json", "", "z.test", "the proof", "http://z.test/.well-known/pki-validation/1.txt")
	if err := other.Storage.Store(t.Context(), "acme/ca.test-acme-dir/challenge_tokens/broken.test.json", []byte("{")); err != nil {
		t.Fatal(err)
	}
	const acmeURL, zeroURL = "/.well-known/acme-challenge/tok", "/.well-known/pki-validation/1.txt"
	for _, tt := range []struct{ method, host, path, want string }{
		{"GET", "a.test", acmeURL, "tok.key"},
		{"GET", "A.test:8080", acmeURL, "tok.key"},
		{"GET", "s.test", acmeURL, "tok.key"},
		{"GET", "z.test", zeroURL, "the proof"},
		{"POST", "a.test", acmeURL, ""},
		{"GET", "a.test", "/.well-known/acme-challenge/other", ""},
		{"GET", "a.test", "/.well-known/acme-challenge/", ""},
		{"GET", "a.test", "/.well-known/acme", ""},
		{"GET", "b.test", acmeURL, ""},
		{"GET", "../a.test", acmeURL, ""},
		{"GET", strings.Repeat("a", 300), acmeURL, ""},
		{"GET", "", acmeURL, ""},
		{"GET", "alpn.test", acmeURL, ""},
		{"GET", "lone.test", acmeURL, ""},
		{"GET", "broken.test", acmeURL, ""},
		{"GET", "z.test", "/.well-known/pki-validation/2.txt", ""},
		{"GET", "a.test", zeroURL, ""},
	} {
		for _, ready := range []bool{false, true} {
			service.Use(nil)
			if ready {
				service.Use([]*certmagic.Config{other.Config, other.Config, zero.Config, lone.Config})
			}
			w := httptest.NewRecorder()
			r := httptest.NewRequest(tt.method, tt.path, nil)
			r.Host = tt.host
			done := service.HandleHTTP(w, r)
			want := ""
			if ready {
				want = tt.want
			}
			if done != (want != "") || w.Body.String() != want || (done && w.Header().Get("Content-Type") != "text/plain") {
				t.Errorf("%s %s %s, configs known %v: answered %v %q, want %q", tt.method, tt.host, tt.path, ready, done, w.Body, want)
			}
			if !done && len(w.Header()) > 0 {
				t.Errorf("%s %s: it has touched the answer: %v", tt.host, tt.path, w.Header())
			}
		}
	}
}
