package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

const readme = "../../README.md"

// block is a fenced block of commands, with the output that follows it.
type block struct {
	line    int
	note    string // the HTML comment in front of it
	script  string
	expect  string
	expects bool
}

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
			case fence == "```sh":
				list = append(list, block{line: i - len(body), note: note, script: script})
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

// portsIn are the fixed ports that commands use.
var portsIn = regexp.MustCompile(`(?:localhost|127\.0\.0\.1|\[?"?):(\d{4,5})\b`)

// Every command of the README does what the README says, in the order in which
// they stand there. What was printed is compared with the text block behind it,
// in which ... stands for anything.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	blocks := blocksOf(string(text))
	if len(blocks) < 10 {
		t.Fatalf("only %d blocks found", len(blocks))
	}
	t.Run("curl", func(t *testing.T) {
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("there is no curl here; the commands run with the one of this test")
		}
		follow(t, blocks, tools)
	})
	t.Run("no curl", func(t *testing.T) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.Symlink(self, filepath.Join(dir, "curl")); err != nil {
			t.Fatal(err)
		}
		follow(t, blocks, dir+string(os.PathListSeparator)+tools)
	})
}

// follow runs the blocks with free ports instead of those written.
func follow(t *testing.T, blocks []block, path string) {
	written := map[string]bool{}
	for _, b := range blocks {
		for _, m := range portsIn.FindAllStringSubmatch(b.script, -1) {
			written[m[1]] = true
		}
	}
	free := freePorts(t, len(written))
	port := map[string]string{}
	for p := range written {
		port[p] = fmt.Sprint(free[len(port)])
	}
	adjust := func(s string) string {
		return portsIn.ReplaceAllStringFunc(s, func(m string) string {
			i := strings.LastIndexByte(m, ':') + 1
			return m[:i] + port[m[i:]]
		})
	}
	var admin int
	if _, err := fmt.Sscan(port["2019"], &admin); err != nil {
		t.Fatalf("the README does not use the admin API: %v", err)
	}
	h := newHome(t, admin)
	h.env = append(h.env, "PATH="+path+string(os.PathListSeparator)+os.Getenv("PATH"))
	h.env = append(h.env, goEnv(t)...)
	var running []*server
	for _, b := range blocks {
		what, _, _ := strings.Cut(b.note, ":")
		switch what {
		case "not run":
			continue
		case "runs until stopped":
			running = append(running, launch(t, h, inCheckout(t, h, b)))
		case "":
			runBlock(t, h, b, adjust(b.script))
		default:
			t.Fatalf("README line %d: unknown note %q", b.line, b.note)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	for _, s := range running {
		if !strings.Contains(s.log.String(), "http://"+h.admin+"/load") {
			t.Errorf("the server did not print the admin address and a first curl:\n%s", s.log)
		}
		s.signal(syscall.SIGTERM)
		_ = s.end(t) // make gives its own exit code
	}
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

func runBlock(t *testing.T, h *home, b block, script string) {
	t.Helper()
	cmd := h.command("sh", "-eu")
	cmd.Stdin = strings.NewReader(script)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		t.Errorf("README line %d: %v\n%s\nstdout: %s\nstderr: %s", b.line, err, script, &stdout, &stderr)
		return
	}
	if b.expects && !like(b.expect).MatchString(strings.ReplaceAll(stdout.String(), "\r", "")) {
		t.Errorf("README line %d printed\n%s\nbut the README says\n%s\nstderr: %s", b.line, &stdout, b.expect, &stderr)
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
