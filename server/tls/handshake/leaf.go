package handshake

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/certstore"
	"github.com/sluiceproxy/sluice/server/trust"
)

// Leaves is a set of certificates of clients. It is the value of modules in the namespace tls.leaf_cert_loader.
type Leaves interface {
	// Has reports whether a certificate, as DER, is in the set. An error means that nobody knows. It is called from several
	// goroutines.
	Has(raw []byte) (bool, error)
}

func verifierSpecs() []module.Spec {
	example := func(title, json string) module.Option {
		return module.Examples(module.Example{Title: title, JSON: json})
	}
	return []module.Spec{
		module.New(verifierNamespace+".leaf", "Takes certain certificates of clients and no others.", nil, compileLeaf, module.Words(leafWords)),
		module.New(loaderNamespace+".file", "Certificates of clients in PEM files.", nil, compileLeafFiles, module.Words(leafFileWords)),
		module.New(loaderNamespace+".folder", "Certificates of clients in the PEM files of folders.", nil, compileLeafFolders, module.Words(leafFolderWords)),
		module.New(loaderNamespace+".pem", "Certificates of clients in the document.", nil, compileLeafPEM, module.Words(leafPEMWords)),
		module.New(loaderNamespace+".storage", "Certificates of clients in a storage.", nil, compileLeafStorage,
			example("A certificate in the storage of the document.", `{"loader":"storage","certificates":["clients/alice.pem"]}`)),
	}
}

// leafVerifier is the verifier leaf.
type leafVerifier struct{ loaders []Leaves }

func compileLeaf(env *module.Env, c *Leaf) (Verifier, error) {
	v := &leafVerifier{}
	for _, l := range c.LeafCertsLoaders {
		if l.Set() {
			v.loaders = append(v.loaders, l.Value())
		}
	}
	if len(v.loaders) == 0 {
		env.Warn("", "no loader is given, so no client is let in")
	}
	return v, nil
}

var (
	errNoCertificate = errors.New("the client has sent no certificate")
	errUnknownLeaf   = errors.New("the client's certificate is none of those that are trusted")
)

// VerifyClientCertificate implements Verifier.
func (v *leafVerifier) VerifyClientCertificate(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 {
		return errNoCertificate
	}
	failed := errUnknownLeaf
	for _, l := range v.loaders {
		ok, err := l.Has(raw[0])
		if ok {
			return nil
		}
		if err != nil {
			failed = err
		}
	}
	return failed
}

// leafSet is certificates as DER.
type leafSet map[string]struct{}

func (s leafSet) add(list ...*x509.Certificate) {
	for _, c := range list {
		s[string(c.Raw)] = struct{}{}
	}
}

// Has implements Leaves.
func (s leafSet) Has(raw []byte) (bool, error) {
	_, ok := s[string(raw)]
	return ok, nil
}

func (s leafSet) readFile(env *module.Env, name string) error {
	text, err := env.ReadFile(name)
	if err != nil {
		return err
	}
	list, err := trust.ParsePEM(text)
	if err != nil {
		return fmt.Errorf("certificates of clients in %s: %w", name, err)
	}
	s.add(list...)
	return nil
}

// expanded expands each of the texts and gives it to read; problems point at elements of the list at.
func expanded(env *module.Env, at string, texts []string, read func(text string) error) error {
	var problems schema.Problems
	for i, text := range texts {
		value, err := env.ExpandStrict(text)
		if err == nil {
			err = read(value)
		}
		if err != nil {
			problems = append(problems, schema.Problem{Pointer: at + index(i), Message: err.Error(), Found: text})
		}
	}
	if len(texts) == 0 {
		env.Warn(at, "the list is empty, so no client is let in")
	}
	return asError(problems)
}

func compileLeafFiles(env *module.Env, c *LeafFiles) (Leaves, error) {
	s := leafSet{}
	return s, expanded(env, "/files", c.Files, func(name string) error { return s.readFile(env, name) })
}

