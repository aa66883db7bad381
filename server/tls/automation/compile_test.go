package automation

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
)

func TestRulesOfPolicies(t *testing.T) {
	policies := func(list string) string { return `{"automation":{"policies":[` + list + `]}}` }
	for _, c := range []struct{ name, doc, at, want string }{
		{"nothing", `{}`, "", ""},
		{"two catch-alls", policies(`{},{"key_type":"p384"}`), "/automation/policies/1", "automation policy 1 is the second policy that acts as default/catch-all, but will never be used"},
		{"one subject twice", policies(`{"subjects":["a.test"]},{"subjects":["b.test","A.test"]}`), "/automation/policies/1/subjects/1", "cannot apply more than one automation policy to host: a.test (first match in policy 0)"},
		{"one subject as two spellings", policies(`{"subjects":["bücher.example"]},{"subjects":["xn--bcher-kva.example"]}`), "/automation/policies/1/subjects/0", "cannot apply more than one"},
		{"on demand for all", policies(`{"on_demand":true}`), "/automation/policies/0/on_demand", "on-demand TLS cannot be enabled without a permission module to prevent abuse"},
		{"on demand for a wildcard", policies(`{"on_demand":true,"subjects":["*.example.com"]}`), "/automation/policies/0/on_demand", "without a permission module"},
		{"on demand for names", policies(`{"on_demand":true,"subjects":["example.com"]}`), "", ""},
		{"on demand for all, internal", policies(`{"on_demand":true,"issuers":[{"module":"internal"}]}`), "", ""},
		{"on demand for all, internal and not", policies(`{"on_demand":true,"issuers":[{"module":"internal"},{"module":"other"}]}`), "/automation/policies/0/on_demand", "without a permission module"},
		{"on demand for an internal wildcard", policies(`{"on_demand":true,"subjects":["*.internal"]}`), "", ""},
		{"on demand for all, with managers", policies(`{"on_demand":true,"get_certificate":[{"via":"tailscale"}]}`), "", ""},
		{"on demand for all, permitted", `{"automation":{"on_demand":{"permission":{"module":"http","endpoint":"http://localhost/x"}},"policies":[{"on_demand":true}]}}`, "", ""},
		{"on demand for all, asked", `{"automation":{"on_demand":{"ask":"http://localhost/x"},"policies":[{"on_demand":true}]}}`, "", ""},
		{"ask and permission", `{"automation":{"on_demand":{"ask":"http://localhost/x","permission":{"module":"http","endpoint":"http://localhost/x"}}}}`, "/automation/on_demand/ask", "give only permission"},
		{"ask nobody", `{"automation":{"on_demand":{"ask":"localhost"}}}`, "/automation/on_demand/ask", "no URL of a web server"},
		{"ask an unknown placeholder", `{"automation":{"on_demand":{"ask":"{env.NOT_SET_AT_ALL}"}}}`, "/automation/on_demand/ask", "NOT_SET_AT_ALL"},
		{"key type", policies(`{"key_type":"dsa"}`), "/automation/policies/0/key_type", "unrecognized key type: dsa"},
		{"subject", policies(`{"subjects":["a b"]}`), "/automation/policies/0/subjects/0", "cannot be the name of a certificate"},
		{"ratio", policies(`{"renewal_window_ratio":2}`), "/automation/policies/0/renewal_window_ratio", ""},
		{"issuer without a provider", policies(`{"issuers":[{"module":"picky"}]}`), "/automation/policies/0/issuers/0/challenges/dns", "no DNS provider configured"},
		{"capacity", `{"cache":{"capacity":-1}}`, "/cache/capacity", ""},
		{"outer name empty", `{"encrypted_client_hello":{"configs":[{"public_name":""}]}}`, "/encrypted_client_hello/configs/0/public_name", "public name length (0) must be in the range 1-255"},
		{"outer name long", `{"encrypted_client_hello":{"configs":[{"public_name":"` + strings.Repeat("a", 256) + `"}]}}`, "/encrypted_client_hello/configs/0/public_name", "public name length (256) must be in the range 1-255"},
		{"outer name twice", `{"encrypted_client_hello":{"configs":[{"public_name":"a.test"},{"public_name":"A.test"}]}}`, "/encrypted_client_hello/configs/1/public_name", "has a config already"},
		{"outer wildcard", `{"encrypted_client_hello":{"configs":[{"public_name":"*.a.test"}]}}`, "/encrypted_client_hello/configs/0/public_name", "host name"},
		{"publication of nobody", `{"encrypted_client_hello":{"configs":[{"public_name":"a.test"}],"publication":[{}]}}`, "/encrypted_client_hello/publication/0", "no DNS provider"},
		{"name to manage", `{"certificates":{"automate":["ok.test","(no)"]}}`, "/certificates/automate/1", "cannot be the name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, newMemory())
			res := r.build(c.doc)
			if c.at == "" {
				if len(res.Problems) > 0 {
					t.Fatalf("refused: %v", res.Problems)
				}
				return
			}
			if len(res.Problems) != 1 {
				t.Fatalf("%d problems, want 1: %v", len(res.Problems), res.Problems)
			}
			if p := res.Problems[0]; p.Pointer != c.at || !strings.Contains(p.Message, c.want) {
				t.Errorf("got %s: %s\nwant %s: %s", p.Pointer, p.Message, c.at, c.want)
			}
		})
	}
}

