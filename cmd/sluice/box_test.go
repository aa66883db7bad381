package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/sluiceproxy/sluice/internal/porttest"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asChild makes the test binary be the program.
const asChild = "SLUICE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		os.Exit(thisProgram().execute(os.Args[1:]))
	}
	os.Exit(m.Run())
}

const patience = 20 * time.Second

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// box is an environment of its own for the program.
type box struct {
	*testing.T
	dir   string
	admin string // address of the admin endpoint
	env   []string
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{T: t, dir: t.TempDir()}
	b.admin = fmt.Sprintf("127.0.0.1:%d", port(t))
	b.env = []string{
		asChild + "=1", "SLUICE_NO_TRUST_INSTALL=1", "GORACE=atexit_sleep_ms=20", "PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "SLUICE_ADMIN=" + b.admin,
		"XDG_CONFIG_HOME=" + b.dir + "/c", "XDG_DATA_HOME=" + b.dir + "/d", "XDG_CACHE_HOME=" + b.dir + "/x",
	}
	return b
}

// port is one that no other test gets.
func port(t *testing.T) int {
	t.Helper()
	return porttest.Free(t, 1)[0]
}

// setenv replaces a variable.
func (b *box) setenv(key, value string) {
	b.unsetenv(key)
	b.env = append(b.env, key+"="+value)
}

func (b *box) unsetenv(key string) {
	var kept []string
	for _, e := range b.env {
		if !strings.HasPrefix(e, key+"=") {
			kept = append(kept, e)
		}
	}
	b.env = kept
}

// write makes a file in the box.
func (b *box) write(name, text string) string {
	b.Helper()
	file := filepath.Join(b.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return file
}

func (b *box) command(ctx context.Context, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Dir, cmd.Env = b.dir, b.env
	return cmd
}

// result is what a command that ended left.
type result struct {
	code           int
	stdout, stderr string
}

// run runs a command to its end.
func (b *box) run(args ...string) result { b.Helper(); return b.runWith("", args...) }

func (b *box) runWith(stdin string, args ...string) result {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := b.command(ctx, args...)
	// Files, because a server in the background keeps pipes open.
	out, errs := b.scratch(), b.scratch()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), out, errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.Fatalf("%v: %v", args, err)
	}
	if ctx.Err() != nil {
		b.Fatalf("%v did not end; stderr:\n%s", args, contents(b.T, errs))
	}
	return result{cmd.ProcessState.ExitCode(), contents(b.T, out), contents(b.T, errs)}
}

func (b *box) scratch() *os.File {
	b.Helper()
	f, err := os.CreateTemp(b.TempDir(), "")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return f
}

func contents(t *testing.T, f *os.File) string {
	t.Helper()
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ok runs a command that must succeed.
func (b *box) ok(args ...string) result {
	b.Helper()
	r := b.run(args...)
	if r.code != 0 {
		b.Fatalf("%v: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r
}

// fails runs a command that must fail with exit code 1 and this text.
func (b *box) fails(text string, args ...string) result {
	b.Helper()
	r := b.run(args...)
	if r.code != 1 || !strings.Contains(r.stderr, text) {
		b.Fatalf("%v: exit code %d, want 1, and stderr with %q:\n%s", args, r.code, text, r.stderr)
	}
	return r
}

// output collects what a child writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// child is a running server.
type child struct {
	*box
	cmd    *exec.Cmd
	stdout output
	stderr output
	ended  chan struct{}
}

// launch starts `run` with the arguments.
func (b *box) launch(args ...string) *child {
	b.Helper()
	return b.spawn(nil, append([]string{"run"}, args...)...)
}

// spawn starts a command that serves.
func (b *box) spawn(stdin io.Reader, args ...string) *child {
	b.Helper()
	c := &child{box: b, cmd: b.command(context.Background(), args...), ended: make(chan struct{})}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = stdin, &c.stdout, &c.stderr
	if err := c.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.ended)
	}()
	b.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.ended
		if b.Failed() {
			b.Logf("%v:\n%s%s", args, c.stdout.String(), c.stderr.String())
		}
	})
	return c
}

// up starts a server and waits until it is up.
func (b *box) up(args ...string) *child {
	b.Helper()
	c := b.launch(args...)
	c.logged("serving initial configuration")
	return c
}

// logged waits until the log has a text.
func (c *child) logged(text string) {
	c.Helper()
	eventually(c.T, "log entry "+text, func() bool {
		select {
		case <-c.ended:
			if !strings.Contains(c.stderr.String(), text) {
				c.Fatalf("ended with code %d before it logged %q", c.cmd.ProcessState.ExitCode(), text)
			}
		default:
		}
		return strings.Contains(c.stderr.String(), text)
	})
}

// exits waits for the end with this exit code.
func (c *child) exits(code int) {
	c.Helper()
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.Fatal("did not end")
	}
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.Fatalf("exit code %d, want %d\n%s", got, code, c.stderr.String())
	}
}

func (c *child) signal(sig os.Signal) {
	c.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.Fatal(err)
	}
}

// term stops the server gracefully.
func (c *child) term() { c.Helper(); c.signal(syscall.SIGTERM); c.exits(0) }

// call sends a request to the admin endpoint.
func (b *box) call(method, path, body string) (int, string) {
	b.Helper()
	return fetch(b.T, method, "http://"+b.admin+path, body)
}

func fetch(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	return send(t, method, url, "application/json", body)
}

// send sends a request; status 0 means that there was no answer.
func send(t *testing.T, method, url, contentType, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// does sends a request that must succeed.
func (b *box) does(method, path, body string) string {
	b.Helper()
	status, text := b.call(method, path, body)
	if status != 200 {
		b.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

// says checks what a server answers at a port.
func (b *box) says(port int, want string) {
	b.Helper()
	if status, got := fetch(b.T, "GET", fmt.Sprintf("http://127.0.0.1:%d/", port), ""); got != want {
		b.Fatalf("port %d says %d %q, want %q", port, status, got, want)
	}
}

// revision is the number that /readyz names.
func (b *box) revision() int {
	b.Helper()
	var h struct{ Revision int }
	if err := json.Unmarshal([]byte(b.does("GET", "/readyz", "")), &h); err != nil {
		b.Fatal(err)
	}
	return h.Revision
}

// site is a server that says one thing.
func site(port int, text string) string {
	return fmt.Sprintf(`{"listen":["127.0.0.1:%d"],"routes":[{"handle":[{"handler":"static_response","body":%q}]}]}`, port, text)
}

// document is a document with servers, as name and site in turn.
func document(servers ...string) string {
	var list []string
	for i := 0; i < len(servers); i += 2 {
		list = append(list, fmt.Sprintf("%q:%s", servers[i], servers[i+1]))
	}
	return `{"apps":{"http":{"servers":{` + strings.Join(list, ",") + `}}}}`
}

const bodyPath = "/config/apps/http/servers/a/routes/0/handle/0/body"
