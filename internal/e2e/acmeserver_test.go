package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/internal/acmetest"
)

// One server is the certificate authority of another: it checks names in DNS, keeps to its policy through edits, and goes on
// after it was killed.
func TestACMEServer(t *testing.T) {
	t.Parallel()
	const first, second, denied = "one.sluice.test", "two.sluice.test", "secret.sluice.test"
	d := acmetest.StartDNS(t)
	authority := newPlace(t)
	handler := object{"handler": "acme_server", "lifetime": "2h", "resolvers": []string{d.Address}, "challenges": []string{"dns-01"},
		"policy": object{"allow": object{"domains": []string{"*.sluice.test"}}, "deny": object{"domains": []string{denied}}}}
	authority.start(authority.config(object{"@id": "acme", "match": []any{object{"host": []string{"127.0.0.1"}}}, "handle": []any{handler}}))
	var info struct {
		Root string `json:"root_certificate"`
	}
	if err := json.Unmarshal([]byte(authority.get("/pki/ca/local")), &info); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, []byte(info.Root), 0o600); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(info.Root)) {
		t.Fatal("no root")
	}

	client := newPlace(t)
	issuer := object{"module": "acme", "ca": "https://" + authority.https + "/acme/local/directory", "trusted_roots_pem_files": []string{root},
		"challenges": object{"dns": object{"resolvers": []string{d.Address}, "propagation_delay": "0s",
			"provider": object{"name": "rfc2136", "server": d.Address, "key_name": d.KeyName, "key_alg": d.KeyAlg, "key": d.Key}}}}
	client.start(client.automated([]any{object{"issuers": []any{issuer}}}, helloRoute("hello", first)))
	visit := func(host string) {
		t.Helper()
		v := client.visitor("HTTP/2.0", &tls.Config{RootCAs: pool})
		within(t, 2*fifteen, host, func() error {
			p, err := v.visit(client, host)
			if err != nil {
				return err
			}
			leaf := p.TLS.PeerCertificates[0]
			if left := time.Until(leaf.NotAfter); left > 121*time.Minute || left < time.Hour {
				return fmt.Errorf("valid for %s", left)
			}
			return nil
		})
	}
	visit(first)

	// An edit of the server and its sudden end are nothing to its clients.
	authority.e.do("PATCH", "/id/acme/handle/0/lifetime", "1h59m")
	authority.kill()
	authority.start(nil)
	client.e.do("PATCH", streamRoutes+"/0/match/0/host", []string{first, second, denied})
	visit(second)
	within(t, 2*fifteen, "the refusal", func() error {
		if c := client.certificates()[denied]; !strings.Contains(c.LastError, "rejectedIdentifier") {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	for _, x := range []*secured{authority, client} {
		if log := x.s.log.String(); strings.Contains(log, "PRIVATE KEY") || strings.Contains(log, "panic") {
			t.Errorf("the log has what it should not have")
		}
	}
	within(t, fifteen, "the log", func() error { // since the restart
		for line := range strings.Lines(authority.s.log.String()) {
			var entry struct{ Msg, Account, Names string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "certificate issued" && entry.Names == second && entry.Account != "" {
				return nil
			}
		}
		return errors.New("it does not say that a certificate was issued")
	})
}
