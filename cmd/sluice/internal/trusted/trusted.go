// Package trusted puts root certificates into the trust stores of this machine,
// and takes them out again.
package trusted

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/sluiceproxy/sluice/server/pki"
)

// Instance is a running instance, as its admin API shows it.
type Instance interface {
	// Do sends a request and returns the body and the header of the answer. What
	// is not a success is an error.
	Do(method, path string, header http.Header, body []byte) ([]byte, http.Header, error)
}

// RootOf asks a running instance for the root of a certificate authority. The
// instance makes the authority if it is not there yet.
func RootOf(i Instance, id string) (*x509.Certificate, error) {
	text, _, err := i.Do(http.MethodGet, "/pki/ca/"+url.PathEscape(id), nil, nil)
	if err != nil {
		return nil, fmt.Errorf("asking for the certificate authority %q: %w", id, err)
	}
	var info pki.Info
	if err := json.Unmarshal(text, &info); err != nil {
		return nil, fmt.Errorf("reading what the instance says of the certificate authority %q: %w", id, err)
	}
	root, err := parse([]byte(info.RootCertificate))
	if err == nil && !root.IsCA {
		err = errors.New("it is not that of a certificate authority")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the root certificate of the certificate authority %q: %w", id, err)
	}
	return root, nil
}

// maxFile bounds the file of a certificate, in bytes.
const maxFile = 1 << 20

// RootIn reads the one certificate in a file, which is PEM or DER.
func RootIn(file string) (*x509.Certificate, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading the root certificate: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	var root *x509.Certificate
	if err == nil {
		root, err = parse(text)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the root certificate in %s: %w", file, err)
	}
	return root, nil
}

func parse(text []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		c, err := x509.ParseCertificate(text)
		if err != nil {
			return nil, errors.New("there is no certificate, in PEM or DER, in it")
		}
		return c, nil
	}
	if block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("it begins with a %q; want a certificate", block.Type)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("there is more than one certificate in it; want the root alone")
	}
	return x509.ParseCertificate(block.Bytes)
}

// Install puts a root into the trust stores, and says so.
func Install(to pki.Installer, root *x509.Certificate, out io.Writer) error {
	if err := to.Install(root); err != nil {
		return fmt.Errorf("putting the root certificate %s into trust stores: %w", describe(root), err)
	}
	fmt.Fprintf(out, "Trusted now: %s\n", describe(root))
	return nil
}

// Uninstall takes a root out of the trust stores, and says so.
func Uninstall(from pki.Installer, root *x509.Certificate, out io.Writer) error {
	if err := from.Uninstall(root); err != nil {
		return fmt.Errorf("taking the root certificate %s out of trust stores: %w", describe(root), err)
	}
	fmt.Fprintf(out, "No longer trusted: %s\n", describe(root))
	return nil
}

// describe names a certificate for people and for programs that compare. The
// name is quoted, since others have chosen it.
func describe(c *x509.Certificate) string {
	return fmt.Sprintf("%q (SHA-256 %x)", c.Subject.CommonName, sha256.Sum256(c.Raw))
}