// TestIndexIsTheLoop compares the index with trying the policies in order.
func TestIndexIsTheLoop(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	labels := []string{"a", "b", "*", "example", "com", "x"}
	name := func(stars bool) string {
		var parts []string
		for range 1 + rnd.IntN(4) {
			l := labels[rnd.IntN(len(labels))]
			if l == "*" && !stars {
				l = "q"
			}
			parts = append(parts, l)
		}
		return strings.Join(parts, ".")
	}
	ips := []string{"10.0.0.1", "10.0.0.2", "::1"}
	for range 2000 {
		var policies []*Policy
		for range rnd.IntN(6) {
			p := &Policy{}
			for range rnd.IntN(4) {
				s := name(true)
				if rnd.IntN(8) == 0 {
					s = ips[rnd.IntN(3)]
				}
				if certmagic.SubjectQualifiesForCert(s) {
					p.subjects = append(p.subjects, s)
				}
			}
			policies = append(policies, p)
		}
		x := newIndex(policies)
		for range 20 {
			n := name(rnd.IntN(4) == 0)
			if rnd.IntN(8) == 0 {
				n = ips[rnd.IntN(3)]
			}
			want := -1
			for i, p := range policies {
				match := len(p.subjects) == 0
				for _, s := range p.subjects {
					match = match || n == s || !isIP(n) && certmagic.MatchWildcard(n, s)
				}
				if match {
					want = i
					break
				}
			}
			if got := x.find(n); got != want {
				t.Fatalf("%s: policy %d, want %d of %s", n, got, want, describe(policies))
			}
		}
	}
}

func describe(policies []*Policy) string {
	var b strings.Builder
	for i, p := range policies {
		fmt.Fprintf(&b, "%d%v ", i, p.subjects)
	}
	return b.String()
}

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{
		"example.com": "example.com", "EXAMPLE.com": "example.com", " a.test ": "a.test", "[::1]": "::1", "::1": "::1",
		"bücher.example": "xn--bcher-kva.example", "*.Bücher.example": "*.xn--bcher-kva.example", "": "",
	} {
		if got := normal(in); got != want {
			t.Errorf("normal(%q) = %q, want %q", in, got, want)
		}
	}
	for _, ip := range []string{"1.2.3.4", "::1", "fe80::1"} {
		if !isIP(ip) {
			t.Errorf("%s is no address", ip)
		}
	}
	for _, name := range []string{"", "a1", "1.2.3", "example.com", "a:b"} {
		if isIP(name) {
			t.Errorf("%s is an address", name)
		}
	}
}

func TestWhoSigns(t *testing.T) {
	// The issuer that names get when the app lists them and when a server serves them.
	for _, c := range []struct{ policies, name, listed, served string }{
		{``, "example.com", "public", "public"},
		{``, "localhost", "local", "local"},
		{``, "8.8.8.8", "public", "local"},
		{``, "10.0.0.1", "local", "local"},
		{``, "*.com", "local", "local"},
		{`{"issuers":[{"module":"other"}]}`, "example.com", "other", "other"},
		{`{"issuers":[{"module":"other"}]}`, "localhost", "other", "local"},
		{`{"issuers":[{"module":"other"}]}`, "8.8.8.8", "other", "other"},
		{`{"subjects":["a.localhost"],"issuers":[{"module":"other"}]}`, "a.localhost", "other", "other"},
		{`{"subjects":["*.localhost"],"issuers":[{"module":"other"}]}`, "a.localhost", "other", "other"},
		{`{"subjects":["a.localhost"]}`, "a.localhost", "local", "local"},
		{`{"subjects":["a.localhost","b.example"]}`, "a.localhost", "public", "public"},
		{`{"subjects":["a.localhost"]}`, "b.localhost", "local", "local"},
		{`{"subjects":["x.example"],"issuers":[{"module":"other"}]}`, "8.8.8.8", "public", "public"},
		{`{},{"subjects":["a.example"],"issuers":[{"module":"other"}]}`, "a.example", "public", "public"},
		{`{"subjects":["a.example"],"issuers":[{"module":"other"}]},{}`, "a.example", "other", "other"},
		{``, "host.tail.ts.net", "public", ""},
		{`{"subjects":["host.tail.ts.net"]}`, "host.tail.ts.net", "", ""},
		{`{"subjects":["host.tail.ts.net"],"issuers":[{"module":"other"}]}`, "host.tail.ts.net", "other", "other"},
	} {
		r := newRig(t, newMemory())
		r.load(`{"automation":{"policies":[` + c.policies + `]}}`)
		s := r.m.state()
		if got := strings.Join(s.derived(c.name, false).keys, ","); got != c.listed {
			t.Errorf("policies [%s]: %s listed: %q, want %q", c.policies, c.name, got, c.listed)
		}
		if got := strings.Join(s.derived(c.name, true).keys, ","); got != c.served {
			t.Errorf("policies [%s]: %s served: %q, want %q", c.policies, c.name, got, c.served)
		}
	}
}
