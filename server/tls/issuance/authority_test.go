package issuance_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/internal/acmetest"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// An issuer that names no authority asks the one of the process, and one that names its own asks that.
func TestAuthorityOfTheProcess(t *testing.T) {
	t.Parallel()
	ca, other := acmetest.Start(t, acmetest.Options{}), acmetest.Start(t, acmetest.Options{})
	roots, err := os.ReadFile(ca.RootsFile)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := issuance.NewAuthority(ca.Directory, roots)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		config string
		asked  *acmetest.CA
	}{
		{fmt.Sprintf(`{"module":"acme","email":"ops@example.test",%s}}}`, ports(ca, "")), ca},
		{acmeJSON(other, ports(other, "")+"}}"), other},
	} {
		own := newWorld(t, nil).issuer(t, tt.config)
		full, err := own.With(issuance.Defaults{Authority: authority})
		if err != nil {
			t.Fatal(err)
		}
		if same := own.Key() == full.Key(); same != (tt.asked == other) {
			t.Errorf("%s is called %s, and then %s", tt.config, own.Key(), full.Key())
		}
		verify(t, newSite(t, full, nil).obtain(t, "somewhere.test"), tt.asked.IssuedRoots(), "somewhere.test")
		if again, err := own.With(issuance.Defaults{}); err != nil || again.Key() != own.Key() {
			t.Errorf("%v: the issuer itself has changed", err)
		}
	}
	if ca.Issued() != 1 || other.Issued() != 1 {
		t.Errorf("%d and %d certificates", ca.Issued(), other.Issued())
	}
}

func TestAuthorityRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ directory, roots, want string }{
		{"http://ca.example/directory", "", "over https"},
		{"ftp://localhost/", "", "over https"},
		{"https://", "", "no URL"},
		{"https://ca.example/directory", "no PEM", "want a file in PEM"},
	} {
		var roots []byte
		if tt.roots != "" {
			roots = []byte(tt.roots)
		}
		if _, err := issuance.NewAuthority(tt.directory, roots); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.directory, err, tt.want)
		}
	}
}
