package pki

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
)

// What is generated, where it is kept, and that another process takes it over.
func TestGenerated(t *testing.T) {
	dir := t.TempDir()
	storage := &certmagic.FileStorage{Path: dir}
	p := newProcess(t, storage, nil)
	defer p.Close()
	text := doc("Corp+1", `"name":"Corp","root_common_name":"{pki.ca.name} {pki.ca.id} root of {time.now.year}"`)
	if err := p.dryRun(text); err != nil {
		t.Fatal(err)
	}
	if list, _ := os.ReadDir(dir); len(list) > 0 {
		t.Fatalf("a dry run has made %v", list)
	}
	p.load(text)
	a := p.get("Corp+1")
	root, intermediate := a.Root(), a.Intermediate()
	if want := fmt.Sprintf("Corp Corp+1 root of %d", time.Now().Year()); root.Subject.CommonName != want {
		t.Errorf("the root is %q, want %q", root.Subject.CommonName, want)
	}
	if want := "Corp - ECC Intermediate"; intermediate.Subject.CommonName != want {
		t.Errorf("the intermediate is %q, want %q", intermediate.Subject.CommonName, want)
	}
	for _, tt := range []struct {
		c          *x509.Certificate
		lifetime   time.Duration
		pathLength int
	}{{root, 3600 * 24 * time.Hour, 1}, {intermediate, 7 * 24 * time.Hour, 0}} {
		key, ok := tt.c.PublicKey.(*ecdsa.PublicKey)
		if !ok || key.Curve != elliptic.P256() {
			t.Errorf("%s: its key is no P-256", tt.c.Subject)
		}
		if got := tt.c.NotAfter.Sub(tt.c.NotBefore); got != tt.lifetime {
			t.Errorf("%s: it lives %s, want %s", tt.c.Subject, got, tt.lifetime)
		}
		if !tt.c.IsCA || tt.c.MaxPathLen != tt.pathLength || tt.c.MaxPathLenZero != (tt.pathLength == 0) {
			t.Errorf("%s: authority %v, path length %d", tt.c.Subject, tt.c.IsCA, tt.c.MaxPathLen)
		}
	}
	folder := filepath.Join(dir, "pki", "authorities", "corp_plus_1")
	for _, name := range []string{"root.crt", "root.key", "intermediate.crt", "intermediate.key"} {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %o", name, info.Mode().Perm())
		}
		raw, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		want := "CERTIFICATE"
		if strings.HasSuffix(name, ".key") {
			want = "EC PRIVATE KEY"
		}
		if block, rest := pem.Decode(raw); block == nil || block.Type != want || len(rest) > 0 {
			t.Errorf("%s is no single block %s", name, want)
		}
	}

	// The root key is read only when it is needed.
	if err := os.Remove(filepath.Join(folder, "root.key")); err != nil {
		t.Fatal(err)
	}
	q := newProcess(t, storage, nil)
	defer q.Close()
	q.load(text)
	b := q.get("Corp+1")
	if !b.Root().Equal(root) || !b.Intermediate().Equal(intermediate) {
		t.Error("another process has not taken over what there is")
	}
	chain, err := b.Sign(context.Background(), request(t, nil, nil), 0, false)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, chain, root)
	if _, err := b.Sign(context.Background(), request(t, nil, nil), 0, true); err == nil || !strings.Contains(err.Error(), "pki/authorities/corp_plus_1/root.key") {
		t.Errorf("signing with a root whose key is gone: %v", err)
	}
}

// Processes that start at once on one storage end with one root and one intermediate.
func TestOneOfManyProcesses(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	const n = 4
	var roots, intermediates [n]*x509.Certificate
	var wg sync.WaitGroup
	for i := range n {
		p := newProcess(t, storage, nil)
		defer p.Close()
		wg.Go(func() {
			a, err := p.Get("local")
			if err != nil {
				t.Error(err)
				return
			}
			roots[i], intermediates[i] = a.Root(), a.Intermediate()
		})
	}
	wg.Wait()
	for i := range n {
		if roots[i] == nil || !roots[i].Equal(roots[0]) || !intermediates[i].Equal(intermediates[0]) {
			t.Fatalf("process %d has another authority than process 0", i)
		}
	}
}

