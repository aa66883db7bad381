package certstore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

// TestMain lets the test binary be its own child: SLUICE_CERTSTORE_CHILD names what
// it is to do, SLUICE_CERTSTORE_PATH where.
func TestMain(m *testing.M) {
	path := os.Getenv("SLUICE_CERTSTORE_PATH")
	var err error
	switch mode := os.Getenv("SLUICE_CERTSTORE_CHILD"); mode {
	case "":
		os.Exit(m.Run())
	case "write-files":
		err = writeForever(NewFileSystem(path))
	case "write-bolt":
		b := NewBolt(NewStores(""), path)
		if err = b.Open(); err == nil {
			err = writeForever(b)
		}
	case "lock":
		err = lockUntilTold(NewFileSystem(path))
	case "count":
		err = count(NewFileSystem(path))
	case "full":
		err = fillUp(path)
	default:
		err = fmt.Errorf("unknown mode %q", mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child is this test binary as another process.
type child struct {
	*exec.Cmd
	lines  *bufio.Scanner
	stdin  io.WriteCloser
	stderr bytes.Buffer
}

func startChild(t *testing.T, mode, path string) *child {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	c := &child{Cmd: exec.Command(exe)}
	c.Env = append(os.Environ(), "SLUICE_CERTSTORE_CHILD="+mode, "SLUICE_CERTSTORE_PATH="+path)
	c.Stderr = &c.stderr
	out, err := c.StdoutPipe()
	must(t, err)
	c.lines = bufio.NewScanner(out)
	c.stdin, err = c.StdinPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return c
}

// line waits for the next line that the child prints.
func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.lines.Scan() {
		c.Wait()
		t.Fatalf("the child ended: %v: %s", c.ProcessState, c.stderr.String())
	}
	return c.lines.Text()
}

// A written value tells its number and has a length of its own.
func writtenValue(n int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("%d,", n), 1+n*7919%3000))
}

func writtenNumber(v []byte) (int, error) {
	text, _, _ := strings.Cut(string(v), ",")
	n, err := strconv.Atoi(text)
	if err == nil && !bytes.Equal(v, writtenValue(n)) {
		err = fmt.Errorf("%d bytes of value %d are torn", len(v), n)
	}
	return n, err
}

// writeForever stores one value after the other under the same keys, and prints
// each that is done.
func writeForever(s certmagic.Storage) error {
	n := 0
	if v, err := s.Load(bg, "a/b/key"); err == nil {
		if n, err = writtenNumber(v); err != nil {
			return err
		}
	}
	for n++; ; n++ {
		if err := s.Store(bg, "a/b/key", writtenValue(n)); err != nil {
			return err
		}
		if err := errors.Join(s.Store(bg, fmt.Sprintf("other/%d/x", n%50), writtenValue(n)), s.Delete(bg, fmt.Sprintf("other/%d", (n+25)%50))); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// TestKill kills a process that writes without pause, again and again. What it
// said to be stored is there, whole.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"write-bolt", "write-files"} {
		t.Run(mode, func(t *testing.T) {
			path, said := filepath.Join(t.TempDir(), "data"), 0
			for range 10 {
				c := startChild(t, mode, path)
				for range 1 + rand.IntN(20) {
					var err error
					said, err = strconv.Atoi(c.line(t))
					must(t, err)
				}
				kill := time.NewTimer(time.Duration(rand.IntN(4000)) * time.Microsecond)
				<-kill.C
				must(t, c.Process.Kill())
				for c.lines.Scan() { // what it said before it died
					if n, err := strconv.Atoi(c.lines.Text()); err == nil {
						said = max(said, n)
					}
				}
				c.Wait()
				said = checkWritten(t, mode, path, said)
			}
			t.Logf("%d values", said)
		})
	}
}

func checkWritten(t *testing.T, mode, path string, said int) int {
	t.Helper()
	var s certmagic.Storage = NewFileSystem(path)
	if mode == "write-bolt" {
		b := NewBolt(NewStores(""), path)
		must(t, b.Open())
		defer b.Close()
		s = b
	}
	v, err := s.Load(bg, "a/b/key")
	must(t, err)
	n, err := writtenNumber(v)
	if err != nil || n < said || n > said+1 {
		t.Fatalf("%d was stored, %d is there: %v", said, n, err)
	}
	keys, err := s.List(bg, "other", true)
	must(t, err)
	for _, k := range keys {
		if v, err := s.Load(bg, k); err == nil {
			if _, err := writtenNumber(v); err != nil {
				t.Fatalf("%s: %v", k, err)
			}
		}
	}
	return n
}

// lockUntilTold takes a lock, says so, and releases it when its input ends.
func lockUntilTold(s *FileSystem) error {
	if err := s.Lock(bg, "shared"); err != nil {
		return err
	}
	fmt.Println("locked")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Unlock(bg, "shared")
}

