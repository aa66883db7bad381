package issuance

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/pki"
)

// internalIssuer is the issuer internal.
type internalIssuer struct {
	authorities *pki.Authorities
	ca          string
	lifetime    time.Duration
	withRoot    bool
}

func compileInternal(env *module.Env, c *InternalConfig) (Issuer, error) {
	i := &internalIssuer{authorities: module.Service[*pki.Authorities](env), ca: c.CA, lifetime: time.Duration(c.Lifetime), withRoot: c.SignWithRoot}
	if i.ca == "" {
		i.ca = pki.DefaultID
	}
	if problems := negative("/lifetime", c.Lifetime, 0); len(problems) > 0 {
		return nil, problems
	}
	env.Own(i.authorities.Need(i.ca))
	return i, nil
}

// Key implements [Issuer].
func (i *internalIssuer) Key() string { return i.ca }

// With implements [Issuer].
func (i *internalIssuer) With(Defaults) (Issuer, error) { return i, nil }

// Issuer implements [Issuer].
func (i *internalIssuer) Issuer(*certmagic.Config) certmagic.Issuer { return internalSigner{i} }

// internalSigner is what certmagic sees of it.
type internalSigner struct{ *internalIssuer }

// IssuerKey implements [certmagic.Issuer].
func (i internalSigner) IssuerKey() string { return i.ca }

// Issue implements [certmagic.Issuer]. The authority is looked up each time, since an edit may have put another one in its
// place.
func (i internalSigner) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	authority, err := i.authorities.Get(i.ca)
	if err != nil {
		return nil, fmt.Errorf("issuer internal: %w", err)
	}
	chain, err := authority.Sign(ctx, csr, i.lifetime, i.withRoot)
	if err != nil {
		return nil, fmt.Errorf("issuer internal: %w", err)
	}
	var text bytes.Buffer
	for _, der := range chain {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return nil, fmt.Errorf("issuer internal: writing a chain: %w", err)
		}
	}
	return &certmagic.IssuedCertificate{Certificate: text.Bytes()}, nil
}
