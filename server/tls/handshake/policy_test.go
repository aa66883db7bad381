package handshake_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
)

func TestVersionsSuitesCurves(t *testing.T) {
	s := newSite(t)
	v12 := func(suites ...uint16) *tls.Config {
		c := s.client("a.test")
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, suites
		return c
	}
	curve := func(id tls.CurveID) *tls.Config {
		c := s.client("a.test")
		c.CurvePreferences = []tls.CurveID{id}
		return c
	}
	const cbc, gcm, chacha = tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
	v11 := v12()
	v11.MinVersion, v11.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	for _, tt := range []struct {
		name, policy string
		client       *tls.Config
		want         bool
		check        func(o outcome) bool
	}{
		{"default", `{}`, s.client("a.test"), true, func(o outcome) bool {
			return o.server.Version == tls.VersionTLS13 && o.server.CurveID == tls.X25519MLKEM768
		}},
		{"1.2", `{}`, v12(), true, func(o outcome) bool { return o.server.Version == tls.VersionTLS12 }},
		{"1.1", `{}`, v11, false, nil},
		{"min", `{"protocol_min":"tls1.3"}`, v12(), false, nil},
		{"min and max", `{"protocol_min":"tls1.2","protocol_max":"tls1.2"}`, s.client("a.test"), true, func(o outcome) bool { return o.server.Version == tls.VersionTLS12 }},
		{"default suite", `{}`, v12(chacha), true, func(o outcome) bool { return o.server.CipherSuite == chacha }},
		{"no CBC by default", `{}`, v12(cbc), false, nil},
		{"CBC", `{"cipher_suites":["TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"]}`, v12(cbc), true, nil},
		{"only CBC", `{"cipher_suites":["TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"]}`, v12(gcm), false, nil},
		{"suites of 1.3 stay", `{"cipher_suites":["TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"]}`, s.client("a.test"), true, nil},
		{"no P-384 by default", `{}`, curve(tls.CurveP384), false, nil},
		{"P-256 by default", `{}`, curve(tls.CurveP256), true, nil},
		{"x25519 by default", `{}`, curve(tls.X25519), true, nil},
		{"P-384", `{"curves":["secp384r1"]}`, curve(tls.CurveP384), true, func(o outcome) bool { return o.server.CurveID == tls.CurveP384 }},
		{"P-521", `{"curves":["secp384r1","secp521r1"]}`, curve(tls.CurveP521), true, nil},
		{"not P-256", `{"curves":["x25519"]}`, curve(tls.CurveP256), false, nil},
		{"ML-KEM alone", `{"curves":["x25519mlkem768"]}`, curve(tls.X25519), false, nil},
		{"dropped", `{"drop":true}`, s.client("a.test"), false, nil},
		{"no match", `{"match":{"sni":["z.test"]}}`, s.client("a.test"), false, nil},
	} {
		s.policy(tt.policy)
		o := s.shake(tt.client)
		if o.ok() != tt.want {
			t.Errorf("%s: %v, %v", tt.name, o.serverErr, o.clientErr)
		} else if tt.check != nil && !tt.check(o) {
			t.Errorf("%s: %#x %#x %v", tt.name, o.server.Version, o.server.CipherSuite, o.server.CurveID)
		}
	}
}

