package issuance_test

import (
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

func listen(t *testing.T, port int) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestInternal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		issuer, key string
		chain       int
		lifetime    time.Duration
	}{
		{`{"module":"internal"}`, "local", 2, 12 * time.Hour},
		{`{"module":"internal","ca":"corp","lifetime":"2h"}`, "corp", 2, 2 * time.Hour},
		{`{"module":"internal","ca":"corp","sign_with_root":true,"lifetime":"3h"}`, "corp", 1, 3 * time.Hour},
		{`{"module":"internal","ca":"corp","lifetime":"2000h"}`, "corp", 2, 48 * time.Hour}, // as the intermediate
	} {
		w := newWorld(t, nil)
		res := w.build(t, `{"apps_pki":{"certificate_authorities":{"local":{"install_trust":false},"corp":{"install_trust":false,"intermediate_lifetime":"48h"}}},"issuer":`+tt.issuer+`}`)
		if len(res.Problems) > 0 {
			t.Fatal(res.Problems)
		}
		start(t, res)
		i, err := res.Root.Value().(issuance.Issuer).With(issuance.Defaults{})
		if err != nil || i.Key() != tt.key {
			t.Fatalf("%s: key %s, %v", tt.issuer, i.Key(), err)
		}
		s := newSite(t, i, nil)
		chain := s.obtain(t, "intern.localhost")
		a, err := w.authorities.Get(tt.key)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(a.Root())
		verify(t, chain, roots, "intern.localhost")
		if left := time.Until(chain[0].NotAfter); len(chain) != tt.chain || left > tt.lifetime || left < tt.lifetime-time.Hour {
			t.Errorf("%s: a chain of %d, %v left", tt.issuer, len(chain), left)
		}
	}
}

