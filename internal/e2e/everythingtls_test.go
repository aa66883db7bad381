package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// everythingPKI is the certificates that the document names, and of those who
// talk to its server.
type everythingPKI struct {
	root, intermediate, ann, nobody tls.Certificate
	selected                        tls.Certificate // of the two for files.test
}

// issue makes a certificate that a parent has signed, or itself.
func issue(t *testing.T, parent *tls.Certificate, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if c.BasicConstraintsValid {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
	} else {
		c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	signer, signerKey := c, crypto.Signer(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey.(crypto.Signer)
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, signer, key.Public(), signerKey)
	if err != nil {
		t.Fatal(err)
	}
	out := tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
	if out.Leaf, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	return out
}

// texts are a certificate and its key in PEM.
func texts(t *testing.T, c tls.Certificate) (cert, key string) {
	t.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// certify makes all certificates and keys, and an upstream that speaks TLS.
func (s *everythingServer) certify(t *testing.T) {
	t.Helper()
	p := &everythingPKI{}
	s.pki = p
	pair := func(name string, c tls.Certificate) {
		cert, key := texts(t, c)
		s.write(t, name+".crt", cert)
		s.write(t, name+".key", key)
	}
	named := func(name string) tls.Certificate {
		return issue(t, &p.root, &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"Everything"}}, DNSNames: []string{name}})
	}
	p.root = issue(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "A Root"}, BasicConstraintsValid: true})
	p.intermediate = issue(t, &p.root, &x509.Certificate{Subject: pkix.Name{CommonName: "An Intermediate"}, BasicConstraintsValid: true})
	pair("tls/root", p.root)
	pair("tls/intermediate", p.intermediate)
	p.ann, p.nobody = named("ann"), named("nobody")
	pair("tls/ann", p.ann)
	pair("tls/nobody", p.nobody)
	s.vars["ANN"] = base64.StdEncoding.EncodeToString(p.ann.Certificate[0])
	p.selected = named("files.test")
	pair("tls/files.test", named("files.test"))
	pair("tls/files.test.2", p.selected)
	pair("tls/pem.test", named("pem.test"))
	cert, key := texts(t, named("folder.test"))
	s.write(t, "tls/folder/folder.test.pem", cert+key)
	pair("store/mine/stored.test", named("stored.test"))
	cert, _ = texts(t, p.ann)
	s.write(t, "store/clients/ann.pem", cert)
	_, key = texts(t, named("account"))
	s.write(t, "tls/account.key", key)

	rootText, _ := texts(t, p.root)
	s.write(t, "store/authorities/root.pem", rootText)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/root.pem" {
			io.WriteString(w, rootText)
			return
		}
		fmt.Fprintf(w, "up.test for %s", r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	up.TLS = &tls.Config{Certificates: []tls.Certificate{named("up.test")}, ClientAuth: tls.RequestClientCert}
	up.StartTLS()
	t.Cleanup(up.Close)
	s.vars["UPTLS"] = up.Listener.Addr().String()
	s.vars["ROOTDER"] = base64.StdEncoding.EncodeToString(p.root.Certificate[0])
	s.vars["NOBODYDER"] = base64.StdEncoding.EncodeToString(p.nobody.Certificate[0])
	s.vars["SERIAL"] = p.selected.Leaf.SerialNumber.String()
}

// worksSecurely uses some of what speaks TLS.
func (s *everythingServer) worksSecurely(t *testing.T) {
	t.Helper()
	poll(t, "a certificate of the own authority", func() error {
		_, err := s.ask(t, "managed.internal", nil)
		return err
	})
	for _, c := range []struct {
		name   string
		client *tls.Certificate
		want   string // the beginning of the body, "" for no answer
		cert   string // the common name of the server's certificate, if it is not name
	}{
		{"managed.internal", nil, "secure managed.internal ", "-"},
		{"files.test", nil, "secure files.test ", ""},
		{"pem.test", nil, "secure pem.test ", ""},
		{"folder.test", nil, "", ""},
		{"folder.test", &s.pki.ann, "", ""},
		{"folder.test", &s.pki.nobody, "secure folder.test CN=nobody", ""},
		{"stored.test", nil, "", ""},
		{"stored.test", &s.pki.ann, "secure stored.test CN=ann", ""},
		{"shard7.test", nil, "secure shard7.test ", "pem.test"},
		{"drop.test", nil, "", ""},
	} {
		resp, err := s.ask(t, c.name, c.client)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%s: %s, want a failure of the handshake", c.name, resp.body)
		case c.want == "":
		case err != nil:
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		case !strings.HasPrefix(resp.body, c.want):
			t.Errorf("%s: %s, want %s", c.name, resp.body, c.want)
		case c.name == "files.test" && !resp.leaf.Equal(s.pki.selected.Leaf):
			t.Errorf("%s: the certificate is not the selected one", c.name)
		case c.cert == "" && resp.leaf.Subject.CommonName != c.name, c.cert == "pem.test" && resp.leaf.Subject.CommonName != c.cert:
			t.Errorf("%s: the certificate is for %s", c.name, resp.leaf.Subject)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1:"+s.vars["P7"]+"/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := s.do(t, r); status != http.StatusPermanentRedirect {
		t.Errorf("in clear text: %d %s, want a redirect", status, body)
	}
}

// everythingAnswer is a body and who sent it.
type everythingAnswer struct {
	body string
	leaf *x509.Certificate
}

// ask asks the server with TLS. The certificate has to lead to the root, but for
// a name whose certificate is another's.
func (s *everythingServer) ask(t *testing.T, name string, client *tls.Certificate) (a everythingAnswer, err error) {
	t.Helper()
	config := &tls.Config{ServerName: name, RootCAs: x509.NewCertPool(), InsecureSkipVerify: name == "shard7.test"}
	config.RootCAs.AddCert(s.pki.root.Leaf)
	if client != nil {
		config.Certificates = []tls.Certificate{*client}
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://127.0.0.1:"+s.vars["P7"]+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = name
	resp, err := (&http.Client{Timeout: patience, Transport: transport}).Do(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return everythingAnswer{string(body), resp.TLS.PeerCertificates[0]}, err
}
