package handshake_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/server/tls/handshake"
)

// matches reports whether the only policy is for a client.
func (s *site) matches(c string, addresses ...net.Addr) bool {
	_, err := s.bound.ConfigForClient(hello(c, addresses...))
	return err == nil
}

func TestSNI(t *testing.T) {
	s := bareSite(t)
	s.vars["env.NAME"] = "Env.Test"
	for _, tt := range []struct {
		names []string
		sni   string
		want  bool
	}{
		{[]string{"example.com"}, "example.com", true},
		{[]string{"example.com"}, "EXAMPLE.com", true},
		{[]string{"Example.Com"}, "example.com", true},
		{[]string{"example.com"}, "sub.example.com", false},
		{[]string{"example.com"}, "foo.com", false},
		{[]string{"example.com", "foo.com"}, "foo.com", true},
		{[]string{"*.example.com"}, "example.com", false},
		{[]string{"*.example.com"}, "sub.example.com", true},
		{[]string{"*.example.com"}, "a.sub.example.com", false},
		{[]string{"*.example.com"}, ".example.com", false},
		{[]string{"*.example.com", "*.sub.example.com"}, "sub2.sub.example.com", true},
		{[]string{"*.*.example.com"}, "a.b.example.com", true},
		{[]string{"*.*.example.com"}, "b.example.com", false},
		{[]string{"*"}, "localhost", true},
		{[]string{"*"}, "a.test", false},
		{[]string{"*"}, "", false},
		{[]string{"a.*.com"}, "a.b.com", false},
		{[]string{"example.com"}, "", false},
		{[]string{""}, "", true},
		{[]string{"", "b.com"}, "", true},
		{[]string{""}, "b.com", false},
		{[]string{}, "", false},
		{[]string{"つ.Localhost"}, "XN--K9J.LOCALHOST", true},
		{[]string{"つ.localhost"}, "つ.LOCALHOST", true},
		{[]string{"*.つ.localhost"}, "sub.xn--k9j.localhost", true},
		{[]string{"xn--k9j.localhost"}, "つ.localhost", true},
		{[]string{"{env.NAME}"}, "env.test", true},
		{[]string{"*.{env.NAME}"}, "x.env.test", true},
		{[]string{"{env.NONE}"}, "", false},
		{[]string{"{env.NONE}"}, "env.test", false},
		{[]string{"x"}, strings.Repeat("x", 5000), false},
	} {
		s.policy(`{"match":{"sni":` + quote(tt.names) + `}}`)
		if got := s.matches(tt.sni); got != tt.want {
			t.Errorf("%v for %.40q: %v", tt.names, tt.sni, got)
		}
	}
	if s.policy(`{"match":{"sni":["{env.NONE}"]}}`); len(s.warned) != 1 {
		t.Errorf("a name without a value: %v", s.warned)
	}
}

