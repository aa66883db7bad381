package endpoint

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/admin/identity"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// Identity is who gives the certificate of this instance to those who talk to others in its name. The process provides it as
// a service of this type, beside the *identity.Service that it is.
type Identity = identity.Client

// IdentityConfig is the certificate of this instance itself.
type IdentityConfig struct {
	// Identifiers is the names and IP addresses that this instance can be known by. Each gets a certificate, in the
	// background, which is kept in the default storage in the data directory, whatever the storage of the document is.
	// Placeholders {env.*}, {file.*} and {system.*} are expanded.
	Identifiers []string `json:"identifiers"`
	// Issuers is who is asked for the certificates, in this order. An issuer that proves names over DNS has to name its
	// provider. Default: Let's Encrypt, which knows only public names.
	Issuers []module.Ref[issuance.Issuer] `json:"issuers" module:"tls.issuance" inline:"module"`
}

// read reads the settings; nil stands for none.
func (c *IdentityConfig) read(env *module.Env) (*identity.Settings, schema.Problems) {
	if c == nil {
		return nil, nil
	}
	s := &identity.Settings{}
	var problems schema.Problems
	seen := map[string]bool{}
	for i, text := range c.Identifiers {
		at := "/identifiers/" + strconv.Itoa(i)
		expanded, err := env.ExpandStrict(text)
		if err != nil {
			problems = append(problems, module.Problem(at, fmt.Sprintf("expanding an identifier: %v", err))...)
			continue
		}
		name, ok := identity.Name(expanded)
		switch {
		case !ok:
			problems = append(problems, schema.Problem{Pointer: at, Found: expanded, Message: "this cannot be the name of a certificate; want a host name or an IP address"})
		case seen[name]:
			env.Warn("/identity"+at, name+" is listed twice")
		default:
			s.Names, seen[name] = append(s.Names, name), true
			if len(c.Issuers) == 0 && !certmagic.SubjectQualifiesForPublicCert(name) {
				env.Warn("/identity"+at, "Let's Encrypt gives no certificate for "+name+"; name another issuer in issuers, such as internal")
			}
		}
	}
	if len(c.Identifiers) == 0 {
		env.Warn("/identity", "there are no identifiers, so this instance gets no certificate")
	}
	for i, ref := range c.Issuers {
		issuer := ref.Value()
		if err := identity.CheckIssuer(issuer); err != nil {
			problems = append(problems, lacking("/issuers/"+strconv.Itoa(i), err)...)
		}
		s.Issuers = append(s.Issuers, issuer)
	}
	return s, problems
}

// lacking places what an issuer lacks. What the tls app says is not for the identity, so its own words would mislead.
func lacking(at string, err error) schema.Problems {
	const message = "the identity's issuer needs a DNS provider of its own; what the tls app says of DNS is not for it"
	var problems schema.Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		return module.Problem(at, message)
	}
	return module.Problem(at+problems[0].Pointer, message)
}