func TestInternalUnknown(t *testing.T) {
	t.Parallel()
	res := newWorld(t, nil).build(t, `{"issuer":{"module":"internal","ca":"nope"}}`)
	if len(res.Problems) > 0 {
		t.Fatal(res.Problems)
	}
	var err error
	for _, n := range res.New {
		for _, r := range n.Owned() {
			if e := r.Prepare(); e != nil {
				err = e
			}
		}
	}
	if err == nil || !strings.Contains(err.Error(), "nope") {
		t.Errorf("an authority that nobody knows: %v", err)
	}
	i := res.Root.Value().(issuance.Issuer)
	if err := newSite(t, i, nil).try(t.Context(), "a.localhost"); err == nil || !strings.Contains(err.Error(), "nope") {
		t.Errorf("it signs: %v", err)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vars.Map{"env.CA": "https://ca.test/acme/x/directory"})
	for text, want := range map[string]string{
		`{"module":"acme"}`:                           "acme-v02.api.letsencrypt.org-directory",
		`{"module":"acme","ca":"{env.CA}"}`:           "ca.test-acme-x-directory",
		`{"module":"acme","ca":"http://localhost/d"}`: "localhost-d",
		`{"module":"acme","ca":"http://10.0.0.1:14000/dir","test_ca":"https://staging.test/dir"}`: "10.0.0.1:14000-dir",
	} {
		i := w.issuer(t, text)
		s := newSite(t, i, nil)
		if i.Key() != want || s.Issuers[0].IssuerKey() != want {
			t.Errorf("%s: %s and %s, want %s", text, i.Key(), s.Issuers[0].IssuerKey(), want)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	if err := os.WriteFile(noPEM, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	const secret = "hush-hush"
	w := newWorld(t, vars.Map{"env.EMPTY": "", "env.SECRET": secret})
	for text, want := range map[string]string{
		`{"module":"acme","ca":"{env.NONE}"}`:                                                    "/issuer/ca",
		`{"module":"acme","ca":"{env.EMPTY}"}`:                                                   "/issuer/ca",
		`{"module":"acme","ca":"http://ca.example.com/dir"}`:                                     "/issuer/ca",
		`{"module":"acme","ca":"ftp://localhost/dir"}`:                                           "/issuer/ca",
		`{"module":"acme","ca":"https:///dir"}`:                                                  "/issuer/ca",
		`{"module":"acme","test_ca":"http://ca.example.com/dir"}`:                                "/issuer/test_ca",
		`{"module":"acme","email":"{env.NONE}"}`:                                                 "/issuer/email",
		`{"module":"acme","account_key":"{env.SECRET}"}`:                                         "/issuer/account_key",
		`{"module":"acme","external_account":{}}`:                                                "/issuer/external_account",
		`{"module":"acme","external_account":{"key_id":"{env.NONE}","mac_key":"AAAA"}}`:          "/issuer/external_account/key_id",
		`{"module":"acme","external_account":{"key_id":"a","mac_key":"{env.NONE}"}}`:             "/issuer/external_account/mac_key",
		`{"module":"acme","acme_timeout":"-1s"}`:                                                 "/issuer/acme_timeout",
		`{"module":"acme","challenges":{"dns":{"ttl":"-1s"}}}`:                                   "/issuer/challenges/dns/ttl",
		`{"module":"acme","challenges":{"dns":{"propagation_delay":"-1s"}}}`:                     "/issuer/challenges/dns/propagation_delay",
		`{"module":"acme","challenges":{"dns":{"propagation_timeout":"-1s"}}}`:                   "/issuer/challenges/dns/propagation_timeout",
		`{"module":"internal","lifetime":"-1s"}`:                                                 "/issuer/lifetime",
		`{"module":"acme","acme_timeout":-1}`:                                                    "/issuer/acme_timeout",
		`{"module":"acme","certificate_lifetime":"-1h"}`:                                         "/issuer/certificate_lifetime",
		`{"module":"acme","preferred_chains":{"smallest":true,"root_common_name":["a"]}}`:        "/issuer/preferred_chains/smallest",
		`{"module":"acme","trusted_roots_pem_files":["` + noPEM + `"]}`:                          "/issuer/trusted_roots_pem_files/0",
		`{"module":"acme","trusted_roots_pem_files":["/none/here"]}`:                             "/issuer/trusted_roots_pem_files/0",
		`{"module":"acme","challenges":{"http":{"alternate_port":70000}}}`:                       "/issuer/challenges/http/alternate_port",
		`{"module":"acme","challenges":{"dns":{"propagation_timeout":-2}}}`:                      "/issuer/challenges/dns/propagation_timeout",
		`{"module":"acme","challenges":{"dns":{"resolvers":["a",""]}}}`:                          "/issuer/challenges/dns/resolvers/1",
		`{"module":"acme","challenges":{"dns":{"override_domain":"{env.NONE}"}}}`:                "/issuer/challenges/dns/override_domain",
		`{"module":"acme","challenges":{"dns":{"provider":{"name":"nope"}}}}`:                    "/issuer/challenges/dns/provider/name",
		`{"module":"acme","network_proxy":{"from":"url","url":"ftp://x"}}`:                       "/issuer/network_proxy/url",
		`{"module":"acme","nope":1}`:                                                             "/issuer/nope",
		`{"module":"internal","lifetime":-1}`:                                                    "/issuer/lifetime",
		`{"module":"internal","nope":1}`:                                                         "/issuer/nope",
		`{"module":"zerossl"}`:                                                                   "/issuer",
		`{"module":"zerossl","api_key":"{env.NONE}"}`:                                            "/issuer/api_key",
		`{"module":"zerossl","api_key":"k","cname_validation":{"override_domain":"{env.NONE}"}}`: "/issuer/cname_validation/override_domain",
	} {
		res := w.build(t, `{"issuer":`+text+`}`)
		found := false
		for _, p := range res.Problems {
			found = found || p.Pointer == want
		}
		if !found {
			t.Errorf("%s: %v, want one at %s", text, res.Problems, want)
		}
		if strings.Contains(fmt.Sprintf("%v %#v", res.Problems, res.Problems), secret) {
			t.Errorf("%s: the secret is in the problem: %v", text, res.Problems)
		}
	}
	for text, want := range map[string]string{
		`{"module":"acme","challenges":{"http":{"disabled":true},"tls-alpn":{"disabled":true}}}`: "/issuer/challenges",
		`{"module":"acme","ca":"https://acme.zerossl.com/v2/DV90"}`:                              "/issuer/email",
		`{"module":"acme","external_account":{"key_id":"a","mac_key":"not base64!"}}`:            "/issuer/external_account/mac_key",
	} {
		res := w.build(t, `{"issuer":`+text+`}`)
		if len(res.Problems) > 0 || len(res.Warnings) != 1 || res.Warnings[0].Pointer != want || strings.Contains(res.Warnings[0].Message, "base64!") {
			t.Errorf("%s: problems %v, warnings %v, want one at %s", text, res.Problems, res.Warnings, want)
		}
	}
}

// assembly is what the words of an issuer ask of a site.
type assembly struct {
	module.Assembly
	table *module.Table
}

func (a assembly) Table() *module.Table { return a.table }

func (assembly) Placed(*config.Node, caddyfile.Token) {}

func read(t *testing.T, namespace, text string) (string, error) {
	t.Helper()
	tokens, err := caddyfile.Lex(text, &caddyfile.Origin{File: "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	d := caddyfile.NewDispenser(tokens)
	d.Next()
	inline := issuance.InlineKey
	if namespace == dnsproviders.Namespace {
		inline = dnsproviders.InlineKey
	}
	n, err := (&module.Use{Assembly: assembly{table: table(t)}}).Module(d, namespace, inline)
	if err != nil {
		return "", err
	}
	return string(n.AppendJSON(nil)), nil
}

func TestWords(t *testing.T) {
	t.Parallel()
	const rfc2136 = `{"name":"rfc2136","server":"ns:53","key_name":"n","key_alg":"hmac-sha256","key":"AA=="}`
	const rfc2136Words = "rfc2136 {\nkey_name n\nkey_alg hmac-sha256\nkey AA==\nserver ns:53\n}"
	for text, want := range map[string]string{
		"acme":                           `{"module":"acme"}`,
		"acme https://ca.test/d":         `{"module":"acme","ca":"https://ca.test/d"}`,
		"acme {\ndir https://ca.test\n}": `{"module":"acme","ca":"https://ca.test"}`,
		"acme {\ntest_dir https://t\nemail a@b\nprofile short\ntimeout 1m\nlifetime 2d\n}": `{"module":"acme","test_ca":"https://t","email":"a@b","profile":"short","acme_timeout":60000000000,"certificate_lifetime":172800000000000}`,
		"acme {\ndisable_http_challenge\ndisable_tlsalpn_challenge\n}":                     `{"module":"acme","challenges":{"http":{"disabled":true},"tls-alpn":{"disabled":true}}}`,
		"acme {\nalt_http_port 81\nalt_tlsalpn_port 444\ndistributed false\n}":             `{"module":"acme","challenges":{"http":{"alternate_port":81},"tls-alpn":{"alternate_port":444},"distributed":false}}`,
		"acme {\neab kid mac\ntrusted_roots a.pem b.pem\n}":                                `{"module":"acme","external_account":{"key_id":"kid","mac_key":"mac"},"trusted_roots_pem_files":["a.pem","b.pem"]}`,
		"acme {\ndns\n}":                      `{"module":"acme","challenges":{"dns":{}}}`,
		"acme {\ndns " + rfc2136Words + "\n}": `{"module":"acme","challenges":{"dns":{"provider":` + rfc2136 + `}}}`,
		"acme {\ndns " + rfc2136Words + "\npropagation_delay 1s\npropagation_timeout -1\ndns_ttl 2m\nresolvers r1 r2\ndns_challenge_override_domain o.test\n}": `{"module":"acme","challenges":{"dns":{"provider":` + rfc2136 + `,"ttl":120000000000,"propagation_delay":1000000000,"propagation_timeout":-1,"resolvers":["r1","r2"],"override_domain":"o.test"}}}`,
		"acme {\npropagation_timeout -1\n}":                            `{"module":"acme","challenges":{"dns":{"propagation_timeout":-1}}}`,
		"acme {\npropagation_timeout 3m\n}":                            `{"module":"acme","challenges":{"dns":{"propagation_timeout":180000000000}}}`,
		"acme {\npreferred_chains smallest\n}":                         `{"module":"acme","preferred_chains":{"smallest":true}}`,
		"acme {\npreferred_chains {\nroot_common_name \"A B\" C\n}\n}": `{"module":"acme","preferred_chains":{"root_common_name":["A B","C"]}}`,
		"acme {\npreferred_chains {\nany_common_name A\n}\n}":          `{"module":"acme","preferred_chains":{"any_common_name":["A"]}}`,
		"internal": `{"module":"internal"}`,
		"internal {\nca corp\nlifetime 12h\nsign_with_root\n}": `{"module":"internal","ca":"corp","lifetime":43200000000000,"sign_with_root":true}`,
		"zerossl key": `{"module":"zerossl","api_key":"key"}`,
		"zerossl key {\nvalidity_days 30\nalt_http_port 81\ndns " + rfc2136Words + "\npropagation_delay 1s\npropagation_timeout -1\nresolvers r\ndns_ttl 1m\n}": `{"module":"zerossl","api_key":"key","validity_days":30,"alternate_http_port":81,"cname_validation":{"provider":` + rfc2136 + `,"ttl":60000000000,"propagation_delay":1000000000,"propagation_timeout":-1,"resolvers":["r"]}}`,
	} {
		got, err := read(t, issuance.Namespace, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got != want && !sameJSON(t, got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", text, got, want)
		}
	}
	if got, err := read(t, dnsproviders.Namespace, rfc2136Words); err != nil || !sameJSON(t, got, rfc2136) {
		t.Errorf("%s %v", got, err)
	}
	for text, want := range map[string]string{
		"acme a b":                                     "wrong argument count",
		"acme https://a {\ndir https://b\n}":           "already",
		"acme {\nnope\n}":                              "unrecognized ACME issuer property: nope",
		"acme {\nemail\n}":                             "wrong argument count",
		"acme {\ndistributed true\n}":                  "false",
		"acme {\nlifetime -1h\n}":                      "lifetime",
		"acme {\nlifetime x\n}":                        "lifetime",
		"acme {\neab kid\n}":                           "wrong argument count",
		"acme {\ndns nope\n}":                          "getting module named 'dns.providers.nope': module not registered: dns.providers.nope",
		"acme {\npropagation_timeout x\n}":             "propagation_timeout",
		"acme {\npreferred_chains\n}":                  "No options for preferred_chains received",
		"acme {\npreferred_chains nope\n}":             "nope",
		"acme {\npreferred_chains smallest {\nx\n}\n}": "No more options",
		"acme {\npreferred_chains {\nnope\n}\n}":       "nope",
		"acme {\npreferred_chains {\nany_common_name a\nroot_common_name b\n}\n}": "exclude",
		"internal x":           "wrong argument count",
		"internal {\nnope\n}":  "nope",
		"zerossl":              "wrong argument count",
		"zerossl a b":          "wrong argument count",
		"zerossl a {\nnope\n}": "nope",
		"zerossl a {\ndns_challenge_override_domain x\n}": "dns_challenge_override_domain",
		"zerossl a {\ndns rfc2136 x\n}":                   "wrong argument count",
	} {
		got, err := read(t, issuance.Namespace, text)
		if err == nil {
			t.Errorf("%s is taken: %s", text, got)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%s: %v, want %s and a place", text, err, want)
		}
	}
}
