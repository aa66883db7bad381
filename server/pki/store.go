package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// backdate is how much earlier than now a certificate begins, for clients whose clock is behind.
const backdate = time.Minute

// Names of what an authority keeps in its folder of the storage.
const (
	rootCertificate         = "root.crt"
	rootKey                 = "root.key"
	intermediateCertificate = "intermediate.crt"
	intermediateKey         = "intermediate.key"
)

func keyOf(safe, name string) string { return path.Join("pki", "authorities", safe, name) }

func lockName(safe string) string { return "pki_authority_" + safe }

// at names something in the storage, for an error.
func (a *Authority) at(name string) string {
	return fmt.Sprintf("%s of storage %v", keyOf(a.d.safe, name), a.storage)
}

// read returns what the storage has under a name, nil if that is nothing.
func (a *Authority) read(ctx context.Context, name string) ([]byte, error) {
	text, err := a.storage.Load(ctx, keyOf(a.d.safe, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", a.at(name), err)
	}
	if text == nil {
		text = []byte{}
	}
	return text, nil
}

// load returns what there is: parts that have to be generated are nil.
func (a *Authority) load(ctx context.Context) (*state, error) {
	s := &state{}
	if p := a.d.root; p != nil {
		s.root = p.certificates
	} else if err := a.loadRoot(ctx, s); err != nil {
		return nil, err
	}
	if p := a.d.intermediate; p != nil {
		s.chain, s.signer = p.certificates, p.key
		return s, nil
	}
	if s.root == nil {
		return s, nil
	}
	return s, a.loadIntermediate(ctx, s)
}

func (a *Authority) loadRoot(ctx context.Context, s *state) error {
	text, err := a.read(ctx, rootCertificate)
	if text == nil || err != nil {
		return err
	}
	if s.root, err = parseCertificates(text); err != nil {
		return fmt.Errorf("%s: %w; restore it, or remove it to have another root generated", a.at(rootCertificate), err)
	}
	if why := notAuthority(s.root[0]); why != "" {
		return fmt.Errorf("%s cannot sign certificates: %s; restore it, or remove it to have another root generated", a.at(rootCertificate), why)
	}
	return nil
}

// loadIntermediate fills in the intermediate if there is one that the root has signed. Another one is not an error: the root
// can sign a new one.
func (a *Authority) loadIntermediate(ctx context.Context, s *state) error {
	text, err := a.read(ctx, intermediateCertificate)
	if text == nil || err != nil {
		return err
	}
	chain, err := parseCertificates(text)
	if err != nil {
		return fmt.Errorf("%s: %w; restore it, or remove it to have another one generated", a.at(intermediateCertificate), err)
	}
	text, err = a.read(ctx, intermediateKey)
	if text == nil || err != nil {
		return err
	}
	key, err := parseKey(text)
	if err != nil {
		return fmt.Errorf("%s: %w; restore it, or remove it to have another one generated", a.at(intermediateKey), err)
	}
	if belongs(key, chain[0]) && chain[0].CheckSignatureFrom(s.root[0]) == nil {
		s.chain, s.signer = chain, key
	}
	return nil
}

// rootSigner returns the root's key, which is read each time that it is needed.
func (a *Authority) rootSigner(ctx context.Context, root *x509.Certificate) (crypto.Signer, error) {
	if p := a.d.root; p != nil {
		if p.key == nil {
			return nil, errNoRootKey
		}
		return p.key, nil
	}
	text, err := a.read(ctx, rootKey)
	if err != nil {
		return nil, err
	}
	if text == nil {
		return nil, fmt.Errorf("the root's private key, %s, is not there; restore it, or remove the root to have another one generated", a.at(rootKey))
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; restore it", a.at(rootKey), err)
	}
	if !belongs(key, root) {
		return nil, fmt.Errorf("the private key %s does not belong to the root beside it; restore the one that does", a.at(rootKey))
	}
	return key, nil
}

// fill generates and stores what a state lacks. The caller holds the lock of the storage.
func (a *Authority) fill(ctx context.Context, s *state) error {
	var signer crypto.Signer
	if s.root == nil {
		root, key, err := generate(certificate{name: a.d.commonName(a.d.rootName), lifetime: rootLifetime, pathLength: 1})
		if err == nil {
			err = a.store(ctx, root, key, rootCertificate, rootKey)
		}
		if err != nil {
			return fmt.Errorf("generating the root: %w", err)
		}
		s.root, signer = []*x509.Certificate{root}, key
		a.log.Info("generated the root certificate", zap.String("subject", root.Subject.CommonName), zap.Time("expires", root.NotAfter))
	}
	if !a.lacks(s) {
		return nil
	}
	if signer == nil {
		var err error
		if signer, err = a.rootSigner(ctx, s.root[0]); err != nil {
			return fmt.Errorf("generating an intermediate: %w", err)
		}
	}
	if err := a.fillIntermediate(ctx, s, signer); err != nil {
		return fmt.Errorf("generating an intermediate: %w", err)
	}
	return nil
}

func (a *Authority) fillIntermediate(ctx context.Context, s *state, rootSigner crypto.Signer) error {
	lifetime, left := a.d.lifetime, time.Until(s.root[0].NotAfter)
	if err := a.d.checkLifetime(left); err != nil {
		if s.chain == nil {
			return err
		}
		// The root is near its end; its last intermediate ends with it.
		if !s.chain[0].NotAfter.Before(s.root[0].NotAfter) {
			return nil
		}
		lifetime = left + backdate
		if left <= 0 {
			return errors.New("the root has expired; make a new one and have clients trust it")
		}
	}
	c, key, err := generate(certificate{name: a.d.commonName(a.d.intermediateName), lifetime: lifetime, parent: s.root[0], signer: rootSigner})
	if err == nil {
		err = a.store(ctx, c, key, intermediateCertificate, intermediateKey)
	}
	if err != nil {
		return err
	}
	s.chain, s.signer = []*x509.Certificate{c}, key
	a.log.Info("generated an intermediate certificate", zap.String("subject", c.Subject.CommonName), zap.Time("expires", c.NotAfter))
	return nil
}

// store keeps a certificate and its key. The key goes first: without a certificate that fits it, it counts for nothing.
func (a *Authority) store(ctx context.Context, c *x509.Certificate, key crypto.Signer, certificateName, keyName string) error {
	text, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding the private key: %w", err)
	}
	if err := a.storage.Store(ctx, keyOf(a.d.safe, keyName), text); err != nil {
		return fmt.Errorf("storing %s: %w", a.at(keyName), err)
	}
	if err := a.storage.Store(ctx, keyOf(a.d.safe, certificateName), encode(c)); err != nil {
		return fmt.Errorf("storing %s: %w", a.at(certificateName), err)
	}
	return nil
}

// certificate describes one to generate.
type certificate struct {
	name       string
	lifetime   time.Duration
	pathLength int
	parent     *x509.Certificate // nil for one that signs itself
	signer     crypto.Signer     // of the parent
}

// generate makes a certificate authority's certificate and its key.
func generate(d certificate) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	begin := time.Now().Add(-backdate).Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: d.name}, NotBefore: begin, NotAfter: begin.Add(d.lifetime),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
		MaxPathLen: d.pathLength, MaxPathLenZero: d.pathLength == 0,
	}
	parent, signer := d.parent, d.signer
	if parent == nil {
		parent, signer = template, key
	} else if template.NotAfter.After(parent.NotAfter) {
		template.NotAfter = parent.NotAfter
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("signing a certificate: %w", err)
	}
	c, err := x509.ParseCertificate(raw)
	return c, key, err
}

// newSerial returns a random number of 128 bits.
func newSerial() (*big.Int, error) {
	var raw [16]byte
	for {
		if _, err := rand.Read(raw[:]); err != nil {
			return nil, err
		}
		if n := new(big.Int).SetBytes(raw[:]); n.Sign() > 0 {
			return n, nil
		}
	}
}

// encode writes certificates in PEM.
func encode(list ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range list {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
