package fsys

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestJoin(t *testing.T) {
	for _, c := range []struct{ root, path, want string }{
		{"/srv", "/a/b", "/srv/a/b"}, {"/srv", "a/b", "/srv/a/b"}, {"/srv/", "/a//b/", "/srv/a/b"}, {"/srv", "", "/srv"}, {"/srv", "/", "/srv"},
		{"/srv", "..", "/srv"}, {"/srv", "/../../etc/passwd", "/srv/etc/passwd"}, {"/srv", "a/../../b", "/srv/b"}, {"/srv", "/./a/.", "/srv/a"}, {"/srv", "/...", "/srv/..."},
		{"/srv", `/..\..\x`, `/srv/..\..\x`}, {"/srv", "/a\x00", "/srv/a\x00"}, {"/srv", "/\xc0\xae\xc0\xae/x", "/srv/\xc0\xae\xc0\xae/x"},
		{".", "/a", "a"}, {"", "/a", "a"}, {".", "/", "."}, {"/", "/a", "/a"}, {"/", "/..", "/"}, {"../x", "/../a", "../x/a"}, {"a/../b", "/c", "b/c"},
	} {
		if got := Join(c.root, c.path); got != c.want {
			t.Errorf("Join(%q, %q) = %q, want %q", c.root, c.path, got, c.want)
		}
	}
}

func FuzzJoin(f *testing.F) {
	for _, p := range []string{"/a", "../x", "/..//./../x/", "\\..\\", "a\x00b", "//"} {
		f.Add("/srv/www", p)
	}
	f.Fuzz(func(t *testing.T, root, p string) {
		got := Join(root, p)
		rel, err := filepath.Rel(Join(root, ""), got)
		if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			t.Fatalf("Join(%q, %q) = %q, outside by %q, %v", root, p, got, rel, err)
		}
		if again := Join(root, rel); again != got {
			t.Fatalf("Join(%q, %q) = %q, again %q", root, p, got, again)
		}
	})
}

