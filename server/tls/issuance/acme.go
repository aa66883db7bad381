package issuance

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/networkproxy"
	"github.com/sluiceproxy/sluice/server/trust"
)

// acmeIssuer is the issuer acme.
type acmeIssuer struct {
	template certmagic.ACMEIssuer // without what belongs to one config
	dns      *dnsSettings         // nil without
	key      string
	// eab is where ZeroSSL hands out an external account for an e-mail address; empty for other authorities, and where an
	// external account is given.
	eab   string
	proxy func(*http.Request) (*url.URL, error)
	// anyAuthority says that the settings name no authority.
	anyAuthority bool
}

// zeroSSLEAB answers an e-mail address with an external account binding.
const zeroSSLEAB = "https://api.zerossl.com/acme/eab-credentials-email"

func compileACME(env *module.Env, c *ACMEConfig) (Issuer, error) {
	a := &acmeIssuer{proxy: networkproxy.ForTransport(c.NetworkProxy.Value(), env.Globals())}
	t := &a.template
	*t = certmagic.ACMEIssuer{
		Agreed:                    true,
		Profile:                   c.Profile,
		CertObtainTimeout:         time.Duration(c.ACMETimeout),
		NotAfter:                  time.Duration(c.CertificateLifetime),
		DisableHTTPChallenge:      c.Challenges.HTTP.Disabled,
		DisableTLSALPNChallenge:   c.Challenges.TLSALPN.Disabled,
		DisableDistributedSolvers: c.Challenges.Distributed != nil && !*c.Challenges.Distributed,
		ListenHost:                c.Challenges.BindHost,
		AltHTTPPort:               c.Challenges.HTTP.AlternatePort,
		AltTLSALPNPort:            c.Challenges.TLSALPN.AlternatePort,
		HTTPProxy:                 a.proxy,
	}
	problems := append(negative("/acme_timeout", c.ACMETimeout, 0), negative("/certificate_lifetime", c.CertificateLifetime, 0)...)
	problems = append(problems, c.readTexts(env, t)...)
	problems = append(problems, c.readAccount(env, t)...)
	problems = append(problems, c.readChains(t)...)
	problems = append(problems, c.readRoots(env, t)...)
	dns, more := c.Challenges.DNS.read(env)
	a.dns = dns
	problems = append(problems, more.Under("/challenges/dns")...)
	if len(problems) > 0 {
		return nil, problems
	}
	if a.dns == nil && t.DisableHTTPChallenge && t.DisableTLSALPNChallenge {
		env.Warn("/challenges", "all challenges are disabled, so that no name can be proved; enable one")
	}
	if t.CA == "" {
		t.CA, a.anyAuthority = certmagic.LetsEncryptProductionCA, true
	}
	a.key = t.IssuerKey()
	if t.CA == certmagic.ZeroSSLProductionCA && t.ExternalAccount == nil && t.AccountKeyPEM == "" {
		a.eab = zeroSSLEAB
		if t.Email == "" {
			env.Warn("/email", "ZeroSSL opens an account for an e-mail address or for an external_account; give one of the two")
		}
	}
	if t.Email == "" {
		// Otherwise certmagic takes the address of another issuer, or, while the first account is being written, "default",
		// which authorities refuse. The space it trims.
		t.Email = " "
	}
	return a, nil
}

// readTexts expands the texts.
func (c *ACMEConfig) readTexts(env *module.Env, t *certmagic.ACMEIssuer) (problems schema.Problems) {
	for _, f := range []struct {
		pointer, text string
		to            *string
		check         func(string) error
	}{
		{"/ca", c.CA, &t.CA, checkDirectory},
		{"/test_ca", c.TestCA, &t.TestCA, checkDirectory},
		{"/email", c.Email, &t.Email, nil},
		{"/account_key", c.AccountKey, &t.AccountKeyPEM, checkKey},
	} {
		if f.text == "" {
			continue
		}
		text, err := env.ExpandStrict(f.text)
		if err == nil && f.check != nil {
			err = f.check(text)
		}
		if err != nil {
			problems = append(problems, module.Problem(f.pointer, err.Error())...)
		}
		*f.to = text
	}
	return problems
}

