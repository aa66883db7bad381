package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long anything may take on a busy machine.
const patience = 60 * time.Second

// top is the folder of the checkout.
const top = "../.."

// built is the folder with the program as packages have it; it is built once, by the first test that wants it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// builtName is the variable that names that folder to a test that runs itself again.
const builtName = "SLUICE_PACKAGING_BUILT"

// version is what the tested program is told to be.
const version = "v1.2.3"

func TestMain(m *testing.M) {
	if text := os.Getenv(jobName); text != "" {
		fmt.Fprintln(os.Stderr, "launch:", become(text))
		os.Exit(127)
	}
	code := m.Run()
	if built.dir != "" && os.Getenv(builtName) == "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// program is the program, built by `make dist`.
func program(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir = os.Getenv(builtName); built.dir != "" {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "sluice-packaging-"); built.err != nil {
			return
		}
		out, err := runMake("dist", "VERSION="+version, "BIN="+filepath.Join(built.dir, "sluice"))
		if err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "sluice")
}

// runMake runs make in the checkout, as if nobody else had.
func runMake(args ...string) (string, error) {
	cmd := exec.Command("make", append([]string{"--no-print-directory", "-C", top}, args...)...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "MAKE") && !strings.HasPrefix(v, "MFLAGS") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, epoch)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// epoch is the time of the source, which is else that of the last commit.
const epoch = "SOURCE_DATE_EPOCH=1785585600"

// absent skips a test for which the machine lacks something, or fails it where `make deps` should have got that.
func absent(t *testing.T, what string, fromDeps bool) {
	t.Helper()
	if ci := os.Getenv("CI"); fromDeps && ci != "" && ci != "false" {
		t.Fatal(what, "is missing; make deps gets it")
	}
	t.Skip(what, "is missing")
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
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
