package handshake

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/trust"
)

// Verifier checks what a client proves about itself. It is the value of modules in the namespace tls.client_auth.verifier.
type Verifier interface {
	// VerifyClientCertificate gets the certificates that the client has sent, of which there may be none, and the chains to an
	// authority if the mode verifies. An error fails the handshake. It is called from several goroutines.
	VerifyClientCertificate(raw [][]byte, chains [][]*x509.Certificate) error
}

var clientAuthModes = map[string]tls.ClientAuthType{
	"request":            tls.RequestClientCert,
	"require":            tls.RequireAnyClientCert,
	"verify_if_given":    tls.VerifyClientCertIfGiven,
	"require_and_verify": tls.RequireAndVerifyClientCert,
}

// Active reports whether anything is asked of clients; nil and an empty object ask nothing.
func (c *ClientAuth) Active() bool {
	return c != nil && (c.Mode != "" || len(c.Verifiers) > 0 || c.givesAuthority() || len(c.TrustedLeafCerts) > 0)
}

func (c *ClientAuth) givesAuthority() bool {
	return c.CA.Set() || len(c.TrustedCACerts) > 0 || len(c.TrustedCACertPEMFiles) > 0
}

// clientAuth is a compiled ClientAuth.
type clientAuth struct {
	mode      tls.ClientAuthType
	pools     []*trust.Pool
	verifiers []Verifier
}

func (c *ClientAuth) compile(env *module.Env) (*clientAuth, schema.Problems) {
	a := &clientAuth{mode: tls.RequireAnyClientCert}
	if c.givesAuthority() || len(c.TrustedLeafCerts) > 0 {
		a.mode = tls.RequireAndVerifyClientCert
	}
	problems := c.readAuthorities(env, a)
	if c.Mode != "" {
		mode, ok := clientAuthModes[c.Mode]
		if !ok {
			problems = append(problems, schema.Problem{Pointer: "/mode", Found: c.Mode, Message: "client auth mode not recognized: " + c.Mode,
				Expected: "request, require, verify_if_given or require_and_verify"})
		}
		a.mode = mode
	}
	leaves := leafSet{}
	for i, text := range c.TrustedLeafCerts {
		cert, err := trust.ParseDER(text)
		if err != nil {
			problems = append(problems, schema.Problem{Pointer: "/trusted_leaf_certs" + index(i), Message: err.Error()})
			continue
		}
		leaves.add(cert)
	}
	if len(leaves) > 0 {
		a.verifiers = append(a.verifiers, &leafVerifier{[]Leaves{leaves}})
		if a.mode >= tls.VerifyClientCertIfGiven && !c.givesAuthority() {
			env.Warn("/client_authentication/trusted_leaf_certs", "the certificates must also be signed by an authority that the system trusts, as no ca is given; mode require asks for the certificates alone")
		}
	}
	for _, v := range c.Verifiers {
		if v.Set() {
			a.verifiers = append(a.verifiers, v.Value())
		}
	}
	return a, problems
}

func (c *ClientAuth) readAuthorities(env *module.Env, a *clientAuth) (problems schema.Problems) {
	if c.CA.Set() {
		a.pools = append(a.pools, c.CA.Value())
		if len(c.TrustedCACerts) > 0 || len(c.TrustedCACertPEMFiles) > 0 {
			return module.Problem("", "ca excludes trusted_ca_certs and trusted_ca_certs_pem_files; use ca alone, with the source combined for several sources")
		}
		return nil
	}
	if len(c.TrustedCACerts) > 0 {
		pool, more := trust.FromDER(c.TrustedCACerts)
		a.pools, problems = append(a.pools, pool), append(problems, more.Under("/trusted_ca_certs")...)
	}
	if len(c.TrustedCACertPEMFiles) > 0 {
		pool, more := trust.FromFiles(env, c.TrustedCACertPEMFiles)
		a.pools, problems = append(a.pools, pool), append(problems, more.Under("/trusted_ca_certs_pem_files")...)
	}
	return problems
}

// apply puts it into a config, which has no session tickets.
func (a *clientAuth) apply(c *tls.Config) {
	c.ClientAuth = a.mode
	switch len(a.pools) {
	case 0:
	case 1:
		c.ClientCAs = a.pools[0].CertPool()
	default:
		c.ClientCAs = x509.NewCertPool()
		for _, p := range a.pools {
			for _, cert := range p.Certificates() {
				c.ClientCAs.AddCert(cert)
			}
		}
	}
	if len(a.verifiers) > 0 {
		c.VerifyConnection = a.verify
	}
}

// verify has the type of [crypto/tls.Config.VerifyConnection].
func (a *clientAuth) verify(s tls.ConnectionState) error {
	raw := make([][]byte, len(s.PeerCertificates))
	for i, c := range s.PeerCertificates {
		raw[i] = c.Raw
	}
	for _, v := range a.verifiers {
		if err := v.VerifyClientCertificate(raw, s.VerifiedChains); err != nil {
			return fmt.Errorf("verifying the client's certificate: %w", err)
		}
	}
	return nil
}
