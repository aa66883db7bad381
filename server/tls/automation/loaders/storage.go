package loaders

import (
	"context"
	"fmt"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// Storage is certificates in the storage of the document. They are read when the document is put to use.
type Storage struct {
	// Pairs is the certificates and their keys.
	Pairs []StoragePair `json:"pairs"`
}

// StoragePair is a certificate and its key.
type StoragePair struct {
	// Certificate is the name in the storage of the certificate, in PEM, followed by those that lead to its root.
	Certificate string `json:"certificate" check:"required"`
	// Key is the name in the storage of the private key.
	Key string `json:"key" check:"required"`
	// Format is how they are written: pem. Default: pem.
	Format string `json:"format"`
	// Tags is names that a certificate_selection can ask for.
	Tags []string `json:"tags"`
}

type pair struct {
	certificate, key string
	tags             []string
}

func compileStorage(env *module.Env, c *Storage) (*Source, error) {
	s := &Source{}
	var problems schema.Problems
	for i, p := range c.Pairs {
		if f := expand(env, p.Format); f != "" && f != "pem" {
			problems = append(problems, schema.Problem{Pointer: "/pairs" + at(i, "/format"), Found: f, Message: "unknown format; it is pem"})
		}
		s.pairs = append(s.pairs, pair{expand(env, p.Certificate), expand(env, p.Key), expandAll(env, p.Tags)})
	}
	return s, asError(problems)
}

// load reads a pair. The field says which of the two an error is about, "" both.
func (p *pair) load(ctx context.Context, storage certmagic.Storage) (c Certificate, field string, err error) {
	cert, err := storage.Load(ctx, p.certificate)
	if err != nil {
		return c, "/certificate", fmt.Errorf("reading certificate %s from the storage: %w", p.certificate, err)
	}
	key, err := storage.Load(ctx, p.key)
	if err != nil {
		return c, "/key", fmt.Errorf("reading key %s from the storage: %w", p.key, err)
	}
	c.Tags = p.tags
	if c.TLS, err = Parse(cert, key); err != nil {
		return c, "", fmt.Errorf("certificate %s with key %s of the storage: %w", p.certificate, p.key, err)
	}
	return c, "", nil
}
