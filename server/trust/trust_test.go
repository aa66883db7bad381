package trust_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/trust"
	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// holder is a config with a pool in it.
type holder struct {
	CA module.Ref[*trust.Pool] `json:"ca" module:"tls.ca_pool.source" inline:"provider"`
}

func builder(t *testing.T) *module.Builder {
	t.Helper()
	table, err := module.NewTable(append(trust.Specs(), module.New("holder", "Holds a pool.", nil, func(_ *module.Env, c *holder) (*trust.Pool, error) { return c.CA.Value(), nil })), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.Map{}}}
}

func build(t *testing.T, b *module.Builder, prev *module.Built, ca string, o module.Options) module.Result {
	t.Helper()
	node, _, err := config.Parse([]byte(`{"ca":`+ca+`}`), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if prev != nil {
		node = config.Reuse(prev.Node(), node)
	}
	return b.Build(prev, "holder", node, o)
}

func prepare(res module.Result) error {
	for _, n := range res.New {
		for _, r := range n.Owned() {
			if err := r.Prepare(); err != nil {
				return err
			}
		}
	}
	return nil
}

// pool builds and prepares a pool.
func pool(t *testing.T, ca string) *trust.Pool {
	t.Helper()
	res := build(t, builder(t), nil, ca, module.Options{})
	if len(res.Problems) > 0 {
		t.Fatalf("%s: %v", ca, res.Problems)
	}
	if err := prepare(res); err != nil {
		t.Fatalf("%s: %v", ca, err)
	}
	return res.Root.Value().(*trust.Pool)
}

// trusts reports whether a pool takes a certificate.
func trusts(p *trust.Pool, c tls.Certificate) bool {
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: p.CertPool()})
	return err == nil
}

