package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStorageCommands(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	data := filepath.Join(b.dir, "d", "sluice")
	key := filepath.Join(data, "certificates", "own", "a.key")
	if err := os.MkdirAll(filepath.Dir(key), 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{key: "secret key", filepath.Join(data, "sluice.db"): "revisions"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	from := b.write("from.json", `{"apps":{"http":{}}}`)
	to := b.write("to.caddyfile", "{\n\tstorage file_system {\n\t\troot "+b.dir+"/else\n\t}\n}\n")
	archive := filepath.Join(b.dir, "x.tar")
	if r := b.ok("storage", "export", "-c", from, "-o", archive); r.stdout != "" || r.stderr != "exported 1 values of 10 bytes\n" {
		t.Errorf("export: %+v", r)
	}
	if r := b.ok("storage", "import", "--config", to, "--input", archive); r.stdout != "Successfully imported storage\n" || r.stderr != "imported 1 values of 10 bytes\n" {
		t.Errorf("import: %+v", r)
	}
	copied := filepath.Join(b.dir, "else", "certificates", "own", "a.key")
	if text, err := os.ReadFile(copied); err != nil || string(text) != "secret key" {
		t.Errorf("imported: %q, %v", text, err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of what was imported: %v, %v", info, err)
	}
	stream := b.ok("storage", "export", "-c", from, "-o", "-")
	if !strings.Contains(stream.stdout, "secret key") || strings.Contains(stream.stderr, "secret key") || strings.Contains(stream.stdout, "revisions") {
		t.Errorf("export to standard output: %+v", stream)
	}
	if err := os.Remove(copied); err != nil {
		t.Fatal(err)
	}
	if r := b.runWith(stream.stdout, "storage", "import", "-c", to, "-i", "-"); r.code != 0 {
		t.Errorf("import from standard input: %+v", r)
	}
	if _, err := os.Stat(copied); err != nil {
		t.Error(err)
	}

	b.fails("name the config", "storage", "export", "-o", archive)
	b.fails("name the config", "storage", "export", "-c", from)
	b.fails("name the config", "storage", "import", "-c", from)
	b.fails("both the config and the archive", "storage", "import", "-c", "-", "-i", "-")
	b.fails("no such file", "storage", "import", "-c", from, "-i", filepath.Join(b.dir, "none.tar"))
	b.fails("no such file", "storage", "export", "-c", filepath.Join(b.dir, "none.json"), "-o", archive)
	b.fails("no such file", "storage", "export", "-c", from, "-o", filepath.Join(b.dir, "none", "x.tar"))
	bad := b.write("bad.json", "{\n\"storage\":{\"module\":\"file_system\",\"rot\":\"/x\"}}")
	b.fails("/storage/rot (line 2", "storage", "export", "-c", bad, "-o", archive)
	if r := b.run("storage", "import", "-c", to, "-i", from); r.code != 3 || !strings.Contains(r.stderr, "tar") || r.stdout != "" {
		t.Errorf("what is no archive: %+v", r)
	}
	for _, args := range [][]string{{"storage"}, {"storage", "unknown"}} {
		if r := b.run(args...); r.code != 0 || !strings.Contains(r.stdout, "export") || !strings.Contains(r.stdout, "Usage:") {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// A file with variables says where the storage is, too.
func TestStorageOfAnEnvironmentFile(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.unsetenv("XDG_DATA_HOME")
	b.up("--envfile", b.write("env", "XDG_DATA_HOME="+b.dir+"/moved\n"), "--config", b.write("c.json", `{"apps":{"pki":{"certificate_authorities":{"local":{"install_trust":false}}}}}`))
	b.does("GET", "/pki/ca/local", "")
	if _, err := os.Stat(filepath.Join(b.dir, "moved", "sluice", "pki", "authorities", "local", "root.crt")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, ".local")); err == nil {
		t.Error("something is kept where the environment said at first")
	}
}
