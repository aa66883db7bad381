package pki

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// definition is the settings of an authority. It is immutable.
type definition struct {
	id, safe, name             string // safe is the ID in keys of the storage
	rootName, intermediateName string // with placeholders
	globals                    vars.Scope
	lifetime                   time.Duration // of intermediates
	interval                   time.Duration
	ratio                      float64
	install                    bool
	root, intermediate         *pair             // nil where they are generated
	storage                    certmagic.Storage // nil for that of the process
	digest                     string            // stands for all of it but the storage
}

// definitionOf fills in what is left out. It does not read the key pairs.
func definitionOf(id string, c *CA, globals vars.Scope) *definition {
	d := &definition{
		id: id, safe: certmagic.StorageKeys.Safe(id), name: c.Name, globals: globals,
		lifetime: time.Duration(c.IntermediateLifetime), interval: time.Duration(c.MaintenanceInterval), ratio: c.RenewalWindowRatio,
		install: c.InstallTrust == nil || *c.InstallTrust, storage: c.Storage.Value(),
	}
	d.rootName, d.intermediateName = cmp.Or(c.RootCommonName, defaultRootName), cmp.Or(c.IntermediateCommonName, defaultIntermediateName)
	d.name = cmp.Or(d.name, DefaultName)
	d.lifetime, d.interval = cmp.Or(d.lifetime, defaultIntermediateLifetime), cmp.Or(d.interval, defaultInterval)
	if !validRatio(d.ratio) {
		d.ratio = defaultRatio
	}
	d.seal()
	return d
}

func validRatio(r float64) bool { return r > 0 && r <= 1 }

// seal computes the digest, after all else is set.
func (d *definition) seal() {
	text, err := json.Marshal([]any{d.id, d.name, d.rootName, d.intermediateName, d.lifetime, d.interval, d.ratio, d.install})
	if err != nil {
		panic("pki: " + err.Error()) // of texts and finite numbers
	}
	h := sha256.New()
	h.Write(text)
	for _, p := range []*pair{d.root, d.intermediate} {
		if p == nil {
			h.Write([]byte{0})
			continue
		}
		fmt.Fprintf(h, "\x01%d,%t,", len(p.certificates), p.key != nil)
		for _, c := range p.certificates {
			h.Write(c.Raw)
		}
	}
	d.digest = hex.EncodeToString(h.Sum(nil))
}

// commonName expands the common name of a certificate that is generated now.
func (d *definition) commonName(text string) string {
	return vars.Parse(text).Expand(vars.Chain(vars.Map{"pki.ca.id": d.id, "pki.ca.name": d.name}, d.globals), vars.All, "")
}

// due reports whether a certificate is in its renewal window.
func (d *definition) due(c *x509.Certificate, now time.Time) bool {
	window := time.Duration(float64(c.NotAfter.Sub(c.NotBefore)) * d.ratio)
	return now.After(c.NotAfter.Add(-window))
}

// checkLifetime says whether an intermediate that is generated now would end before its root.
func (d *definition) checkLifetime(left time.Duration) error {
	if d.lifetime < left {
		return nil
	}
	return fmt.Errorf("intermediate certificate lifetime must be less than actual root certificate lifetime (%s)", left.Truncate(time.Second))
}

// compileCA makes the definition of one authority. Problems and warnings are relative to the app.
func compileCA(env *module.Env, id string, c *CA) (*definition, schema.Problems) {
	at := config.JoinPointer("", "certificate_authorities", id)
	var problems schema.Problems
	d := definitionOf(id, c, env.Globals())
	if d.safe == "" || d.safe == "." {
		problems = append(problems, schema.Problem{Pointer: at, Found: id, Message: fmt.Sprintf(
			"the ID %q leaves nothing for the name of a folder; want letters, digits, - or _ in it", id)})
	}
	if c.RenewalWindowRatio != 0 && !validRatio(c.RenewalWindowRatio) {
		env.Warn(at+"/renewal_window_ratio", fmt.Sprintf("%v is not above 0 and at most 1; %v is used", c.RenewalWindowRatio, defaultRatio))
	}
	if d.interval < time.Second {
		env.Warn(at+"/maintenance_interval", "looking for certificates to renew more than once a second costs more than it helps")
	}
	var ps schema.Problems
	if c.Root != nil {
		d.root, ps = readPair(env, at+"/root", c.Root, false)
		problems = append(problems, ps.Under(at+"/root")...)
	}
	if c.Intermediate != nil {
		d.intermediate, ps = readPair(env, at+"/intermediate", c.Intermediate, true)
		problems = append(problems, ps.Under(at+"/intermediate")...)
	}
	if len(problems) == 0 {
		problems = d.checkPairs(env, at)
	}
	d.seal()
	return d, problems
}

// checkPairs checks what the key pairs of an authority are to each other.
func (d *definition) checkPairs(env *module.Env, at string) schema.Problems {
	root, intermediate := d.root, d.intermediate
	if intermediate != nil {
		switch {
		case root == nil:
			env.Warn(at+"/intermediate", "the root is generated, so it has not signed this intermediate; give the root that has signed it as well")
		case !leadsTo(intermediate.certificates, root.certificates[0]):
			env.Warn(at+"/intermediate", "the root has not signed this intermediate, nor one that follows it in its file; clients that trust the root will not accept what it signs")
		}
		return nil
	}
	left := time.Duration(rootLifetime)
	if root != nil {
		c := root.certificates[0]
		if c.MaxPathLen == 0 && c.MaxPathLenZero {
			return schema.Problems{{Pointer: at + "/root/certificate", Message: "its path length of 0 forbids the root to sign an intermediate; give an intermediate as well, or a root with a path length of 1"}}
		}
		if left = time.Until(c.NotAfter); left <= 0 {
			return schema.Problems{{Pointer: at + "/root/certificate", Message: "the root has expired, so it cannot sign an intermediate; want one that is valid"}}
		}
	}
	if err := d.checkLifetime(left); err != nil {
		return schema.Problems{{Pointer: at + "/intermediate_lifetime", Message: err.Error(), Found: d.lifetime.String()}}
	}
	return nil
}

// leadsTo reports whether each certificate has signed the one before, and the root the last.
func leadsTo(chain []*x509.Certificate, root *x509.Certificate) bool {
	for i, c := range chain {
		if c.Equal(root) || c.CheckSignatureFrom(root) == nil {
			return true
		}
		if i+1 == len(chain) || c.CheckSignatureFrom(chain[i+1]) != nil {
			return false
		}
	}
	return false
}

// compileAll makes the definitions of a document.
func compileAll(env *module.Env, cas map[string]CA) (map[string]*definition, schema.Problems) {
	out := make(map[string]*definition, len(cas))
	var problems schema.Problems
	type place struct {
		safe    string
		storage certmagic.Storage
	}
	taken := map[place]string{{safe: DefaultID}: DefaultID} // even if the document does not define it
	for _, id := range slices.Sorted(maps.Keys(cas)) {
		c := cas[id]
		d, ps := compileCA(env, id, &c)
		problems = append(problems, ps...)
		out[id] = d
		p := place{d.safe, d.storage}
		if other, ok := taken[p]; ok && other != id {
			problems = append(problems, schema.Problem{Pointer: config.JoinPointer("", "certificate_authorities", id), Found: id, Message: fmt.Sprintf(
				"the IDs %q and %q stand for the same folder of the storage; rename one of them", other, id)})
		}
		taken[p] = id
	}
	return out, problems
}
