package loaders_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/tls/automation/loaders"
)

// pair makes a certificate and its key in PEM; the key as SEC 1 writes it.
func pair(t *testing.T, until time.Time, names ...string) (cert, key string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: until}
	if len(names) > 0 {
		tmpl.Subject = pkix.Name{CommonName: names[0]}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, priv.Public(), priv)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", der), block("EC PRIVATE KEY", raw)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

var later = time.Now().AddDate(1, 0, 0)

var specs = sync.OnceValues(func() (*module.Table, error) { return module.NewTable(loaders.Specs(), nil) })

func build(t *testing.T, name string, doc any, prev *module.Built, force bool) module.Result {
	t.Helper()
	table, err := specs()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	node, _, err := config.Parse(text, config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if prev != nil {
		node = config.Reuse(prev.Node(), node)
	}
	b := &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.NewGlobal()}}
	return b.Build(prev, loaders.Namespace+"."+name, node, module.Options{Force: force})
}

func source(t *testing.T, name string, doc any) *loaders.Source {
	t.Helper()
	res := build(t, name, doc, nil, false)
	if len(res.Problems) > 0 {
		t.Fatal(res.Problems)
	}
	return res.Root.Value().(*loaders.Source)
}

func refused(t *testing.T, name string, doc any, at, want string) {
	t.Helper()
	res := build(t, name, doc, nil, false)
	if len(res.Problems) != 1 || res.Problems[0].Pointer != at || !strings.Contains(res.Problems[0].Message, want) {
		t.Errorf("%s: got %v, want %q at %s", name, res.Problems, want, at)
	}
}

func write(t *testing.T, folder, name, text string) string {
	t.Helper()
	file := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

type obj = map[string]any

func TestAutomate(t *testing.T) {
	t.Setenv("SITE", "site.example")
	s := source(t, "automate", []string{"a.example", "{env.SITE}", "*.b.example"})
	if got := strings.Join(s.Names, " "); got != "a.example site.example *.b.example" {
		t.Error(got)
	}
	refused(t, "automate", []string{"{env.NOT_SET_AT_ALL}"}, "/0", "NOT_SET_AT_ALL")
	refused(t, "automate", []string{"ok.example", ".bad"}, "/1", "cannot be the name")
}

func TestFiles(t *testing.T) {
	folder := t.TempDir()
	cert, key := pair(t, later, "a.example")
	_, otherKey := pair(t, later, "b.example")
	certFile, keyFile := write(t, folder, "a.crt", cert), write(t, folder, "a.key", key)
	other := write(t, folder, "b.key", otherKey)
	t.Setenv("FOLDER", folder)
	t.Setenv("TAG", "blue")
	s := source(t, "load_files", []obj{{"certificate": "{env.FOLDER}/a.crt", "key": keyFile, "format": "pem", "tags": []string{"{env.TAG}", "{unknown}"}}})
	if c := s.Certificates; len(c) != 1 || c[0].TLS.Leaf.DNSNames[0] != "a.example" || strings.Join(c[0].Tags, " ") != "blue {unknown}" {
		t.Errorf("%+v", c)
	}
	refused(t, "load_files", []obj{{"certificate": certFile, "key": other}}, "/0", "private key does not match public key")
	refused(t, "load_files", []obj{{"certificate": certFile, "key": folder + "/none"}}, "/0/key", "no such file")
	refused(t, "load_files", []obj{{"certificate": folder + "/none", "key": keyFile}}, "/0/certificate", "no such file")
	refused(t, "load_files", []obj{{"certificate": certFile, "key": keyFile, "format": "der"}}, "/0/format", "it is pem")

	doc := []obj{{"certificate": certFile, "key": keyFile}}
	before := build(t, "load_files", doc, nil, false)
	if again := build(t, "load_files", doc, before.Root, true); again.Root != before.Root {
		t.Error("files that have not changed were read again")
	}
	cert, key = pair(t, later, "new.example")
	write(t, folder, "a.crt", cert)
	write(t, folder, "a.key", key)
	again := build(t, "load_files", doc, before.Root, true)
	if got := again.Root.Value().(*loaders.Source).Certificates[0].TLS.Leaf.DNSNames[0]; got != "new.example" {
		t.Errorf("after the file changed: %s", got)
	}
}

func TestPEM(t *testing.T) {
	cert, key := pair(t, later, "a.example")
	s := source(t, "load_pem", []obj{{"certificate": cert, "key": key, "tags": []string{"x"}}})
	if len(s.Certificates) != 1 || s.Certificates[0].Tags[0] != "x" {
		t.Errorf("%+v", s.Certificates)
	}
	file := write(t, t.TempDir(), "k", key)
	source(t, "load_pem", []obj{{"certificate": cert, "key": "{file." + file + "}"}})
	refused(t, "load_pem", []obj{{"certificate": "rubbish", "key": key}}, "/0", "")
	refused(t, "load_pem", []obj{{"certificate": cert + block("CERTIFICATE", []byte("x")), "key": key}}, "/0", "certificate 2 of the chain cannot be read")
	nameless, namelessKey := pair(t, later)
	refused(t, "load_pem", []obj{{"certificate": nameless, "key": namelessKey}}, "/0", "has no names")
	secret := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("x")}))
	refused(t, "load_pem", []obj{{"certificate": cert, "key": secret}}, "/0", "encrypted")
	refused(t, "load_pem", []obj{{"certificate": cert, "key": block("ENCRYPTED PRIVATE KEY", []byte("x"))}}, "/0", "encrypted")

	old, oldKey := pair(t, time.Now().AddDate(0, 0, -1), "old.example")
	for _, tt := range []struct{ cert, key, want string }{
		{old, oldKey, "the certificate for old.example has expired"},
		{cert + old, key, "the certificate CN=old.example of the chain has expired"},
	} {
		res := build(t, "load_pem", []obj{{"certificate": tt.cert, "key": tt.key}}, nil, false)
		if len(res.Problems) != 0 || len(res.Warnings) != 1 || res.Warnings[0].Pointer != "/0" || !strings.Contains(res.Warnings[0].Message, tt.want) {
			t.Errorf("%s: %v %v", tt.want, res.Problems, res.Warnings)
		}
	}
}

