// Package loaders is the modules tls.certificates.*: where certificates come from. All but automate load certificates
// with their keys, which nobody renews.
package loaders

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// Namespace is where the modules are.
const Namespace = "tls.certificates"

// Source is what one loader has. It does not change.
type Source struct {
	// Names is names to manage; only automate has any.
	Names []string
	// Certificates is what was loaded when the document was compiled.
	Certificates []Certificate
	// pairs is what has to be read from a storage.
	pairs []pair
}

// Certificate is a certificate with its key.
type Certificate struct {
	// TLS has its leaf.
	TLS tls.Certificate
	// Tags is what certificate_selection knows it by.
	Tags []string
}

// Specs describes the modules.
func Specs() []module.Spec {
	return []module.Spec{
		module.New(Namespace+".automate", "Obtains and renews certificates for names.", nil, compileAutomate,
			module.Examples(module.Example{Title: "A wildcard and one name", JSON: `["*.example.com", "sub.example.org"]`})),
		module.New(Namespace+".load_files", "Loads certificates and keys from files.", nil, compileFiles),
		module.New(Namespace+".load_folders", "Loads certificates and keys from all files that end in .pem.", nil, compileFolders),
		module.New(Namespace+".load_pem", "Loads certificates and keys that the document holds.", nil, compilePEM),
		module.New(Namespace+".load_storage", "Loads certificates and keys from the storage.", nil, compileStorage,
			module.Examples(module.Example{Title: "One pair", JSON: `{"pairs":[{"certificate":"mine/site.crt","key":"mine/site.key"}]}`})),
	}
}

// Automate is names whose certificates are obtained and renewed, even if a wildcard covers them. Placeholders {env.*},
// {file.*} and {system.*} are expanded.
type Automate []string

func compileAutomate(env *module.Env, c *Automate) (*Source, error) {
	s := &Source{Names: make([]string, 0, len(*c))}
	var problems schema.Problems
	for i, text := range *c {
		name := text
		if strings.Contains(text, "{") {
			var err error
			if name, err = env.ExpandStrict(text); err != nil {
				problems = append(problems, module.Problem(at(i, ""), err.Error())...)
				continue
			}
		}
		if !certmagic.SubjectQualifiesForCert(name) {
			problems = append(problems, schema.Problem{Pointer: at(i, ""), Found: name, Message: "this cannot be the name of a certificate; want a host name, an IP address, or a wildcard such as *.example.com"})
		}
		s.Names = append(s.Names, name)
	}
	return s, asError(problems)
}

// Files is certificates in files.
type Files []File

// File is a certificate and its key in two files. A forced load notices when one has changed.
type File struct {
	// Certificate is the file with the certificate, followed by those that lead to its root.
	Certificate string `json:"certificate" check:"required"`
	// Key is the file with the private key, which must not be encrypted.
	Key string `json:"key" check:"required"`
	// Format is how they are written: pem. Default: pem.
	Format string `json:"format"`
	// Tags is names that a certificate_selection can ask for.
	Tags []string `json:"tags"`
}

func compileFiles(env *module.Env, c *Files) (*Source, error) {
	return load(env, len(*c), func(i int) (string, []string, func() (cert, key []byte, field string, err error)) {
		f := (*c)[i]
		return f.Format, f.Tags, func() (cert, key []byte, field string, err error) {
			if cert, err = env.ReadFile(expand(env, f.Certificate)); err != nil {
				return nil, nil, "/certificate", err
			}
			if key, err = env.ReadFile(expand(env, f.Key)); err != nil {
				return nil, nil, "/key", err
			}
			return cert, key, "", nil
		}
	})
}

// PEM is certificates in the document.
type PEM []PEMPair

// PEMPair is a certificate and its key.
type PEMPair struct {
	// Certificate is the certificate in PEM, followed by those that lead to its root.
	Certificate string `json:"certificate" check:"required"`
	// Key is the private key in PEM, which must not be encrypted. A placeholder such as {file./run/key.pem} keeps it out of
	// the document.
	Key string `json:"key" check:"required"`
	// Tags is names that a certificate_selection can ask for.
	Tags []string `json:"tags"`
}

