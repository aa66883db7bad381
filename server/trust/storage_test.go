package trust_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/certstore"
	"github.com/sluiceproxy/sluice/server/trust"
	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// storing is a builder with storages, whose document's own is of.
func storing(t *testing.T, of trust.DocumentStorage) *module.Builder {
	t.Helper()
	specs := append(trust.Specs(), certstore.Specs()...)
	specs = append(specs, module.New("holder", "Holds a pool.", nil, func(_ *module.Env, c *holder) (*trust.Pool, error) { return c.CA.Value(), nil }))
	table, err := module.NewTable(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, certstore.NewStores(t.TempDir()))
	module.Provide(services, of)
	return &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.Map{}, Services: services}}
}

// counted counts what is read.
type counted struct {
	certmagic.Storage
	loads atomic.Int64
}

func (c *counted) Load(ctx context.Context, key string) ([]byte, error) {
	c.loads.Add(1)
	return c.Storage.Load(ctx, key)
}

func TestStorage(t *testing.T) {
	a, b := trusttest.New(t), trusttest.New(t)
	ofA, ofB := a.Issue("x"), b.Issue("x")
	dir := t.TempDir()
	before, now := &counted{Storage: certstore.NewFileSystem(filepath.Join(dir, "before"))}, &counted{Storage: certstore.NewFileSystem(filepath.Join(dir, "now"))}
	sw := certstore.NewSwitch(before)
	store := func(s certmagic.Storage, key string, value []byte) {
		t.Helper()
		if err := s.Store(context.Background(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	store(before, "ca/one.pem", a.PEM())
	store(now, "ca/one.pem", b.PEM())
	store(now, "ca/two.pem", a.PEM())
	store(now, "ca/none.pem", []byte("no certificate"))
	m := storing(t, sw)
	make := func(ca string) (*trust.Pool, error) {
		t.Helper()
		res := build(t, m, nil, ca, module.Options{})
		if len(res.Problems) > 0 {
			return nil, res.Problems
		}
		return res.Root.Value().(*trust.Pool), prepare(res)
	}
	check := func(ca string, wantA, wantB bool) {
		t.Helper()
		p, err := make(ca)
		if err != nil {
			t.Fatal(err)
		}
		if trusts(p, ofA) != wantA || trusts(p, ofB) != wantB {
			t.Errorf("%s trusts a %v, b %v", ca, trusts(p, ofA), trusts(p, ofB))
		}
	}
	const one = `{"provider":"storage","pem_keys":["ca/one.pem"]}`
	check(one, true, false)
	// What is prepared belongs to a document that is not in use yet.
	sw.Expect(now)
	loads := before.loads.Load()
	check(one, false, true)
	check(`{"provider":"storage","pem_keys":["ca/one.pem","ca/two.pem"]}`, true, true)
	check(`{"provider":"combined","sources":[`+one+`,`+fmt.Sprintf(`{"provider":"inline","trusted_ca_certs":[%q]}`, a.DER())+`]}`, true, true)
	if before.loads.Load() != loads {
		t.Error("the storage of another document was read")
	}
	check(fmt.Sprintf(`{"provider":"storage","pem_keys":["ca/one.pem"],"storage":{"module":"file_system","root":%q}}`, filepath.Join(dir, "before")), true, false)

	for ca, want := range map[string]string{
		`{"provider":"storage","pem_keys":["ca/one.pem","ca/three.pem"]}`:     "ca/three.pem",
		`{"provider":"storage","pem_keys":["ca/none.pem"]}`:                   "ca/none.pem: there is no certificate in it",
		`{"provider":"storage","pem_keys":["ca/one.pem",""]}`:                 "/ca/pem_keys/1",
		`{"provider":"storage"}`:                                              "/ca/pem_keys",
		`{"provider":"storage","pem_keys":["x"],"storage":{"module":"nope"}}`: "/ca/storage/module",
	} {
		if _, err := make(ca); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", ca, err, want)
		}
	}
}
