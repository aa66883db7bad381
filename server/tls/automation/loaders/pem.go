package loaders

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// Parse makes a certificate of its PEM, which may hold a chain, and of its key's.
func Parse(cert, key []byte) (tls.Certificate, error) {
	for rest := key; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if encrypted(block) {
			return tls.Certificate{}, errors.New("the private key is encrypted; want one that needs no password")
		}
	}
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return tls.Certificate{}, err
		}
	}
	for i, der := range c.Certificate[1:] {
		if _, err := x509.ParseCertificate(der); err != nil {
			return tls.Certificate{}, fmt.Errorf("certificate %d of the chain cannot be read: %w", i+2, err)
		}
	}
	if len(Names(c.Leaf)) == 0 {
		return tls.Certificate{}, errors.New("the certificate has no names, so that nobody could ask for it")
	}
	return c, nil
}

func encrypted(b *pem.Block) bool {
	return b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") || b.Headers["DEK-Info"] != ""
}

// ParseBundle makes a certificate of one PEM text that holds the chain and the key, in any order. Of several keys the first
// counts.
func ParseBundle(text []byte) (tls.Certificate, error) {
	var chain, key bytes.Buffer
	for len(text) > 0 {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		switch {
		case block.Type == "CERTIFICATE":
			_ = pem.Encode(&chain, block)
		case block.Type == "EC PARAMETERS":
			// Some programs write the curve before the key, which names it again.
			if next, _ := pem.Decode(text); next == nil || next.Type != "EC PRIVATE KEY" {
				return tls.Certificate{}, errors.New("a block EC PARAMETERS is not followed by its key, a block EC PRIVATE KEY")
			}
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			if key.Len() == 0 {
				_ = pem.Encode(&key, block)
			}
		default:
			return tls.Certificate{}, fmt.Errorf("a PEM block %q does not belong here; want CERTIFICATE, PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY", block.Type)
		}
	}
	if chain.Len() == 0 {
		return tls.Certificate{}, errors.New("there is no certificate in it; want PEM with a block CERTIFICATE")
	}
	if key.Len() == 0 {
		return tls.Certificate{}, errors.New("there is no private key in it; want PEM with a block PRIVATE KEY")
	}
	return Parse(chain.Bytes(), key.Bytes())
}

// Folders is folders with certificates. All files below them that end in .pem are read, each of which holds a certificate, what
// leads to its root, and the private key. A forced load notices when one of them has changed.
type Folders []string

func compileFolders(env *module.Env, c *Folders) (*Source, error) {
	s := &Source{}
	var problems schema.Problems
	for i, folder := range *c {
		root := expand(env, folder)
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return fmt.Errorf("reading folder: %w", err)
			}
			if d.IsDir() || !strings.EqualFold(filepath.Ext(name), ".pem") {
				return nil
			}
			text, err := env.ReadFile(name)
			if err != nil {
				return err
			}
			var loaded Certificate
			if loaded.TLS, err = ParseBundle(text); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			warnExpired(env, at(i, ""), &loaded)
			s.Certificates = append(s.Certificates, loaded)
			return nil
		})
		if err != nil {
			problems = append(problems, module.Problem(at(i, ""), "loading certificates: "+err.Error())...)
		}
	}
	return s, asError(problems)
}