func compilePEM(env *module.Env, c *PEM) (*Source, error) {
	return load(env, len(*c), func(i int) (string, []string, func() (cert, key []byte, field string, err error)) {
		p := (*c)[i]
		return "", p.Tags, func() (cert, key []byte, field string, err error) {
			return []byte(expand(env, p.Certificate)), []byte(expand(env, p.Key)), "", nil
		}
	})
}

// load makes a source of n pairs; each gives its format, its tags, and how to read it.
func load(env *module.Env, n int, each func(int) (string, []string, func() (cert, key []byte, field string, err error))) (*Source, error) {
	s := &Source{}
	var problems schema.Problems
	for i := range n {
		format, tags, read := each(i)
		if f := expand(env, format); f != "" && f != "pem" {
			problems = append(problems, schema.Problem{Pointer: at(i, "/format"), Found: f, Message: "unknown format; it is pem"})
			continue
		}
		cert, key, field, err := read()
		if err == nil {
			var c Certificate
			if c.TLS, err = Parse(cert, key); err == nil {
				c.Tags = expandAll(env, tags)
				warnExpired(env, at(i, ""), &c)
				s.Certificates = append(s.Certificates, c)
				continue
			}
		}
		problems = append(problems, module.Problem(at(i, field), "loading a certificate: "+err.Error())...)
	}
	return s, asError(problems)
}

// warnExpired warns of certificates that clients refuse now, those that lead to the root included.
func warnExpired(env *module.Env, pointer string, c *Certificate) {
	for i, der := range c.TLS.Certificate {
		cert, who := c.TLS.Leaf, ""
		if i == 0 {
			who = "the certificate for " + strings.Join(Names(cert), ", ")
		} else {
			cert, _ = x509.ParseCertificate(der) // Parse has done so before
			who = "the certificate " + cert.Subject.String() + " of the chain"
		}
		switch now := time.Now(); {
		case now.After(cert.NotAfter):
			env.Warn(pointer, fmt.Sprintf("%s has expired on %s; clients will refuse it", who, cert.NotAfter.UTC().Format(time.RFC3339)))
		case now.Before(cert.NotBefore):
			env.Warn(pointer, fmt.Sprintf("%s is valid only from %s; clients will refuse it until then", who, cert.NotBefore.UTC().Format(time.RFC3339)))
		}
	}
}

// Names is the names of a certificate, in lower case: the common name, host names, addresses.
func Names(leaf *x509.Certificate) []string {
	var names []string
	if leaf.Subject.CommonName != "" {
		names = append(names, strings.ToLower(leaf.Subject.CommonName))
	}
	add := func(name string) {
		if name != leaf.Subject.CommonName {
			names = append(names, strings.ToLower(name))
		}
	}
	for _, name := range leaf.DNSNames {
		add(name)
	}
	for _, ip := range leaf.IPAddresses {
		add(ip.String())
	}
	for _, address := range leaf.EmailAddresses {
		add(address)
	}
	for _, u := range leaf.URIs {
		add(u.String())
	}
	return names
}

// expand replaces load-time placeholders; unknown ones are kept.
func expand(env *module.Env, text string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	env.Expand(text) // records what is read
	return vars.Parse(text).Expand(env.Globals(), vars.Known, "")
}

func expandAll(env *module.Env, list []string) []string {
	var out []string
	for _, text := range list {
		out = append(out, expand(env, text))
	}
	return out
}

func at(i int, field string) string { return fmt.Sprintf("/%d%s", i, field) }

// asError returns nil for no problems, as an error that is nil.
func asError(ps schema.Problems) error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// Deferred reports whether some of the source is in a storage; see [Source.FromStorage].
func (s *Source) Deferred() bool { return len(s.pairs) > 0 }

// FromStorage reads what is in the storage. The pointers of problems are relative to the loader's config.
func (s *Source) FromStorage(ctx context.Context, storage certmagic.Storage) (out []Certificate, problems schema.Problems) {
	for i, p := range s.pairs {
		c, field, err := p.load(ctx, storage)
		if err != nil {
			problems = append(problems, module.Problem("/pairs"+at(i, field), "loading a certificate: "+err.Error())...)
			continue
		}
		out = append(out, c)
	}
	return out, problems
}
