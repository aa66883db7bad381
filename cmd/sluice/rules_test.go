//go:build unix

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// reload always says where the config is from, and --force that it is to be
// loaded in any case (cli, section 4).
func TestReloadSendsItsSource(t *testing.T) {
	t.Parallel()
	heard := make(chan *http.Request, 1)
	instance := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard <- r }))
	t.Cleanup(instance.Close)
	b := newBox(t)
	b.write("s.json", "{}")
	b.write("x", ":80\n")
	for _, c := range []struct {
		args                 []string
		file, adapter, cache string
		kind                 string
	}{
		{[]string{"-c", "s.json"}, "s.json", "", "", "application/json"},
		{[]string{"-c", "s.json", "-f"}, "s.json", "", "must-revalidate", "application/json"},
		{[]string{"-c", "x", "-a", "caddyfile", "--force"}, "x", "caddyfile", "must-revalidate", "text/caddyfile"},
	} {
		b.ok(append([]string{"reload", "--address", strings.TrimPrefix(instance.URL, "http://")}, c.args...)...)
		r := <-heard
		got := [][]string{r.Header["Caddy-Config-Source-File"], r.Header["Caddy-Config-Source-Adapter"], {r.Header.Get("Cache-Control")}, {r.Header.Get("Content-Type")}}
		want := [][]string{{c.file}, {c.adapter}, {c.cache}, {c.kind}}
		if r.Method+r.URL.String() != "POST/load" || fmt.Sprint(got) != fmt.Sprint(want) || r.Header.Get("Origin") != instance.URL {
			t.Errorf("%v: %s %s %q, want %q", c.args, r.Method, r.URL, got, want)
		}
	}
}

func TestEnvironLines(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.write("e.env", "XDG_CONFIG_HOME=/no\nNEW=1\n")
	b.unsetenv("XDG_DATA_HOME")
	b.write("f.env", "XDG_DATA_HOME="+b.dir+"/moved\n")
	out := b.ok("environ", "--envfile", "e.env", "--envfile", "f.env").stdout
	want := `^sluice\.HomeDir=BOX
sluice\.AppDataDir=BOX/moved/sluice
sluice\.AppConfigDir=BOX/c/sluice
sluice\.ConfigAutosavePath=BOX/c/sluice/autosave\.json
sluice\.Version=\S.*
runtime\.GOOS=\w+
runtime\.GOARCH=\w+
runtime\.Compiler=\w+
runtime\.NumCPU=\d+
runtime\.GOMAXPROCS=\d+
runtime\.Version=go1.*
os\.Getwd=.*

(\w+=.*
)+$`
	if !regexp.MustCompile(strings.ReplaceAll(want, "BOX", regexp.QuoteMeta(b.dir))).MatchString(out) || !strings.Contains(out, "\nNEW=1\n") {
		t.Errorf("environ prints\n%s", out)
	}
}

func TestListModulesText(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	all := strings.Split(b.ok("list-modules").stdout, "\n")
	n := len(all) - 3 // the blank line, the count, and what follows the last newline
	if last := strings.Join(all[n:], "\n"); last != fmt.Sprintf("\n  Standard modules: %d\n", n) || n < 100 {
		t.Errorf("the end is %q", last)
	}
	for _, line := range all[:n] {
		if !regexp.MustCompile(`^[a-z0-9_.]+$`).MatchString(line) {
			t.Errorf("line %q", line)
		}
	}
	if got, want := b.ok("list-modules", "--skip-standard").stdout, fmt.Sprintf("  Standard modules: %d\n", n); got != want {
		t.Errorf("without those that are standard: %q, want %q", got, want)
	}
	if got := b.ok("list-modules", "--skip-standard", "--json").stdout; got != "[]\n" {
		t.Errorf("as JSON: %q", got)
	}
}

// A process that is told to quit at once gives up its locks, so that no other
// one has to wait until they are taken for abandoned (cli, section 10).
func TestSIGQUITReleasesTheLocksOfTheStorage(t *testing.T) {
	t.Parallel()
	asked, over := make(chan struct{}, 8), make(chan struct{})
	authority := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-over
	}))
	t.Cleanup(authority.Close)
	t.Cleanup(func() { close(over) })
	b := newBox(t)
	c := b.up("--config", b.write("s.json", fmt.Sprintf(`{"apps":{"tls":{"certificates":{"automate":["a.localhost"]},
		"automation":{"policies":[{"subjects":["a.localhost"],"issuers":[{"module":"acme","ca":"%s/dir"}]}]}}}}`, authority.URL)))
	<-asked
	pattern := filepath.Join(b.dir, "d", "sluice", "locks", "*.lock")
	if list, err := filepath.Glob(pattern); err != nil || len(list) == 0 {
		t.Fatalf("nothing is locked: %v", err)
	}
	c.signal(syscall.SIGQUIT)
	c.exits(2)
	if list, err := filepath.Glob(pattern); err != nil || len(list) > 0 {
		t.Errorf("still locked: %v %v", list, err)
	}
}

func TestAFailedStartLeavesThePidFile(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	file := filepath.Join(b.dir, "pid")
	b.fails("nope", "run", "--pidfile", file, "--config", b.write("bad.json", `{"nope":1}`))
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// With nothing that names a directory the working directory is used, with a
// warning (cli, section 12).
func TestWithoutAHome(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for _, key := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"} {
		b.unsetenv(key)
	}
	c := b.up()
	c.logged("neither the home directory nor all of XDG_CONFIG_HOME, XDG_DATA_HOME and XDG_CACHE_HOME are set")
	if _, err := os.Stat(filepath.Join(b.dir, "sluice", "sluice.db")); err != nil {
		t.Error(err)
	}
	c.term()
}

// The limit of memory that the control group gives is in force whatever a file
// with variables says, but what the environment says comes first (cli, sections
// 4 and 13).
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/meminfo"); err != nil {
		t.Skip("the limits of this system are not known: ", err)
	}
	const said = "set memory limit"
	for _, c := range []struct {
		env, file string
		want      bool
	}{{"", "", true}, {"", "2GiB", true}, {"2GiB", "", false}, {"off", "", false}} {
		b := newBox(t)
		args := []string{"--store", "none", "--config", b.write("s.json", `{"logging":{"logs":{"default":{"level":"DEBUG"}}}}`)}
		if c.env != "" {
			b.setenv("GOMEMLIMIT", c.env)
		}
		if c.file != "" {
			args = append(args, "--envfile", b.write("e.env", "GOMEMLIMIT="+c.file+"\n"))
		}
		child := b.up(args...)
		if got := strings.Contains(child.stderr.String(), said); got != c.want {
			t.Errorf("GOMEMLIMIT=%s, in a file %s: a limit is set: %v\n%s", c.env, c.file, got, child.stderr.String())
		}
		child.term()
	}
}