func TestAddresses(t *testing.T) {
	s := bareSite(t)
	s.vars["env.NET"] = "10.1.0.0/16"
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4000} }
	zoned := &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 4000, Zone: "eth0"}
	for _, tt := range []struct {
		match string
		addr  net.Addr
		want  bool
	}{
		{`{"ranges":["127.0.0.1"]}`, tcp("127.0.0.1"), true},
		{`{"ranges":["127.0.0.1"]}`, tcp("127.0.0.2"), false},
		{`{"ranges":["127.0.0.1/16"]}`, tcp("127.0.1.23"), true},
		{`{"ranges":["127.0.0.1/16"]}`, tcp("127.1.1.23"), false},
		{`{"ranges":["127.0.0.1/16","192.168.1.105"]}`, tcp("192.168.1.105"), true},
		{`{"ranges":["::ffff:127.0.0.0/112"]}`, tcp("127.0.0.9"), true},
		{`{"ranges":["2001:db8::/32"]}`, tcp("2001:db8::7"), true},
		{`{"ranges":["fe80::1"]}`, zoned, true},
		{`{"ranges":["fe80::1"]}`, &net.UDPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, true},
		{`{"ranges":["127.0.0.1"]}`, textAddr("127.0.0.1"), true},
		{`{"ranges":["127.0.0.1"]}`, textAddr("127.0.0.1:12"), true},
		{`{"ranges":["fe80::1"]}`, textAddr("fe80::1%eth0"), true},
		{`{"ranges":["fe80::1"]}`, textAddr("[fe80::1%eth0]:80"), true},
		{`{"ranges":["0.0.0.0/0","::/0"]}`, textAddr("nonsense"), false},
		{`{}`, textAddr("nonsense"), false},
		{`{}`, tcp("192.0.2.1"), true},
		{`{"ranges":["{env.NET}"]}`, tcp("10.1.2.3"), true},
	} {
		for name, to := range map[string][]net.Addr{"remote_ip": {tcp("203.0.113.1"), tt.addr}, "local_ip": {tt.addr, tcp("203.0.113.1")}} {
			s.policy(`{"match":{"` + name + `":` + tt.match + `}}`)
			if got := s.matches("a.test", to...); got != tt.want {
				t.Errorf("%s %s for %v: %v", name, tt.match, tt.addr, got)
			}
		}
	}
	for match, want := range map[string]bool{
		`{"not_ranges":["127.0.0.1"]}`:                              false,
		`{"not_ranges":["127.0.0.2"]}`:                              true,
		`{"ranges":["127.0.0.1/16"],"not_ranges":["127.0.0.1/16"]}`: false,
		`{"ranges":["127.0.0.1/16"],"not_ranges":["127.0.0.2"]}`:    true,
		`{"ranges":["127.0.0.1/16"],"not_ranges":["127.0.0.1"]}`:    false,
	} {
		s.policy(`{"match":{"remote_ip":` + match + `}}`)
		if got := s.matches("a.test", tcp("127.0.0.2"), tcp("127.0.0.1")); got != want {
			t.Errorf("%s: %v", match, got)
		}
	}
	s.policy(`{"match":{"remote_ip":{}}}`)
	if s.matches("a.test") {
		t.Error("a client without an address matches")
	}
}

func TestRegexp(t *testing.T) {
	s := bareSite(t)
	for _, tt := range []struct {
		pattern, sni string
		want         bool
	}{
		{"", "a.test", true}, {"", "", true}, {"^s\\d$", "s1", true}, {"^s\\d$", "s1.test", false}, {"exam", "example.com", true}, {"^S", "s", false}, {"(?i)^S", "s", true},
	} {
		s.policy(`{"match":{"sni_regexp":{"pattern":` + quote(tt.pattern) + `}}}`)
		if got := s.matches(tt.sni); got != tt.want {
			t.Errorf("%s for %q: %v", tt.pattern, tt.sni, got)
		}
	}
	s.load(`{"policies":[{"match":{"sni_regexp":{"name":"one","pattern":"^(?P<shard>s\\d+)\\.(\\w+)\\.test$"}}},
		{"match":{"sni_regexp":{"pattern":"^(.)"}}},{}]}`)
	for _, tt := range []struct {
		sni, name, value string
		known            bool
	}{
		{"s12.eu.test", "tls.regexp.one.1", "s12", true},
		{"s12.eu.test", "tls.regexp.one.shard", "s12", true},
		{"s12.eu.test", "tls.regexp.one.2", "eu", true},
		{"s12.eu.test", "tls.regexp.one.0", "s12.eu.test", true},
		{"s12.eu.test", "tls.regexp.2", "eu", true},
		{"s12.eu.test", "tls.regexp.shard", "s12", true},
		{"s12.eu.test", "tls.regexp.3", "", false},
		{"s12.eu.test", "tls.regexp.-1", "", false},
		{"s12.eu.test", "tls.regexp.two.1", "", false},
		{"s12.eu.test", "http.regexp.1", "", false},
		{"x.test", "tls.regexp.1", "x", true},
		{"x.test", "tls.regexp.one.1", "", false},
		{"", "tls.regexp.1", "", false},
	} {
		if value, known := s.policies().Capture(handshake.Client{ServerName: tt.sni}, tt.name); value != tt.value || known != tt.known {
			t.Errorf("{%s} for %s: %q, %v", tt.name, tt.sni, value, known)
		}
	}
}