func TestLocalAndView(t *testing.T) {
	storage := newMemory()
	p := newProcess(t, storage, nil)
	defer p.Close()
	for _, f := range []func(string) error{
		func(id string) error { _, err := p.Get(id); return err },
		func(id string) error { _, err := p.View(id); return err },
		func(id string) error { _, err := p.Certificates(id); return err },
		p.Check, func(id string) error { return p.Need(id).Prepare() },
	} {
		var unknown *Unknown
		if err := f("nope"); !errors.As(err, &unknown) || err.Error() != "no certificate authority configured with id: nope" {
			t.Errorf("an authority that does not exist: %v", err)
		}
	}
	if err := errors.Join(p.Check(""), p.Check("local"), p.Need("local").Prepare()); err != nil || len(storage.copy()) > 0 {
		t.Errorf("the authority local: %v, and %d values", err, len(storage.copy()))
	}
	info, err := p.View("local")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	a := p.get("")
	want, err := json.Marshal(struct {
		A string `json:"id"`
		B string `json:"name"`
		C string `json:"root_common_name"`
		D string `json:"intermediate_common_name"`
		E string `json:"root_certificate"`
		F string `json:"intermediate_certificate"`
	}{"local", "Caddy Local Authority", fmt.Sprintf("Caddy Local Authority - %d ECC Root", time.Now().Year()), "Caddy Local Authority - ECC Intermediate",
		string(storage.copy()["pki/authorities/local/root.crt"]), string(storage.copy()["pki/authorities/local/intermediate.crt"])})
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(want) {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	both, err := p.Certificates("local")
	if err != nil || string(both) != info.IntermediateCertificate+info.RootCertificate {
		t.Errorf("%v\n%s", err, both)
	}
	if a.Name() != DefaultName || a.ID() != "local" || len(a.Chain()) != 1 || !a.Managed() || a.IntermediateLifetime() != 168*time.Hour {
		t.Error("what it says of itself is wrong")
	}
}

// An authority survives edits that do not touch it, and only them.
func TestEdits(t *testing.T) {
	storage := newMemory()
	p := newProcess(t, storage, nil)
	defer p.Close()
	local := p.get("local")
	cas := func(list string) string { return `{"certificate_authorities":{` + list + `}}` }
	const a, b = `"a":{"install_trust":false}`, `"b":{"install_trust":false}`
	p.load(cas(a + `,` + b))
	first := p.get("a")
	p.load(cas(a + `,"b":{"install_trust":false,"name":"B"}`))
	if p.get("a") != first || p.get("local") != local {
		t.Error("an edit of another authority has made it anew")
	}
	oldB := p.get("b")
	p.load(cas(a + `,` + b + `,"local":{}`))
	if p.get("b") == oldB || p.get("b").Name() != DefaultName || !p.get("b").Root().Equal(oldB.Root()) {
		t.Error("an edit of the name has not had its effect, or has cost the root")
	}
	if p.get("local") != local {
		t.Error("defining the authority local as it is anyway has made it anew")
	}
	// What is prepared is seen by what is prepared with it, and by nothing else.
	res := p.compile(cas(a + `,"c":{"install_trust":false}`))
	if err := prepareAll(res.New); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Check("a"), p.Check("c")); err != nil {
		t.Error(err)
	}
	if p.Check("b") == nil {
		t.Error("the document that is being prepared does not have b")
	}
	if _, err := p.Get("c"); err == nil {
		t.Error("the document in use does not have c")
	}
	closeAll(res.New)
	if p.Check("c") == nil || p.Check("b") != nil {
		t.Error("the document that was taken back still counts")
	}
	// Without the app only local is left.
	closeAll([]*module.Built{p.last})
	if _, err := p.Get("a"); err == nil {
		t.Error("a is not defined any more")
	}
	p.get("local")
	chain, err := first.Sign(context.Background(), request(t, nil, nil), 0, false)
	if err != nil {
		t.Errorf("whoever still has an authority cannot use it: %v", err)
	}
	verify(t, chain, first.Root())
}

func TestNeed(t *testing.T) {
	storage := newMemory()
	trust := &stores{}
	p := newProcess(t, storage, trust)
	defer p.Close()
	// The module starts before the app that defines its authority.
	res := p.compile(`{"certificate_authorities":{"local":{"name":"Mine"}}}`)
	n := p.Need("local")
	if err := errors.Join(prepareAll(res.New), n.Prepare()); err != nil {
		t.Fatal(err)
	}
	n.Start()
	res.New[0].Owned()[0].Start()
	until(t, func() bool { return len(trust.list()) == 1 })
	if got := trust.list()[0]; !strings.HasPrefix(got, "install Mine - ") {
		t.Errorf("%q, so the authority was made before its definition counted", got)
	}
	n.Close()
}

