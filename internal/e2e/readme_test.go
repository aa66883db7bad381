package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/internal/porttest"
)

// block is a fenced block of commands, with the output that follows it, or one
// with a Caddyfile.
type block struct {
	line    int
	note    string // the HTML comment in front of it
	lang    string // sh or caddyfile
	script  string
	expect  string
	expects bool
}

// What a note in front of a block may say. A program that a block needs, and that
// is not there, skips that block alone.
const (
	noteNotRun = "not run" // and why
	noteRuns   = "runs until stopped"
	noteNeeds  = "needs" // and which program
)

// blocksOf finds the blocks of shell commands in Markdown.
func blocksOf(text string) []block {
	var list []block
	note, fence := "", ""
	var body []string
	for i, line := range strings.Split(text, "\n") {
		kind, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && fence == "":
			fence, body = "```"+kind, nil
		case isFence:
			script := strings.Join(body, "\n") + "\n"
			switch {
			case fence == "```sh" || fence == "```caddyfile":
				list = append(list, block{line: i - len(body), note: note, lang: fence[3:], script: script})
			case fence == "```text" && len(list) > 0 && !list[len(list)-1].expects:
				list[len(list)-1].expect, list[len(list)-1].expects = script, true
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

// portsIn are the fixed ports that commands use, with what makes them ports.
var portsIn = regexp.MustCompile(`(:|https?_port"?:? )(\d{4,5})\b`)

// variable is a variable of the environment in a Caddyfile.
var variable = regexp.MustCompile(`\{(?:env\.|\$)([A-Z_]+)`)

// docPage is a page of documentation with commands.
type docPage struct {
	name   string
	blocks []block
}

// pages are the README and all how-tos.
func pages(t *testing.T) []docPage {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages in docs: %v", err)
	}
	var list []docPage
	for _, file := range append([]string{"../../README.md"}, files...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, docPage{filepath.Base(file), blocksOf(string(text))})
	}
	return list
}

// Every command of the README and of the how-tos does what the page says, in the
// order in which they stand there, in an empty directory. What was printed is
// compared with the text block behind it, in which ... stands for anything.
// Caddyfiles are validated.
func TestPages(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "curl")); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages(t) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			t.Run("curl", func(t *testing.T) {
				if _, err := exec.LookPath("curl"); err != nil {
					t.Skip("there is no curl here; the commands run with the one of this test")
				}
				p.follow(t, tools)
			})
			t.Run("no curl", func(t *testing.T) { p.follow(t, dir+string(os.PathListSeparator)+tools) })
		})
	}
}

