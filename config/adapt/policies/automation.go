// Package policies is what the sites of a Caddyfile say about TLS together:
// connection policies and automation policies, and how those of all sites
// become few. It knows the documents, and nothing of the text that they are
// made of.
package policies

import (
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config"
)

// Automation is one automation policy.
type Automation struct {
	// Subjects is the names that it is for; none is all names.
	Subjects []string
	// Issuers and Managers are module objects.
	Issuers, Managers []*config.Node
	// Local says that the issuers are those that the subjects, which are internal
	// names, would have without any.
	Local bool

	KeyType             string
	RenewalWindowRatio  float64
	OnDemand            bool
	ReusePrivateKeys    bool
	DisableOCSPStapling bool
}

// Clone returns a policy that shares nothing that can be changed.
func (p *Automation) Clone() *Automation {
	c := *p
	c.Subjects, c.Issuers, c.Managers = slices.Clone(p.Subjects), slices.Clone(p.Issuers), slices.Clone(p.Managers)
	return &c
}

// Node is the policy in the document.
func (p *Automation) Node() *config.Node {
	m := map[string]*config.Node{}
	if len(p.Subjects) > 0 {
		m["subjects"] = config.NewStrings(p.Subjects)
	}
	if len(p.Issuers) > 0 {
		m["issuers"] = config.NewArray(p.Issuers)
	}
	if len(p.Managers) > 0 {
		m["get_certificate"] = config.NewArray(p.Managers)
	}
	if p.RenewalWindowRatio != 0 {
		m["renewal_window_ratio"] = config.NewNumber(p.RenewalWindowRatio)
	}
	if p.KeyType != "" {
		m["key_type"] = config.NewString(p.KeyType)
	}
	for name, set := range map[string]bool{"on_demand": p.OnDemand, "reuse_private_keys": p.ReusePrivateKeys, "disable_ocsp_stapling": p.DisableOCSPStapling} {
		if set {
			m[name] = config.NewBool(true)
		}
	}
	return config.NewObject(m)
}

// empty reports whether there are no settings besides subjects.
func (p *Automation) empty() bool { return p.onlyManagers() && len(p.Managers) == 0 }

func (p *Automation) onlyManagers() bool {
	return len(p.Issuers) == 0 && p.KeyType == "" && p.RenewalWindowRatio == 0 && !p.OnDemand && !p.ReusePrivateKeys && !p.DisableOCSPStapling
}

// class is what kinds of names the subjects are.
type class byte

const (
	public   class = 'p'
	internal class = 'i'
	mixed    class = 'm'
)

func (p *Automation) class() class {
	var c class
	for _, s := range p.Subjects {
		own := internal
		if Public(s, p.OnDemand) {
			own = public
		}
		if c != 0 && c != own {
			return mixed
		}
		c = own
	}
	return c
}

// AllPublic reports whether default issuers are right for all subjects: they
// are public names, of which Tailscale has none.
func (p *Automation) AllPublic() bool {
	return !slices.ContainsFunc(p.Subjects, func(s string) bool { return Tailscale(s) || !Public(s, p.OnDemand) })
}

// Divide splits a policy without issuers: the public names stay, and the
// internal ones get a policy of their own, which is nil if there are not both.
func (p *Automation) Divide(issuer *config.Node) *Automation {
	var own, local []string
	for _, s := range p.Subjects {
		switch {
		case Tailscale(s):
		case Public(s, p.OnDemand):
			own = append(own, s)
		default:
			local = append(local, s)
		}
	}
	if len(own) == 0 || len(local) == 0 {
		return nil
	}
	rest := p.Clone()
	p.Subjects, rest.Subjects = own, local
	rest.Issuers, rest.Local = []*config.Node{issuer}, true
	return rest
}

// Public reports whether a public authority may certify a name. A name with
// several wildcards can only be meant if certificates are obtained on demand.
func Public(name string, onDemand bool) bool {
	return !certmagic.SubjectIsIP(name) && !certmagic.SubjectIsInternal(name) && (onDemand || strings.Count(name, "*.") < 2)
}

// Tailscale reports whether the name is one whose certificates Tailscale has.
func Tailscale(name string) bool { return strings.HasSuffix(strings.ToLower(name), ".ts.net") }
