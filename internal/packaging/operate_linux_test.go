package packaging

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// page is the page for operators.
const page = top + "/docs/operate.md"

// These notes stand in front of commands, and say who runs them: TestOperate, TestMake, and TestImage.
const (
	onMachine  = "not run: internal/packaging does it on a machine of its own"
	inCheckout = "not run: internal/packaging does it in a checkout"
	inDocker   = "not run: needs Docker; internal/packaging "
)

// commands is a block of commands, with what they print.
type commands struct {
	line           int
	note           string
	script, expect string
}

func commandsOf(t *testing.T) (list []commands) {
	t.Helper()
	note, fence := "", ""
	var body []string
	for i, line := range strings.Split(read(t, page), "\n") {
		kind, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && fence == "":
			fence, body = "```"+kind, nil
		case isFence:
			text := strings.Join(body, "\n") + "\n"
			if fence == "```sh" {
				list = append(list, commands{line: i - len(body), note: note, script: text})
			} else if len(list) > 0 {
				list[len(list)-1].expect = text
			}
			fence, note = "", ""
		case fence != "":
			body = append(body, line)
		case strings.HasPrefix(line, "<!-- "):
			note = strings.TrimSuffix(strings.TrimPrefix(line, "<!-- "), " -->")
		case line != "":
			note = ""
		}
	}
	return list
}

// Each block is run by some test.
func TestEveryCommandIsRun(t *testing.T) {
	list := commandsOf(t)
	for _, c := range list {
		if c.note != onMachine && c.note != inCheckout && !strings.HasPrefix(c.note, inDocker) {
			t.Errorf("line %d: nobody runs this: %q", c.line, c.note)
		}
	}
	if len(list) < 15 {
		t.Errorf("only %d blocks", len(list))
	}
}

// TestOperate runs the page for operators, from the first command to the last, on a machine on which nothing is installed.
func TestOperate(t *testing.T) {
	if !inside(t) {
		return
	}
	m := newMachine(t)
	if _, err := os.Stat(m.file("usr/bin/curl")); err != nil {
		absent(t, "curl", false)
	}
	m.give(debianPackage(t, version))
	if err := os.MkdirAll(m.file("etc/logrotate.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range commandsOf(t) {
		if c.note != onMachine {
			continue
		}
		cmd := in(m.root, "sh", "-eu")
		cmd.Env = append(cmd.Env, "SLUICE_NO_TRUST_INSTALL=1")
		cmd.Stdin = strings.NewReader(c.script)
		// Not pipes, which what goes on in the background would hold.
		stdout, stderr := output(t), output(t)
		cmd.Stdout, cmd.Stderr = stdout, stderr
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		err := cmd.Run()
		timer.Stop()
		printed, complained := read(t, stdout.Name()), read(t, stderr.Name())
		if err != nil {
			t.Fatalf("line %d: %v\n%s\nstdout: %s\nstderr: %s", c.line, err, c.script, printed, complained)
		}
		if c.expect != "" && !like(c.expect).MatchString(printed) {
			t.Fatalf("line %d printed\n%s\nbut the page says\n%s\nstderr: %s", c.line, printed, c.expect, complained)
		}
	}
}

// output is a file for what a command prints.
func output(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// like is what matches a text in which ... is anything.
func like(text string) *regexp.Regexp {
	p := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSuffix(text, "\n")), `\.\.\.`, `.*`)
	return regexp.MustCompile(`^(?s:` + p + `)\s*$`)
}

// The commands that are run in a checkout: what make builds and installs is where it belongs.
func TestMake(t *testing.T) {
	targets := map[string]bool{}
	for _, c := range commandsOf(t) {
		if c.note == inCheckout {
			targets[strings.TrimSpace(c.script)] = true
		}
	}
	if len(targets) != 2 || !targets["make deb"] || !targets["make install"] {
		t.Fatalf("the page has %v", targets)
	}
	bin, dest := program(t), t.TempDir()
	out, err := runMake("install", "BIN="+bin, "VERSION="+version, "DESTDIR="+dest)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	checkInstalled(t, filepath.Join(dest, "usr/local"), "site-functions")
	for _, name := range []string{"sluice.service", "sluice-api.service"} {
		if got := parseUnit(t, filepath.Join(dest, "usr/local/lib/systemd/system", name)).get("ExecStart"); !strings.HasPrefix(got, "/usr/local/bin/sluice run ") {
			t.Errorf("%s starts %q", name, got)
		}
	}
	nfpm := filepath.Join(top, ".deps/bin/nfpm")
	if _, err := os.Stat(nfpm); err != nil {
		absent(t, "nfpm", true)
	}
	if out, err := runMake("deb", "BIN="+bin, "VERSION="+version); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made, _ := filepath.Glob(filepath.Join(filepath.Dir(bin), "sluice_1.2.3_*.deb"))
	if len(made) != 1 {
		t.Fatalf("make deb left %q", made)
	}
	first := read(t, made[0])
	if again := read(t, debianPackage(t, version)); again != first {
		t.Error("a package made again is another one")
	}
}

// checkInstalled looks whether all is below a prefix.
func checkInstalled(t *testing.T, prefix, zsh string) {
	t.Helper()
	for name, want := range map[string]string{
		"bin/sluice":                                  "\x7fELF",
		"share/man/man8/sluice.8":                     ".TH \"SLUICE\" \"8\"",
		"share/man/man8/sluice-run.8":                 "sluice-run",
		"share/bash-completion/completions/sluice":    "__start_sluice",
		"share/zsh/" + zsh + "/_sluice":               "#compdef sluice",
		"share/fish/vendor_completions.d/sluice.fish": "complete -c sluice",
		"share/doc/sluice/examples/Caddyfile":         ":80 {",
		"share/doc/sluice/examples/logrotate":         "/var/log/sluice/*.log {",
		"share/doc/sluice/examples/socket.Caddyfile":  "bind fd/3",
	} {
		if !strings.Contains(read(t, filepath.Join(prefix, name)), want) {
			t.Errorf("%s has no %q", name, want)
		}
	}
}
