package clientip

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// Source knows the addresses of trusted proxies. It is the value of modules in
// the namespace http.ip_sources.
type Source interface {
	// Prefixes returns the trusted ranges for a request. It is called for every
	// request, from several goroutines; the result must not be changed.
	Prefixes(r *http.Request) []netip.Prefix
}

// StaticConfig is a fixed list of trusted proxies.
type StaticConfig struct {
	// IP addresses and CIDR prefixes. An address stands for itself. There are no
	// placeholders here and no names for groups of ranges.
	Ranges []string `json:"ranges,omitempty"`
}

type static []netip.Prefix

// Prefixes implements Source.
func (s static) Prefixes(*http.Request) []netip.Prefix { return s }

// Specs are the sources of trusted proxies.
func Specs() []module.Spec {
	return []module.Spec{module.New("http.ip_sources.static", "A fixed list of IP ranges.", nil, compileStatic,
		module.Words(staticWords), module.Examples(module.Example{
			Title: "Trust proxies in one network and one host",
			JSON:  `{"source": "static", "ranges": ["10.0.0.0/8", "2001:db8::7"]}`,
		}))}
}

func compileStatic(_ *module.Env, cfg *StaticConfig) (Source, error) {
	out := make(static, 0, len(cfg.Ranges))
	var problems schema.Problems
	for i, text := range cfg.Ranges {
		p, err := ParsePrefix(text)
		if err != nil {
			problems = append(problems, RangeProblem("/ranges/"+strconv.Itoa(i), text, err))
			continue
		}
		out = append(out, p)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return out, nil
}

// ParsePrefix reads a CIDR prefix, or an IP address as the prefix of its full
// length. A zone is refused.
func ParsePrefix(s string) (netip.Prefix, error) {
	if strings.IndexByte(s, '/') >= 0 {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("reading the CIDR prefix: %w", err)
		}
		return p.Masked(), nil
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("reading the IP address: %w", err)
	}
	if ip.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("reading the IP address: a zone (%%%s) cannot stand here", ip.Zone())
	}
	return netip.PrefixFrom(ip, ip.BitLen()), nil
}

// RangeProblem describes an IP range that cannot be read, and names what may
// have been meant.
func RangeProblem(pointer, text string, err error) schema.Problem {
	p := schema.Problem{
		Pointer: pointer, Found: text, Message: fmt.Sprintf("invalid IP range %q: %v", text, err),
		Expected: "an IP address such as 192.0.2.7 or a CIDR prefix such as 10.0.0.0/8",
	}
	if text == "private_ranges" {
		p.Message = "invalid IP range \"private_ranges\": the word is a shorthand of Caddyfiles"
		p.Expected = strings.Join(PrivateRanges(), ", ") + " as separate elements"
	}
	return p
}
