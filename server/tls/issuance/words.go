package issuance

import (
	"errors"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
)

// acmeReading is the issuer acme while it is read.
type acmeReading struct {
	ACMEConfig
	u *module.Use
}

// acmeWords reads the issuer acme.
func acmeWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	c := &acmeReading{u: u}
	if d.NextArg() {
		c.CA = d.Val()
		if d.NextArg() {
			return nil, d.ArgErr()
		}
	}
	if err := acmeLines.Parse(d, c); err != nil {
		return nil, err
	}
	return &c.ACMEConfig, nil
}

func (c *acmeReading) dns() *DNSChallenge {
	if c.Challenges.DNS == nil {
		c.Challenges.DNS = &DNSChallenge{}
	}
	return c.Challenges.DNS
}

var (
	none = caddyfile.None
	one  = caddyfile.Exactly(1)
)

// acmeLines is what the block of the issuer acme may hold.
var acmeLines = caddyfile.Options[acmeReading]{
	Unknown: "unrecognized ACME issuer property: %s",
	Lines: append([]caddyfile.Option[acmeReading]{
		{Name: "dir", Args: one, Set: func(c *acmeReading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			if c.CA != "" {
				return d.Errf("directory is already specified: %s", caddyfile.Shorten(c.CA))
			}
			c.CA = args[0].Text
			return nil
		}},
		{Name: "test_dir", Args: one, Set: caddyfile.String(func(c *acmeReading) *string { return &c.TestCA })},
		{Name: "email", Args: one, Set: caddyfile.String(func(c *acmeReading) *string { return &c.Email })},
		{Name: "profile", Args: one, Set: caddyfile.String(func(c *acmeReading) *string { return &c.Profile })},
		{Name: "timeout", Args: one, Set: caddyfile.Duration(func(c *acmeReading) *module.Duration { return &c.ACMETimeout })},
		{Name: "lifetime", Args: one, Set: func(c *acmeReading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			return ReadLifetime(&c.CertificateLifetime, d, args)
		}},
		{Name: "disable_http_challenge", Args: none, Set: caddyfile.Flag(func(c *acmeReading) *bool { return &c.Challenges.HTTP.Disabled })},
		{Name: "disable_tlsalpn_challenge", Args: none, Set: caddyfile.Flag(func(c *acmeReading) *bool { return &c.Challenges.TLSALPN.Disabled })},
		{Name: "alt_http_port", Args: one, Set: caddyfile.Int(func(c *acmeReading) *int { return &c.Challenges.HTTP.AlternatePort })},
		{Name: "alt_tlsalpn_port", Args: one, Set: caddyfile.Int(func(c *acmeReading) *int { return &c.Challenges.TLSALPN.AlternatePort })},
		{Name: "distributed", Args: one, Set: readDistributed},
		{Name: "eab", Args: caddyfile.Exactly(2), Set: func(c *acmeReading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			c.ExternalAccount = &ExternalAccount{KeyID: args[0].Text, MACKey: args[1].Text}
			return nil
		}},
		{Name: "trusted_roots", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(c *acmeReading) *[]string { return &c.TrustedRootsPEMFiles })},
		{Name: "dns", Args: caddyfile.AtLeast(0), Block: true, Set: func(c *acmeReading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			return ReadProvider(c.u, c.dns(), d, args)
		}},
		{Name: "preferred_chains", Args: caddyfile.AtLeast(0), Block: true, Set: func(c *acmeReading, d *caddyfile.Dispenser, args []caddyfile.Token) (err error) {
			c.PreferredChains, err = ReadPreferredChains(d, args)
			return err
		}},
	}, DNSLines(func(c *acmeReading) *DNSChallenge { return c.dns() }, true)...),
}

func readDistributed(c *acmeReading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	if args[0].Text != "false" {
		return d.Errf("only accepted value is 'false'")
	}
	c.Challenges.Distributed = new(bool)
	return nil
}

// ReadLifetime reads a length of time that is not negative.
func ReadLifetime(to *module.Duration, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	lifetime, err := caddyfile.ParseDuration(args[0].Text)
	if err != nil {
		return d.Errf("invalid lifetime %s: %w", caddyfile.Shorten(args[0].Text), err)
	}
	if lifetime < 0 {
		return d.Errf("lifetime must be >= 0: %v", lifetime)
	}
	*to = module.Duration(lifetime)
	return nil
}

// DNSLines is the lines of a block about a DNS challenge, without the provider. The function returns where they go to, and
// is called for each line. With override the name of the record can be set too.
func DNSLines[C any](dns func(*C) *DNSChallenge, override bool) []caddyfile.Option[C] {
	lines := []caddyfile.Option[C]{
		{Name: "propagation_delay", Args: one, Set: caddyfile.Duration(func(c *C) *module.Duration { return &dns(c).PropagationDelay })},
		{Name: "propagation_timeout", Args: one, Set: func(c *C, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			return ReadPropagationTimeout(&dns(c).PropagationTimeout, d, args)
		}},
		{Name: "dns_ttl", Args: one, Set: caddyfile.Duration(func(c *C) *module.Duration { return &dns(c).TTL })},
		{Name: "resolvers", Args: caddyfile.AtLeast(1), Set: func(c *C, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			dns(c).Resolvers = nil
			for _, a := range args {
				dns(c).Resolvers = append(dns(c).Resolvers, a.Text)
			}
			return nil
		}},
	}
	if override {
		lines = append(lines, caddyfile.Option[C]{Name: "dns_challenge_override_domain", Args: one, Set: caddyfile.String(func(c *C) *string { return &dns(c).OverrideDomain })})
	}
	return lines
}