// until polls, for what real goroutines do.
func until(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it has not happened")
		}
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// stores is trust stores that note what is done.
type stores struct {
	mu      sync.Mutex
	done    []string
	trusted bool
	err     error
}

func (s *stores) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.done)
}

func (s *stores) note(what string, c *x509.Certificate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, what+" "+c.Subject.CommonName)
	return s.err
}

func (s *stores) Trusted(*x509.Certificate) bool         { return s.trusted }
func (s *stores) Install(root *x509.Certificate) error   { return s.note("install", root) }
func (s *stores) Uninstall(root *x509.Certificate) error { return s.note("uninstall", root) }

func TestTrust(t *testing.T) {
	const cn = "Caddy Local Authority - 2000 ECC Root"
	for name, tt := range map[string]struct {
		text    string
		trusted bool
		err     error
		want    []string
		failed  int
	}{
		"by default":      {`{"certificate_authorities":{"a":{}}}`, false, nil, []string{"install " + cn}, 0},
		"asked for":       {`{"certificate_authorities":{"a":{"install_trust":true}}}`, false, nil, []string{"install " + cn}, 0},
		"not wanted":      {doc("a", ""), false, nil, nil, 0},
		"trusted already": {`{"certificate_authorities":{"a":{}}}`, true, nil, nil, 0},
		"failing":         {`{"certificate_authorities":{"a":{}}}`, false, errors.New("no privileges"), []string{"install " + cn}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				trust := &stores{trusted: tt.trusted, err: tt.err}
				p := newProcess(t, newMemory(), trust)
				defer p.Close()
				p.get("local") // being asked for does not install
				if err := p.dryRun(tt.text); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got := trust.list(); got != nil {
					t.Errorf("before the document counts: %v", got)
				}
				for range 2 { // once, however often the document is loaded
					p.load(tt.text)
					p.load(strings.Replace(tt.text, `{"a":`, `{"b":{"install_trust":false},"a":`, 1))
					synctest.Wait()
				}
				if got := trust.list(); !slices.Equal(got, tt.want) {
					t.Errorf("got %v, want %v", got, tt.want)
				}
				if got := p.logged("set install_trust to false"); got != tt.failed {
					t.Errorf("%d failures are logged, want %d", got, tt.failed)
				}
				// By hand it is always done, and fails aloud.
				a := p.get("a")
				err := errors.Join(a.InstallTrust(), a.UninstallTrust())
				if !errors.Is(err, tt.err) || (err != nil) != (tt.err != nil) {
					t.Errorf("by hand: %v", err)
				}
				if got := trust.list()[len(tt.want):]; !slices.Equal(got, []string{"install " + cn, "uninstall " + cn}) {
					t.Errorf("by hand: %v", got)
				}
			})
		})
	}
	p := newProcess(t, newMemory(), nil)
	defer p.Close()
	if err := p.get("local").InstallTrust(); err == nil {
		t.Error("there are no trust stores")
	}
}

// switching is a storage that stands for others.
type switching struct {
	*memory
	upcoming *memory
}

func (s *switching) Current() certmagic.Storage  { return s.memory }
func (s *switching) Upcoming() certmagic.Storage { return s.upcoming }

// An edit of the document's storage reaches authorities whose settings it does not touch.
func TestStorageOfTheDocument(t *testing.T) {
	one, two := newMemory(), newMemory()
	sw := &switching{one, one}
	p := newProcess(t, sw, nil)
	defer p.Close()
	p.load(doc("a", ""))
	inUse := p.get("a")
	root := inUse.Root()
	sw.upcoming = two
	upcoming, err := p.Upcoming("a")
	if err != nil {
		t.Fatal(err)
	}
	next, err := upcoming.PrepareRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if next.Equal(root) || p.get("a") != inUse {
		t.Error("the storage that is prepared and the one in use are mixed up")
	}
	sw.memory = two
	if p.get("a") != upcoming {
		t.Error("the new storage does not count")
	}
	p.get("local") // a look around ends what nothing means any more
	if inUse.ctx.Err() == nil || upcoming.ctx.Err() != nil {
		t.Error("the authority of the old storage goes on, or the new one does not")
	}
	if got := two.copy()["pki/authorities/a/root.crt"]; string(got) != string(encode(next)) {
		t.Error("the new storage does not have the root")
	}
}

