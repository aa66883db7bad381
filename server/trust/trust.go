// Package trust is the pools of certificate authorities: the modules tls.ca_pool.source.*, which say who may have signed
// the certificate of a peer.
//
// A pool is a value of type [*Pool]. Two pools of the same authorities have the same [Pool.Key], so that what depends on a
// pool can be found again by its meaning after an edit that has written it in another way.
package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// Namespace is where the modules are, and InlineKey the field that names one.
const (
	Namespace = "tls.ca_pool.source"
	InlineKey = "provider"
)

// Pool is a set of certificate authorities. What it answers is there from the Prepare of its module on; it does not
// change after that.
type Pool struct {
	system       bool
	certificates []*x509.Certificate
	later        []*Pool // to take over from; see combined
}

// Key stands for the authorities: pools with equal keys trust the same ones. It is "system" for those of the system.
func (p *Pool) Key() string {
	if p.system {
		return "system"
	}
	sums := make([]string, 0, len(p.certificates))
	for _, c := range p.certificates {
		sum := sha256.Sum256(c.Raw)
		sums = append(sums, string(sum[:]))
	}
	slices.Sort(sums)
	whole := sha256.Sum256([]byte(strings.Join(slices.Compact(sums), "")))
	return hex.EncodeToString(whole[:])
}

// CertPool returns the pool for a [crypto/tls.Config]. It is nil for the authorities of the system, which a config without
// a pool trusts.
func (p *Pool) CertPool() *x509.CertPool {
	if p.system {
		return nil
	}
	pool := x509.NewCertPool()
	for _, c := range p.certificates {
		pool.AddCert(c)
	}
	return pool
}

// Certificates returns the authorities, which must not be changed. It is nil for those of the system.
func (p *Pool) Certificates() []*x509.Certificate { return p.certificates }

// ParseDER reads one certificate in base64 of DER.
func ParseDER(text string) (*x509.Certificate, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("a certificate has to be DER in base64, which is PEM without its first and last line: %w", err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("reading a certificate: %w", err)
	}
	return c, nil
}

// ParsePEM reads all certificates of a PEM text; without any it fails.
func ParsePEM(text []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for len(text) > 0 {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate: %w", err)
		}
		list = append(list, c)
	}
	if list == nil {
		return nil, errors.New("there is no certificate in it; want PEM with a block CERTIFICATE")
	}
	return list, nil
}

// FromDER makes a pool of certificates in base64 of DER. Problems point at elements of the list.
func FromDER(list []string) (*Pool, schema.Problems) {
	p := &Pool{}
	var problems schema.Problems
	for i, text := range list {
		c, err := ParseDER(text)
		if err != nil {
			problems = append(problems, schema.Problem{Pointer: fmt.Sprintf("/%d", i), Message: err.Error()})
			continue
		}
		p.certificates = append(p.certificates, c)
	}
	return p, problems
}

// FromFiles makes a pool of PEM files, which are recorded as inputs of the module. Problems point at elements of the list.
func FromFiles(env *module.Env, names []string) (*Pool, schema.Problems) {
	p := &Pool{}
	var problems schema.Problems
	for i, name := range names {
		text, err := env.ReadFile(name)
		var list []*x509.Certificate
		if err == nil {
			list, err = ParsePEM(text)
		}
		if err != nil {
			problems = append(problems, schema.Problem{Pointer: fmt.Sprintf("/%d", i), Message: fmt.Sprintf("certificate authorities of %s: %v", name, err)})
			continue
		}
		p.certificates = append(p.certificates, list...)
	}
	return p, problems
}
