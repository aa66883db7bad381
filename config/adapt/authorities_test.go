package adapt_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
)

// wanted is a certificate authority that a directive needs.
type wanted struct {
	id string
	at caddyfile.Token
}

// Authority implements what Add knows of.
func (w wanted) Authority() (string, caddyfile.Token) { return w.id, w.at }

// TestAuthoritiesAndRefusals: a directive can ask for an authority of the app
// pki, and one that is known but refused says why.
func TestAuthoritiesAndRefusals(t *testing.T) {
	table, err := module.NewTable(standard.Specs(), standard.Refused())
	if err != nil {
		t.Fatal(err)
	}
	a := adapt.New(table, adapt.Words{Order: standard.DirectiveOrder(), Refused: map[string]string{"later": "it comes later"},
		Directives: []module.Directive{{Name: "wants", Read: func(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
			d.NextArg()
			u.Add(wanted{d.Val(), u.Token})
			return nil, nil
		}}}})
	for text, want := range map[string]string{
		":80 {\n\twants lab\n}\n": `"pki":{"certificate_authorities":{"lab":{}}}`,
		"{\n\tskip_install_trust\n\tpki {\n\t\tca lab {\n\t\t\tname Lab\n\t\t}\n\t}\n}\n:80 {\n\twants lab\n\twants two\n}\n": `"pki":{"certificate_authorities":{"lab":{"install_trust":false,"name":"Lab"},"two":{"install_trust":false}}}`,
	} {
		doc, err := a.Adapt(adapt.Source{Text: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(doc.Root.AppendJSON(nil)); !strings.Contains(got, want) {
			t.Errorf("%s: %s\nlacks %s", text, got, want)
		}
	}
	_, err = a.Adapt(adapt.Source{Text: []byte(":80 {\n\tlater\n}\n")})
	if err == nil || !strings.Contains(err.Error(), "directive 'later' is not supported yet: it comes later, at Caddyfile:2") {
		t.Errorf("got %v", err)
	}
}