// Told of the change, those that were at work go on in the new storage by themselves, with their roots installed.
func TestStorageChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newMemory(), newMemory()
		sw, trust := &switching{one, one}, &stores{}
		p := newProcess(t, sw, trust)
		defer p.Close()
		p.load(`{"certificate_authorities":{"a":{"name":"A"}}}`)
		old := p.get("a")
		p.get("local") // is not at work for anyone
		synctest.Wait()
		sw.memory, sw.upcoming = two, two
		p.StorageChanged()
		synctest.Wait()
		if old.ctx.Err() == nil || two.count("intermediate.crt") != 1 || two.copy()["pki/authorities/a/root.crt"] == nil {
			t.Error("the authority is not made in the new storage, or goes on in the old one")
		}
		if n := len(trust.list()); n != 2 {
			t.Errorf("%d roots are installed, want that of each storage", n)
		}
	})
}

func TestStorageOfItsOwn(t *testing.T) {
	dir, storage := t.TempDir(), newMemory()
	p := newProcess(t, storage, nil)
	defer p.Close()
	p.load(doc("a", fmt.Sprintf(`"storage":{"module":"file_system","root":%q}`, dir)))
	p.get("a")
	if _, err := os.Stat(filepath.Join(dir, "pki", "authorities", "a", "root.key")); err != nil || len(storage.copy()) > 0 {
		t.Errorf("%v; the storage of the process has %d values", err, len(storage.copy()))
	}
}