func TestALPN(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct{ policy, spoken, offered, want string }{
		{`{}`, "h2 http/1.1", "h2 http/1.1", "h2"},
		{`{}`, "http/1.1", "h2 http/1.1", "http/1.1"},
		{`{}`, "h2", "h2 http/1.1", "h2"},
		{`{}`, "h2 http/1.1", "acme-tls/1 x", "acme-tls/1"},
		{`{}`, "", "acme-tls/1 x", "acme-tls/1"},
		{`{}`, "h2 http/1.1", "", ""},
		{`{"alpn":["http/1.1"]}`, "h2 http/1.1", "h2 http/1.1", "http/1.1"},
		{`{"alpn":["http/1.1","h2"]}`, "h2 http/1.1", "h2 http/1.1", "http/1.1"},
		{`{"alpn":["http/1.1","h2"]}`, "h2", "h2 http/1.1", "h2"},
		{`{"alpn":["http/1.1"]}`, "h2 http/1.1", "acme-tls/1 h2", "acme-tls/1"},
		{`{"alpn":["acme-tls/1","foo"]}`, "h2", "acme-tls/1 foo", "foo"},
	} {
		s.policy(tt.policy)
		s.bind(strings.Fields(tt.spoken)...)
		c := s.client("a.test")
		c.NextProtos = strings.Fields(tt.offered)
		near, far := connection(t)
		// What offers acme-tls/1 alone asks for the challenge, which there is none of, so it is never offered alone here.
		o := shake(t, near, far, &tls.Config{GetConfigForClient: s.bound.ConfigForClient}, c)
		if !o.ok() || o.client.NegotiatedProtocol != tt.want {
			t.Errorf("%s at %q for %q: %q, %v, %v", tt.policy, tt.spoken, tt.offered, o.client.NegotiatedProtocol, o.serverErr, o.clientErr)
		}
	}
	s.policy(`{"alpn":["h2"]}`)
	c := s.client("a.test")
	c.NextProtos = []string{"imap"}
	if o := s.shake(c); o.ok() {
		t.Error("a protocol that is not offered is spoken")
	}
}

func TestDefaultAndFallback(t *testing.T) {
	s := newSite(t)
	s.source.add(t, s.ca.Issue("other.test"))
	for _, tt := range []struct{ policy, sni, want, asked string }{
		{`{}`, "", "", ""},
		{`{}`, "nobody.test", "", "nobody.test"},
		{`{}`, "other.test", "other.test", "other.test"},
		{`{"default_sni":"other.test"}`, "", "other.test", "other.test"},
		{`{"default_sni":"other.test"}`, "a.test", "a.test", "a.test"},
		{`{"default_sni":"other.test"}`, "nobody.test", "", "nobody.test"},
		{`{"fallback_sni":"other.test"}`, "nobody.test", "other.test", "nobody.test"},
		{`{"fallback_sni":"other.test"}`, "", "other.test", ""},
		{`{"default_sni":"x.c.test","fallback_sni":"other.test"}`, "", "other.test", "x.c.test"},
		{`{"default_sni":"*.c.test","fallback_sni":"other.test"}`, "", "a.test", "*.c.test"},
	} {
		s.policy(tt.policy)
		s.source.record, s.source.asked = true, nil
		c := s.client(tt.sni)
		c.InsecureSkipVerify = true
		o := s.shake(c)
		got := ""
		if o.ok() {
			got = leafOf(o).Subject.CommonName
		}
		if got != tt.want || len(s.source.asked) != 1 || s.source.asked[0] != tt.asked {
			t.Errorf("%s for %q: %q (%v), asked %q", tt.policy, tt.sni, got, o.serverErr, s.source.asked)
		}
	}
	// A certificate for the address goes before that for the default name.
	s.source.add(t, s.ca.Issue("address", "127.0.0.1"))
	s.policy(`{"default_sni":"other.test"}`)
	if o := s.shake(s.client("")); !o.ok() || leafOf(o).Subject.CommonName != "address" {
		t.Errorf("no name, but a certificate for the address: %v", o.serverErr)
	}
}

