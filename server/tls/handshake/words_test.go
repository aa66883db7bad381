package handshake_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// handler is a directive whose block is a client_auth.
type handler struct {
	ClientAuth *handshake.ClientAuth `json:"client_auth"`
}

func readHandler(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	c, err := handshake.ReadClientAuth(u, d, func(name string) ([]byte, error) {
		if name == "/none" {
			return nil, errors.New("no such file")
		}
		return os.ReadFile(name)
	})
	if err != nil {
		return nil, err
	}
	return u.One(module.Match{}, "auth_test", &handler{c})
}

func TestWords(t *testing.T) {
	specs := slices.Clone(standard.Specs())
	for _, s := range handshake.Specs() {
		if !slices.ContainsFunc(specs, func(o module.Spec) bool { return o.ID == s.ID }) {
			specs = append(specs, s)
		}
	}
	specs = append(specs, module.New("http.handlers.auth_test", "Holds a client_auth.", nil, func(*module.Env, *handler) (handlers.Handler, error) { return nil, nil },
		module.Directives(module.Directive{Name: "auth_test", Read: readHandler})))
	table, err := module.NewTable(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := adapt.New(table, adapt.Words{Order: append(slices.Clone(standard.DirectiveOrder()), "auth_test")})
	read := func(block string) (string, error) {
		doc, err := a.Adapt(adapt.Source{Text: []byte(":80 {\nauth_test {\n" + block + "\n}\n}\n")})
		if err != nil {
			return "", err
		}
		out := ""
		for _, r := range doc.Root.Get("apps").Get("http").Get("servers").Get("srv0").Get("routes").Elements() {
			for _, h := range r.Get("handle").Elements() {
				out = string(h.Get("client_auth").AppendJSON(nil))
			}
		}
		return out, nil
	}
	ca := trusttest.New(t)
	file := ca.File()
	for block, want := range map[string]string{
		"mode require":      `{"mode":"require"}`,
		"mode anything":     `{"mode":"anything"}`,
		"trust_pool system": `{"ca":{"provider":"system"}}`,
		"mode request\ntrust_pool file /ca.pem\nverifier leaf {\nfile /l1.pem\nfolder /leaves\n}": `{"ca":{"pem_files":["/ca.pem"],"provider":"file"},"verifiers":[{"leaf_certs_loaders":[{"files":["/l1.pem"],"loader":"file"},
			{"folders":["/leaves"],"loader":"folder"}],"verifier":"leaf"}],"mode":"request"}`,
		"verifier leaf file a b":                                     `{"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[{"loader":"file","files":["a","b"]}]}]}`,
		"verifier leaf folder a":                                     `{"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[{"loader":"folder","folders":["a"]}]}]}`,
		"verifier leaf pem AA\nverifier leaf pem BB CC":              `{"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[{"loader":"pem","certificates":["AA"]}]},{"verifier":"leaf","leaf_certs_loaders":[{"loader":"pem","certificates":["BB","CC"]}]}]}`,
		"trusted_ca_cert AA\ntrusted_ca_cert BB":                     `{"ca":{"provider":"inline","trusted_ca_certs":["AA","BB"]}}`,
		"trusted_ca_cert_file " + file:                               `{"ca":{"provider":"inline","trusted_ca_certs":["` + ca.DER() + `"]}}`,
		"trusted_leaf_cert AA\ntrusted_leaf_cert_file " + file:       `{"trusted_leaf_certs":["AA","` + ca.DER() + `"]}`,
		"trust_pool inline {\ntrust_der AA\n}\ntrusted_leaf_cert BB": `{"ca":{"provider":"inline","trusted_ca_certs":["AA"]},"trusted_leaf_certs":["BB"]}`,
	} {
		got, err := read(block)
		if err != nil {
			t.Errorf("%s: %v", block, err)
			continue
		}
		adapttest.Same(t, got, want)
	}
	for block, want := range map[string]string{
		"nope":                                  "unknown subdirective for client_auth: nope",
		"mode":                                  "wrong argument count",
		"mode a b":                              "wrong argument count",
		"trust_pool":                            "wrong argument count",
		"trust_pool nope":                       "module not registered: tls.ca_pool.source.nope",
		"trust_pool system\ntrust_pool system":  "twice",
		"trust_pool system\ntrusted_ca_cert AA": "cannot be combined",
		"trusted_ca_cert AA\ntrust_pool system": "cannot be combined",
		"trusted_ca_cert_file /none":            "no such file",
		"verifier":                              "wrong argument count",
		"verifier nope":                         "module not registered: tls.client_auth.verifier.nope",
		"verifier leaf":                         "wrong argument count",
		"verifier leaf file":                    "wrong argument count",
		"verifier leaf {\nfile\n}":              "wrong argument count",
		"verifier leaf {\nnope a\n}":            "module not registered: tls.leaf_cert_loader.nope",
		"verifier leaf {\nfile a {\nb\n}\n}":    "block",
		"verifier leaf {\nstorage a\n}":         "JSON",
	} {
		if got, err := read(block); err == nil {
			t.Errorf("%s is taken: %s", block, got)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%s: %v, want %q", block, err, want)
		}
	}
}

// Every example loads, without a warning.
func TestExamples(t *testing.T) {
	s := bareSite(t)
	for _, spec := range handshake.Specs() {
		for _, e := range spec.Examples {
			var doc string
			switch name := spec.ID[strings.LastIndexByte(spec.ID, '.')+1:]; {
			case strings.HasPrefix(spec.ID, "tls.handshake_match."):
				doc = `{"policies":[{"match":{"` + name + `":` + e.JSON + `}}]}`
			case strings.HasPrefix(spec.ID, "tls.leaf_cert_loader."):
				doc = `{"policies":[{"client_authentication":{"verifiers":[{"verifier":"leaf","leaf_certs_loaders":[` + e.JSON + `]}]}}]}`
			case strings.HasPrefix(spec.ID, "tls.stek."):
				doc = `{"session_tickets":{"key_source":` + e.JSON + `}}`
			default:
				t.Fatalf("%s has an example", spec.ID)
			}
			if res := s.try(doc, module.Options{}); len(res.Problems)+len(res.Warnings) > 0 {
				t.Errorf("%s: %v %v", e.JSON, res.Problems, res.Warnings)
			}
		}
	}
}