// ReadPropagationTimeout reads a length of time, or -1 for no looking.
func ReadPropagationTimeout(to *module.Duration, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	if args[0].Text == "-1" {
		*to = -1
		return nil
	}
	timeout, err := caddyfile.ParseDuration(args[0].Text)
	if err != nil {
		return d.Errf("invalid propagation_timeout duration %s: %w", caddyfile.Shorten(args[0].Text), err)
	}
	*to = module.Duration(timeout)
	return nil
}

// ReadProvider reads a DNS provider with its block, if one is named: d is at the last of the arguments args.
func ReadProvider(u *module.Use, c *DNSChallenge, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	if len(args) == 0 {
		return nil
	}
	d.Back(len(args) - 1)
	n, err := u.Module(d, dnsproviders.Namespace, dnsproviders.InlineKey)
	c.Provider = module.RefTo[dnsproviders.Provider](n)
	return err
}

// ReadPreferredChains reads a preference among chains: d is at the last of the arguments args of a line that may have a
// block.
func ReadPreferredChains(d *caddyfile.Dispenser, args []caddyfile.Token) (*PreferredChains, error) {
	c := &PreferredChains{}
	if len(args) > 0 {
		if len(args) > 1 || args[0].Text != "smallest" {
			return nil, d.Errf("Invalid argument '%s'; want smallest, or a block", caddyfile.Shorten(args[0].Text))
		}
		smallest := true
		c.Smallest = &smallest
		if d.OpensBlock() {
			return nil, d.Errf("No more options are accepted when using the 'smallest' option")
		}
		return c, nil
	}
	if err := chainLines.Parse(d, c); err != nil {
		return nil, err
	}
	if len(c.RootCommonName)+len(c.AnyCommonName) == 0 {
		return nil, d.Errf("No options for preferred_chains received")
	}
	return c, nil
}

var errTwoPreferences = errors.New("root_common_name and any_common_name exclude each other; use one of them")

var chainLines = caddyfile.Options[PreferredChains]{Unknown: "unrecognized option for preferred_chains: %s", Lines: []caddyfile.Option[PreferredChains]{
	{Name: "root_common_name", Args: caddyfile.AtLeast(1), Set: func(c *PreferredChains, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		if len(c.AnyCommonName) > 0 {
			return errTwoPreferences
		}
		return caddyfile.Strings(func(c *PreferredChains) *[]string { return &c.RootCommonName })(c, d, args)
	}},
	{Name: "any_common_name", Args: caddyfile.AtLeast(1), Set: func(c *PreferredChains, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		if len(c.RootCommonName) > 0 {
			return errTwoPreferences
		}
		return caddyfile.Strings(func(c *PreferredChains) *[]string { return &c.AnyCommonName })(c, d, args)
	}},
}}

// internalWords reads the issuer internal.
func internalWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	c := &InternalConfig{}
	if err := internalLines.Parse(d, c); err != nil {
		return nil, err
	}
	return c, nil
}

var internalLines = caddyfile.Options[InternalConfig]{Lines: []caddyfile.Option[InternalConfig]{
	{Name: "ca", Args: one, Set: caddyfile.String(func(c *InternalConfig) *string { return &c.CA })},
	{Name: "lifetime", Args: one, Set: func(c *InternalConfig, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		return ReadLifetime(&c.Lifetime, d, args)
	}},
	{Name: "sign_with_root", Args: none, Set: caddyfile.Flag(func(c *InternalConfig) *bool { return &c.SignWithRoot })},
}}

// zerosslReading is the issuer zerossl while it is read.
type zerosslReading struct {
	ZeroSSLConfig
	u *module.Use
}

// zerosslWords reads the issuer zerossl.
func zerosslWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	c := &zerosslReading{u: u}
	if !d.AllArgs(&c.APIKey) {
		return nil, d.ArgErr()
	}
	if err := zerosslLines.Parse(d, c); err != nil {
		return nil, err
	}
	return &c.ZeroSSLConfig, nil
}

func (c *zerosslReading) dns() *DNSChallenge {
	if c.CNAMEValidation == nil {
		c.CNAMEValidation = &DNSChallenge{}
	}
	return c.CNAMEValidation
}

// zerosslLines is what the block of the issuer zerossl may hold.
var zerosslLines = caddyfile.Options[zerosslReading]{
	Unknown: "unrecognized zerossl issuer property: %s",
	Lines: append([]caddyfile.Option[zerosslReading]{
		{Name: "validity_days", Args: one, Set: caddyfile.Int(func(c *zerosslReading) *int { return &c.ValidityDays })},
		{Name: "alt_http_port", Args: one, Set: caddyfile.Int(func(c *zerosslReading) *int { return &c.AlternateHTTPPort })},
		{Name: "dns", Args: caddyfile.AtLeast(0), Block: true, Set: func(c *zerosslReading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			return ReadProvider(c.u, c.dns(), d, args)
		}},
	}, DNSLines(func(c *zerosslReading) *DNSChallenge { return c.dns() }, false)...),
}
