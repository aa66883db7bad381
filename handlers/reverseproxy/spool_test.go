package reverseproxy

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
)

// failingWriter takes some bytes and then fails.
type failingWriter struct {
	room int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if len(p) > w.room {
		return w.room, w.err
	}
	w.room -= len(p)
	return len(p), nil
}

// A full disk is 507, everything else that is wrong with the file 500.
func TestSpoolErrors(t *testing.T) {
	for err, want := range map[error]int{
		&fs.PathError{Op: "write", Path: "/tmp/x", Err: syscall.ENOSPC}: 507,
		&fs.PathError{Op: "write", Path: "/tmp/x", Err: syscall.EDQUOT}: 507,
		&fs.PathError{Op: "write", Path: "/tmp/x", Err: syscall.EIO}:    500,
	} {
		n, got := fill(&failingWriter{50_000, err}, strings.NewReader(strings.Repeat("x", 100_000)))
		if !errors.Is(got, err) || n > 50_000 {
			t.Fatalf("%d bytes, %v", n, got)
		}
		if e := spoolError(got); handlers.StatusOf(e) != want || !strings.Contains(e.Error(), os.TempDir()) {
			t.Errorf("%v: status %d, %v", err, handlers.StatusOf(e), e)
		}
	}
}

// The file has no name while it is used, and is read from its beginning as often as wanted, until it is closed.
func TestSpool(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := openSpool()
	if err != nil {
		t.Fatal(err)
	}
	if s.size, err = fill(s.file, strings.NewReader("hello")); err != nil || s.size != 5 {
		t.Fatal(s.size, err)
	}
	p := &proxying{spooled: s, replay: true}
	first, second := p.replayed(), p.replayed()
	for _, r := range []io.Reader{first, second, p.replayed()} {
		if text, err := io.ReadAll(r); string(text) != "hello" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	}
	last := p.replayed()
	s.close()
	s.close()
	if text, err := io.ReadAll(last); len(text) > 0 || err == nil {
		t.Errorf("read %q, %v from a file that was given up", text, err)
	}
	if list, err := os.ReadDir(os.TempDir()); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v %v", list, err)
	}
}
