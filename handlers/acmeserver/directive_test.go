package acmeserver_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirective(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"acme_server", `[{"handle":[{"handler":"acme_server"}]}]`},
		{"acme_server /acme/* {\n\tca lab\n\tlifetime 2d\n\tchallenges http-01\n\tallow {\n\t\tdomains in.example\n\t}\n}",
			`[{"match":[{"path":["/acme/*"]}],"handle":[{"ca":"lab","challenges":["http-01"],"handler":"acme_server","lifetime":172800000000000,"policy":{"allow":{"domains":["in.example"]}}}]}]`},
		{"acme_server {\n\tchallenges\n}", `[{"handle":[{"handler":"acme_server"}]}]`},
		{"acme_server {\n\tchallenges DNS-01 x\n\tchallenges http-01\n\tresolvers 9.9.9.9 tcp/1.1.1.1:53\n\tsign_with_root\n}",
			`[{"handle":[{"handler":"acme_server","challenges":["DNS-01","x","http-01"],"resolvers":["9.9.9.9","tcp/1.1.1.1:53"],"sign_with_root":true}]}]`},
		{"acme_server {\n\tallow_wildcard_names\n\tallow {\n\t\tdomains a b\n\t\tip_ranges 10.0.0.0/8\n\t}\n\tdeny {\n\t\tdomains c\n\t\tip_ranges 10.1.0.0/16 10.2.0.0/16\n\t}\n}",
			`[{"handle":[{"handler":"acme_server","policy":{"allow_wildcard_names":true,"allow":{"domains":["a","b"],"ip_ranges":["10.0.0.0/8"]},"deny":{"domains":["c"],"ip_ranges":["10.1.0.0/16","10.2.0.0/16"]}}}]}]`},
		{"acme_server {\n\tallow_wildcard_names\n}", `[{"handle":[{"handler":"acme_server","policy":{"allow_wildcard_names":true}}]}]`},
	} {
		adapttest.Same(t, adapttest.Body(t, c.text), c.want)
	}
	full := adapttest.Full(t, "{\n\tskip_install_trust\n\tpki {\n\t\tca one {\n\t\t\tname One\n\t\t}\n\t}\n}\n:80 {\n\tacme_server {\n\t\tca one\n\t}\n}\n:81 {\n\tacme_server {\n\t\tca two\n\t}\n}\n")
	want := `"pki":{"certificate_authorities":{"one":{"install_trust":false,"name":"One"},"two":{"install_trust":false}}}`
	if !strings.Contains(full, want) {
		t.Errorf("%s\nlacks %s", full, want)
	}
	if full := adapttest.Full(t, ":80 {\n\tacme_server\n}\n"); strings.Contains(full, "pki") {
		t.Errorf("%s", full)
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"acme_server lab", "wrong argument count"},
		{"acme_server {\n\troot\n}", "unrecognized ACME server directive: root"},
		{"acme_server {\n\tca\n}", "wrong argument count"},
		{"acme_server {\n\tca a b\n}", "wrong argument count"},
		{"acme_server {\n\tlifetime soon\n}", "soon"},
		{"acme_server {\n\tresolvers\n}", "wrong argument count"},
		{"acme_server {\n\tsign_with_root yes\n}", "wrong argument count"},
		{"acme_server {\n\tallow_wildcard_names yes\n}", "wrong argument count"},
		{"acme_server {\n\tallow {\n\t\tdomains\n\t}\n}", "wrong argument count"},
		{"acme_server {\n\tdeny {\n\t\tip_ranges\n\t}\n}", "wrong argument count"},
		{"acme_server {\n\tdeny {\n\t\thosts a\n\t}\n}", "unrecognized ACME server directive: hosts"},
	} {
		doc, err := adapttest.Adapt(t, ":80 {\n"+c.text+"\n}\n")
		if err == nil {
			t.Errorf("%s: no error but %s", c.text, doc.Root.AppendJSON(nil))
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("error of %q\nis   %s\nwant %s", c.text, err, c.want)
		}
	}
}