func TestProblems(t *testing.T) {
	p := newProcess(t, newMemory(), nil)
	defer p.Close()
	root := issue(t, nil, "root", 400*24*time.Hour, nil)
	other := issue(t, nil, "other", 400*24*time.Hour, nil)
	leaf := issue(t, root, "leaf", time.Hour, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
	noSign := issue(t, nil, "no sign", time.Hour, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	short := issue(t, nil, "short", 24*time.Hour, nil)
	flat := issue(t, nil, "flat", 400*24*time.Hour, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	expired := issue(t, nil, "expired", -time.Second, nil)
	encrypted := file(t, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))
	legacy := file(t, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "x"}, Bytes: []byte("x")}))
	secret := file(t, []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXNlY3JldA==\n-----END PRIVATE KEY-----\n"))
	rootFile, keyFile := file(t, encode(root.cert)), file(t, root.keyPEM(t))
	const at = "/certificate_authorities/a"
	for _, tt := range []struct{ fields, pointer, message string }{
		{`"root":{"certificate":"x","format":"pkcs12"}`, at + "/root/format", "unsupported format: pkcs12"},
		{`"root":{}`, at + "/root", "certificate"},
		{`"root":` + pairFiles("/none.pem", ""), at + "/root/certificate", "/none.pem"},
		{`"root":` + pairFiles(keyFile, ""), at + "/root/certificate", "no certificate in it"},
		{`"root":` + pairFiles(rootFile, "/none.key"), at + "/root/private_key", "/none.key"},
		{`"root":` + pairFiles(rootFile, rootFile), at + "/root/private_key", "no private key in it"},
		{`"root":` + pairFiles(rootFile, encrypted), at + "/root/private_key", "encrypted"},
		{`"root":` + pairFiles(rootFile, legacy), at + "/root/private_key", "encrypted"},
		{`"root":` + pairFiles(rootFile, secret), at + "/root/private_key", "cannot be read"},
		{`"root":` + pairFiles(rootFile, file(t, other.keyPEM(t))), at + "/root/private_key", "does not belong to the first certificate"},
		{`"root":` + pairFiles(file(t, encode(other.cert, root.cert)), keyFile), at + "/root/private_key", "does not belong to the first certificate"},
		{`"root":` + pairOf(t, leaf), at + "/root/certificate", "basic constraints"},
		{`"root":` + pairOf(t, noSign), at + "/root/certificate", "key usage"},
		{`"root":` + pairOf(t, flat), at + "/root/certificate", "path length"},
		{`"root":` + pairOf(t, expired), at + "/root/certificate", "expired"},
		{`"root":` + pairOf(t, short), at + "/intermediate_lifetime", "intermediate certificate lifetime must be less than actual root certificate lifetime (23h59m"},
		{`"intermediate":` + pairFiles(rootFile, ""), at + "/intermediate/private_key", "needs a private key"},
		{`"intermediate":` + pairOf(t, leaf), at + "/intermediate/certificate", "basic constraints"},
		{`"intermediate_lifetime":"3600d"`, at + "/intermediate_lifetime", "intermediate certificate lifetime must be less than actual root certificate lifetime (86400h0m0s)"},
		{`"intermediate_lifetime":-1`, at + "/intermediate_lifetime", ""},
		{`"maintenance_interval":-1`, at + "/maintenance_interval", ""},
		{`"nonsense":1`, at + "/nonsense", ""},
		{`"storage":{"module":"nonsense"}`, at + "/storage/module", ""},
	} {
		res := p.compile(doc("a", tt.fields))
		found := false
		for _, problem := range res.Problems {
			found = found || (problem.Pointer == tt.pointer && strings.Contains(problem.Message, tt.message))
			if strings.Contains(problem.String(), "c2VjcmV0") {
				t.Errorf("a problem shows a key: %v", problem)
			}
		}
		if !found {
			t.Errorf("%s: %v, want %q at %s", tt.fields, res.Problems, tt.message, tt.pointer)
		}
	}
	for _, text := range []string{
		`{"certificate_authorities":{"///":{}}}`, `{"certificate_authorities":{".":{}}}`, `{"certificate_authorities":{"":{}}}`, `{"certificate_authorities":{"..":{}}}`,
		`{"certificate_authorities":{"a":{},"A":{}}}`, `{"certificate_authorities":{"Local":{}}}`,
	} {
		if res := p.compile(text); len(res.Problems) == 0 {
			t.Errorf("%s is taken", text)
		}
	}
	for fields, pointer := range map[string]string{
		`"renewal_window_ratio":1.5`:                                        at + "/renewal_window_ratio",
		`"renewal_window_ratio":-0.1`:                                       at + "/renewal_window_ratio",
		`"maintenance_interval":"1ms"`:                                      at + "/maintenance_interval",
		`"intermediate":` + pairOf(t, root):                                 at + "/intermediate",
		`"root":` + pairOf(t, other) + `,"intermediate":` + pairOf(t, root): at + "/intermediate",
		`"root":` + pairOf(t, expired) + `,"intermediate":` + pairOf(t, issue(t, expired, "i", time.Hour, nil)): at + "/root/certificate",
	} {
		res := p.compile(doc("a", fields))
		if len(res.Problems) > 0 || len(res.Warnings) != 1 || res.Warnings[0].Pointer != pointer {
			t.Errorf("%s: problems %v, warnings %v", fields, res.Problems, res.Warnings)
		}
	}
	if res := p.compile(`{"certificate_authorities":{"a":null}}`); len(res.Problems) > 0 {
		t.Error(res.Problems)
	}
}

// The examples can be put to use.
func TestExamples(t *testing.T) {
	for _, e := range Specs()[0].Examples {
		p := newProcess(t, newMemory(), nil)
		p.load(e.JSON)
		p.Close()
	}
}

// A forced load sees that a given pair has changed.
func TestFilesAreInputs(t *testing.T) {
	one, two := issue(t, nil, "one", 400*24*time.Hour, nil), issue(t, nil, "two", 400*24*time.Hour, nil)
	certificate, key := file(t, encode(one.cert)), file(t, one.keyPEM(t))
	text := doc("a", `"root":`+pairFiles(certificate, key))
	p := newProcess(t, newMemory(), nil)
	defer p.Close()
	p.load(text)
	if !p.get("a").Root().Equal(one.cert) {
		t.Fatal("the given root is not used")
	}
	for name, content := range map[string][]byte{certificate: encode(two.cert), key: two.keyPEM(t)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	res := p.builder.Build(p.last, AppID, config.Reuse(p.last.Node(), node), module.Options{Force: true})
	if err := prepareAll(res.New); err != nil || len(res.New) != 1 {
		t.Fatalf("%v, %d modules are new", err, len(res.New))
	}
	res.New[0].Owned()[0].Start()
	a := p.get("a")
	if !a.Root().Equal(two.cert) || a.Intermediate().CheckSignatureFrom(two.cert) != nil {
		t.Error("the changed root is not used, or its predecessor's intermediate still is")
	}
}
