package bolt

import (
	"bufio"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/storage"
)

// child runs this test binary as another process.
func child(t *testing.T, mode, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "SLUICE_BOLT_CHILD="+mode, "SLUICE_BOLT_PATH="+path)
	return cmd
}

// TestKill kills a process that commits without pause, again and again on the
// same store. SLUICE_KILLS says how often; 30 times if unset.
func TestKill(t *testing.T) {
	kills := 30
	if v := os.Getenv("SLUICE_KILLS"); v != "" {
		var err error
		if kills, err = strconv.Atoi(v); err != nil {
			t.Fatalf("SLUICE_KILLS: %v", err)
		}
	}
	path := filepath.Join(t.TempDir(), "sluice.db")
	var acked uint64
	for range kills {
		n := killOnce(t, path)
		acked = max(acked, n)
		s, last, _, err := loadScripted(path, scriptedOptions())
		if err != nil {
			t.Fatalf("after %d was acknowledged: %v", acked, err)
		}
		if last < acked || last > acked+groupSize {
			t.Fatalf("%d was acknowledged, the latest is %d", acked, last)
		}
		acked = last // the next process was told
		if last > 0 {
			some := last - rand.Uint64N(min(last, 150))
			snap, err := s.Revision(bg, some)
			if err != nil || string(snap.Document) != string(scriptedDocument(some)) {
				t.Fatalf("revision %d of %d: %.100q, %v", some, last, snap.Document, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills, %d revisions, %d KB", kills, acked, info.Size()>>10)
	if info.Size() > 64<<20 {
		t.Errorf("the file has grown to %d bytes", info.Size())
	}
}

// killOnce starts a committing process, kills it at a random moment, and
// returns the last number that it acknowledged.
func killOnce(t *testing.T, path string) (acked uint64) {
	t.Helper()
	cmd := child(t, "commit", path)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(rand.N(150*time.Millisecond), func() { cmd.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // a line that was cut off wasn't heard
			break
		}
		if acked, err = strconv.ParseUint(strings.TrimSpace(line), 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the process ended by itself: %v\n%s", err, stderr.String())
	}
	return acked
}

// prepare makes a store with groups of the scripted history.
func prepare(t *testing.T, path string, groups int) uint64 {
	t.Helper()
	o := scriptedOptions()
	o.OnError = func(err error) { t.Error(err) }
	s, last, doc, err := loadScripted(path, o)
	if err != nil {
		t.Fatal(err)
	}
	for range groups {
		if doc, err = commitGroup(s, last, doc); err != nil {
			t.Fatal(err)
		}
		last += groupSize
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return last
}

// TestFileSizeLimit: RLIMIT_FSIZE stops the file from growing.
func TestFileSizeLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	prepare(t, path, 10)
	if out, err := child(t, "limit", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if s, _, _, err := loadScripted(path, scriptedOptions()); err != nil {
		t.Fatal(err)
	} else {
		s.Close()
	}
}

// TestReadOnlyFile: a file that may not be written can be read.
func TestReadOnlyFile(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "sluice-ro") // t.TempDir may be out of another user's reach
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "sluice.db")
	prepare(t, path, 10)
	for _, name := range []string{dir, path, path + ".lock"} {
		if os.Getuid() == 0 {
			if err := os.Chown(name, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "child")
	text, err := os.ReadFile(exe)
	if err == nil {
		err = errors.Join(os.WriteFile(copied, text, 0o755), os.Chmod(path, 0o400), os.Chmod(dir, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := child(t, "readonly", path)
	cmd.Path, cmd.Dir = copied, dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestLocked: a second process, and a second Open here, name path and pid.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	cmd := child(t, "open", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	refused := func(pid int) {
		t.Helper()
		began := time.Now()
		_, err := Open(path, Options{})
		var locked *storage.LockedError
		if !errors.As(err, &locked) || locked.Path != path || locked.PID != pid {
			t.Errorf("the second Open: %v, want process %d", err, pid)
		} else if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), strconv.Itoa(pid)) {
			t.Errorf("the message %q lacks path or pid", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	}
	refused(cmd.Process.Pid)
	cmd.Process.Kill()
	cmd.Wait()
	s := mustOpen(t, path, options(t)) // nothing of the dead process is in the way
	refused(os.Getpid())
	s.Close()
	mustOpen(t, path, options(t))
}
