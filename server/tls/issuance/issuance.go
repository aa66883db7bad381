// Package issuance is where certificates come from: the modules tls.issuance.*, which are issuers over ACME, the internal
// authority and the REST API of ZeroSSL, and the answers to the questions by which an authority checks that a name is ours.
//
// The work itself is certmagic's. A module turns its settings into an [Issuer], which the app tls completes with what it
// says for all issuers, see [Issuer.With], and then gives to the certmagic.Config of each policy.
package issuance

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
)

// Namespace is where the modules are, and InlineKey the field that names one.
const (
	Namespace = "tls.issuance"
	InlineKey = "module"
)

// Issuer is the value of the modules. It is immutable and can serve any number of configs.
type Issuer interface {
	// Key is certmagic's name of the issuer, which is a part of where certificates are in storage.
	Key() string
	// With returns the issuer with what its own settings leave open. It fails if something that it needs is in neither; the
	// error is a schema.Problems that points into the issuer's config.
	With(d Defaults) (Issuer, error)
	// Issuer returns the issuer for a config, whose storage and logger it uses. It may be called before the config has issuers.
	Issuer(cfg *certmagic.Config) certmagic.Issuer
}

// Defaults is what a document says for all issuers.
type Defaults struct {
	// DNS is the provider for DNS challenges, nil for none.
	DNS dnsproviders.Provider
	// Resolvers is the DNS servers for DNS challenges, nil for the system's.
	Resolvers []string
	// HTTPPort and HTTPSPort is where ports 80 and 443 of the outside arrive, 0 for 80 and 443.
	HTTPPort, HTTPSPort int
	// Authority is asked over ACME by issuers that name none, nil for Let's Encrypt. A document cannot say it.
	Authority *Authority
}

// Identify sets how this process calls itself when it talks to authorities: product/version, after the prefix if that is
// not empty. To be called before anything is issued.
func Identify(product, version, prefix string) {
	certmagic.UserAgent = strings.TrimSpace(prefix + " " + product + "/" + version)
}

// Specs describes the modules.
func Specs() []module.Spec {
	return []module.Spec{
		module.New(Namespace+".acme", "Gets certificates from an authority that speaks ACME, such as Let's Encrypt.", nil, compileACME,
			module.Examples(
				module.Example{Title: "Use Let's Encrypt.", JSON: `{"module":"acme","email":"ops@example.com"}`},
				module.Example{Title: "Use an authority that knows its customers.", JSON: `{"module":"acme","ca":"https://acme.example.com/directory","external_account":{"key_id":"kid-1","mac_key":"zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}}`},
				module.Example{Title: "Get a wildcard with the help of a name server.", JSON: `{"module":"acme","challenges":{"dns":{"provider":{"name":"rfc2136","server":"192.0.2.53:53","key_name":"acme","key_alg":"hmac-sha256","key":"cWnu6Ju9zOki4f7Q+da2KKGo0KOXbCf6Pej6hW3geC4="}}}}`},
			),
			module.Words(acmeWords)),
		module.New(Namespace+".internal", "Gets certificates from an authority of this process.", nil, compileInternal,
			module.Examples(module.Example{Title: "Use the authority local, with certificates for a day.", JSON: `{"module":"internal","lifetime":"24h"}`}),
			module.Words(internalWords)),
		module.New(Namespace+".zerossl", "Gets certificates over the REST API of ZeroSSL.", nil, compileZeroSSL,
			module.Examples(module.Example{Title: "Use an access key from the environment.", JSON: `{"module":"zerossl","api_key":"{env.ZEROSSL_KEY}"}`}),
			module.Words(zerosslWords)),
	}
}

// dnsSettings is the DNS challenge of an issuer. A certmagic.DNSManager is not kept, since it remembers what it did.
type dnsSettings struct {
	provider            dnsproviders.Provider
	ttl, delay, timeout time.Duration
	resolvers           []string
	override            string
}

// read reads the settings; nil stands for none.
func (c *DNSChallenge) read(env *module.Env) (*dnsSettings, schema.Problems) {
	if c == nil {
		return nil, nil
	}
	s := &dnsSettings{provider: c.Provider.Value(), ttl: time.Duration(c.TTL), delay: time.Duration(c.PropagationDelay),
		timeout: time.Duration(c.PropagationTimeout), resolvers: c.Resolvers}
	problems := negative("/ttl", c.TTL, 0)
	problems = append(problems, negative("/propagation_delay", c.PropagationDelay, 0)...)
	problems = append(problems, negative("/propagation_timeout", c.PropagationTimeout, -1)...)
	for i, r := range c.Resolvers {
		if strings.TrimSpace(r) == "" {
			problems = append(problems, module.Problem(fmt.Sprintf("/resolvers/%d", i), "a resolver is empty; want the host or host:port of a DNS server")...)
		}
	}
	if c.OverrideDomain != "" {
		var err error
		if s.override, err = env.ExpandStrict(c.OverrideDomain); err != nil {
			problems = append(problems, module.Problem("/override_domain", err.Error())...)
		}
	}
	return s, problems
}

// with fills in what the document says for all DNS challenges. The pointer is where the settings stand in their issuer.
func (s *dnsSettings) with(d Defaults, pointer string) (*dnsSettings, error) {
	if s == nil {
		return nil, nil
	}
	full := *s
	if full.provider == nil {
		full.provider = d.DNS
	}
	if full.provider == nil {
		return nil, module.Problem(pointer, "DNS challenge enabled, but no DNS provider configured; give provider here, or dns in the tls app")
	}
	if len(full.resolvers) == 0 {
		full.resolvers = d.Resolvers
	}
	return &full, nil
}

// fill sets the fields of a manager.
func (s *dnsSettings) fill(m *certmagic.DNSManager, log *zap.Logger) {
	m.DNSProvider, m.TTL, m.PropagationDelay, m.PropagationTimeout = s.provider, s.ttl, s.delay, s.timeout
	m.Resolvers, m.OverrideDomain, m.Logger = s.resolvers, s.override, log
}

// negative refuses a length of time below the least one, which the schema sees only where it is a number.
func negative(pointer string, d module.Duration, least module.Duration) schema.Problems {
	if d >= least {
		return nil
	}
	return module.Problem(pointer, fmt.Sprintf("%s is less than nothing; want a length of time such as 90s or 12h", d))
}

// asError returns nil for no problems, as an error that is nil.
func asError(ps schema.Problems) error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}
