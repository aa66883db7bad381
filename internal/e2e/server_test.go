package e2e

import (
	"bytes"
	"context"
	"fmt"
	"github.com/sluiceproxy/sluice/internal/porttest"
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

// tools is the folder with the program, and with curl where there is none.
var tools string

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "curl" {
		os.Exit(curl(os.Args[1:]))
	}
	if how := os.Getenv(heirEnv); how != "" {
		os.Exit(heir(how))
	}
	os.Exit(withTools(m))
}

func withTools(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	tools = dir
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "sluice"), "../../cmd/sluice").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	return porttest.Free(t, n)
}

// buffer is an output that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// home is the environment of one story.
type home struct {
	dir   string
	admin string // host:port of the API
	env   []string
}

func newHome(t *testing.T, adminPort int) *home {
	t.Helper()
	h := &home{dir: t.TempDir(), admin: fmt.Sprintf("localhost:%d", adminPort)}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "XDG_") && !strings.HasPrefix(name, "SLUICE_") && !strings.HasPrefix(name, "CADDY_") &&
			name != "HOME" && name != "PATH" && name != "NOTIFY_SOCKET" {
			h.env = append(h.env, v)
		}
	}
	h.env = append(h.env, "SLUICE_NO_TRUST_INSTALL=1", "HOME="+h.dir, "SLUICE_ADMIN="+h.admin, "PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"))
	return h
}

func (h *home) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = h.dir, h.env
	return cmd
}

// server is a process that runs until it is stopped.
type server struct {
	cmd  *exec.Cmd
	log  *buffer
	done chan struct{}
	err  error
}

// launch starts a command that will serve the API, and waits until it does or
// ends.
func launch(t *testing.T, h *home, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{cmd: cmd, log: &buffer{}, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = s.log, s.log
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		s.signal(syscall.SIGKILL)
		<-s.done
	})
	client := &http.Client{Timeout: time.Second}
	poll(t, "the API to answer", func() error {
		select {
		case <-s.done:
			t.Fatalf("the server ended: %v\n%s", s.err, s.log)
		default:
		}
		resp, err := client.Get("http://" + h.admin + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	})
	return s
}

// signal goes to the process and to those it started, as from a terminal.
func (s *server) signal(sig syscall.Signal) {
	select {
	case <-s.done:
	default:
		_ = syscall.Kill(-s.cmd.Process.Pid, sig)
	}
}

// end waits for the end of the process.
func (s *server) end(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		t.Fatalf("the server does not stop\n%s", s.log)
		return nil
	}
}

// poll asks until the answer is no error.
func poll(t *testing.T, what string, ask func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited for %s: %v", what, err)
		}
		<-tick.C
	}
}
