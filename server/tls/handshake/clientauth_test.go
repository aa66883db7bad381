package handshake_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

func derOf(c tls.Certificate) string { return base64.StdEncoding.EncodeToString(c.Certificate[0]) }

func pemOf(list ...tls.Certificate) string {
	var b strings.Builder
	for _, c := range list {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
	}
	return b.String()
}

func write(t testing.TB, text string, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestClientAuth(t *testing.T) {
	s := newSite(t)
	ca, otherCA := trusttest.New(t), trusttest.New(t)
	alice, bob, eve := ca.Issue("alice"), ca.Issue("bob"), otherCA.Issue("eve")
	inline := `"ca":{"provider":"inline","trusted_ca_certs":["` + ca.DER() + `"]}`
	leaf := func(c tls.Certificate) string {
		return `"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[{"loader":"pem","certificates":["` + derOf(c) + `"]}]}]`
	}
	file := ca.File()
	// Whether a client without a certificate, alice, bob and eve get in.
	for _, tt := range []struct {
		auth string
		want string
	}{
		{`{}`, "none alice bob eve"},
		{`{` + inline + `}`, "alice bob"},
		{`{"mode":"require_and_verify",` + inline + `}`, "alice bob"},
		{`{"mode":"verify_if_given",` + inline + `}`, "none alice bob"},
		{`{"mode":"require",` + inline + `}`, "alice bob eve"},
		{`{"mode":"request",` + inline + `}`, "none alice bob eve"},
		{`{"mode":"require"}`, "alice bob eve"},
		{`{"mode":"request"}`, "none alice bob eve"},
		{`{"mode":"require_and_verify"}`, ""}, // asks whom the system trusts
		{`{"mode":"verify_if_given"}`, "none"},
		{`{"trusted_ca_certs":["` + ca.DER() + `"]}`, "alice bob"},
		{`{"trusted_ca_certs_pem_files":["` + file + `"]}`, "alice bob"},
		{`{"trusted_ca_certs_pem_files":["` + file + `"],"trusted_ca_certs":["` + otherCA.DER() + `"]}`, "alice bob eve"},
		{`{"ca":{"provider":"file","pem_files":["` + file + `"]}}`, "alice bob"},
		{`{"ca":{"provider":"combined","sources":[{"provider":"file","pem_files":["` + file + `"]},{"provider":"inline","trusted_ca_certs":["` + otherCA.DER() + `"]}]}}`, "alice bob eve"},
		{`{"ca":{"provider":"system"}}`, ""},
		{`{` + leaf(alice) + `}`, "alice"}, // the mode is require
		{`{` + inline + `,` + leaf(alice) + `}`, "alice"},
		{`{` + inline + `,` + leaf(eve) + `}`, ""},
		{`{"mode":"request",` + leaf(bob) + `}`, "bob"},
		{`{"mode":"verify_if_given",` + inline + `,` + leaf(bob) + `}`, "bob"},
		{`{` + inline + `,"trusted_leaf_certs":["` + derOf(bob) + `","` + derOf(eve) + `"]}`, "bob"},
		{`{"mode":"require","trusted_leaf_certs":["` + derOf(bob) + `","` + derOf(eve) + `"]}`, "bob eve"},
		{`{"trusted_leaf_certs":["` + derOf(bob) + `"]}`, ""}, // require_and_verify, by whom the system trusts
		{`{` + inline + `,"trusted_leaf_certs":["` + derOf(bob) + `"],` + leaf(alice) + `}`, ""},
	} {
		s.policy(`{"client_authentication":` + tt.auth + `}`)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			var got []string
			for name, list := range map[string][]tls.Certificate{"none": nil, "alice": {alice}, "bob": {bob}, "eve": {eve}} {
				c := s.client("a.test")
				c.MaxVersion = version
				if list != nil {
					c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &list[0], nil }
				}
				if o := s.shake(c); o.ok() {
					got = append(got, name)
				}
			}
			want := strings.Fields(tt.want)
			if len(got) != len(want) || !sameSet(got, want) {
				t.Errorf("%s, %s: in are %v, want %v", tt.auth, tls.VersionName(version), got, want)
			}
		}
		if active := tt.auth != `{}`; s.policies().NeedsStrictSNI() != active {
			t.Errorf("%s: strict SNI %v", tt.auth, !active)
		}
	}
	if s.policy(`{"client_authentication":{"trusted_leaf_certs":["` + derOf(bob) + `"]}}`); len(s.warned) != 1 {
		t.Errorf("leaves that the system must trust: %v", s.warned)
	}
	s.load(`{"policies":[{"match":{"sni":["a.test"]},"client_authentication":{"mode":"require"}},{}]}`)
	if !s.policies().NeedsStrictSNI() {
		t.Error("strict SNI is not needed with one policy of two")
	}
	if s.load(`{"policies":[{"match":{"sni":["a.test"]}},{}]}`); s.policies().NeedsStrictSNI() {
		t.Error("strict SNI is needed without client authentication")
	}
}

