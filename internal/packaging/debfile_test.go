package packaging

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// archived is what a package has in one of its archives, by name.
type archived map[string]struct {
	tar.Header
	text string
}

// unpack reads a Debian package, with no program of Debian's.
func unpack(t *testing.T, file string) (control, data archived) {
	t.Helper()
	text, ok := strings.CutPrefix(read(t, file), "!<arch>\n")
	if !ok {
		t.Fatal("it is no archive")
	}
	parts := map[string]string{}
	for len(text) > 60 {
		size, err := strconv.Atoi(strings.TrimSpace(text[48:58]))
		if err != nil || len(text) < 60+size {
			t.Fatalf("a part of %q bytes", text[48:58])
		}
		parts[strings.TrimRight(text[:16], " /")] = text[60 : 60+size]
		text = text[min(60+size+size%2, len(text)):]
	}
	if parts["debian-binary"] != "2.0\n" {
		t.Errorf("the format is %q", parts["debian-binary"])
	}
	return untar(t, parts["control.tar.gz"]), untar(t, parts["data.tar.gz"])
}

func untar(t *testing.T, packed string) archived {
	t.Helper()
	plain, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	list := archived{}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		entry := list[""]
		entry.Header, entry.text = *h, string(text)
		list[strings.TrimPrefix(strings.TrimSuffix(h.Name, "/"), "./")] = entry
	}
}

// What is in the package, seen without installing it.
func TestPackageFile(t *testing.T) {
	control, data := unpack(t, debianPackage(t, version))
	for _, want := range []string{"Package: sluice\n", "Version: 1.2.3\n", "Depends: passwd\n", "Maintainer: ", "Homepage: "} {
		if !strings.Contains(control["control"].text, want) {
			t.Errorf("control has no %q:\n%s", want, control["control"].text)
		}
	}
	if runtime.GOARCH == "amd64" && !strings.Contains(control["control"].text, "Architecture: amd64\n") {
		t.Error(control["control"].text)
	}
	if got := control["conffiles"].text; got != "/etc/sluice/Caddyfile\n" {
		t.Errorf("conffiles %q", got)
	}
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		script := control[name]
		if script.Mode&0o111 != 0o111 || !strings.HasPrefix(script.text, "#!/bin/sh\n") {
			t.Errorf("%s has mode %o and begins %.20q", name, script.Mode, script.text)
		}
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(script.text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
	for name, e := range data {
		if e.Uid != 0 || e.Gid != 0 || e.Uname != "root" || e.Mode&0o7022 != 0 {
			t.Errorf("%s is of %d:%d (%s), mode %o", name, e.Uid, e.Gid, e.Uname, e.Mode)
		}
		if e.ModTime.Unix() != 1785585600 {
			t.Errorf("%s is of %v, not of the time of the source", name, e.ModTime)
		}
	}
	for name, want := range map[string]string{
		"usr/bin/sluice": "\x7fELF", "etc/sluice/Caddyfile": ":80 {", "usr/lib/systemd/system/sluice.service": "ExecStart=/usr/bin/sluice run",
		"usr/lib/systemd/system/sluice-api.service": "run --resume", "usr/lib/systemd/system/sluice.socket": "ListenStream=80",
		"usr/share/bash-completion/completions/sluice": "__start_sluice", "usr/share/zsh/vendor-completions/_sluice": "#compdef sluice",
		"usr/share/fish/vendor_completions.d/sluice.fish": "complete -c sluice", "usr/share/doc/sluice/copyright": "Apache-2.0",
	} {
		if !strings.Contains(data[name].text, want) {
			t.Errorf("%s has no %q", name, want)
		}
	}
	for name, want := range map[string]string{"usr/share/man/man8/sluice.8.gz": "SLUICE", "usr/share/man/man8/sluice-run.8.gz": "sluice run",
		"usr/share/doc/sluice/changelog.gz": "# Changelog"} {
		plain, err := gzip.NewReader(strings.NewReader(data[name].text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := io.ReadAll(plain)
		if err != nil || !bytes.Contains(bytes.ReplaceAll(text, []byte(`\`), nil), []byte(want)) {
			t.Errorf("%s has no %q: %v", name, want, err)
		}
	}
	if data["usr/bin/sluice"].Mode != 0o755 {
		t.Errorf("the program has mode %o", data["usr/bin/sluice"].Mode)
	}
}