// follow runs the blocks with free ports instead of those written.
func (p docPage) follow(t *testing.T, path string) {
	port := map[string]string{"2019": ""} // the API is one of them, also where it is not written
	for _, b := range p.blocks {
		for _, m := range portsIn.FindAllStringSubmatch(b.script, -1) {
			port[m[2]] = ""
		}
	}
	free := porttest.FreeBoth(t, len(port))
	slices.Sort(free) // in the order of those written, for lists that are in order
	for i, written := range slices.Sorted(maps.Keys(port)) {
		port[written] = fmt.Sprint(free[i])
	}
	adjust := func(s string) string {
		return portsIn.ReplaceAllStringFunc(s, func(m string) string {
			i := strings.LastIndexAny(m, ": ") + 1
			if given := port[m[i:]]; given != "" {
				return m[:i] + given
			}
			return m
		})
	}
	var admin int
	if _, err := fmt.Sscan(port["2019"], &admin); err != nil {
		t.Fatal(err)
	}
	h := newHome(t, admin)
	h.env = append(h.env, "PATH="+path+string(os.PathListSeparator)+os.Getenv("PATH"))
	h.env = append(h.env, goEnv(t)...)
	var running []*server
	for _, b := range p.blocks {
		b.script, b.expect = adjust(b.script), adjust(b.expect)
		switch what, rest, _ := strings.Cut(b.note, ":"); what {
		case noteNotRun:
			if strings.TrimSpace(rest) == "" {
				t.Errorf("%s line %d: why is it not run?", p.name, b.line)
			}
			continue
		case noteRuns:
			running = append(running, p.start(t, h, b))
		case noteNeeds:
			if _, err := exec.LookPath(strings.TrimSpace(rest)); err != nil {
				t.Logf("%s line %d is left out: %v", p.name, b.line, err)
				continue
			}
			p.run(t, h, b)
		case "":
			p.run(t, h, b)
		default:
			t.Fatalf("%s line %d: unknown note %q", p.name, b.line, b.note)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	for _, s := range running {
		s.signal(syscall.SIGTERM)
		_ = s.end(t) // make gives its own exit code
	}
}

// start starts a server that runs until the end of the page. In the README it is
// made first.
func (p docPage) start(t *testing.T, h *home, b block) *server {
	t.Helper()
	if !strings.HasPrefix(b.script, "make ") {
		return launch(t, h, h.command("sh", "-c", "exec "+strings.TrimSpace(b.script)))
	}
	s := launch(t, h, inCheckout(t, h, b))
	poll(t, "the admin address and a first curl", func() error {
		if !strings.Contains(s.log.String(), "http://"+h.admin+"/load") {
			return fmt.Errorf("the server did not print them:\n%s", s.log)
		}
		return nil
	})
	return s
}

// inCheckout is a command that stands in the README for the checkout: it runs
// there, but builds into the directory of the test.
func inCheckout(t *testing.T, h *home, b block) *exec.Cmd {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Rel(root, filepath.Join(h.dir, "bin", "sluice"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.command("sh", "-c", "exec "+strings.TrimSpace(b.script)+" BIN="+bin)
	cmd.Dir = root
	return cmd
}

// goEnv keeps what the Go tool has downloaded and built, although HOME changes.
func goEnv(t *testing.T) []string {
	t.Helper()
	names := []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOFLAGS"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	values := strings.Split(string(out), "\n")
	var env []string
	for i, name := range names {
		env = append(env, name+"="+values[i])
	}
	return env
}

// run runs a block and compares what it prints.
func (p docPage) run(t *testing.T, h *home, b block) {
	t.Helper()
	cmd := h.command("sh", "-eu")
	cmd.WaitDelay = patience
	if b.lang == "caddyfile" {
		cmd = h.command("sluice", "validate", "--adapter", "caddyfile", "--config", "-")
		cmd.Path = filepath.Join(tools, "sluice")
		cmd.Err = nil
		for _, m := range variable.FindAllStringSubmatch(b.script, -1) {
			cmd.Env = append(cmd.Env, m[1]+"=c2VjcmV0") // which is good base64, too
		}
	}
	cmd.Stdin = strings.NewReader(b.script)
	var stdout, stderr buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// What it leaves running ends with the page.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kill)
	late := time.AfterFunc(patience/3, kill)
	err := cmd.Wait()
	late.Stop()
	if err != nil {
		t.Errorf("%s line %d: %v\n%s\nstdout: %s\nstderr: %s", p.name, b.line, err, b.script, &stdout, &stderr)
		return
	}
	if b.lang == "sh" && b.expects && !like(b.expect).MatchString(strings.ReplaceAll(stdout.String(), "\r", "")) {
		t.Errorf("%s line %d printed\n%s\nbut the page says\n%s\nstderr: %s", p.name, b.line, &stdout, b.expect, &stderr)
	}
}

// like is what matches a text in which ... is anything, and spaces are any number
// of spaces.
func like(text string) *regexp.Regexp {
	p := regexp.QuoteMeta(strings.TrimSuffix(text, "\n"))
	p = regexp.MustCompile(` {2,}`).ReplaceAllString(p, " +")
	p = strings.ReplaceAll(p, `\.\.\.`, `.*`)
	return regexp.MustCompile(`^(?s:` + p + `)\s*$`)
}

func TestBlocksOf(t *testing.T) {
	got := blocksOf("text\n\n```sh\na\nb\n```\n\n```text\nout\n```\n\n<!-- not run: x -->\n```sh\nc\n```\n\n```text\nd\n```\n```ini\ne\n```\n")
	if len(got) != 2 || got[0].script != "a\nb\n" || got[0].expect != "out\n" || got[0].note != "" ||
		got[1].note != "not run: x" || got[1].expect != "d\n" {
		t.Errorf("%+v", got)
	}
	if !like("a ...  c\n").MatchString("a xx y   c\n") || like("a ... c\n").MatchString("b x c\n") {
		t.Error("like")
	}
}

var (
	inlineCommand = regexp.MustCompile("`(sluice [a-z][^`]*)`")
	oneFlag       = regexp.MustCompile(`--[a-z][a-z-]*`)
	linkTo        = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading       = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// A command in the middle of a sentence exists, and so do its flags.
func TestInlineCommands(t *testing.T) {
	t.Parallel()
	help := map[string]string{}
	for _, p := range pages(t) {
		file := "../../docs/" + p.name
		if p.name == "README.md" {
			file = "../../README.md"
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inlineCommand.FindAllStringSubmatch(string(text), -1) {
			words := strings.Fields(m[1])[1:]
			if words[0] == "storage" && len(words) > 1 {
				words[0] += " " + words[1]
			}
			if help[words[0]] == "" {
				out, err := exec.Command(filepath.Join(tools, "sluice"), append(strings.Fields(words[0]), "--help")...).Output()
				if err != nil || !strings.Contains(string(out), "sluice "+words[0]) {
					t.Errorf("%s: there is no command %s: %v", p.name, m[1], err)
				}
				help[words[0]] = string(out)
			}
			for _, flag := range oneFlag.FindAllString(m[1], -1) {
				if !strings.Contains(help[words[0]], flag) {
					t.Errorf("%s: %s has no flag %s", p.name, m[1], flag)
				}
			}
		}
	}
	if len(help) < 5 {
		t.Errorf("only %d commands found", len(help))
	}
}

// A link leads to a file, and to a heading in it.
func TestLinks(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range append(files, "../../README.md", "../../CONTRIBUTING.md", "../../api-docs/deviations.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range linkTo.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			n++
			name, anchor, _ := strings.Cut(m[1], "#")
			target := file
			if name != "" {
				target = filepath.Join(filepath.Dir(file), filepath.FromSlash(name))
			}
			there, err := os.ReadFile(target)
			if err != nil {
				if info, statErr := os.Stat(target); statErr != nil || !info.IsDir() {
					t.Errorf("%s: the link %s leads nowhere: %v", filepath.Base(file), m[1], err)
				}
				continue
			}
			if anchor != "" && !slices.Contains(anchors(string(there)), anchor) {
				t.Errorf("%s: %s has no such heading", filepath.Base(file), m[1])
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d links found", n)
	}
}

// anchors are the names by which headings are linked to.
func anchors(text string) []string {
	var list []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		list = append(list, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
				return r
			}
			return -1
		}, strings.ToLower(m[1])))
	}
	return list
}