// maxLeafFiles bounds what a folder that was not meant makes the load read.
const maxLeafFiles = 100_000

func compileLeafFolders(env *module.Env, c *LeafFolders) (Leaves, error) {
	s := leafSet{}
	n := 0
	return s, expanded(env, "/folders", c.Folders, func(folder string) error {
		return filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return fmt.Errorf("reading the folder: %w", err)
			case d.IsDir() || !strings.EqualFold(filepath.Ext(name), ".pem"):
				return nil
			}
			if n++; n > maxLeafFiles {
				return fmt.Errorf("there are more than %d files", maxLeafFiles)
			}
			return s.readFile(env, name)
		})
	})
}

func compileLeafPEM(env *module.Env, c *LeafPEM) (Leaves, error) {
	s := leafSet{}
	if len(c.Certificates) == 0 {
		env.Warn("/certificates", "the list is empty, so no client is let in")
	}
	var problems schema.Problems
	for i, text := range c.Certificates {
		list, err := parseLeaves(text)
		if err != nil {
			problems = append(problems, schema.Problem{Pointer: "/certificates" + index(i), Message: err.Error()})
			continue
		}
		s.add(list...)
	}
	return s, asError(problems)
}

// parseLeaves reads PEM, or one certificate in DER and base64.
func parseLeaves(text string) ([]*x509.Certificate, error) {
	if strings.Contains(text, "-----BEGIN") {
		return trust.ParsePEM([]byte(text))
	}
	c, err := trust.ParseDER(text)
	return []*x509.Certificate{c}, err
}

// storedLeaves is certificates in a storage. They are read when the document is put to use, if it names the storage; otherwise
// when they are first needed, since only then the storage of the document is in use.
type storedLeaves struct {
	storage certmagic.Storage
	keys    []string

	mu     sync.Mutex
	set    leafSet // nil until they are read
	from   certmagic.Storage
	err    error
	failed time.Time
}

// Times of reading from a storage.
const (
	storageTimeout = 30 * time.Second
	storageRetry   = 10 * time.Second
)

func compileLeafStorage(env *module.Env, c *LeafStorage) (Leaves, error) {
	s := &storedLeaves{storage: storageOf(env, c.Storage)}
	err := expanded(env, "/certificates", c.Certificates, func(key string) error {
		if !slices.Contains(s.keys, key) {
			s.keys = append(s.keys, key)
		}
		return nil
	})
	if err == nil && c.Storage.Set() {
		env.Own(module.Acquired(func() error { _, err := s.get(); return err }, func() {}))
	}
	return s, err
}

// Has implements Leaves.
func (s *storedLeaves) Has(raw []byte) (bool, error) {
	set, err := s.get()
	if err != nil {
		return false, err
	}
	return set.Has(raw)
}

func (s *storedLeaves) get() (leafSet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.storage
	if sw, ok := now.(*certstore.Switch); ok {
		now = sw.Current()
	}
	if now != s.from {
		s.from, s.set, s.err = now, nil, nil
	}
	if s.set != nil {
		return s.set, nil
	}
	if s.err != nil && time.Since(s.failed) < storageRetry {
		return nil, s.err
	}
	if s.set, s.err = s.load(); s.err != nil {
		s.failed = time.Now()
	}
	return s.set, s.err
}

func (s *storedLeaves) load() (leafSet, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storageTimeout)
	defer cancel()
	set := leafSet{}
	for _, key := range s.keys {
		text, err := s.storage.Load(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("loading certificates of clients from the storage, key %s: %w", key, err)
		}
		list, err := trust.ParsePEM(text)
		if err != nil {
			return nil, fmt.Errorf("certificates of clients in the storage, key %s: %w", key, err)
		}
		set.add(list...)
	}
	return set, nil
}

// storageOf is the storage that a slot names, or else that of the document.
func storageOf(env *module.Env, slot module.Ref[certmagic.Storage]) certmagic.Storage {
	if slot.Set() {
		return slot.Value()
	}
	return module.Service[*certstore.Switch](env)
}
