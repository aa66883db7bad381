package policies

import (
	"github.com/sluiceproxy/sluice/config"
)

// ZeroSSL is the ACME directory of the second of the default issuers.
const ZeroSSL = "https://acme.zerossl.com/v2/DV90"

// Issuer makes an issuer without settings.
func Issuer(module string) *config.Node {
	return config.NewObject(map[string]*config.Node{"module": config.NewString(module)})
}

// IsACME reports whether an issuer is one of ACME.
func IsACME(issuer *config.Node) bool { return issuer.Get("module").Str() == "acme" }

// DefaultIssuers is who issues if nobody is named. The second of them wants an
// e-mail address.
func DefaultIssuers(email string) []*config.Node {
	list := []*config.Node{Issuer("acme")}
	if email != "" {
		n := With(Issuer("acme"), config.NewString(ZeroSSL), "ca")
		list = append(list, With(n, config.NewString(email), "email"))
	}
	return list
}

// With returns the object n with a value at a path of keys.
func With(n *config.Node, value *config.Node, path ...string) *config.Node {
	if len(path) == 0 {
		return value
	}
	m := make(map[string]*config.Node, n.Len()+1)
	for k, v := range n.Members() {
		m[k] = v
	}
	m[path[0]] = With(n.Get(path[0]), value, path[1:]...)
	return config.NewObject(m)
}

// at returns the value at a path of keys, nil if there is none.
func at(n *config.Node, path ...string) *config.Node {
	for _, key := range path {
		n = n.Get(key)
	}
	return n
}

// Overlay returns an ACME issuer with the settings of another put over its own.
func Overlay(issuer, over *config.Node) *config.Node {
	m := make(map[string]*config.Node, issuer.Len()+over.Len())
	for k, v := range issuer.Members() {
		m[k] = v
	}
	for k, v := range over.Members() {
		if (k == "challenges" || k == "dns") && m[k] != nil {
			v = Overlay(m[k], v)
		}
		m[k] = v
	}
	return config.NewObject(m)
}

// ACME is what ACME issuers have that do not say otherwise. Nil and zero values
// say nothing.
type ACME struct {
	Email, CA, CARoot string
	// DNS says that the challenge dns is used, with the provider if there is one.
	DNS                              bool
	Provider                         *config.Node
	Resolvers                        []string
	ExternalAccount, PreferredChains *config.Node
	HTTPPort, TLSALPNPort            int
	BindHost                         string
	CertificateLifetime              int64
}

// Defaults reports whether there is anything because of which issuers are
// written where none are.
func (a *ACME) Defaults() bool { return a.Email != "" || a.CatchAll() }

// CatchAll reports whether there is anything because of which there is a policy
// for all names.
func (a *ACME) CatchAll() bool {
	return a.CA != "" || a.CARoot != "" || a.DNS || a.ExternalAccount != nil || a.PreferredChains != nil
}

// Issuers is the default issuers.
func (a *ACME) Issuers() []*config.Node {
	if a.CA != "" {
		return DefaultIssuers("")
	}
	return DefaultIssuers(a.Email)
}

// Complete returns an issuer with what it does not say itself. Issuers that are
// not of ACME stay as they are.
func (a *ACME) Complete(n *config.Node) *config.Node {
	if !IsACME(n) {
		return n
	}
	fill := func(v *config.Node, path ...string) {
		if v != nil && at(n, path...) == nil {
			n = With(n, v, path...)
		}
	}
	fill(text(a.Email), "email")
	fill(text(a.CA), "ca")
	n = a.addRoot(n)
	if a.DNS {
		fill(config.NewObject(nil), "challenges", "dns")
		fill(a.Provider, "challenges", "dns", "provider")
	}
	fill(a.ExternalAccount, "external_account")
	fill(a.PreferredChains, "preferred_chains")
	if dns := at(n, "challenges", "dns"); dns == nil {
		fill(number(int64(a.HTTPPort)), "challenges", "http", "alternate_port")
		fill(number(int64(a.TLSALPNPort)), "challenges", "tls-alpn", "alternate_port")
		fill(text(a.BindHost), "challenges", "bind_host")
	} else if len(a.Resolvers) > 0 && (a.DNS || dns.Get("provider") != nil) {
		fill(config.NewStrings(a.Resolvers), "challenges", "dns", "resolvers")
	}
	fill(number(a.CertificateLifetime), "certificate_lifetime")
	return n
}

// addRoot adds the root of the authority's server, if it is not there.
func (a *ACME) addRoot(n *config.Node) *config.Node {
	if a.CARoot == "" {
		return n
	}
	var list []string
	for _, e := range n.Get("trusted_roots_pem_files").Elements() {
		if e.Str() == a.CARoot {
			return n
		}
		list = append(list, e.Str())
	}
	return With(n, config.NewStrings(append(list, a.CARoot)), "trusted_roots_pem_files")
}

func text(s string) *config.Node {
	if s == "" {
		return nil
	}
	return config.NewString(s)
}

func number(n int64) *config.Node {
	if n == 0 {
		return nil
	}
	return config.NewNumber(float64(n))
}