func TestLockAcrossProcesses(t *testing.T) {
	t.Parallel()
	s := newFileSystem(t)
	c := startChild(t, "lock", s.Root())
	c.line(t)
	if got, err := s.TryLock(bg, "shared"); got || err != nil {
		t.Fatalf("two processes hold the lock: %v", err)
	}
	file := s.lockFilename("shared")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the lock file: %v, %v", info, err)
	}
	waited := make(chan error, 1)
	go func() { waited <- s.Lock(bg, "shared") }()
	c.stdin.Close()
	must(t, <-waited)
	must(t, c.Wait())
	must(t, s.Unlock(bg, "shared"))
	if _, err := os.Stat(file); err == nil {
		t.Error("the lock file is still there")
	}
}

// setUpdated makes a lock file look as if its holder had renewed it last at a time.
func setUpdated(t *testing.T, file string, updated time.Time) lockFile {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	content := readLock(f, info)
	content.Updated = updated
	must(t, writeLock(f, content))
	return content
}

// TestLockRenewed: who lives keeps his lock however long he works, and a lock that
// was lost is left to its new holder.
func TestLockRenewed(t *testing.T) {
	s := newFileSystem(t)
	other := NewFileSystem(s.Root())
	synctest.Test(t, func(t *testing.T) {
		must(t, s.Lock(bg, "long"))
		ctx, cancel := context.WithTimeout(bg, 10*time.Minute)
		defer cancel()
		if err := other.Lock(ctx, "long"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the lock of a living holder was taken: %v", err)
		}
		file := s.lockFilename("long")
		foreign := fmt.Appendf(nil, `{"created":"1999-01-01T00:00:00Z","updated":%q,"owner":"other"}`, time.Now().UTC().Format(time.RFC3339Nano))
		must(t, os.WriteFile(file, foreign, 0o600))
		time.Sleep(lockStale + time.Second)
		if text, _ := os.ReadFile(file); !bytes.Equal(text, foreign) {
			t.Errorf("another's lock was renewed: %s", text)
		}
		ctx, cancel = context.WithTimeout(bg, time.Minute)
		defer cancel()
		must(t, other.Lock(ctx, "long")) // it is stale by now
		must(t, s.Unlock(bg, "long"))
		if got, err := s.TryLock(bg, "long"); got || err != nil {
			t.Errorf("another's lock was released: %v, %v", got, err)
		}
		must(t, other.Unlock(bg, "long"))
		must(t, s.Lock(bg, "long"))
		must(t, s.Unlock(bg, "long"))
	})
}

// TestLockOfTheDead: the lock of a process that was killed goes to one of those
// who wait for it, when it was not renewed for long enough.
func TestLockOfTheDead(t *testing.T) {
	s := newFileSystem(t)
	c := startChild(t, "lock", s.Root())
	c.line(t)
	must(t, c.Process.Kill())
	c.Wait()
	file := s.lockFilename("shared")
	setUpdated(t, file, time.Now().Add(-lockStale+3*time.Second))
	if got, err := s.TryLock(bg, "shared"); got || err != nil {
		t.Fatalf("a lock that may be alive was taken: %v", err)
	}
	for range 60 {
		setUpdated(t, file, time.Now().Add(-lockStale-time.Second))
		oneHolder(t, s.Root())
		must(t, os.WriteFile(file, nil, 0o600)) // the next one to die
	}
}

