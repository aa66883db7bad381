package tlsadapt_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

func TestCases(t *testing.T) { adapttest.Cases(t) }

// TestWarnings: what tls does not do is said.
func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"http://a.example {\n\ttls internal\n}\n":                                              "Caddyfile:2: tls changes nothing here",
		"a.example, http://a.example {\n\ttls internal\n}\n":                                   "",
		":8080 {\n\ttls internal\n}\n":                                                         "",
		"a.example {\n\ttls c.pem a.key\n}\n\nb.example {\n\ttls c.pem b.key\n}\n":             "Caddyfile:6: the key b.key is ignored: the certificate c.pem is loaded with the key a.key already",
		"a.example {\n\ttls {\n\t\tclient_auth {\n\t\t\ttrusted_ca_cert AA==\n\t\t}\n\t}\n}\n": "Caddyfile:4: trusted_ca_cert is an older spelling; use trust_pool",
	} {
		doc, err := adapttest.Adapt(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got []string
		for _, w := range doc.Warnings {
			got = append(got, fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Message))
		}
		if all := strings.Join(got, "\n"); (want == "") != (all == "") || !strings.Contains(all, want) {
			t.Errorf("%s: warnings %q, want %q", text, all, want)
		}
	}
}

// TestCertificateFiles: certificates that become part of the document are read
// where the Caddyfile is, as far as it may read anything.
func TestCertificateFiles(t *testing.T) {
	const text = "a.example {\n\ttls {\n\t\tclient_auth {\n\t\t\ttrusted_leaf_cert_file certs/leaf.pem\n\t\t}\n\t}\n}\n"
	files := caddyfile.FSFiles(fstest.MapFS{"conf/certs/leaf.pem": {Data: []byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")}})
	for name, c := range map[string]struct {
		env  caddyfile.Env
		want string
	}{
		"no files":      {caddyfile.Env{}, "files cannot be read here"},
		"another place": {caddyfile.Env{Files: files, Dir: "/"}, "reading /certs/leaf.pem"},
		"its place":     {caddyfile.Env{Files: files, Dir: "/conf"}, "certificates of certs/leaf.pem"}, // found, but no certificate
	} {
		_, err := adapttest.Adapter(t).Adapt(adapt.Source{Text: []byte(text), Env: c.env})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "at Caddyfile:4") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