// checkDirectory refuses what certmagic would refuse later, when a certificate is wanted.
func checkDirectory(text string) error {
	whole := text
	if !strings.Contains(whole, "://") {
		whole = "https://" + whole
	}
	u, err := url.Parse(whole)
	switch {
	case err != nil || u.Host == "":
		return errors.New("this is no URL of an ACME directory; want https:// and a host")
	case u.Scheme == "https", u.Scheme == "http" && certmagic.SubjectIsInternal(u.Host):
		return nil
	}
	return fmt.Errorf("an ACME directory is asked over https; only a host inside, such as localhost, may be asked over http, and %s is none", u.Host)
}

// checkKey says nothing of the key.
func checkKey(text string) error {
	if _, err := certmagic.PEMDecodePrivateKey([]byte(text)); err != nil {
		return errors.New("the account key cannot be read; want a private key in PEM, which may come from a file as {file./path/to/key.pem}")
	}
	return nil
}

// readAccount reads the external account binding.
func (c *ACMEConfig) readAccount(env *module.Env, t *certmagic.ACMEIssuer) (problems schema.Problems) {
	if c.ExternalAccount == nil {
		return nil
	}
	id, err := env.ExpandStrict(c.ExternalAccount.KeyID)
	if err != nil {
		problems = append(problems, module.Problem("/external_account/key_id", err.Error())...)
	}
	key, err := env.ExpandStrict(c.ExternalAccount.MACKey)
	if err != nil {
		problems = append(problems, module.Problem("/external_account/mac_key", err.Error())...)
	}
	key = macKey(key)
	if _, err := base64.RawURLEncoding.DecodeString(key); err != nil && len(problems) == 0 {
		env.Warn("/external_account/mac_key", "the key is not in base64url, so that no account can be made with it")
	}
	t.ExternalAccount = &acme.EAB{KeyID: id, MACKey: key}
	return problems
}

// macKey brings a key into the form that acmez takes; authorities also hand out other forms of base64.
func macKey(text string) string {
	return strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(strings.TrimSpace(text), "="))
}

// readChains reads the preference among chains.
func (c *ACMEConfig) readChains(t *certmagic.ACMEIssuer) schema.Problems {
	p := c.PreferredChains
	if p == nil {
		return nil
	}
	if p.Smallest != nil && len(p.RootCommonName)+len(p.AnyCommonName) > 0 {
		return module.Problem("/preferred_chains/smallest", "smallest cannot be used together with root_common_name or any_common_name; use one of them")
	}
	t.PreferredChains = certmagic.ChainPreference{Smallest: p.Smallest, RootCommonName: p.RootCommonName, AnyCommonName: p.AnyCommonName}
	return nil
}

// readRoots reads who may have signed the certificate of the authority's server.
func (c *ACMEConfig) readRoots(env *module.Env, t *certmagic.ACMEIssuer) schema.Problems {
	if len(c.TrustedRootsPEMFiles) == 0 {
		return nil
	}
	pool, problems := trust.FromFiles(env, c.TrustedRootsPEMFiles)
	t.TrustedRoots = pool.CertPool()
	return problems.Under("/trusted_roots_pem_files")
}

// Key implements [Issuer].
func (a *acmeIssuer) Key() string { return a.key }

// With implements [Issuer].
func (a *acmeIssuer) With(d Defaults) (Issuer, error) {
	full := *a
	var err error
	if full.dns, err = a.dns.with(d, "/challenges/dns"); err != nil {
		return nil, err
	}
	if full.anyAuthority && d.Authority != nil {
		full.template.CA = d.Authority.directory
		if full.template.TrustedRoots == nil {
			full.template.TrustedRoots = d.Authority.roots
		}
		full.key = full.template.IssuerKey()
	}
	if full.template.AltHTTPPort == 0 {
		full.template.AltHTTPPort = d.HTTPPort
	}
	if full.template.AltTLSALPNPort == 0 {
		full.template.AltTLSALPNPort = d.HTTPSPort
	}
	return &full, nil
}

// Issuer implements [Issuer]. The issuer is certmagic's own type, which certmagic knows more of than the interface says: it
// tells the authority which certificate is being replaced.
func (a *acmeIssuer) Issuer(cfg *certmagic.Config) certmagic.Issuer {
	t := a.template
	t.Logger = cfg.Logger
	t.NewAccountFunc = a.newAccount
	if a.dns != nil {
		solver := &certmagic.DNS01Solver{}
		a.dns.fill(&solver.DNSManager, cfg.Logger)
		t.DNS01Solver = solver
	}
	return certmagic.NewACMEIssuer(cfg, t)
}
