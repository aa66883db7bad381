package issuance

import (
	"crypto/x509"
	"errors"
	"fmt"
)

// Authority is an ACME server in the place of Let's Encrypt, for issuers that name none. It is immutable.
type Authority struct {
	directory string
	roots     *x509.CertPool // nil for those of the system
}

// NewAuthority takes the URL of an ACME directory, and the certificates in PEM of those who may have signed the certificate
// of its server; nil is those whom the system trusts.
func NewAuthority(directory string, roots []byte) (*Authority, error) {
	if err := checkDirectory(directory); err != nil {
		return nil, fmt.Errorf("%q: %w", directory, err)
	}
	a := &Authority{directory: directory}
	if roots != nil {
		a.roots = x509.NewCertPool()
		if !a.roots.AppendCertsFromPEM(roots) {
			return nil, errors.New("there is no certificate among those that may have signed the ACME server's; want a file in PEM")
		}
	}
	return a, nil
}
