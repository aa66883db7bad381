package moving

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

func open(t *testing.T, data, doc string, foreign ...string) (*Storage, error) {
	t.Helper()
	root, _, err := config.Parse([]byte(doc), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(root, World{ReadFile: os.ReadFile, Globals: vars.Map{"env.ROOT": filepath.Join(data, "else")}, Data: data, Foreign: foreign})
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, err
}

func mustOpen(t *testing.T, data, doc string, foreign ...string) *Storage {
	t.Helper()
	s, err := open(t, data, doc, foreign...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fill(t *testing.T, s *Storage, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if err := s.Store(t.Context(), k, []byte("value of "+k)); err != nil {
			t.Fatal(err)
		}
	}
}

func reporter(out io.Writer, verb string) *Reporter {
	now := time.Unix(0, 0)
	return &Reporter{Out: out, Verb: verb, Now: func() time.Time { now = now.Add(600 * time.Millisecond); return now }}
}

// names lists an archive.
func names(t *testing.T, archive []byte) (list []string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode != 0o600 {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
		list = append(list, h.Name)
	}
}

// What one storage holds goes through an archive into one of another kind.
func TestMove(t *testing.T) {
	data := t.TempDir()
	from := mustOpen(t, data, `{"apps":{"unknown":1}}`, filepath.Join(data, "sluice.db"), filepath.Join(data, "sluice.db.lock"), "/elsewhere/sluice.db")
	fill(t, from, "certificates/a/a.crt", "certificates/a/a.key", "pki/authorities/local/root.key", "sluice.db", "sluice.db.lock")
	file, said := filepath.Join(t.TempDir(), "x.tar"), &bytes.Buffer{}
	if err := Export(t.Context(), from, file, nil, reporter(said, "exported")); err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("the archive has mode %v", info.Mode())
	}
	want := []string{"certificates/a/a.crt", "certificates/a/a.key", "pki/authorities/local/root.key"}
	if got := names(t, archive); !slices.Equal(got, want) {
		t.Errorf("the archive has %v, want %v", got, want)
	}
	if text := said.String(); text != "... exported 2 values of 58 bytes\nexported 3 values of 97 bytes\n" {
		t.Errorf("said %q", text)
	}
	var stream bytes.Buffer
	if err := Export(t.Context(), from, StandardStream, &stream, reporter(io.Discard, "exported")); err != nil || !slices.Equal(names(t, stream.Bytes()), want) {
		t.Errorf("to standard output: %v", err)
	}

	for _, input := range []string{file, StandardStream} {
		to := mustOpen(t, t.TempDir(), `{"storage":{"module":"bolt"}}`)
		fill(t, to, "certificates/a/a.crt", "stays")
		said.Reset()
		if err := Import(t.Context(), to, input, &stream, reporter(said, "imported")); err != nil {
			t.Fatalf("%s: %v", input, err)
		}
		for _, k := range append(want, "stays") {
			if v, err := to.Load(t.Context(), k); err != nil || string(v) != "value of "+k {
				t.Errorf("%s: %s is %q, %v", input, k, v, err)
			}
		}
		if !strings.HasSuffix(said.String(), "imported 3 values of 97 bytes\n") {
			t.Errorf("said %q", said)
		}
	}
}

func TestOpen(t *testing.T) {
	data := t.TempDir()
	for doc, want := range map[string]string{
		`null`: "file_system:" + data, `{}`: "file_system:" + data, `{"storage":null}`: "file_system:" + data,
		`{"storage":{"module":"file_system","root":"{env.ROOT}"}}`:       "file_system:" + data + "/else",
		`{"storage":{"@id":"s","module":"bolt","path":"{env.ROOT}.db"}}`: "bolt:" + data + "/else.db",
		`{"storage":{"module":"nothing"}}`:                               "!/storage", `{"storage":{"module":"bolt","size":1}}`: "!/storage/size",
	} {
		s, err := open(t, data, doc)
		var problems schema.Problems
		if at, bad := strings.CutPrefix(want, "!"); bad {
			if !errors.As(err, &problems) || !strings.HasPrefix(problems[0].Pointer, at) {
				t.Errorf("%s: %v, want a problem at %s", doc, err, at)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", doc, err)
			continue
		}
		if got := s.Storage.(interface{ String() string }).String(); got != want {
			t.Errorf("%s is %s, want %s", doc, got, want)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, data, `{"storage":{"module":"bolt","path":"`+file+`"}}`); err == nil || !strings.Contains(err.Error(), "opening the storage") {
		t.Errorf("what is no database: %v", err)
	}
}

// An export that fails leaves what was there, and nothing besides.
func TestFailures(t *testing.T) {
	s := mustOpen(t, t.TempDir(), `{}`)
	fill(t, s, "a", "b")
	dir := t.TempDir()
	file := filepath.Join(dir, "x.tar")
	if err := os.WriteFile(file, []byte("before"), 0o640); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var failed *TransferError
	if err := Export(ctx, s, file, nil, reporter(io.Discard, "exported")); !errors.Is(err, context.Canceled) || !errors.As(err, &failed) {
		t.Errorf("interrupted: %v", err)
	}
	if text, _ := os.ReadFile(file); string(text) != "before" {
		t.Errorf("what was there is %q now", text)
	}
	if err := Import(ctx, s, file, nil, reporter(io.Discard, "imported")); !errors.Is(err, context.Canceled) {
		t.Errorf("importing, interrupted: %v", err)
	}
	if err := Export(t.Context(), s, filepath.Join(dir, "none", "x.tar"), nil, reporter(io.Discard, "exported")); !errors.Is(err, os.ErrNotExist) || errors.As(err, &failed) {
		t.Errorf("no such folder: %v", err)
	}
	if err := Export(t.Context(), s, dir, nil, reporter(io.Discard, "exported")); err == nil {
		t.Error("a folder is taken for a file")
	}
	if err := Import(t.Context(), s, filepath.Join(dir, "none.tar"), nil, reporter(io.Discard, "imported")); !errors.Is(err, os.ErrNotExist) || errors.As(err, &failed) {
		t.Errorf("no such archive: %v", err)
	}
	if err := Import(t.Context(), s, file, nil, reporter(io.Discard, "imported")); !errors.As(err, &failed) {
		t.Errorf("no archive: %v", err)
	}
	// A link stays one, and a complete export takes the place of the file.
	link := filepath.Join(dir, "link.tar")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := Export(t.Context(), s, link, nil, reporter(io.Discard, "exported")); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(file); len(names(t, text)) != 2 {
		t.Errorf("the archive has %v", names(t, text))
	}
	if info, _ := os.Lstat(link); info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is gone")
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}