// selfSigned makes a self-signed certificate.
func selfSigned(t *testing.T, serial int64, organization string, key crypto.Signer, expired bool, names ...string) tls.Certificate {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprint(serial)}, DNSNames: names, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if organization != "" {
		c.Subject.Organization = []string{"Group", organization}
	}
	if expired {
		c.NotAfter = time.Now().Add(-time.Hour)
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

func TestSelection(t *testing.T) {
	s := newSite(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.source.add(t, selfSigned(t, 1, "A", ec, true, "s.test"), "old", "x")
	s.source.add(t, selfSigned(t, 2, "A", ec, false, "s.test"), "x", "y")
	s.source.add(t, selfSigned(t, 3, "B", rs, false, "s.test"), "y", "z")
	s.source.add(t, selfSigned(t, 4, "C", ed, false, "s.test"), "z")
	s.source.add(t, selfSigned(t, 5, "C", ec, false, "only.test"), "elsewhere")
	for _, tt := range []struct {
		selection, sni string
		want           []string // any of them; none if the handshake fails
	}{
		{`{"serial_number":["3"]}`, "s.test", []string{"3"}},
		{`{"serial_number":["77","4"]}`, "s.test", []string{"4"}},
		{`{"serial_number":["1"]}`, "s.test", []string{"1"}},
		{`{"subject_organization":["A"]}`, "s.test", []string{"2"}}, // and not 1, which has expired
		{`{"subject_organization":["Group"],"public_key_algorithm":"rsa"}`, "s.test", []string{"3"}},
		{`{"public_key_algorithm":"ecdsa"}`, "s.test", []string{"2"}},
		{`{"public_key_algorithm":"dsa"}`, "s.test", nil},
		{`{"any_tag":["y"]}`, "s.test", []string{"2", "3"}},
		{`{"any_tag":["old","elsewhere"]}`, "s.test", []string{"1"}},
		{`{"all_tags":["y","z"]}`, "s.test", []string{"3"}},
		{`{"all_tags":["x","y","z"]}`, "s.test", nil},
		{`{"any_tag":["y"],"all_tags":["z"],"subject_organization":["A"]}`, "s.test", nil},
		{`{"any_tag":["elsewhere"]}`, "nobody.test", []string{"5"}},
		{`{}`, "s.test", []string{"2", "3", "4"}},
	} {
		s.policy(`{"certificate_selection":` + tt.selection + `}`)
		c := s.client(tt.sni)
		c.InsecureSkipVerify = true
		o := s.shake(c)
		if len(tt.want) == 0 {
			if o.ok() {
				t.Errorf("%s: %s", tt.selection, leafOf(o).Subject)
			}
			continue
		}
		if !o.ok() || !slices.Contains(tt.want, leafOf(o).Subject.CommonName) {
			t.Errorf("%s: want %v, got %v, %v", tt.selection, tt.want, o.client.PeerCertificates, o.serverErr)
		}
	}
}

func TestSecretsLog(t *testing.T) {
	s := newSite(t)
	name := filepath.Join(t.TempDir(), "keys.log")
	s.vars["env.LOG"] = name
	if err := os.WriteFile(name, []byte("# before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.policy(`{"insecure_secrets_log":"{env.LOG}"}`)
	if len(s.warned) != 1 || s.warned[0].Pointer != "/policies/0/insecure_secrets_log" {
		t.Errorf("warnings: %v", s.warned)
	}
	if o := s.shake(s.client("a.test")); !o.ok() {
		t.Fatal(o.serverErr, o.clientErr)
	}
	text, err := os.ReadFile(name)
	if err != nil || !strings.HasPrefix(string(text), "# before\n") || !strings.Contains(string(text), "\nCLIENT_HANDSHAKE_TRAFFIC_SECRET ") {
		t.Errorf("%v: %q", err, text)
	}
	old := s.bound
	os.Remove(name)
	s.policy(`{"insecure_secrets_log":"{env.LOG}","alpn":["h2"]}`)
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a new file: %v, %v", info, err)
	}
	// A handshake that outlives its policy goes on.
	s.bound = old
	if o := s.shake(s.client("a.test")); !o.ok() {
		t.Error(o.serverErr, o.clientErr)
	}
	res := s.try(`{"policies":[{"insecure_secrets_log":"/nowhere/at/all"}]}`, module.Options{})
	failed := false
	for _, b := range res.New {
		for _, r := range b.Owned() {
			failed = failed || r.Prepare() != nil
		}
	}
	if len(res.Problems) > 0 || !failed {
		t.Errorf("a log that cannot be opened: %v", res.Problems)
	}
}

func TestProblems(t *testing.T) {
	s := newSite(t)
	der := s.ca.DER()
	for policy, want := range map[string]string{
		`{"cipher_suites":["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256","X"]}`:                            "/cipher_suites/1 unsupported cipher suite: X",
		`{"cipher_suites":["TLS_RSA_WITH_RC4_128_SHA"]}`:                                             "/cipher_suites/0 unsupported cipher suite: TLS_RSA_WITH_RC4_128_SHA",
		`{"curves":["x25519","P256"]}`:                                                               `/curves/1 unknown curve "P256"`,
		`{"alpn":[""]}`:                                                                              "/alpn/0 ",
		`{"alpn":["` + strings.Repeat("x", 256) + `"]}`:                                              "/alpn/0 ",
		`{"protocol_min":"tls1.1"}`:                                                                  "/protocol_min ",
		`{"protocol_max":"ssl3"}`:                                                                    "/protocol_max ",
		`{"protocol_min":"tls1.3","protocol_max":"tls1.2"}`:                                          "/protocol_min protocol min (304) cannot be greater than protocol max (303)",
		`{"match":{"nope":{}}}`:                                                                      "/match/nope ",
		`{"match":{"sni":["a\u0000` + strings.Repeat("ü", 2000) + `"]}}`:                             "/match/sni/0 reading the server name",
		`{"match":{"sni":"a.test"}}`:                                                                 "/match/sni ",
		`{"match":{"sni_regexp":{"pattern":"("}}}`:                                                   "/match/sni_regexp/pattern compiling the regular expression",
		`{"match":{"remote_ip":{"ranges":["10.0.0.0/33"]}}}`:                                         "/match/remote_ip/ranges/0 invalid IP range",
		`{"match":{"remote_ip":{"not_ranges":["x"]}}}`:                                               "/match/remote_ip/not_ranges/0 invalid IP range",
		`{"match":{"local_ip":{"ranges":["::1","x"]}}}`:                                              "/match/local_ip/ranges/1 invalid IP range",
		`{"match":{"local_ip":{"not_ranges":["x"]}}}`:                                                "/match/local_ip/not_ranges ",
		`{"certificate_selection":{"serial_number":["1","0x2"]}}`:                                    `/certificate_selection/serial_number/1 "0x2" is no serial number`,
		`{"certificate_selection":{"serial_number":[1]}}`:                                            "/certificate_selection/serial_number/0 ",
		`{"certificate_selection":{"public_key_algorithm":"rot13"}}`:                                 "/certificate_selection/public_key_algorithm ",
		`{"insecure_secrets_log":"{env.NONE}"}`:                                                      "/insecure_secrets_log expanding",
		`{"handshake_context":{"module":"x"}}`:                                                       "/handshake_context",
		`{"client_authentication":{"mode":"xx"}}`:                                                    "/client_authentication/mode client auth mode not recognized: xx",
		`{"client_authentication":{"trusted_ca_certs":["!"]}}`:                                       "/client_authentication/trusted_ca_certs/0 ",
		`{"client_authentication":{"trusted_leaf_certs":["!"]}}`:                                     "/client_authentication/trusted_leaf_certs/0 ",
		`{"client_authentication":{"trusted_ca_certs_pem_files":["/none"]}}`:                         "/client_authentication/trusted_ca_certs_pem_files/0 ",
		`{"client_authentication":{"ca":{"provider":"system"},"trusted_ca_certs":["` + der + `"]}}`:  "/client_authentication ca excludes",
		`{"client_authentication":{"ca":{"provider":"system"},"trusted_ca_certs_pem_files":["/x"]}}`: "/client_authentication ca excludes",
		`{"client_authentication":{"ca":{"provider":"nope"}}}`:                                       "/client_authentication/ca",
		`{"client_authentication":{"verifiers":[{"verifier":"nope"}]}}`:                              "/client_authentication/verifiers/0",
		`{"client_authentication":{"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[{"loader":"file","files":["/none"]}]}]}}`:      "/client_authentication/verifiers/0/leaf_certs_loaders/0/files/0 ",
		`{"client_authentication":{"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[{"loader":"folder","folders":["/none"]}]}]}}`:  "/client_authentication/verifiers/0/leaf_certs_loaders/0/folders/0 ",
		`{"client_authentication":{"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[{"loader":"pem","certificates":["AAAA"]}]}]}}`: "/client_authentication/verifiers/0/leaf_certs_loaders/0/certificates/0 ",
		`{"nope":1}`: "/nope ",
	} {
		if got := s.problems(policy); !slices.ContainsFunc(got, func(p string) bool { return strings.HasPrefix(p, want) }) {
			t.Errorf("%s: %q, want %q", policy, got, want)
		}
	}
	if s.policy(`{"cipher_suites":["TLS_AES_128_GCM_SHA256"]}`); len(s.warned) != 1 {
		t.Errorf("a suite of TLS 1.3: %v", s.warned)
	}
}

// What was made of a policy is found again after edits of other policies, and by other listeners.
func TestConfigsAreMadeOnce(t *testing.T) {
	s := newSite(t)
	get := func(name string) *tls.Config {
		t.Helper()
		c, err := s.bound.ConfigForClient(hello(name))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s.load(`{"policies":[{"match":{"sni":["b.test"]}},{"match":{"sni":["a.test"]},"default_sni":"a.test"}]}`)
	first := get("a.test")
	if get("a.test") != first {
		t.Error("made twice")
	}
	old := s.bound
	s.load(`{"policies":[{},{"match":{"sni":["b.test"]},"alpn":["x"]},{"match":{"sni":["a.test"]},"default_sni":"a.test"}]}`)
	s.load(`{"policies":[{"match":{"sni":["a.test"]},"default_sni":"a.test"}]}`)
	if get("a.test") != first {
		t.Error("made again after edits of others")
	}
	s.bind("http/1.1")
	if c := get("a.test"); c == first || slices.Contains(c.NextProtos, "h2") {
		t.Error("another listener")
	}
	for i := range 100 {
		s.bind(fmt.Sprint("p", i))
		get("a.test")
	}
	s.bound = old
	if o := s.shake(s.client("a.test")); !o.ok() {
		t.Error(o.serverErr)
	}
	s.policy(`{"match":{"sni":["a.test"]},"default_sni":"b.test"}`)
	if get("a.test") == first {
		t.Error("an edit has no effect")
	}
}

// many is a source with a new config for each name.
type many struct {
	*source
	n int
}

func (m *many) Config(string) *certmagic.Config {
	m.n++
	c := *m.source.config
	c.Logger = zap.NewNop()
	return &c
}

// echSource has keys of Encrypted ClientHello.
type echSource struct {
	*source
	keys []tls.EncryptedClientHelloKey
}

func (e *echSource) ECHKeys(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
	return e.keys, nil
}

func TestSources(t *testing.T) {
	s := newSite(t)
	s.policy(`{"default_sni":"a.test"}`)
	m := &many{source: s.source}
	s.bound = s.policies().Bind(m, nil)
	c, err := s.bound.ConfigForClient(hello("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3000 { // more than are kept
		if cert, err := c.GetCertificate(hello("a.test")); err != nil || cert.Leaf == nil {
			t.Fatal(err)
		}
	}
	if m.n != 3000 {
		t.Errorf("asked %d times", m.n)
	}
	s.bound = s.policies().Bind(&echSource{source: s.source, keys: []tls.EncryptedClientHelloKey{{SendAsRetry: true}}}, nil)
	if c, err = s.bound.ConfigForClient(hello("a.test")); err != nil || c.GetEncryptedClientHelloKeys == nil {
		t.Fatal("no ECH", err)
	}
	if keys, err := c.GetEncryptedClientHelloKeys(nil); err != nil || len(keys) != 1 {
		t.Error(keys, err)
	}
	s.bound = s.policies().Bind(nothing{}, nil)
	if c, err = s.bound.ConfigForClient(hello("a.test")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetCertificate(hello("a.test")); err == nil {
		t.Error("a source without a config has a certificate")
	}
	var _ handshake.ECHSource = &echSource{}
}

type nothing struct{}

func (nothing) Config(string) *certmagic.Config { return nil }

func TestDefaultPolicy(t *testing.T) {
	s := newSite(t)
	s.bound = handshake.NewPolicies(handshake.DefaultPolicy(s.tickets)).Bind(s.source, []string{"h2"})
	c := s.client("a.test")
	c.NextProtos = []string{"h2"}
	if o := s.shake(c); !o.ok() || o.client.NegotiatedProtocol != "h2" {
		t.Error(o.serverErr, o.clientErr)
	}
}

// What the words of a Caddyfile are checked against is what a policy takes.
func TestTables(t *testing.T) {
	s := newSite(t)
	s.policy(`{"curves":` + quote(handshake.Curves()) + `,"cipher_suites":` + quote(handshake.CipherSuites()) + `}`)
	for _, v := range handshake.Protocols() {
		s.policy(`{"protocol_max":"` + v + `"}`)
		if o := s.shake(s.client("a.test")); !o.ok() || strings.ToLower(strings.ReplaceAll(tls.VersionName(o.client.Version), " ", "")) != v {
			t.Errorf("%s: %v", v, o.serverErr)
		}
	}
	names := handshake.Curves()
	names[0] = "changed"
	if handshake.Curves()[0] == "changed" {
		t.Error("the table can be changed")
	}
}