// oneHolder has many ask for a stale lock at once.
func oneHolder(t *testing.T, root string) {
	t.Helper()
	start := make(chan struct{})
	var ready, done sync.WaitGroup
	var all [8]*FileSystem
	var holders atomic.Int32
	for i := range all {
		all[i] = NewFileSystem(root)
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			got, err := all[i].TryLock(bg, "shared")
			if err != nil {
				t.Error(err)
			}
			if got {
				holders.Add(1)
			}
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	if holders.Load() != 1 {
		t.Fatalf("%d hold a stale lock, want 1", holders.Load())
	}
	for _, s := range all {
		if len(s.held) > 0 {
			must(t, s.Unlock(bg, "shared"))
		}
	}
	if _, err := os.Stat(all[0].lockFilename("shared")); err == nil {
		t.Fatal("the lock file is still there")
	}
}

// TestLockOfOthers: lock files of the library count as ours do, both ways, and
// damaged ones count from when they were changed.
func TestLockOfOthers(t *testing.T) {
	t.Parallel()
	s := newFileSystem(t)
	library := &certmagic.FileStorage{Path: s.Root()}
	must(t, library.Lock(bg, "A *"))
	if got, err := s.TryLock(bg, "A *"); got || err != nil {
		t.Errorf("the library's lock is not respected: %v, %v", got, err)
	}
	must(t, library.Unlock(bg, "A *"))
	must(t, s.Lock(bg, "A *"))
	if got, err := library.TryLock(bg, "A *"); got {
		t.Errorf("the library does not respect the lock: %v, %v", got, err)
	}
	// A lock that the library renews has lost its owner's name, and is still his.
	file := s.lockFilename("A *")
	content := setUpdated(t, file, time.Now())
	must(t, os.WriteFile(file, fmt.Appendf(nil, `{"created":%q,"updated":%q}`, content.Created.Format(time.RFC3339Nano), time.Now().Format(time.RFC3339Nano)), 0o600))
	must(t, s.Unlock(bg, "A *"))
	if _, err := os.Stat(file); err == nil {
		t.Fatal("the lock is not released")
	}
	// One that was taken over is left to whom it belongs.
	must(t, s.Lock(bg, "A *"))
	must(t, os.WriteFile(file, fmt.Appendf(nil, `{"created":"2020-01-01T00:00:00Z","updated":%q}`, time.Now().Format(time.RFC3339Nano)), 0o600))
	must(t, s.Unlock(bg, "A *"))
	if _, err := os.Stat(file); err != nil {
		t.Errorf("another's lock was removed: %v", err)
	}
	for _, damaged := range []string{"", "{", "null", strings.Repeat("[", 1<<20)} {
		must(t, os.WriteFile(file, []byte(damaged), 0o600))
		if got, err := s.TryLock(bg, "A *"); got || err != nil {
			t.Errorf("a young lock file with %.5q: %v, %v", damaged, got, err)
		}
		old := time.Now().Add(-time.Minute)
		must(t, os.Chtimes(file, old, old))
		if got, err := s.TryLock(bg, "A *"); !got || err != nil {
			t.Fatalf("an old lock file with %.5q: %v, %v", damaged, got, err)
		}
		must(t, s.Unlock(bg, "A *"))
	}
}

const countTo = 40

// count adds to a number in storage, each time with the lock.
func count(s *FileSystem) error {
	for range countTo {
		for {
			if got, err := s.TryLock(bg, "count"); err != nil {
				return err
			} else if got {
				break
			}
		}
		v, err := s.Load(bg, "count")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		n, _ := strconv.Atoi(string(v))
		if err := errors.Join(s.Store(bg, "count", []byte(strconv.Itoa(n+1))), s.Unlock(bg, "count")); err != nil {
			return err
		}
	}
	return nil
}

// TestLockExcludes: processes that change one value under a lock lose nothing.
func TestLockExcludes(t *testing.T) {
	t.Parallel()
	s := newFileSystem(t)
	children := []*child{startChild(t, "count", s.Root()), startChild(t, "count", s.Root())}
	must(t, count(s))
	for _, c := range children {
		if err := c.Wait(); err != nil {
			t.Fatalf("%v: %s", err, c.stderr.String())
		}
	}
	if v, err := s.Load(bg, "count"); string(v) != strconv.Itoa(3*countTo) {
		t.Errorf("counted to %s, want %d: %v", v, 3*countTo, err)
	}
}

// fillUp stores until the file must not grow any more, and goes on when it may.
func fillUp(path string) error {
	b := NewBolt(NewStores(""), path)
	if err := b.Open(); err != nil {
		return err
	}
	if err := b.Store(bg, "old", writtenValue(7)); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	small := syscall.Rlimit{Cur: uint64(info.Size()) + 256<<10, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		return err
	}
	stored := 0
	for ; stored < 1000; stored++ {
		if err = b.Store(bg, fmt.Sprintf("many/%d", stored), bytes.Repeat([]byte{'m'}, 10_000)); err != nil {
			break
		}
	}
	if err == nil || strings.Contains(err.Error(), "mmm") || stored == 0 {
		return fmt.Errorf("over the limit after %d: %v", stored, err)
	}
	for range 3 {
		if err := b.Store(bg, "old", bytes.Repeat([]byte{'x'}, 4<<20)); err == nil {
			return errors.New("a value larger than the disk was stored")
		}
		if v, err := b.Load(bg, "old"); err != nil || !bytes.Equal(v, writtenValue(7)) {
			return fmt.Errorf("the old value after a failed write: %d bytes, %v", len(v), err)
		}
		if keys, err := b.List(bg, "many", false); err != nil || len(keys) < stored || len(keys) > stored+1 {
			return fmt.Errorf("after a failed write %d of %d are there: %v", len(keys), stored, err)
		}
	}
	if err := b.Delete(bg, "many/0"); err != nil {
		return fmt.Errorf("deleting on a full disk: %w", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if err := b.Store(bg, "new", bytes.Repeat([]byte{'n'}, 4<<20)); err != nil {
		return fmt.Errorf("after the disk had room again: %w", err)
	}
	b.Close()
	again := NewBolt(NewStores(""), path)
	if err := again.Open(); err != nil {
		return err
	}
	if v, err := again.Load(bg, "new"); err != nil || len(v) != 4<<20 {
		return fmt.Errorf("after opening it again: %d bytes, %v", len(v), err)
	}
	fmt.Println("done")
	return nil
}

func TestFullDisk(t *testing.T) {
	c := startChild(t, "full", filepath.Join(t.TempDir(), "s.db"))
	if got := c.line(t); got != "done" {
		t.Error(got)
	}
}
