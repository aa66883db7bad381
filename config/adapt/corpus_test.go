package adapt_test

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
)

// mockProvider is a DNS provider that cases name.
type mockProvider struct {
	Argument string `json:"argument"`
}

// dummyVerifier is a verifier that cases name.
type dummyVerifier struct{}

// VerifyClientCertificate implements handshake.Verifier.
func (dummyVerifier) VerifyClientCertificate([][]byte, [][]*x509.Certificate) error { return nil }

// mockAdapter is the adapter of everything that ships and of what only tests
// have.
func mockAdapter(t testing.TB) *adapt.Adapter {
	t.Helper()
	specs := slices.Concat(standard.Specs(), []module.Spec{
		module.New(dnsproviders.Namespace+".mock", "Is named in tests.", nil, func(*module.Env, *mockProvider) (dnsproviders.Provider, error) {
			return nil, errors.New("it is for adapting only")
		}, module.Words(func(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
			d.Next()
			c := &mockProvider{}
			if d.NextArg() {
				c.Argument = d.Val()
			}
			return c, nil
		})),
		module.New("tls.client_auth.verifier.dummy", "Is named in tests.", nil, func(*module.Env, *dummyVerifier) (handshake.Verifier, error) {
			return dummyVerifier{}, nil
		}, module.Words(func(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
			d.Next()
			return &dummyVerifier{}, nil
		})),
	})
	table, err := module.NewTable(specs, standard.Refused())
	if err != nil {
		t.Fatal(err)
	}
	return adapt.New(table, adapt.Words{Order: standard.DirectiveOrder(), Directives: standard.Directives(), Refused: standard.RefusedDirectives()})
}

// corpusTree makes the folders that cases expect around them and returns the one
// that they are in.
func corpusTree(t *testing.T, corpus string) string {
	t.Helper()
	up := filepath.Join(t.TempDir(), "up")
	here := filepath.Join(up, "here")
	if err := os.MkdirAll(here, 0o700); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"up": up, "here": here} {
		entries, err := os.ReadDir(filepath.Join(corpus, "support", from))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if err := os.Symlink(filepath.Join(corpus, "support", from, e.Name()), filepath.Join(to, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	return here
}

// TestCorpus runs the collected cases where they lie beside the project.
func TestCorpus(t *testing.T) {
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "corpus", "caddyfile_adapt"))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.*t*t"))
	if len(files) == 0 {
		t.Skip("the corpus is not beside the project")
	}
	a, here := mockAdapter(t), corpusTree(t, dir)
	passed := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, want, ok := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n----------\n")
		if !ok {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			doc, err := a.Adapt(adapt.Source{Text: []byte(strings.TrimSpace(input) + "\n"), Env: caddyfile.Env{
				LookupEnv: func(string) (string, bool) { return "", false },
				Files:     caddyfile.OSFiles(),
				Dir:       here,
			}})
			want := strings.TrimSpace(want)
			fails := !strings.HasPrefix(want, "{")
			switch {
			case fails && err != nil && strings.Contains(err.Error(), want):
			case fails:
				t.Fatalf("error %v\nlacks %s", err, want)
			case err != nil:
				t.Fatalf("%v\nin\n%s", err, input)
			default:
				adapttest.Same(t, string(doc.Root.AppendJSON(nil)), want)
			}
			passed++
		})
	}
	t.Logf("%d cases, %d passed", len(files), passed)
}
