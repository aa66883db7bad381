package handshake

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/schema"
)

// selection chooses a certificate by the criteria of a policy.
type selection struct {
	serials       []*big.Int
	organizations []string
	algorithm     x509.PublicKeyAlgorithm
	any, all      []string
}

var algorithms = map[string]x509.PublicKeyAlgorithm{"rsa": x509.RSA, "dsa": x509.DSA, "ecdsa": x509.ECDSA}

// maxSerial is more than any serial number has, in digits; RFC 5280 section 4.1.2.2 allows 20 bytes.
const maxSerial = 100

func (c *Selection) compile() (*selection, schema.Problems) {
	s := &selection{organizations: c.SubjectOrganization, algorithm: algorithms[c.PublicKeyAlgorithm], any: c.AnyTag, all: c.AllTags}
	var problems schema.Problems
	for i, text := range c.SerialNumber {
		n, ok := new(big.Int), len(text) <= maxSerial
		if ok {
			n, ok = n.SetString(text, 10)
		}
		if !ok {
			problems = append(problems, schema.Problem{Pointer: "/serial_number" + index(i), Found: text,
				Message: fmt.Sprintf("%.100q is no serial number", text), Expected: "a text of decimal digits"})
			continue
		}
		s.serials = append(s.serials, n)
	}
	return s, problems
}

var errNoneSelected = errors.New("no certificates matched custom selection policy")

// SelectCertificate implements certmagic.CertificateSelector.
func (s *selection) SelectCertificate(hello *tls.ClientHelloInfo, choices []certmagic.Certificate) (certmagic.Certificate, error) {
	var fit []certmagic.Certificate
	for _, c := range choices {
		if s.fits(c) {
			fit = append(fit, c)
		}
	}
	if len(fit) == 0 {
		return certmagic.Certificate{}, errNoneSelected
	}
	return certmagic.DefaultCertificateSelector(hello, fit)
}

func (s *selection) fits(c certmagic.Certificate) bool {
	leaf := c.Leaf
	switch {
	case leaf == nil:
		return false
	case len(s.serials) > 0 && !slices.ContainsFunc(s.serials, func(n *big.Int) bool { return n.Cmp(leaf.SerialNumber) == 0 }):
		return false
	case len(s.organizations) > 0 && !slices.ContainsFunc(s.organizations, func(o string) bool { return slices.Contains(leaf.Subject.Organization, o) }):
		return false
	case s.algorithm != x509.UnknownPublicKeyAlgorithm && leaf.PublicKeyAlgorithm != s.algorithm:
		return false
	case len(s.any) > 0 && !slices.ContainsFunc(s.any, c.HasTag):
		return false
	}
	return !slices.ContainsFunc(s.all, func(tag string) bool { return !c.HasTag(tag) })
}
