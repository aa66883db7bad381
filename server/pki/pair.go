package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// pair is certificates, the first of which signs, and the private key of that one.
type pair struct {
	certificates []*x509.Certificate
	key          crypto.Signer // nil for a root without one
}

// readPair reads a key pair that the document names at a place of the app. Problems are relative to that place.
func readPair(env *module.Env, at string, c *KeyPair, needsKey bool) (*pair, schema.Problems) {
	if c.Format != "" && c.Format != formatPEM {
		return nil, schema.Problems{{Pointer: "/format", Message: "unsupported format: " + c.Format, Found: c.Format, Expected: formatPEM}}
	}
	var problems schema.Problems
	refuse := func(pointer, format string, args ...any) {
		problems = append(problems, schema.Problem{Pointer: pointer, Message: fmt.Sprintf(format, args...)})
	}
	p := &pair{}
	text, err := env.ReadFile(c.Certificate)
	if err == nil {
		p.certificates, err = parseCertificates(text)
	}
	if err != nil {
		refuse("/certificate", "certificate file %s: %v", c.Certificate, err)
	} else if why := notAuthority(p.certificates[0]); why != "" {
		refuse("/certificate", "certificate file %s: its first certificate cannot sign others: %s; want that of a certificate authority", c.Certificate, why)
	} else if left := time.Until(p.certificates[0].NotAfter); left <= 0 {
		env.Warn(at+"/certificate", fmt.Sprintf("the certificate in %s has expired at %s; nobody will accept what it signs", c.Certificate, p.certificates[0].NotAfter.UTC().Format(time.RFC3339)))
	}
	if c.PrivateKey == "" {
		if needsKey {
			refuse("/private_key", "an intermediate signs certificates, so it needs a private key; name the file that holds it")
		}
		return p, problems
	}
	if text, err = env.ReadFile(c.PrivateKey); err == nil {
		p.key, err = parseKey(text)
	}
	switch {
	case err != nil:
		refuse("/private_key", "private key file %s: %v", c.PrivateKey, err)
	case len(p.certificates) > 0 && !belongs(p.key, p.certificates[0]):
		refuse("/private_key", "the private key in %s does not belong to the first certificate in %s; name the key of that certificate, or put its certificate first", c.PrivateKey, c.Certificate)
	}
	return p, problems
}

// parseCertificates reads the certificates of a PEM text; without any it fails.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading certificate %d: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
	if list == nil {
		return nil, errors.New("there is no certificate in it; want PEM with a block CERTIFICATE")
	}
	return list, nil
}

// parseKey reads the first private key of a PEM text. No error holds any of it.
func parseKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "PRIVATE KEY" && !strings.HasSuffix(block.Type, " PRIVATE KEY") {
			continue // such as EC PARAMETERS, which openssl writes before the key
		}
		if strings.HasPrefix(block.Type, "ENCRYPTED ") || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the private key is encrypted; want one that is not, in a file that only sluice may read")
		}
		key, err := certmagic.PEMDecodePrivateKey(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		if err != nil {
			return nil, errors.New("the private key cannot be read; want ECDSA, RSA or Ed25519 in PKCS #8, SEC 1 or PKCS #1")
		}
		return key, nil
	}
	return nil, errors.New("there is no private key in it; want PEM with a block PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY")
}

// belongs reports whether a key is that of a certificate.
func belongs(key crypto.Signer, c *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// notAuthority says why a certificate may not sign others, "" if it may.
func notAuthority(c *x509.Certificate) string {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return "its basic constraints do not say that it is a certificate authority"
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return "its key usage does not include the signing of certificates"
	}
	return ""
}

// checkPublicKey says whether a leaf may have a key.
func checkPublicKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < 2048 {
			return fmt.Errorf("its RSA key has %d bits; want at least 2048", bits)
		}
		return nil
	}
	return fmt.Errorf("its key is of a kind that is not supported (%T); want ECDSA, RSA or Ed25519", key)
}

// selfSigned reports whether a certificate is the end of a chain.
func selfSigned(c *x509.Certificate) bool {
	return string(c.RawIssuer) == string(c.RawSubject) && c.CheckSignatureFrom(c) == nil
}
