package pki

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"
)

// Sign makes a leaf of the key and the names in a request: DNS names, IP addresses, e-mail addresses, URIs and the common
// name. It is valid for the lifetime from now on, 0 being [DefaultLifetime], but ends before what signs it. The result is the
// leaf in DER and what a server has to send after it: the intermediates, nothing if the root itself signs.
func (a *Authority) Sign(ctx context.Context, csr *x509.CertificateRequest, lifetime time.Duration, withRoot bool) ([][]byte, error) {
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("signing a certificate: the request is not signed with the key that it is about: %w", err)
	}
	if lifetime == 0 {
		lifetime = DefaultLifetime
	}
	return a.SignTemplate(ctx, &x509.Certificate{
		Subject: pkix.Name{CommonName: csr.Subject.CommonName}, PublicKey: csr.PublicKey,
		DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses, EmailAddresses: csr.EmailAddresses, URIs: csr.URIs,
		NotAfter: time.Now().Add(lifetime),
	}, withRoot)
}

// SignTemplate is like Sign, but takes the key, the subject, the names and further extensions of a template, and where they
// are set its validity and its usages.
func (a *Authority) SignTemplate(ctx context.Context, template *x509.Certificate, withRoot bool) ([][]byte, error) {
	chain, err := a.sign(ctx, template, withRoot)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate with authority %q: %w", a.d.id, err)
	}
	return chain, nil
}

func (a *Authority) sign(ctx context.Context, template *x509.Certificate, withRoot bool) ([][]byte, error) {
	leaf, err := leafOf(template)
	if err != nil {
		return nil, err
	}
	s, err := a.ready(ctx)
	if err != nil {
		return nil, err
	}
	issuer, signer, chain := s.chain[0], s.signer, s.send
	if withRoot {
		issuer, chain = s.root[0], withoutEnd(s.root)
		if signer, err = a.rootSigner(ctx, issuer); err != nil {
			return nil, err
		}
	}
	if err := fit(leaf, issuer); err != nil {
		return nil, err
	}
	raw, err := create(leaf, issuer, signer)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, 1, 1+len(chain))
	out[0] = raw
	for _, c := range chain {
		out = append(out, c.Raw)
	}
	return out, nil
}

// leafOf makes the certificate that a template asks for.
func leafOf(t *x509.Certificate) (*x509.Certificate, error) {
	if t.IsCA {
		return nil, errors.New("the certificate would be that of another authority; only those of hosts and clients are signed")
	}
	if err := checkPublicKey(t.PublicKey); err != nil {
		return nil, err
	}
	if t.Subject.CommonName == "" && len(t.DNSNames)+len(t.IPAddresses)+len(t.EmailAddresses)+len(t.URIs)+len(t.ExtraExtensions) == 0 {
		return nil, errors.New("it has no name; want a DNS name, an IP address, an e-mail address, a URI or a common name")
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: t.Subject, PublicKey: t.PublicKey,
		DNSNames: t.DNSNames, IPAddresses: t.IPAddresses, EmailAddresses: t.EmailAddresses, URIs: t.URIs,
		NotBefore: t.NotBefore, NotAfter: t.NotAfter, KeyUsage: t.KeyUsage, ExtKeyUsage: t.ExtKeyUsage, ExtraExtensions: t.ExtraExtensions,
		BasicConstraintsValid: true,
	}
	begin := leaf.NotBefore
	if begin.IsZero() {
		begin = time.Now()
		leaf.NotBefore = begin.Add(-backdate)
	}
	if leaf.NotAfter.IsZero() {
		leaf.NotAfter = begin.Add(DefaultLifetime)
	}
	if lifetime := leaf.NotAfter.Sub(begin); lifetime < MinLifetime-time.Second { // who asked has read the clock a little earlier
		return nil, fmt.Errorf("a lifetime of %s is too short; want at least %s", lifetime.Round(time.Second), MinLifetime)
	}
	if leaf.KeyUsage == 0 {
		leaf.KeyUsage = x509.KeyUsageDigitalSignature
		if _, ok := t.PublicKey.(*rsa.PublicKey); ok {
			leaf.KeyUsage |= x509.KeyUsageKeyEncipherment
		}
	}
	if leaf.ExtKeyUsage == nil {
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	return leaf, nil
}

// fit puts the validity of a leaf into that of what signs it.
func fit(leaf, issuer *x509.Certificate) error {
	now := time.Now()
	if leaf.NotBefore.Before(issuer.NotBefore) {
		leaf.NotBefore = issuer.NotBefore
	}
	if last := issuer.NotAfter.Add(-time.Second); leaf.NotAfter.After(last) {
		leaf.NotAfter = last
	}
	if !leaf.NotAfter.After(leaf.NotBefore) || !leaf.NotAfter.After(now) {
		return fmt.Errorf("what signs it expires at %s, before it would be valid", issuer.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

func create(leaf, issuer *x509.Certificate, signer crypto.Signer) ([]byte, error) {
	raw, err := x509.CreateCertificate(rand.Reader, leaf, issuer, leaf.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("making the certificate: %w", err)
	}
	return raw, nil
}