func TestTrick(t *testing.T) {
	for p, want := range map[string]bool{"/a.txt": false, "/a.txt::$DATA": true, "/C:/x": true, "/PROGRA~1/x": true, "/~user": false, "/a~": false, "/a~b~2": true} {
		if trick(p) != want {
			t.Errorf("%s: %v", p, !want)
		}
		if Trick(p) != (windows && want) {
			t.Errorf("%s: only Windows has such names", p)
		}
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a"), nil, 0o644))
	for name, want := range map[string]string{"a": "none", "b": "missing", "a/b": "invalid", "a\x00": "invalid", strings.Repeat("x", 300): "other"} {
		_, err := OS{}.Stat(filepath.Join(dir, name))
		got := "other"
		switch {
		case err == nil:
			got = "none"
		case errors.Is(err, fs.ErrNotExist):
			got = "missing"
		case IsInvalid(err):
			got = "invalid"
		}
		if got != want {
			t.Errorf("%q: %s, want %s (%v)", name, got, want, err)
		}
	}
}

func TestOpenDoesNotWait(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	done := make(chan error, 1)
	go func() {
		f, err := OS{}.Open(pipe)
		if err == nil {
			err = f.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(5 * time.Second):
		t.Fatal("opening a pipe waits for its writer")
	}
	if f, err := (OS{}).Open(filepath.Join(t.TempDir(), "none")); err == nil || f != nil {
		t.Errorf("%v, %v", f, err)
	}
}

func TestRegistry(t *testing.T) {
	own := From(fstest.MapFS{})
	r := Registry{"x": own}
	for _, c := range []struct {
		r    Registry
		name string
		want FS
		ok   bool
	}{
		{r, "", OS{}, true}, {r, "default", OS{}, true}, {r, "x", own, true}, {r, "y", OS{}, false}, {nil, "", OS{}, true}, {nil, "x", OS{}, false}, {Registry{"default": own}, "", own, true},
	} {
		got, ok := c.r.Find(c.name)
		if ok != c.ok || ok && IsLocal(got) != IsLocal(c.want) {
			t.Errorf("%q: %v, %v", c.name, got, ok)
		}
	}
	if _, ok := Find(nil, "x"); ok {
		t.Error("found where there is none")
	}
	if f, ok := Find(held{r}, "x"); !ok || IsLocal(f) {
		t.Error("not found")
	}
}

type held struct{ r Registry }

func (h held) FileSystems() Registry { return h.r }

func TestFrom(t *testing.T) {
	f := From(fstest.MapFS{"a.txt": {Data: []byte("hello")}, "d/b.txt": {Data: []byte("b")}, "link": {Data: []byte("a.txt"), Mode: fs.ModeSymlink}})
	for _, name := range []string{"/a.txt", "a.txt", "./a.txt", "/d/../a.txt", "//a.txt"} {
		file, err := f.Open(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, err = file.Seek(1, io.SeekStart)
		must(t, err)
		data, err := io.ReadAll(file)
		if string(data) != "ello" || err != nil {
			t.Errorf("%s: %q, %v", name, data, err)
		}
		must(t, file.Close())
	}
	for _, name := range []string{"../a.txt", "..", "/..//../a.txt", "nope", "a\xff"} {
		if _, err := f.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Stat("a\x00"); !IsInvalid(err) {
		t.Errorf("NUL: %v", err)
	}
	d, err := f.Open("/")
	must(t, err)
	entries, err := d.ReadDir(-1)
	if len(entries) != 3 || err != nil {
		t.Errorf("%v, %v", entries, err)
	}
	if to, err := f.ReadLink("/link"); to != "a.txt" || err != nil {
		t.Errorf("%s, %v", to, err)
	}
	if info, err := f.Lstat("/link"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("%v, %v", info, err)
	}
	if info, err := f.Stat("/link"); err != nil || info.Size() != 5 {
		t.Errorf("%v, %v", info, err)
	}
}

// bare hides all abilities of files but the least.
type bare struct{ fstest.MapFS }

func (b bare) Open(name string) (fs.File, error) {
	f, err := b.MapFS.Open(name)
	return struct{ fs.File }{f}, err
}

func TestFromWithoutSeek(t *testing.T) {
	f, err := From(bare{fstest.MapFS{"a": {Data: []byte("hello")}}}).Open("a")
	must(t, err)
	_, err = f.Seek(3, io.SeekStart)
	must(t, err)
	if data, err := io.ReadAll(f); string(data) != "lo" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := f.ReadDir(-1); err == nil {
		t.Error("a file was read as a directory")
	}
}

func TestGlob(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"a.txt", "b.txt", "c.html", "d/x.txt", "d/y.txt", "e/x.txt", "[z]/q", `back\slash`, "st*r", "f.d/g.d/h"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, n)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, n), nil, 0o644))
	}
	must(t, os.Symlink("nowhere", filepath.Join(dir, "broken")))
	at := EscapeGlob(dir)
	for _, c := range []struct {
		pattern string
		want    string
	}{
		{at + "/*.txt", "a.txt b.txt"}, {at + "/?.html", "c.html"}, {at + "/[ab].txt", "a.txt b.txt"}, {at + "/[^ab].*", "c.html f.d"},
		{at + "/*/x.txt", "d/x.txt e/x.txt"}, {at + "/d/*", "d/x.txt d/y.txt"}, {at + "/*.d/*.d/h", "f.d/g.d/h"},
		{at + `/\[z\]/*`, "[z]/q"}, {at + `/back\\slash`, `back\slash`}, {at + `/st\*r`, "st*r"}, {at + `/s*\**`, "st*r"},
		{at + "/a.txt", "a.txt"}, {at + "/nope", ""}, {at + "/broken", "broken"}, {at + "/brok*", "broken"}, {at + "/broken/*", ""}, {at + "/a.txt/*", ""},
		{at + "/*/", ""}, {at + "/[", ""}, {at + "/nope*/x", ""}, {at + `/\.\./*`, ""}, {at + `/d/\.\./a.txt`, ""}, {at + "/.*/*", ""},
	} {
		var got []string
		for _, n := range Glob(OS{}, c.pattern) {
			got = append(got, strings.TrimPrefix(n, dir+"/"))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %s", c.pattern, got, c.want)
		}
		theirs, _ := filepath.Glob(c.pattern)
		slices.Sort(theirs)
		if ours := Glob(OS{}, c.pattern); !slices.Equal(ours, theirs) && !strings.Contains(c.pattern, `\.`) {
			t.Errorf("%s: %q, the library has %q", c.pattern, ours, theirs)
		}
	}
	t.Chdir(dir)
	if got := Glob(OS{}, "*.html"); !slices.Equal(got, []string{"c.html"}) {
		t.Errorf("%q", got)
	}
	for _, s := range []string{"", "a", `*?[\`, `a\b*`, "ü*"} {
		if got := UnescapeGlob(EscapeGlob(s)); got != s {
			t.Errorf("%q came back as %q", s, got)
		}
		if ok, err := filepath.Match(EscapeGlob(s), s); !ok || err != nil {
			t.Errorf("%q does not match itself: %v", s, err)
		}
	}
}

// The table of section 5.2.2, and more.
func TestHide(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{".git", "/.git", true}, {".git", "/.git/x", true}, {".git", "/foo/.git/bar", true}, {".git", "/.gitignore", false}, {"/.git", "/.gitignore", false},
		{"/prefix", "/prefix", true}, {"/prefix", "/prefix/foo", true}, {"/prefix", "/prefixed", false}, {"/prefix/", "/prefix/foo", true},
		{"*.txt", "/foo/bar.txt", true}, {"*.txt", "/foo.txt/bar", true}, {"/foo/*/bar", "/foo/x/bar", true}, {"/foo/*/bar", "/foo/x/y/bar", false},
		{"/foo/bar/*.txt", "/foo/bar/b.txt", true}, {"/foo/bar/*.txt", "/foo/b.txt", false},
		{"./Caddyfile", "/wd/Caddyfile", true}, {"./Caddyfile", "/wd/sub/Caddyfile", false}, {"sub/x", "/wd/sub/x/y", true}, {"../up", "/up", true},
		{"", "/", false}, {"", "/a", false}, {"/", "/a", true}, {"[", "/[", true}, {"[", "/a", false}, {"*", "/a", true}, {".GIT", "/.git", folds},
	} {
		if got := Hide(c.pattern, "/wd").Hides(c.path); got != c.want {
			t.Errorf("%s hides %s: %v, want %v", c.pattern, c.path, got, c.want)
		}
	}
	if Hide("[", "").Err() == nil || Hide("a*", "").Err() != nil {
		t.Error("malformed globs are not told from others")
	}
	if (Hidden{}).Hides("/a") {
		t.Error("the zero value hides")
	}
}