func sameSet(a, b []string) bool {
	seen := map[string]bool{}
	for _, x := range a {
		seen[x] = true
	}
	for _, x := range b {
		if !seen[x] {
			return false
		}
	}
	return true
}

func TestLeafLoaders(t *testing.T) {
	s := newSite(t)
	dir, stored := t.TempDir(), t.TempDir()
	s.vars["env.DIR"] = dir
	ca := trusttest.New(t)
	alice, bob, carol, dave := ca.Issue("alice"), ca.Issue("bob"), ca.Issue("carol"), ca.Issue("dave")
	write(t, pemOf(alice, bob), dir, "two.pem")
	write(t, pemOf(bob), dir, "folder", "b.pem")
	write(t, pemOf(carol), dir, "folder", "deep", "er", "c.PEM")
	write(t, "not a certificate", dir, "folder", "d.txt")
	write(t, pemOf(dave), stored, "clients", "d.pem")
	write(t, pemOf(carol), dir, "document", "clients", "c.pem")
	s.storage.Use(&certmagic.FileStorage{Path: filepath.Join(dir, "document")})
	for loaders, want := range map[string]string{
		`{"loader":"file","files":["` + dir + `/two.pem"]}`:                                                                "alice bob",
		`{"loader":"file","files":["{env.DIR}/two.pem","` + dir + `/folder/deep/er/c.PEM"]}`:                               "alice bob carol",
		`{"loader":"folder","folders":["{env.DIR}/folder"]}`:                                                               "bob carol",
		`{"loader":"pem","certificates":[` + quote(pemOf(alice, dave)) + `,"` + derOf(bob) + `"]}`:                         "alice bob dave",
		`{"loader":"storage","certificates":["clients/d.pem"],"storage":{"module":"file_system","root":"` + stored + `"}}`: "dave",
		`{"loader":"storage","certificates":["clients/c.pem"]}`:                                                            "carol",
		`{"loader":"storage","certificates":["clients/none.pem"]},{"loader":"pem","certificates":["` + derOf(bob) + `"]}`:  "bob",
		`{"loader":"file","files":["` + dir + `/two.pem"]},{"loader":"folder","folders":["` + dir + `/folder/deep"]}`:      "alice bob carol",
		`{"loader":"pem"}`: "",
		``:                 "",
	} {
		s.policy(`{"client_authentication":{"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[` + loaders + `]}]}}`)
		var got []string
		for name, c := range map[string]tls.Certificate{"alice": alice, "bob": bob, "carol": carol, "dave": dave} {
			if o := s.shake(s.client("a.test", c)); o.ok() {
				got = append(got, name)
			}
		}
		if fields := strings.Fields(want); len(fields) != len(got) || !sameSet(got, fields) {
			t.Errorf("%s: in are %v, want %s", loaders, got, want)
		}
	}
	// Another storage of the document is looked at without a change of the policy.
	s.policy(`{"client_authentication":{"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[{"loader":"storage","certificates":["clients/d.pem"]}]}]}}`)
	if o := s.shake(s.client("a.test", dave)); o.ok() || !strings.Contains(fmt.Sprint(o.serverErr), "clients/d.pem") {
		t.Errorf("a certificate that cannot be loaded: %v", o.serverErr)
	}
	s.storage.Use(&certmagic.FileStorage{Path: stored})
	if o := s.shake(s.client("a.test", dave)); !o.ok() {
		t.Errorf("from the storage of now: %v", o.serverErr)
	}
	if err := (&certmagic.FileStorage{Path: stored}).Delete(context.Background(), "clients"); err != nil {
		t.Fatal(err)
	}
	if o := s.shake(s.client("a.test", dave)); !o.ok() {
		t.Errorf("loaded once: %v", o.serverErr)
	}
	// A storage that is named is looked at before the document is put to use.
	res := s.try(`{"policies":[{"client_authentication":{"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[{"loader":"storage","certificates":["x"],"storage":{"module":"file_system","root":"`+stored+`"}}]}]}}]}`, module.Options{})
	failed := false
	for _, b := range res.New {
		for _, r := range b.Owned() {
			failed = failed || r.Prepare() != nil
		}
	}
	if len(res.Problems) > 0 || !failed {
		t.Errorf("a key that is not in the storage: %v", res.Problems)
	}
}

