package trust

import (
	"fmt"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// Specs describes the modules. The source storage needs the service [DocumentStorage].
func Specs() []module.Spec {
	return []module.Spec{
		module.New(Namespace+".inline", "Trusts the certificate authorities that the document holds.", nil, compileInline,
			module.Words(inlineWords)),
		module.New(Namespace+".file", "Trusts the certificate authorities of PEM files.", nil, compileFile,
			module.Words(fileWords)),
		module.New(Namespace+".system", "Trusts the certificate authorities that the system trusts.", nil, compileSystem,
			module.Examples(module.Example{Title: "Trust whom the system trusts.", JSON: `{"provider":"system"}`}),
			module.Words(systemWords)),
		module.New(Namespace+".combined", "Trusts the certificate authorities of several sources.", nil, compileCombined,
			module.Words(combinedWords)),
		module.New(Namespace+".http", "Trusts the certificate authorities that web servers hand out.", nil, compileHTTP,
			module.Examples(module.Example{Title: "Ask a certificate authority for its root.", JSON: `{"provider":"http","endpoints":["https://ca.internal/root.pem"]}`}),
			module.Words(httpWords)),
		module.New(Namespace+".storage", "Trusts the certificate authorities that a storage holds.", nil, compileStorage,
			module.Examples(module.Example{Title: "Trust the authority of a Caddy installation.", JSON: `{"provider":"storage","storage":{"module":"file_system","root":"/var/lib/caddy/.local/share/caddy"},"pem_keys":["pki/authorities/local/root.crt"]}`}),
			module.Words(storageWords)),
	}
}

// Inline is the source inline.
type Inline struct {
	// TrustedCACerts is certificates in DER and base64.
	TrustedCACerts []string `json:"trusted_ca_certs"`
}

func compileInline(_ *module.Env, c *Inline) (*Pool, error) {
	if len(c.TrustedCACerts) == 0 {
		return nil, module.Problem("/trusted_ca_certs", "no certificate is given, so nobody would be trusted; give at least one")
	}
	p, problems := FromDER(c.TrustedCACerts)
	return p, asError(problems.Under("/trusted_ca_certs"))
}

// File is the source file.
type File struct {
	// PEMFiles is the names of files with certificates in PEM. A forced load notices when one has changed.
	PEMFiles []string `json:"pem_files"`
}

func compileFile(env *module.Env, c *File) (*Pool, error) {
	if len(c.PEMFiles) == 0 {
		return nil, module.Problem("/pem_files", "no file is given, so nobody would be trusted; give at least one")
	}
	p, problems := FromFiles(env, c.PEMFiles)
	return p, asError(problems.Under("/pem_files"))
}

// System is the source system. It has no settings.
type System struct{}

func compileSystem(*module.Env, *System) (*Pool, error) { return &Pool{system: true}, nil }

// Combined is the source combined.
type Combined struct {
	// Sources is the sources whose authorities are all trusted. The source system cannot be one of them.
	Sources []module.Ref[*Pool] `json:"sources" module:"tls.ca_pool.source" inline:"provider"`
}

func compileCombined(env *module.Env, c *Combined) (*Pool, error) {
	p := &Pool{}
	var problems schema.Problems
	for i, s := range c.Sources {
		if !s.Set() {
			continue
		}
		if s.Value().system {
			problems = append(problems, schema.Problem{Pointer: fmt.Sprintf("/sources/%d", i), Message: "the source system cannot be combined with others; " +
				"name the file that holds the system's certificates, such as /etc/ssl/certs/ca-certificates.crt, in a source file", Found: "system"})
		}
		p.later = append(p.later, s.Value())
	}
	if len(p.later) == 0 {
		problems = append(problems, module.Problem("/sources", "no source is given, so nobody would be trusted; give at least one")...)
	}
	// What the sources fetch is there when theirs is prepared, which is before this.
	env.Own(module.Acquired(p.take, func() {}))
	return p, asError(problems)
}

// take takes over the authorities of other pools.
func (p *Pool) take() error {
	p.certificates = nil
	for _, other := range p.later {
		p.certificates = append(p.certificates, other.certificates...)
	}
	return nil
}

// asError returns nil for no problems, as an error that is nil.
func asError(ps schema.Problems) error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}
