package handshake

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/clientip"
	"github.com/sluiceproxy/sluice/schema"
)

// Matcher says whether a policy is for a client.
type Matcher interface {
	// Match is called for each handshake, from several goroutines.
	Match(c *Client) bool
}

// Client is what matchers see of one: what it says in its first message, and where it is.
type Client struct {
	// ServerName is the name that it wants, as it was sent; empty if it names none.
	ServerName string
	// Remote is the address of the client and Local the one that it has connected to. They may be nil.
	Remote, Local net.Addr

	name string // ServerName in its normal form
}

// ClientOf is the client that says hello.
func ClientOf(hello *tls.ClientHelloInfo) Client {
	c := Client{ServerName: hello.ServerName}
	if hello.Conn != nil {
		c.Remote, c.Local = hello.Conn.RemoteAddr(), hello.Conn.LocalAddr()
	}
	return c
}

// ipOf is the IP address of a, without port and zone. It is not valid if there is none.
func ipOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case nil:
		return netip.Addr{}
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	text := a.String()
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	text, _, _ = strings.Cut(text, "%")
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap()
}

func matcherSpecs() []module.Spec {
	example := func(title, json string) module.Option {
		return module.Examples(module.Example{Title: title, JSON: json})
	}
	return []module.Spec{
		module.New(matcherNamespace+".sni", "Matches the name that the client wants.", nil, compileSNI,
			example("A site and its direct subdomains.", `["example.com","*.example.com"]`)),
		module.New(matcherNamespace+".sni_regexp", "Matches the name that the client wants with a regular expression.", nil, compileSNIRegexp,
			example("Names with a number, which is {tls.regexp.shard.1}.", `{"name":"shard","pattern":"^s(\\d+)\\.example\\.com$"}`)),
		module.New(matcherNamespace+".remote_ip", "Matches the IP address of the client.", nil, compileRemoteIP,
			example("A network but for one host.", `{"ranges":["10.0.0.0/8"],"not_ranges":["10.0.0.1"]}`)),
		module.New(matcherNamespace+".local_ip", "Matches the IP address that the client has connected to.", nil, compileLocalIP,
			example("One of the host's addresses.", `{"ranges":["192.0.2.7"]}`)),
	}
}

// SNI is the matcher sni: names, one of which the client must want. Case does not count, and international names may be written
// in either form. A first label "*" stands for any one label. An empty name is for clients that name none, which nothing else
// matches. Placeholders {env.*}, {file.*} and {system.*} are expanded.
type SNI []string

// sniMatcher is the matcher sni. Where all patterns can stand in the index, it is not asked.
type sniMatcher struct{ patterns []pattern }

func compileSNI(env *module.Env, c *SNI) (Matcher, error) {
	m := &sniMatcher{}
	var problems schema.Problems
	for i, text := range *c {
		at := "/" + strconv.Itoa(i)
		expanded := env.Expand(text)
		if expanded == "" && text != "" {
			env.Warn(at, "the placeholders have no value, so this name matches nothing")
			continue
		}
		p, err := parsePattern(expanded)
		if err != nil {
			problems = append(problems, schema.Problem{Pointer: at, Found: text, Message: fmt.Sprintf("reading the server name %q: %v", text, err), Expected: "a host name"})
			continue
		}
		if strings.Contains(p.suffix, "*") {
			env.Warn(at, "a \"*\" stands for a label only at the front, so this name matches nothing")
		}
		m.patterns = append(m.patterns, p)
	}
	return m, asError(problems)
}

// Match implements Matcher.
func (m *sniMatcher) Match(c *Client) bool {
	for _, p := range m.patterns {
		if p.match(c.name) {
			return true
		}
	}
	return false
}

// keys are those of all patterns, each once; ok is false if one cannot stand in the index.
func (m *sniMatcher) keys() (keys []string, ok bool) {
	seen := make(map[string]bool, len(m.patterns))
	for _, p := range m.patterns {
		key, ok := p.key()
		if !ok {
			return nil, false
		}
		if !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys, true
}

// regexpMatcher is the matcher sni_regexp.
type regexpMatcher struct {
	name string
	re   *regexp.Regexp
}

func compileSNIRegexp(_ *module.Env, c *SNIRegexp) (Matcher, error) {
	re, err := regexp.Compile(c.Pattern)
	if err != nil {
		return nil, schema.Problems{{Pointer: "/pattern", Found: c.Pattern, Message: fmt.Sprintf("compiling the regular expression: %v", err), Expected: "an expression in RE2 syntax"}}
	}
	return &regexpMatcher{c.Name, re}, nil
}

// Match implements Matcher.
func (m *regexpMatcher) Match(c *Client) bool { return m.re.MatchString(c.ServerName) }

// capture returns a capture by number or by the name of its group.
func (m *regexpMatcher) capture(text, group string) (string, bool) {
	n, err := strconv.Atoi(group)
	if err != nil {
		n = m.re.SubexpIndex(group)
	}
	if n < 0 || n > m.re.NumSubexp() {
		return "", false
	}
	found := m.re.FindStringSubmatch(text)
	if found == nil {
		return "", false
	}
	return found[n], true
}

// ipMatcher is the matchers remote_ip and local_ip.
type ipMatcher struct {
	local    bool
	in, none []netip.Prefix
}

func compileRemoteIP(env *module.Env, c *RemoteIP) (Matcher, error) {
	in, problems := ranges(env, "/ranges", c.Ranges)
	none, more := ranges(env, "/not_ranges", c.NotRanges)
	return &ipMatcher{in: in, none: none}, asError(append(problems, more...))
}

func compileLocalIP(env *module.Env, c *LocalIP) (Matcher, error) {
	in, problems := ranges(env, "/ranges", c.Ranges)
	return &ipMatcher{local: true, in: in}, asError(problems)
}

func ranges(env *module.Env, at string, texts []string) (list []netip.Prefix, problems schema.Problems) {
	for i, text := range texts {
		p, err := clientip.ParsePrefix(env.Expand(text))
		if err != nil {
			problems = append(problems, clientip.RangeProblem(at+"/"+strconv.Itoa(i), text, err))
			continue
		}
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		list = append(list, p)
	}
	return list, problems
}

// Match implements Matcher.
func (m *ipMatcher) Match(c *Client) bool {
	addr := c.Remote
	if m.local {
		addr = c.Local
	}
	ip := ipOf(addr)
	if !ip.IsValid() || contains(m.none, ip) {
		return false
	}
	return len(m.in) == 0 || contains(m.in, ip)
}

func contains(list []netip.Prefix, ip netip.Addr) bool {
	for _, p := range list {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// asError returns nil for no problems, as an error that is nil.
func asError(ps schema.Problems) error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}
