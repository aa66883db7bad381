package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rememberedTrust is trust stores of which only the test knows.
type rememberedTrust struct{ roots map[string]bool }

func (r *rememberedTrust) Trusted(c *x509.Certificate) bool { return r.roots[string(c.Raw)] }

func (r *rememberedTrust) Install(c *x509.Certificate) error {
	r.roots[string(c.Raw)] = true
	return nil
}

func (r *rememberedTrust) Uninstall(c *x509.Certificate) error {
	delete(r.roots, string(c.Raw))
	return nil
}

func TestTrust(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	stores := &rememberedTrust{map[string]bool{}}
	var out, errs bytes.Buffer
	here := func(args ...string) int {
		p := thisProgram()
		out.Reset()
		errs.Reset()
		p.stdout, p.stderr, p.trust = &out, &errs, stores
		return p.execute(append(args, "--address", b.admin))
	}
	if code := here("trust"); code != 1 || !strings.Contains(errs.String(), "connection refused") {
		t.Errorf("without an instance: %d %s", code, errs.String())
	}
	b.up("--config", b.write("c.json", `{"apps":{"pki":{"certificate_authorities":{"own":{"name":"Mine","install_trust":false},"local":{"install_trust":false}}}}}`))
	for _, args := range [][]string{{"trust"}, {"trust", "--ca", "own"}} {
		if code := here(args...); code != 0 || !strings.HasPrefix(out.String(), "Trusted now: ") || errs.Len() > 0 {
			t.Errorf("%v: %d %s%s", args, code, out.String(), errs.String())
		}
	}
	if !strings.Contains(out.String(), "Mine") || len(stores.roots) != 2 {
		t.Errorf("%d roots are trusted; %s", len(stores.roots), out.String())
	}
	if code := here("trust", "--ca", "none"); code != 1 || !strings.Contains(errs.String(), "no certificate authority configured with id: none") {
		t.Errorf("an unknown authority: %d %s", code, errs.String())
	}
	if code := here("untrust"); code != 0 || len(stores.roots) != 1 || !strings.HasPrefix(out.String(), "No longer trusted: ") {
		t.Errorf("untrust: %d %s%s, %d left", code, out.String(), errs.String(), len(stores.roots))
	}

	// With a file no instance is needed, and none is asked.
	var info struct {
		Root string `json:"root_certificate"`
	}
	if err := json.Unmarshal([]byte(b.does("GET", "/pki/ca/own", "")), &info); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(b.dir, "root.crt")
	if err := os.WriteFile(file, []byte(info.Root), 0o600); err != nil {
		t.Fatal(err)
	}
	p := thisProgram()
	p.stdout, p.stderr, p.trust = &out, &errs, stores
	if code := p.execute([]string{"untrust", "-p", file}); code != 0 || len(stores.roots) != 0 {
		t.Errorf("untrust with a file: %d %s, %d left", code, errs.String(), len(stores.roots))
	}
	for flag, value := range map[string]string{"--ca": "own", "--address": b.admin, "--config": file, "--adapter": "json"} {
		b.fails("conflicting flags", "untrust", "--cert", file, flag, value)
	}
	b.fails("no such file", "untrust", "--cert", filepath.Join(b.dir, "none"))
}
