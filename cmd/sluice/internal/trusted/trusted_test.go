package trusted

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/server/pki"
)

// instance answers with what its authorities say.
type instance struct {
	authorities *pki.Authorities
	answer      string // instead
	err         error
	asked       string
}

func (i *instance) Do(method, path string, _ http.Header, _ []byte) ([]byte, http.Header, error) {
	i.asked = method + " " + path
	if i.err != nil || i.answer != "" {
		return []byte(i.answer), nil, i.err
	}
	info, err := i.authorities.View(pki.DefaultID)
	if err != nil {
		return nil, nil, err
	}
	text, err := json.Marshal(info)
	return text, nil, err
}

// stores are trust stores that only remember.
type stores struct {
	has []*x509.Certificate
	err error
}

func (s *stores) Trusted(root *x509.Certificate) bool { return false }

func (s *stores) Install(root *x509.Certificate) error {
	s.has = append(s.has, root)
	return s.err
}

func (s *stores) Uninstall(root *x509.Certificate) error {
	for i, c := range s.has {
		if c.Equal(root) {
			s.has = append(s.has[:i], s.has[i+1:]...)
		}
	}
	return s.err
}

func TestRootOfAnInstance(t *testing.T) {
	authorities := pki.NewAuthorities(pki.Options{Storage: &certmagic.FileStorage{Path: t.TempDir()}})
	defer authorities.Close()
	i := &instance{authorities: authorities}
	root, err := RootOf(i, "a/b c")
	if err != nil || !root.IsCA || i.asked != "GET /pki/ca/a%2Fb%20c" {
		t.Fatalf("%v after %s", err, i.asked)
	}
	s, out := &stores{}, &bytes.Buffer{}
	if err := Install(s, root, out); err != nil || len(s.has) != 1 || !s.has[0].Equal(root) {
		t.Errorf("installing: %v", err)
	}
	if err := Uninstall(s, root, out); err != nil || len(s.has) != 0 {
		t.Errorf("uninstalling: %v", err)
	}
	if text := out.String(); strings.Count(text, root.Subject.CommonName) != 2 || !strings.HasPrefix(text, "Trusted now: ") || !strings.Contains(text, "\nNo longer trusted: ") {
		t.Errorf("said: %s", text)
	}
	s.err = errors.New("no privileges")
	for _, do := range []func() error{func() error { return Install(s, root, out) }, func() error { return Uninstall(s, root, out) }} {
		if err := do(); !errors.Is(err, s.err) || !strings.Contains(err.Error(), root.Subject.CommonName) {
			t.Errorf("without privileges: %v", err)
		}
	}
	info, err := authorities.View(pki.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	leaf := signed(t, authorities)
	quote := func(text string) string {
		b, _ := json.Marshal(map[string]string{"root_certificate": text})
		return string(b)
	}
	for answer, want := range map[string]string{
		"{":                                "reading what the instance says",
		`{}`:                               "no certificate",
		quote(leaf):                        "not that of a certificate authority",
		quote(info.RootCertificate + leaf): "more than one",
		quote("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"): "want a certificate",
	} {
		if _, err := RootOf(&instance{answer: answer}, "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", answer, err, want)
		}
	}
	gone := errors.New("gone")
	if _, err := RootOf(&instance{err: gone}, "x"); !errors.Is(err, gone) {
		t.Errorf("nobody there: %v", err)
	}
}

// signed is a certificate that is no authority's.
func signed(t *testing.T, authorities *pki.Authorities) string {
	t.Helper()
	authority, err := authorities.Get(pki.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"x.test"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authority.Sign(t.Context(), request, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[0]}))
}

func TestRootInAFile(t *testing.T) {
	authorities := pki.NewAuthorities(pki.Options{Storage: &certmagic.FileStorage{Path: t.TempDir()}})
	defer authorities.Close()
	info, err := authorities.View(pki.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(info.RootCertificate))
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		want string // of the error
	}{
		"pem": {info.RootCertificate, ""}, "der": {string(block.Bytes), ""}, "with words": {"my root\n" + info.RootCertificate + "thanks\n", ""},
		"empty": {"", "no certificate"}, "words": {"hello", "no certificate"}, "huge": {strings.Repeat("x", maxFile+1), "longer than"},
		"two": {info.RootCertificate + info.IntermediateCertificate, "more than one"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		root, err := RootIn(file)
		if c.want == "" && (err != nil || !bytes.Equal(root.Raw, block.Bytes)) {
			t.Errorf("%s: %v", name, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file)) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := RootIn(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
