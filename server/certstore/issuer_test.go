package certstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// selfIssuer signs each certificate with a key of the moment.
type selfIssuer struct {
	t       *testing.T
	cfg     *certmagic.Config
	issued  int
	expired bool
}

func (i *selfIssuer) IssuerKey() string { return "self" }

func (i *selfIssuer) Issue(_ context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	i.issued++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(i.t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(int64(i.issued)), DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour)}
	if i.expired {
		c.NotBefore, c.NotAfter = time.Now().Add(-90*24*time.Hour), time.Now().Add(-30*24*time.Hour)
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, csr.PublicKey, key)
	must(i.t, err)
	return &certmagic.IssuedCertificate{Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})}, nil
}
