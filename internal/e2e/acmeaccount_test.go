package e2e

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluiceproxy/sluice/internal/acmetest"
)

// An issuer without an e-mail address has an account without one: it takes neither that of another issuer, nor what a crash has
// left of an account for an address.
func TestACMEAccountWithoutEmail(t *testing.T) {
	t.Parallel()
	const with, without = "with.example.com", "without.example.com"
	c := newCertified(t, acmetest.Options{})
	second := acmetest.Start(t, acmetest.Options{HTTPPort: c.ca.HTTPPort, TLSPort: c.ca.TLSPort})
	c.others = []*acmetest.CA{second}
	first := object{"subjects": []string{with}, "issuers": []any{issuerOf(c.ca, object{"email": "Ops@example.com"})}}
	c.start(c.automated([]any{first}, helloRoute("hello", with)))
	c.serves(fifteen, "hello", with)
	account := func(ca *acmetest.CA, name string) string {
		u, err := url.Parse(ca.Directory)
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(c.h.dir, ".local/share/sluice/acme/127.0.0.1-"+u.Port()+"-dir/users", name)
	}
	if _, err := os.Stat(account(c.ca, "ops@example.com/ops.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(account(second, "default"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.mustLoad(c.automated([]any{first, object{"issuers": []any{issuerOf(second, nil)}}}, helloRoute("hello", with, without)))
	c.serves(fifteen, "hello", without)
	if _, err := os.Stat(account(second, "default/default.json")); err != nil {
		t.Error(err)
	}
	c.noSecrets()
}
