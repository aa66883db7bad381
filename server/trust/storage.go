package trust

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// DocumentStorage is the storage of the document. It is a service, and safe for concurrent use.
type DocumentStorage interface {
	// Upcoming is the storage of the document that is being prepared, or else of the one in use.
	Upcoming() certmagic.Storage
}

// Storage is the source storage. The certificates are read when the document is put to use; one that is not there is a reason
// to refuse it.
type Storage struct {
	// Storage is where they are kept. Default: the storage of the document.
	Storage module.Ref[certmagic.Storage] `json:"storage" module:"caddy.storage" inline:"module"`
	// PEMKeys is the names in the storage of certificates in PEM. A forced load notices when one has changed.
	PEMKeys []string `json:"pem_keys"`
}

// storageTimeout bounds the reading from a storage.
const storageTimeout = 30 * time.Second

func compileStorage(env *module.Env, c *Storage) (*Pool, error) {
	if len(c.PEMKeys) == 0 {
		return nil, module.Problem("/pem_keys", "no name is given, so nobody would be trusted; give at least one")
	}
	var problems schema.Problems
	for i, key := range c.PEMKeys {
		if key == "" {
			problems = append(problems, schema.Problem{Pointer: fmt.Sprintf("/pem_keys/%d", i), Message: "the name is empty; want that of a certificate in the storage"})
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	from := c.Storage.Value
	if !c.Storage.Set() {
		from = module.Service[DocumentStorage](env).Upcoming
	}
	p := &Pool{}
	env.Own(module.Acquired(func() error { return p.load(from(), c.PEMKeys) }, func() {}))
	return p, nil
}

// load reads the authorities from a storage.
func (p *Pool) load(from certmagic.Storage, keys []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), storageTimeout)
	defer cancel()
	p.certificates = nil
	for _, key := range keys {
		text, err := from.Load(ctx, key)
		if err != nil {
			return fmt.Errorf("reading certificate authorities from the storage, %s: %w", key, err)
		}
		list, err := ParsePEM(text)
		if err != nil {
			return fmt.Errorf("certificate authorities in the storage, %s: %w", key, err)
		}
		p.certificates = append(p.certificates, list...)
	}
	return nil
}

// storageWords reads
//
//	storage [<keys…>] {
//		storage <module> …
//		keys    <keys…>
//	}
var storageWords = words(true, lines(listLine("keys"), caddyfile.Option[reading]{
	Name: "storage", Args: caddyfile.AtLeast(1), Block: true, Once: "storage already specified", Set: readStorage,
}), "no keys specified; write the names of certificates in the storage", func(r *reading) any { return &Storage{Storage: r.storage, PEMKeys: r.list} })

func readStorage(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	for range len(args) - 1 {
		d.Prev()
	}
	n, err := r.u.Module(d, "caddy.storage", "module")
	r.storage = module.RefTo[certmagic.Storage](n)
	return err
}
