package issuance

import (
	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config/module"
)

// zerosslIssuer is the issuer zerossl.
type zerosslIssuer struct {
	template certmagic.ZeroSSLIssuer // without what belongs to one config
	dns      *dnsSettings            // nil without
}

func compileZeroSSL(env *module.Env, c *ZeroSSLConfig) (Issuer, error) {
	z := &zerosslIssuer{template: certmagic.ZeroSSLIssuer{ValidityDays: c.ValidityDays, ListenHost: c.ListenHost,
		AltHTTPPort: c.AlternateHTTPPort}}
	key, err := env.ExpandStrict(c.APIKey)
	if err != nil {
		return nil, module.Problem("/api_key", err.Error())
	}
	z.template.APIKey = key
	dns, problems := c.CNAMEValidation.read(env)
	z.dns = dns
	return z, asError(problems.Under("/cname_validation"))
}

// Key implements [Issuer].
func (z *zerosslIssuer) Key() string { return z.template.IssuerKey() }

// With implements [Issuer].
func (z *zerosslIssuer) With(d Defaults) (Issuer, error) {
	full := *z
	var err error
	if full.dns, err = z.dns.with(d, "/cname_validation"); err != nil {
		return nil, err
	}
	if full.template.AltHTTPPort == 0 {
		full.template.AltHTTPPort = d.HTTPPort
	}
	return &full, nil
}

// Issuer implements [Issuer].
func (z *zerosslIssuer) Issuer(cfg *certmagic.Config) certmagic.Issuer {
	i := z.template
	i.Storage, i.Logger = cfg.Storage, cfg.Logger
	if z.dns != nil {
		i.CNAMEValidation = &certmagic.DNSManager{}
		z.dns.fill(i.CNAMEValidation, cfg.Logger)
	}
	return &i
}