// All matchers of a policy must match, and the first policy counts.
func TestOrder(t *testing.T) {
	s := bareSite(t)
	s.load(`{"policies":[
		{"match":{"sni":["a.test"],"remote_ip":{"ranges":["10.0.0.0/8"]}},"alpn":["0"]},
		{"match":{"sni_regexp":{"pattern":"^b"}},"alpn":["1"]},
		{"match":{"sni":["b.test","a.test"]},"alpn":["2"]},
		{"match":{"sni":["*.test"]},"alpn":["3"]},
		{"match":{"sni":["d.other"]},"alpn":["4"],"drop":true}]}`)
	from := func(ip string) []net.Addr { return []net.Addr{textAddr("192.0.2.1"), textAddr(ip)} }
	for _, tt := range []struct{ sni, ip, want string }{
		{"a.test", "10.1.1.1", "0"}, {"a.test", "11.1.1.1", "2"}, {"b.test", "10.1.1.1", "1"}, {"c.test", "10.1.1.1", "3"},
	} {
		c, err := s.bound.ConfigForClient(hello(tt.sni, from(tt.ip)...))
		if err != nil || c.NextProtos[0] != tt.want {
			t.Errorf("%s from %s: %v, %v", tt.sni, tt.ip, c, err)
		}
	}
	if _, err := s.bound.ConfigForClient(hello("d.other", from("10.1.1.1")...)); err != handshake.ErrDropped {
		t.Errorf("a dropped client: %v", err)
	}
	_, err := s.bound.ConfigForClient(hello("c.d.test", from("10.1.1.1")...))
	if err == nil || !strings.HasPrefix(err.Error(), "no server TLS configuration available for ClientHello:") || !strings.Contains(err.Error(), `"c.d.test"`) {
		t.Errorf("no policy: %v", err)
	}
	var none *handshake.Policies
	if _, err := none.Bind(nil, nil).ConfigForClient(hello("a")); err == nil || none.Len() != 0 || none.NeedsStrictSNI() {
		t.Error("no policies at all")
	}
}

// modelPolicy is a policy with nothing but names; nil is all of them.
type modelPolicy struct {
	id    int
	names []string
}

func (p modelPolicy) json() string {
	match := ""
	if p.names != nil {
		match = `"match":{"sni":` + quote(p.names) + `},`
	}
	return fmt.Sprintf(`{%s"alpn":["p%d"]}`, match, p.id)
}

// Random edits of a long list, compared with asking each policy in turn.
func TestIndexIsTheList(t *testing.T) {
	s := bareSite(t)
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"a.test", "b.test", "c.test", "x.a.test", "y.a.test", "x.b.test", "*.test", "*.a.test", "*.*.test", "*", "local", ""}
	asked := append(slices.Clone(names[:6]), "local", "z.test", "z.a.test", "z.z.test", "q.other", "")
	next := 0
	random := func() modelPolicy {
		next++
		p := modelPolicy{id: next}
		if r.IntN(30) > 0 {
			p.names = []string{}
			for range r.IntN(3) + 1 {
				p.names = append(p.names, names[r.IntN(len(names))])
			}
		}
		return p
	}
	var list []modelPolicy
	for range 40 {
		list = append(list, random())
	}
	for step := range 60 {
		var docs []string
		for _, p := range list {
			docs = append(docs, p.json())
		}
		s.load(`{"policies":[` + strings.Join(docs, ",") + `]}`)
		if s.policies().Len() != len(list) {
			t.Fatalf("%d policies, want %d", s.policies().Len(), len(list))
		}
		for _, name := range asked {
			want := ""
			for _, p := range list {
				if p.names == nil || slices.ContainsFunc(p.names, func(n string) bool { return certmagic.MatchWildcard(name, n) }) {
					want = fmt.Sprintf("p%d", p.id)
					break
				}
			}
			got := ""
			if c, err := s.bound.ConfigForClient(hello(name)); err == nil {
				got = c.NextProtos[0]
			}
			if got != want {
				t.Fatalf("step %d: %q has policy %q, want %q", step, name, got, want)
			}
		}
		switch at := r.IntN(len(list)); r.IntN(4) {
		case 0:
			list = slices.Insert(list, at, random())
		case 1:
			list = slices.Delete(list, at, at+1)
		case 2:
			list[at] = random()
		default:
			list = slices.Insert(list, 0, list[at])
			list = slices.Delete(list, at+1, at+2)
		}
	}
}
