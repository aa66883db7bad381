package environment

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDirectories(t *testing.T) {
	for _, c := range []struct{ system, env, config, data string }{
		{"linux", "HOME=/h", "/h/.config/sluice", "/h/.local/share/sluice"},
		{"freebsd", "HOME=/h XDG_CONFIG_HOME=/c XDG_DATA_HOME=/d", "/c/sluice", "/d/sluice"},
		{"linux", "", "./sluice", "./sluice"},
		{"darwin", "HOME=/h", "/h/Library/Application Support/Sluice", "/h/Library/Application Support/Sluice"},
		{"darwin", "HOME=/h XDG_DATA_HOME=/d", "/h/Library/Application Support/Sluice", "/d/sluice"},
		{"windows", "AppData=/a USERPROFILE=/u", "/a/Sluice", "/a/Sluice"},
		{"plan9", "home=/p", "/p/lib/sluice", "/p/lib/sluice"},
		{"android", "HOME=/h", "/h/.config/sluice", "/h/sluice"},
	} {
		vars := map[string]string{}
		for _, kv := range strings.Fields(c.env) {
			k, v, _ := strings.Cut(kv, "=")
			vars[k] = v
		}
		d := Find(c.system, func(k string) string { return vars[k] })
		if filepath.ToSlash(d.Config) != c.config || filepath.ToSlash(d.Data) != c.data {
			t.Errorf("%s %s: %+v", c.system, c.env, d)
		}
		if d.Guessed != (c.env == "") {
			t.Errorf("%s %s: guessed is %v", c.system, c.env, d.Guessed)
		}
	}
	for _, c := range []struct {
		env  []string
		want bool
	}{{nil, true}, {[]string{"HOME"}, false}, {[]string{"XDG_CONFIG_HOME", "XDG_DATA_HOME"}, true},
		{[]string{"XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"}, false}} {
		got := HomeMissing("linux", func(k string) string {
			if slices.Contains(c.env, k) {
				return "/x"
			}
			return ""
		})
		if got != c.want {
			t.Errorf("homeMissing with %v: %v", c.env, got)
		}
	}
}

func TestStorage(t *testing.T) {
	base := t.TempDir()
	d := Directories{Config: filepath.Join(base, "config", "sluice"), Data: filepath.Join(base, "data", "sluice")}
	make := func(elem ...string) {
		if err := os.MkdirAll(filepath.Join(append([]string{base}, elem...)...), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when, want string) {
		t.Helper()
		if got := d.Storage(); got != filepath.Join(base, "data", want) {
			t.Errorf("%s: the storage is %s", when, got)
		}
	}
	expect("nothing there", "sluice")
	make("data", "caddy", "locks")
	expect("Caddy has no certificates", "sluice")
	make("data", "caddy", "pki")
	expect("only Caddy has certificates", "caddy")
	make("data", "sluice", "locks")
	expect("only Caddy has certificates, the own directory is there", "caddy")
	make("data", "sluice", "certificates")
	expect("both have certificates", "sluice")
	if got := d.CaddyAutosaveFile(); got != filepath.Join(base, "config", "caddy", "autosave.json") {
		t.Errorf("Caddy's autosave is %s", got)
	}
	d = Find("darwin", func(string) string { return "/h" })
	if got := filepath.ToSlash(d.CaddyAutosaveFile()); got != "/h/caddy/autosave.json" {
		t.Errorf("with XDG_CONFIG_HOME: %s", got)
	}
	d.Config = "/h/Library/Application Support/Sluice"
	if got := filepath.ToSlash(d.CaddyAutosaveFile()); got != "/h/Library/Application Support/Caddy/autosave.json" {
		t.Errorf("on a Mac: %s", got)
	}
}