func TestSources(t *testing.T) {
	a, b := trusttest.New(t), trusttest.New(t)
	ofA, ofB := a.Issue("x"), b.Issue("x")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/root.pem" {
			http.NotFound(w, r)
			return
		}
		w.Write(a.PEM())
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{b.Issue("127.0.0.1")}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	inlineA, inlineB := fmt.Sprintf(`{"provider":"inline","trusted_ca_certs":[%q]}`, a.DER()), fmt.Sprintf(`{"provider":"inline","trusted_ca_certs":[%q]}`, b.DER())
	fetched := func(tls string) string {
		return fmt.Sprintf(`{"provider":"http","endpoints":["%s/root.pem"],"tls":%s}`, server.URL, tls)
	}
	tests := []struct {
		name, ca string
		a, b     bool
	}{
		{"inline", inlineA, true, false},
		{"inline, two", fmt.Sprintf(`{"provider":"inline","trusted_ca_certs":[%q,%q]}`, b.DER(), a.DER()), true, true},
		{"file", fmt.Sprintf(`{"provider":"file","pem_files":[%q]}`, a.File()), true, false},
		{"system", `{"provider":"system"}`, false, false},
		{"combined", `{"provider":"combined","sources":[` + inlineB + `,` + fmt.Sprintf(`{"provider":"file","pem_files":[%q]}`, a.File()) + `]}`, true, true},
		{"http", fetched(`{"ca":` + inlineB + `}`), true, false},
		{"http, insecure", fetched(`{"insecure_skip_verify":true,"handshake_timeout":"5s","renegotiation":"once"}`), true, false},
		{"combined with http", `{"provider":"combined","sources":[` + fetched(`{"ca":`+inlineB+`}`) + `]}`, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(t, tt.ca)
			if trusts(p, ofA) != tt.a || trusts(p, ofB) != tt.b {
				t.Errorf("trusts a %v, b %v", trusts(p, ofA), trusts(p, ofB))
			}
			if (p.CertPool() == nil) != (tt.name == "system") || (p.Certificates() == nil) != (tt.name == "system") {
				t.Error("only the system has no pool of its own")
			}
		})
	}
	// Pools of one meaning have one key.
	one := pool(t, inlineA).Key()
	for _, i := range []int{2, 5, 7} {
		if got := pool(t, tests[i].ca).Key(); got != one {
			t.Errorf("%s: another key", tests[i].name)
		}
	}
	if both := pool(t, tests[1].ca).Key(); both == one || both != pool(t, tests[4].ca).Key() {
		t.Error("two authorities have a wrong key")
	}

	for name, ca := range map[string]string{
		"wrong authority": fetched(`{"ca":` + inlineA + `}`), "system authorities": fetched(`{}`),
		"wrong name": fetched(`{"ca":` + inlineB + `,"server_name":"other.test"}`),
		"not found":  fmt.Sprintf(`{"provider":"http","endpoints":["%s/none"],"tls":{"ca":%s}}`, server.URL, inlineB),
	} {
		res := build(t, builder(t), nil, ca, module.Options{})
		if len(res.Problems) > 0 {
			t.Errorf("%s: %v", name, res.Problems)
		} else if err := prepare(res); err == nil || !strings.Contains(err.Error(), server.URL) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProblems(t *testing.T) {
	empty := t.TempDir() + "/empty.pem"
	if err := os.WriteFile(empty, []byte("nothing here"), 0o600); err != nil {
		t.Fatal(err)
	}
	for ca, want := range map[string]string{
		`{"provider":"inline"}`:                                                            "/ca/trusted_ca_certs",
		`{"provider":"inline","trusted_ca_certs":["!"]}`:                                   "/ca/trusted_ca_certs/0",
		`{"provider":"inline","trusted_ca_certs":["AAAA"]}`:                                "/ca/trusted_ca_certs/0",
		`{"provider":"file"}`:                                                              "/ca/pem_files",
		`{"provider":"file","pem_files":["` + empty + `"]}`:                                "/ca/pem_files/0",
		`{"provider":"file","pem_files":["` + empty + `.none"]}`:                           "/ca/pem_files/0",
		`{"provider":"combined"}`:                                                          "/ca/sources",
		`{"provider":"combined","sources":[{"provider":"system"}]}`:                        "/ca/sources/0",
		`{"provider":"http"}`:                                                              "/ca/endpoints",
		`{"provider":"http","endpoints":["ftp://a"]}`:                                      "/ca/endpoints/0",
		`{"provider":"http","endpoints":["http://a"],"tls":{"renegotiation":"sometimes"}}`: "/ca/tls/renegotiation",
		`{"provider":"http","endpoints":["http://a"],"tls":{"handshake_timeout":-1}}`:      "/ca/tls/handshake_timeout",
		`{"provider":"system","x":1}`:                                                      "/ca/x",
	} {
		res := build(t, builder(t), nil, ca, module.Options{})
		if !slices.ContainsFunc(pointers(res), func(p string) bool { return p == want }) {
			t.Errorf("%s: %v, want one at %s", ca, res.Problems, want)
		}
	}
}

func pointers(res module.Result) (list []string) {
	for _, p := range res.Problems {
		list = append(list, p.Pointer)
	}
	return list
}

// A forced load sees that a file has changed.
func TestFilesAreInputs(t *testing.T) {
	a, b := trusttest.New(t), trusttest.New(t)
	name := a.File()
	ca := fmt.Sprintf(`{"provider":"file","pem_files":[%q]}`, name)
	m := builder(t)
	first := build(t, m, nil, ca, module.Options{})
	if err := os.WriteFile(name, b.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if same := build(t, m, first.Root, ca, module.Options{}); same.Root.Value() != first.Root.Value() {
		t.Error("an ordinary load has read the file again")
	}
	forced := build(t, m, first.Root, ca, module.Options{Force: true})
	if p := forced.Root.Value().(*trust.Pool); p.Key() == first.Root.Value().(*trust.Pool).Key() || !trusts(p, b.Issue("x")) {
		t.Error("a forced load has not read the file again")
	}
}

func TestWords(t *testing.T) {
	routes := func(text string) (string, error) {
		h, err := adapttest.Handler(t, "reverse_proxy a:1 {\ntransport http {\ntls_trust_pool "+text+"\n}\n}")
		return string(h.Get("transport").Get("tls").Get("ca").AppendJSON(nil)), err
	}
	for text, want := range map[string]string{
		"inline {\ntrust_der AA BB\ntrust_der CC\n}": `{"provider":"inline","trusted_ca_certs":["AA","BB","CC"]}`,
		"file a.pem b.pem":                           `{"provider":"file","pem_files":["a.pem","b.pem"]}`,
		"file a.pem {\npem_file b.pem\n}":            `{"provider":"file","pem_files":["a.pem","b.pem"]}`,
		"system":                                     `{"provider":"system"}`,
		"storage a.pem b.pem":                        `{"provider":"storage","pem_keys":["a.pem","b.pem"]}`,
		"storage a.pem {\nkeys b.pem c.pem\nkeys d.pem\nstorage file_system /data\n}":                                                 `{"provider":"storage","storage":{"module":"file_system","root":"/data"},"pem_keys":["a.pem","b.pem","c.pem","d.pem"]}`,
		"combined {\nsource storage a.pem\nsource file b.pem\n}":                                                                      `{"provider":"combined","sources":[{"provider":"storage","pem_keys":["a.pem"]},{"provider":"file","pem_files":["b.pem"]}]}`,
		"combined {\nsource file a.pem\nsource inline {\ntrust_der AA\n}\n}":                                                          `{"provider":"combined","sources":[{"provider":"file","pem_files":["a.pem"]},{"provider":"inline","trusted_ca_certs":["AA"]}]}`,
		"http https://a/root {\nendpoints https://b/root\n}":                                                                          `{"provider":"http","endpoints":["https://a/root","https://b/root"]}`,
		"http https://a {\ntls {\nca file a.pem\ninsecure_skip_verify\nhandshake_timeout 3s\nserver_name n\nrenegotiation once\n}\n}": `{"provider":"http","endpoints":["https://a"],"tls":{"ca":{"provider":"file","pem_files":["a.pem"]},"insecure_skip_verify":true,"handshake_timeout":3000000000,"server_name":"n","renegotiation":"once"}}`,
	} {
		got, err := routes(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		adapttest.Same(t, got, want)
	}
	for _, text := range []string{
		"inline", "inline AA", "inline {\n}", "file", "storage", "storage {\nstorage file_system\n}", "storage a {\nstorage\n}", "storage a {\nstorage nope\n}", "storage a {\nstorage file_system\nstorage bolt\n}", "system x", "system {\nx\n}", "combined", "combined {\nsource\n}", "combined {\nsource nope\n}", "http",
		"http https://a {\ntls {\nrenegotiation sometimes\n}\n}", "http https://a {\ntls {\nca file a\nca file b\n}\n}", "http https://a {\nx\n}",
	} {
		if got, err := routes(text); err == nil {
			t.Errorf("%s is taken: %s", text, got)
		} else if !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%s: no place: %v", text, err)
		}
	}
}

func TestParse(t *testing.T) {
	if _, err := trust.ParseRenegotiation("x"); err == nil {
		t.Error("x is taken")
	}
	if _, err := trust.ParsePEM([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a broken certificate: %v", err)
	}
}
