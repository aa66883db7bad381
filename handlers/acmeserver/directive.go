package acmeserver

import (
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// readDirective: acme_server [<matcher>] { ... }
func readDirective(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	var cfg Config
	if err := lines.Parse(d, &cfg); err != nil {
		return nil, err
	}
	if cfg.CA != "" {
		u.Add(authority{cfg.CA, u.Token})
	}
	return u.One(m, "acme_server", &cfg)
}

// authority tells the adapter of an authority that the app pki is to have.
type authority struct {
	id string
	at caddyfile.Token
}

// Authority is its ID and who needs it.
func (a authority) Authority() (string, caddyfile.Token) { return a.id, a.at }

var lines = caddyfile.Options[Config]{
	Unknown: "unrecognized ACME server directive: %s",
	Lines: []caddyfile.Option[Config]{
		{Name: "ca", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(c *Config) *string { return &c.CA })},
		{Name: "lifetime", Args: caddyfile.Exactly(1), Set: caddyfile.Duration(func(c *Config) *module.Duration { return &c.Lifetime })},
		{Name: "resolvers", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(c *Config) *[]string { return &c.Resolvers })},
		{Name: "challenges", Args: caddyfile.AtLeast(0), Set: caddyfile.Strings(func(c *Config) *[]string { return &c.Challenges })},
		{Name: "allow_wildcard_names", Set: caddyfile.Flag(func(c *Config) *bool { return &c.policy().AllowWildcardNames })},
		{Name: "allow", Block: true, Set: readRules(func(p *Policy) **RuleSet { return &p.Allow })},
		{Name: "deny", Block: true, Set: readRules(func(p *Policy) **RuleSet { return &p.Deny })},
		{Name: "sign_with_root", Set: caddyfile.Flag(func(c *Config) *bool { return &c.SignWithRoot })},
	},
}

// policy is the policy, which is made if there is none.
func (c *Config) policy() *Policy {
	if c.Policy == nil {
		c.Policy = &Policy{}
	}
	return c.Policy
}

// readRules: allow|deny { domains <names...>; ip_ranges <ranges...> }. A second block adds to the first.
func readRules(field func(*Policy) **RuleSet) func(*Config, *caddyfile.Dispenser, []caddyfile.Token) error {
	return func(c *Config, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
		rules := field(c.policy())
		if *rules == nil {
			*rules = &RuleSet{}
		}
		return ruleLines.Parse(d, *rules)
	}
}

var ruleLines = caddyfile.Options[RuleSet]{
	Unknown: "unrecognized ACME server directive: %s",
	Lines: []caddyfile.Option[RuleSet]{
		{Name: "domains", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(r *RuleSet) *[]string { return &r.Domains })},
		{Name: "ip_ranges", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(r *RuleSet) *[]string { return &r.IPRanges })},
	},
}