func TestFolders(t *testing.T) {
	folder := t.TempDir()
	cert, key := pair(t, later, "a.example")
	second, secondKey := pair(t, later, "b.example")
	write(t, folder, "a.pem", cert+key)
	write(t, folder, "deep/er/B.PEM", block("EC PARAMETERS", []byte{6, 1, 1})+secondKey+second+key) // of two keys the first
	write(t, folder, "notes.txt", "not looked at")
	s := source(t, "load_folders", []string{folder})
	var names []string
	for _, c := range s.Certificates {
		names = append(names, c.TLS.Leaf.DNSNames...)
	}
	if got := strings.Join(names, " "); got != "a.example b.example" {
		t.Errorf("loaded %s", got)
	}
	refused(t, "load_folders", []string{folder, folder + "/none"}, "/1", "no such file")
	for text, want := range map[string]string{
		cert: "no private key", key: "no certificate", cert + key + block("X509 CRL", []byte("x")): `"X509 CRL" does not belong here`,
		cert + block("EC PARAMETERS", []byte("x")) + cert + key: "not followed by its key", "": "no certificate",
	} {
		bad := t.TempDir()
		write(t, bad, "bad.pem", text)
		refused(t, "load_folders", []string{bad}, "/0", want)
	}
}

func TestStorage(t *testing.T) {
	cert, key := pair(t, later, "a.example")
	s := &certmagic.FileStorage{Path: t.TempDir()}
	ctx := context.Background()
	for name, text := range map[string]string{"mine/a.crt": cert, "mine/a.key": key} {
		if err := s.Store(ctx, name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	l := source(t, "load_storage", obj{"pairs": []obj{{"certificate": "mine/a.crt", "key": "mine/a.key", "tags": []string{"x"}}}})
	list, err := l.FromStorage(ctx, s)
	if len(err) > 0 || !l.Deferred() || len(list) != 1 || list[0].Tags[0] != "x" || !bytes.Contains(list[0].TLS.Leaf.Raw, []byte("a.example")) {
		t.Errorf("%+v, %v", list, err)
	}
	_, otherKey := pair(t, later, "b.example")
	if err := s.Store(ctx, "mine/other.key", []byte(otherKey)); err != nil {
		t.Fatal(err)
	}
	l = source(t, "load_storage", obj{"pairs": []obj{{"certificate": "mine/none.crt", "key": "mine/a.key"}, {"certificate": "mine/a.crt", "key": "mine/none.key"}, {"certificate": "mine/a.crt", "key": "mine/other.key"}}})
	_, problems := l.FromStorage(ctx, s)
	for i, want := range []struct{ at, text string }{{"/pairs/0/certificate", "mine/none.crt"}, {"/pairs/1/key", "mine/none.key"}, {"/pairs/2", "private key does not match public key"}} {
		if len(problems) != 3 || problems[i].Pointer != want.at || !strings.Contains(problems[i].Message, want.text) {
			t.Errorf("%v, want %s at %s", problems, want.text, want.at)
		}
	}
	refused(t, "load_storage", obj{"pairs": []obj{{"certificate": "a", "key": "b", "format": "x"}}}, "/pairs/0/format", "it is pem")
}
