package admin

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/sluiceproxy/sluice/server/tls/automation"
)

// realAuthorities is those of a process with an empty document.
func realAuthorities(t *testing.T) *pki.Authorities {
	a := pki.NewAuthorities(pki.Options{Storage: &certmagic.FileStorage{Path: t.TempDir()}})
	t.Cleanup(a.Close)
	return a
}

func TestAuthorities(t *testing.T) {
	f := newFixture(t, `{}`, func(d *Deps, _ *GuardOptions) { d.Authorities = realAuthorities(t) })
	one := f.do("GET", "/pki/ca/local", nil)
	var info map[string]string
	if err := json.Unmarshal([]byte(one.body), &info); err != nil || one.status != 200 || one.header.Get("Content-Type") != "application/json" || strings.HasSuffix(one.body, "\n") {
		t.Fatalf("%d %v %v %s", one.status, err, one.header, one.body)
	}
	order := []string{"id", "name", "root_common_name", "intermediate_common_name", "root_certificate", "intermediate_certificate"}
	at := -1
	for _, key := range order {
		next := strings.Index(one.body, `"`+key+`":`)
		if next <= at {
			t.Errorf("%s is not where it belongs in %s", key, one.body)
		}
		at = next
	}
	if len(info) != len(order) || info["id"] != "local" {
		t.Errorf("members %v", info)
	}
	certificate := func(text string) *x509.Certificate {
		t.Helper()
		block, rest := pem.Decode([]byte(text))
		if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
			t.Fatalf("no certificate: %q", text)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	root, intermediate := certificate(info["root_certificate"]), certificate(info["intermediate_certificate"])
	if root.Subject.CommonName != info["root_common_name"] || intermediate.Subject.CommonName != info["intermediate_common_name"] || intermediate.CheckSignatureFrom(root) != nil {
		t.Errorf("root %s, intermediate %s", root.Subject, intermediate.Subject)
	}
	chain := f.do("GET", "/pki/ca/local/certificates", nil)
	f.want(chain, 200, strings.TrimSuffix(info["intermediate_certificate"]+info["root_certificate"], "\n"))
	if chain.header.Get("Content-Type") != "application/pem-certificate-chain" {
		t.Errorf("type %s", chain.header.Get("Content-Type"))
	}
	for path, want := range map[string]string{
		"/pki/ca/nope":              "no certificate authority configured with id: nope",
		"/pki/ca/a%2Fb%25":          "no certificate authority configured with id: a/b%",
		"/pki/ca/a%25b":             "no certificate authority configured with id: a%b",
		"/pki/ca/x/certificates":    "no certificate authority configured with id: x",
		"/pki/ca/local/":            "resource not found: /pki/ca/local/",
		"/pki/ca/local/certificate": "resource not found: /pki/ca/local/certificate",
	} {
		f.want(f.do("GET", path, nil), 404, want)
	}
	for _, path := range []string{"/pki/ca/local", "/pki/ca/local/certificates", "/pki/x"} {
		f.want(f.do("PUT", path, nil), 405, "method not allowed: PUT")
	}
}

// brokenAuthorities cannot make what they should.
type brokenAuthorities struct{}

func (brokenAuthorities) View(string) (*pki.Info, error) {
	return nil, fmt.Errorf("writing the root: %w", context.DeadlineExceeded)
}

func (brokenAuthorities) Certificates(string) ([]byte, error) { return nil, errors.New("no space") }

func TestAuthoritiesThatCannotBeMade(t *testing.T) {
	f := newFixture(t, `{}`, func(d *Deps, _ *GuardOptions) { d.Authorities = brokenAuthorities{} })
	f.want(f.do("GET", "/pki/ca/local", nil), 500, "writing the root: context deadline exceeded")
	f.want(f.do("GET", "/pki/ca/local/certificates", nil), 500, "no space")
}

type fixedCertificates []automation.CertificateStatus

func (f fixedCertificates) Certificates() []automation.CertificateStatus { return f }

func TestCertificates(t *testing.T) {
	f := newFixture(t, `{}`)
	f.want(f.do("GET", "/tls/certificates", nil), 200, `[]`)

	day := func(n int) *time.Time { d := time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC); return &d }
	f = newFixture(t, `{}`, func(d *Deps, _ *GuardOptions) {
		d.Certificates = fixedCertificates{
			{Names: []string{"a.test"}, Source: automation.SourceManaged, Issuer: "CA", Serial: "1f", NotBefore: day(1), NotAfter: day(8),
				Renewal: automation.RenewalFailed, LastError: "no route", LastErrorAt: day(6), Attempts: 2, NextTry: day(7)},
			{Names: []string{"b.test"}, Source: automation.SourceManaged, Renewal: automation.RenewalObtaining},
		}
	})
	r := f.do("GET", "/tls/certificates", nil)
	f.want(r, 200, `[{"names":["a.test"],"source":"managed","issuer":"CA","serial":"1f","not_before":"2026-01-01T00:00:00Z","not_after":"2026-01-08T00:00:00Z",`+
		`"renewal":"failed","last_error":"no route","last_error_at":"2026-01-06T00:00:00Z","attempts":2,"next_try":"2026-01-07T00:00:00Z"},`+
		`{"names":["b.test"],"source":"managed","renewal":"obtaining"}]`)

	// The description has every member that an answer can have.
	full, err := json.Marshal(automation.CertificateStatus{Names: []string{"x"}, Issuer: "x", Serial: "x", NotBefore: day(1), NotAfter: day(1),
		Tags: []string{"x"}, LastError: "x", LastErrorAt: day(1), Attempts: 1, NextTry: day(1)})
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(full, &members); err != nil {
		t.Fatal(err)
	}
	described := certificateSchema()["properties"].(map[string]any)
	for name := range members {
		if _, ok := described[name]; !ok {
			t.Errorf("%s is not described", name)
		}
	}
	if len(described) != len(members) {
		t.Errorf("described are %d members of %d", len(described), len(members))
	}
	if !slices.ContainsFunc(Routes(), func(d RouteDoc) bool { return d.Pattern == "/tls/certificates" }) {
		t.Error("the route is not described")
	}
}
