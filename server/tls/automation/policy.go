package automation

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/tls/automation/managers"
)

// Policy is a compiled automation policy.
type Policy struct {
	subjects  []string // normal; none is all names
	wildcard  bool     // there is one among the subjects
	issuers   []Issuer // nil for the default
	internal  bool     // there are issuers, and all of them are internal
	managers  []certmagic.Manager
	tailscale bool // only the manager that its subjects imply; nobody else issues
	onDemand  bool
	storage   certmagic.Storage // nil for the document's
	settings  certmagic.Config  // what is taken over as it is
}

// keyTypes is the kinds of private keys.
var keyTypes = []certmagic.KeyType{certmagic.ED25519, certmagic.P256, certmagic.P384, certmagic.RSA2048, certmagic.RSA4096}

func policySpec() module.Spec {
	return module.New(PolicyID, "How certificates of some names are obtained and renewed.", nil, compilePolicy,
		module.Examples(module.Example{Title: "RSA keys for one site", JSON: `{"subjects":["old.example.com"],"key_type":"rsa2048"}`}))
}

func compilePolicy(env *module.Env, c *PolicyConfig) (*Policy, error) {
	p := &Policy{onDemand: c.OnDemand || len(c.GetCertificate) > 0, storage: c.Storage.Value()}
	problems := p.readSubjects(env, c.Subjects)
	keyType := certmagic.P256
	if text, err := env.ExpandStrict(c.KeyType); err != nil && c.KeyType != "" {
		problems = append(problems, module.Problem("/key_type", err.Error())...)
	} else if c.KeyType != "" {
		keyType = certmagic.KeyType(text)
		if !slices.Contains(keyTypes, keyType) {
			problems = append(problems, schema.Problem{Pointer: "/key_type", Found: text, Message: "unrecognized key type: " + text, Expected: "ed25519, p256, p384, rsa2048 or rsa4096"})
		}
	}
	for _, i := range c.Issuers {
		p.issuers = append(p.issuers, i.Value())
	}
	p.internal = len(c.Issuers) > 0 && !slices.ContainsFunc(c.Issuers, func(i module.Ref[Issuer]) bool { return i.Name() != "internal" })
	for _, m := range c.GetCertificate {
		p.managers = append(p.managers, m.Value())
	}
	if len(p.managers) == 0 && len(p.issuers) == 0 && len(p.subjects) > 0 &&
		!slices.ContainsFunc(p.subjects, func(s string) bool { return !strings.HasSuffix(s, managers.Suffix) }) {
		p.tailscale, p.onDemand = true, true
		p.managers = []certmagic.Manager{managers.NewTailscale("")}
	}
	p.settings = certmagic.Config{
		RenewalWindowRatio: c.RenewalWindowRatio, MustStaple: c.MustStaple, ReusePrivateKeys: c.ReusePrivateKeys,
		KeySource: certmagic.StandardKeyGenerator{KeyType: keyType},
		OCSP:      certmagic.OCSPConfig{DisableStapling: c.DisableOCSPStapling, ResponderOverrides: maps.Clone(c.OCSPOverrides)},
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return p, nil
}

func (p *Policy) readSubjects(env *module.Env, list []string) (problems schema.Problems) {
	for i, text := range list {
		name := text
		if strings.Contains(text, "{") {
			name = env.Expand(text)
		}
		name = normal(name)
		if !certmagic.SubjectQualifiesForCert(name) {
			problems = append(problems, schema.Problem{Pointer: "/subjects/" + strconv.Itoa(i), Found: text, Message: "this cannot be the name of a certificate; want a host name, an IP address, or a wildcard such as *.example.com"})
		}
		p.wildcard = p.wildcard || strings.Contains(name, "*")
		p.subjects = append(p.subjects, name)
	}
	return problems
}

// allInternal reports whether no certificate authority of the public is asked: by issuers, or because none of the subjects
// could have its certificate.
func (p *Policy) allInternal() bool {
	if len(p.issuers) > 0 {
		return p.internal
	}
	return len(p.subjects) > 0 && !slices.ContainsFunc(p.subjects, func(s string) bool { return !certmagic.SubjectIsInternal(s) })
}

// checkPolicies applies the rules for the whole list.
func checkPolicies(policies []*Policy, permitted bool) (problems schema.Problems) {
	first := map[string]int{}
	catchAll := false
	for i, p := range policies {
		at := "/automation/policies/" + strconv.Itoa(i)
		if len(p.subjects) == 0 {
			if catchAll {
				problems = append(problems, schema.Problem{Pointer: at, Message: fmt.Sprintf("automation policy %d is the second policy that acts as default/catch-all, but will never be used", i)})
			}
			catchAll = true
		}
		for j, s := range p.subjects {
			if before, ok := first[s]; ok {
				problems = append(problems, schema.Problem{
					Pointer: at + "/subjects/" + strconv.Itoa(j), Found: s,
					Message: fmt.Sprintf("cannot apply more than one automation policy to host: %s (first match in policy %d)", s, before),
				})
				continue
			}
			first[s] = i
		}
		if p.onDemand && (len(p.subjects) == 0 || p.wildcard) && !permitted && len(p.managers) == 0 && !p.allInternal() {
			problems = append(problems, schema.Problem{
				Pointer: at + "/on_demand",
				Message: "on-demand TLS cannot be enabled without a permission module to prevent abuse; set automation.on_demand.permission, list subjects without wildcards, or let the issuer internal sign",
			})
		}
	}
	return problems
}
