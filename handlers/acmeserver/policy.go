package acmeserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"golang.org/x/net/idna"
)

// policy decides for which names there are certificates. Immutable; nil allows everything.
type policy struct {
	allow, deny rules
	wildcards   bool
}

// rules is a [RuleSet] that is read.
type rules struct {
	domains []domainRule
	ranges  []netip.Prefix
}

// domainRule is a name, or all names with one label before it.
type domainRule struct {
	name  string
	below bool
}

func (r *rules) empty() bool { return len(r.domains) == 0 && len(r.ranges) == 0 }

// newPolicy returns nil for a policy that says nothing.
func newPolicy(c *Policy) (*policy, schema.Problems) {
	if c == nil {
		return nil, nil
	}
	p := &policy{wildcards: c.AllowWildcardNames}
	problems := slices.Concat(p.allow.read("/policy/allow", c.Allow), p.deny.read("/policy/deny", c.Deny))
	if p.allow.empty() && p.deny.empty() {
		return nil, problems
	}
	return p, problems
}

// restricts reports whether there is a rule.
func (p *policy) restricts() bool { return p != nil }

func (r *rules) read(pointer string, c *RuleSet) (problems schema.Problems) {
	if c == nil {
		return nil
	}
	for i, text := range c.Domains {
		d, err := readDomain(text)
		if err != nil {
			problems = append(problems, module.Problem(fmt.Sprintf("%s/domains/%d", pointer, i), err.Error())...)
		}
		r.domains = append(r.domains, d)
	}
	for i, text := range c.IPRanges {
		p, err := readRange(text)
		if err != nil {
			problems = append(problems, module.Problem(fmt.Sprintf("%s/ip_ranges/%d", pointer, i), err.Error())...)
		}
		r.ranges = append(r.ranges, p)
	}
	return problems
}

func readDomain(text string) (domainRule, error) {
	name, below := strings.CutPrefix(strings.ToLower(strings.TrimSpace(text)), "*.")
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil {
		ascii = name // names that are no host names, such as those with an underscore
	}
	if !isHostName(ascii) {
		return domainRule{}, fmt.Errorf("%q is not a domain; want one such as example.com, or *.example.com for all names with one more label", text)
	}
	return domainRule{ascii, below}, nil
}

func readRange(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is not an IP address or range; want one such as 10.0.0.0/8", text)
	}
	return p.Masked(), nil
}

// allows says why there is no certificate for a name, nil if there may be one.
func (p *policy) allows(id identifier) error {
	if p == nil {
		return nil
	}
	wildcard := strings.HasPrefix(id.Value, "*.")
	switch {
	case wildcard && !p.wildcards:
		return fmt.Errorf("the policy of this server does not allow wildcard names such as %s", id.Value)
	case p.deny.match(id) || wildcard && p.deny.below(id.Value):
		return fmt.Errorf("the policy of this server denies %s", id.Value)
	case !p.allow.empty() && !p.allow.match(id):
		return fmt.Errorf("the policy of this server does not allow %s", id.Value)
	}
	return nil
}

func (r *rules) match(id identifier) bool {
	if id.Type == typeIP {
		addr, err := netip.ParseAddr(id.Value)
		return err == nil && slices.ContainsFunc(r.ranges, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	return slices.ContainsFunc(r.domains, func(d domainRule) bool { return d.match(id.Value) })
}

func (d *domainRule) match(name string) bool {
	if !d.below {
		return name == d.name
	}
	_, rest, ok := strings.Cut(name, ".")
	return ok && rest == d.name
}

// below reports whether a wildcard name stands for one that a rule is about.
func (r *rules) below(wildcard string) bool {
	return slices.ContainsFunc(r.domains, func(d domainRule) bool {
		_, rest, ok := strings.Cut(d.name, ".")
		return !d.below && ok && rest == wildcard[2:]
	})
}