// A forced load sees that a file has changed; a policy that has not changed is not made again.
func TestFilesAreInputs(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	ca := trusttest.New(t)
	alice, bob := ca.Issue("alice"), ca.Issue("bob")
	write(t, pemOf(alice), dir, "a.pem")
	doc := `{"policies":[{"client_authentication":{"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[{"loader":"folder","folders":["` + dir + `"]}]}]}},{"alpn":["x"]}]}`
	s.load(doc)
	write(t, pemOf(bob), dir, "a.pem")
	s.load(doc)
	if o := s.shake(s.client("a.test", alice)); !o.ok() {
		t.Errorf("an ordinary load has read the file again: %v", o.serverErr)
	}
	res := s.reload(doc, module.Options{Force: true})
	if o := s.shake(s.client("a.test", bob)); !o.ok() {
		t.Errorf("a forced load has not read the file again: %v", o.serverErr)
	}
	// The loader, the verifier, the policy, the list and the document; not the other policy.
	if len(res.New) != 5 {
		t.Errorf("%d modules were made", len(res.New))
	}
}

// A certificate authority that asks for the answer to a challenge shows no certificate; nobody else gets in like that.
func TestChallengeNeedsNoCertificate(t *testing.T) {
	s := newSite(t)
	s.policy(`{"client_authentication":{"mode":"require"}}`)
	h := hello("a.test")
	for _, tt := range []struct {
		name      string
		protocols []string
		want      tls.ClientAuthType
	}{
		{"a.test", []string{"acme-tls/1"}, tls.NoClientCert},
		{"a.test", []string{"acme-tls/1", "h2"}, tls.RequireAnyClientCert},
		{"a.test", []string{"h2"}, tls.RequireAnyClientCert},
		{"a.test", nil, tls.RequireAnyClientCert},
		{"", []string{"acme-tls/1"}, tls.RequireAnyClientCert},
	} {
		h.ServerName, h.SupportedProtos = tt.name, tt.protocols
		c, err := s.bound.ConfigForClient(h)
		if err != nil || c.ClientAuth != tt.want {
			t.Errorf("%q, %v: %v, %v", tt.name, tt.protocols, c.ClientAuth, err)
		} else if tt.want == tls.NoClientCert && (len(c.NextProtos) != 1 || !c.SessionTicketsDisabled) {
			t.Errorf("the config for challenges is good for other things: %v", c.NextProtos)
		}
	}
	c := s.client("a.test")
	c.NextProtos = []string{"acme-tls/1"}
	if o := s.shake(c); o.ok() || !strings.Contains(fmt.Sprint(o.serverErr), "challenge") {
		t.Errorf("without a challenge: %v", o.serverErr)
	}
	s.policy(`{"drop":true,"client_authentication":{"mode":"require"}}`)
	if _, err := s.bound.ConfigForClient(h); err == nil {
		t.Error("a policy that drops lets challenges in")
	}
}
