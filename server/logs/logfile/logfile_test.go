package logfile

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"
)

// reports is what Files complain of.
type reports struct {
	mu   sync.Mutex
	list []string
}

func (r *reports) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, err.Error())
}

func (r *reports) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.list
	r.list = nil
	return list
}

func mode(m fs.FileMode) *fs.FileMode { return &m }

func plain(path string) Settings {
	return Settings{Path: path, Roll: true, Size: 1 << 20, Compression: "none", TimeFormat: "2006-01-02T15-04-05.000"}
}

// start opens a file whose settings take effect, and closes it with the test.
func start(t *testing.T, s Settings) (*File, *reports) {
	t.Helper()
	r := &reports{}
	f, err := Open(s, r.add, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Start(s)
	t.Cleanup(func() { shut(f) })
	return f, r
}

// shut closes a file, if it is open, and waits for what goes on.
func shut(f *File) {
	_ = f.Close()
	if done := f.Done(); done != nil {
		<-done
	}
}

func write(t *testing.T, f *File, lines ...string) {
	t.Helper()
	var p []byte
	var ends []int
	for _, l := range lines {
		p = append(p, l...)
		ends = append(ends, len(p))
	}
	if n, err := f.WriteEntries(p, ends); err != nil || n != len(p) {
		t.Fatalf("%d of %d bytes: %v", n, len(p), err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func permissions(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	cases := []struct {
		name     string
		mode     *fs.FileMode
		dir      string
		existing fs.FileMode // of the file, 0 if there is none
		parent   fs.FileMode
		file, d  fs.FileMode // what they are then; d is of a directory that was made
	}{
		{"defaults", nil, "", 0, 0o755, 0o600, 0o700},
		{"given", mode(0o664), "0751", 0, 0o755, 0o664, 0o751},
		{"existing", nil, "", 0o640, 0o755, 0o640, 0},
		{"existing and given", mode(0o604), "", 0o640, 0o755, 0o604, 0},
		{"inherit", nil, "inherit", 0, 0o775, 0o600, 0o775},
		{"from file", mode(0o640), "from_file", 0, 0o755, 0o640, 0o750},
		{"from default file", nil, "from_file", 0, 0o755, 0o600, 0o700},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			base := t.TempDir()
			if err := os.Chmod(base, c.parent); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(base, "a", "b", "x.log")
			if c.existing != 0 {
				path = filepath.Join(base, "x.log")
				if err := os.WriteFile(path, []byte("old\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, c.existing); err != nil {
					t.Fatal(err)
				}
			}
			s := plain(path)
			s.Mode = c.mode
			var err error
			if s.Dir, err = ParseDirMode(c.dir); err != nil {
				t.Fatal(err)
			}
			s.Size = 6
			f, r := start(t, s)
			write(t, f, "12345\n", "23456\n")
			if got := permissions(t, path); got != c.file {
				t.Errorf("file is %o, want %o", got, c.file)
			}
			list := names(t, filepath.Dir(path))
			if len(list) < 2 {
				t.Fatalf("not rolled over: %v", list)
			}
			for _, name := range list {
				if got := permissions(t, filepath.Join(filepath.Dir(path), name)); got != c.file {
					t.Errorf("%s is %o, want %o", name, got, c.file)
				}
			}
			if c.d != 0 {
				for _, dir := range []string{"a", "a/b"} {
					if got := permissions(t, filepath.Join(base, dir)); got != c.d {
						t.Errorf("%s is %o, want %o", dir, got, c.d)
					}
				}
			}
			if list := r.take(); list != nil {
				t.Error(list)
			}
		})
	}
}

func TestParseModes(t *testing.T) {
	for text, want := range map[string]fs.FileMode{"0644": 0o644, "644": 0o644, "7": 7, "2750": fs.ModeSetgid | 0o750, "1777": fs.ModeSticky | 0o777, "4700": fs.ModeSetuid | 0o700} {
		if got, err := ParseMode(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "8", "00644", "-1", "rw-", "0x1", "64 "} {
		if got, err := ParseMode(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
	for _, text := range []string{"0", "0000", "none", "Inherit", "99"} {
		if got, err := ParseDirMode(text); err == nil {
			t.Errorf("directories: %q is taken as %v", text, got)
		}
	}
}

func TestCannotOpen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(file, "x.log"), filepath.Join(file, "y", "x.log"), pipe, filepath.Join(dir, "a\x00b")} {
		if f, err := Open(plain(path), nil, nil); err == nil {
			t.Errorf("%q is open", path)
			shut(f)
		}
	}
	if got := names(t, dir); !slices.Equal(got, []string{"file", "pipe"}) {
		t.Errorf("left behind: %v", got)
	}
}

// TestTakenBack: a file that was opened for a configuration which does not take
// effect leaves no trace.
func TestTakenBack(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.log")
	if err := os.WriteFile(old, []byte("x\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{old, filepath.Join(dir, "a", "b", "new.log")} {
		s := plain(path)
		s.Mode = mode(0o604)
		f, err := Open(s, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := permissions(t, path); got != 0o604 {
			t.Errorf("%s is %o", path, got)
		}
		shut(f)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"old.log"}) {
		t.Errorf("left behind: %v", got)
	}
	if got := permissions(t, old); got != 0o640 {
		t.Errorf("old file is %o", got)
	}
}

func TestRollBySize(t *testing.T) {
	for _, compression := range []string{"none", "gzip", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			dir := t.TempDir()
			s := plain(filepath.Join(dir, "x.log"))
			s.Size, s.Compression = 20, compression
			f, r := start(t, s)
			write(t, f, "0123456\n", "1123456\n", "2123456\n", "3123456\n")      // 16 fit
			write(t, f, "an entry that is larger than a file may be\n", "end\n") // alone
			shut(f)
			var got []string
			for _, name := range names(t, dir) {
				if name == "x.log" {
					continue
				}
				if !strings.HasPrefix(name, "x-20") || !strings.Contains(name, "-size") {
					t.Errorf("rolled file is called %s", name)
				}
				got = append(got, unpack(t, filepath.Join(dir, name)))
			}
			slices.Sort(got)
			if want := []string{"0123456\n1123456\n", "2123456\n3123456\n", "an entry that is larger than a file may be\n"}; !slices.Equal(got, want) {
				t.Errorf("rolled files %q", got)
			}
			if got := read(t, s.Path); got != "end\n" {
				t.Errorf("file is %q", got)
			}
			if list := r.take(); list != nil {
				t.Error(list)
			}
		})
	}
}

// unpack is the content of a file as its name says how to read it.
func unpack(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var r io.Reader = file
	switch filepath.Ext(path) {
	case ".gz":
		if r, err = gzip.NewReader(file); err != nil {
			t.Fatal(err)
		}
	case ".zst":
		if r, err = zstd.NewReader(file); err != nil {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestNeverRolls(t *testing.T) {
	s := plain(filepath.Join(t.TempDir(), "x.log"))
	s.Roll, s.Size, s.Interval, s.Marks = false, 1, 1, []Mark{{0, 0}}
	f, _ := start(t, s)
	write(t, f, "12345\n", "12345\n")
	write(t, f, "12345\n")
	if got := names(t, filepath.Dir(s.Path)); len(got) != 1 {
		t.Errorf("files %v", got)
	}
	if f.alarm != nil {
		t.Error("there is an alarm")
	}
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := plain(filepath.Join(dir, "x.log"))
		s.Size, s.Keep = 2, 3
		f, _ := start(t, s)
		for i := range 8 {
			write(t, f, fmt.Sprintf("%d\n", i))
			time.Sleep(time.Second) // on the bubble's clock
			synctest.Wait()
		}
		shut(f)
		var got []string
		for _, name := range names(t, dir) {
			got = append(got, read(t, filepath.Join(dir, name)))
		}
		slices.Sort(got)
		if strings.Join(got, "") != "4\n5\n6\n7\n" {
			t.Errorf("kept %q", got)
		}
		time.Sleep(40 * 24 * time.Hour)
		s.Keep, s.KeepDays = 0, 30
		f, _ = start(t, s) // looks after what is left when it is first used
		write(t, f, "")
		synctest.Wait()
		shut(f)
		if got := names(t, dir); len(got) != 1 {
			t.Errorf("after 40 days there are %v", got)
		}
	})
}

func TestRollByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := plain(filepath.Join(dir, "x.log"))
		s.Marks, s.TimeFormat = []Mark{{6, 30}, {18, 0}}, "2006-01-02T15-04-05"
		f, r := start(t, s) // at midnight of 2000-01-01
		write(t, f, "night\n")
		time.Sleep(6*time.Hour + 29*time.Minute)
		synctest.Wait()
		if got := names(t, dir); len(got) != 1 {
			t.Errorf("rolled over early: %v", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		write(t, f, "day\n")
		time.Sleep(48 * time.Hour) // an empty file is not rolled over
		synctest.Wait()
		want := []string{"x-2000-01-01T06-30-00-time.log", "x-2000-01-01T18-00-00-time.log", "x.log"}
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Errorf("files %v, want %v", got, want)
		}
		if got := read(t, filepath.Join(dir, want[1])); got != "day\n" {
			t.Errorf("the second file is %q", got)
		}
		s.Marks, s.Interval = nil, time.Hour
		f.Start(s)
		write(t, f, "1\n")
		time.Sleep(59 * time.Minute)
		write(t, f, "2\n")
		time.Sleep(2 * time.Minute)
		write(t, f, "3\n")
		synctest.Wait()
		if got := read(t, s.Path); got != "3\n" {
			t.Errorf("after an hour: %q", got)
		}
		shut(f)
		if list := r.take(); list != nil {
			t.Error(list)
		}
	})
}

func TestLocalTime(t *testing.T) {
	m := Mark{23, 30}
	zone := time.FixedZone("x", 3600)
	now := time.Date(2026, 8, 1, 23, 30, 0, 0, zone)
	if got := m.next(now); !got.Equal(now.AddDate(0, 0, 1)) {
		t.Errorf("the mark after itself is %v", got)
	}
	if got := m.next(now.Add(-1)); !got.Equal(now) {
		t.Errorf("the mark is %v", got)
	}
	f := File{s: Settings{Local: true}}
	if f.zone() != time.Local || (&File{}).zone() != time.UTC {
		t.Error("wrong zones")
	}
}

// TestMoved: a file that is renamed or removed is made anew, and one that is cut
// off is gone on with.
func TestMoved(t *testing.T) {
	for _, roll := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			s := plain(filepath.Join(dir, "sub", "x.log"))
			s.Roll, s.Mode = roll, mode(0o640)
			f, r := start(t, s)
			write(t, f, "1\n")
			if err := os.Rename(s.Path, filepath.Join(dir, "moved")); err != nil {
				t.Fatal(err)
			}
			write(t, f, "2\n") // within the second
			time.Sleep(time.Second)
			write(t, f, "3\n")
			if got := read(t, filepath.Join(dir, "moved")); got != "1\n2\n" {
				t.Errorf("moved file is %q", got)
			}
			if got := read(t, s.Path); got != "3\n" || permissions(t, s.Path) != 0o640 {
				t.Errorf("new file is %q, %o", got, permissions(t, s.Path))
			}
			// Replaced by another one, directory and all.
			if err := os.RemoveAll(filepath.Dir(s.Path)); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Dir(s.Path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.Path, []byte("theirs\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			write(t, f, "4\n")
			if got := read(t, s.Path); got != "theirs\n4\n" {
				t.Errorf("file of someone else is %q", got)
			}
			if err := os.Truncate(s.Path, 0); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			write(t, f, "5\n")
			if got := read(t, s.Path); got != "5\n" || f.size != 2 {
				t.Errorf("file that was cut off is %q, its size taken for %d", got, f.size)
			}
			if list := r.take(); list != nil {
				t.Error(list)
			}
			shut(f)
			if got := names(t, filepath.Dir(s.Path)); len(got) != 1 {
				t.Errorf("files %v", got)
			}
		})
	}
}

// TestRollingFails: what cannot be rolled over goes on, without loss.
func TestRollingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := plain(filepath.Join(dir, "sub", "x.log"))
		s.Size = 2
		f, r := start(t, s)
		write(t, f, "1\n")
		other := filepath.Join(dir, "other")
		if err := os.Link(s.Path, other); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Dir(s.Path)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Dir(s.Path), nil, 0o600); err != nil { // a file where the directory was
			t.Fatal(err)
		}
		write(t, f, "2\n", "3\n")
		write(t, f, "4\n")
		if list := r.take(); len(list) != 1 || !strings.Contains(list[0], "rolling over log file "+s.Path) {
			t.Errorf("complaints: %q", list)
		}
		time.Sleep(retryAfter)
		write(t, f, "5\n")
		if list := r.take(); len(list) != 1 {
			t.Errorf("complaints after a while: %q", list)
		}
		if got := read(t, other); got != "1\n2\n3\n4\n5\n" {
			t.Errorf("file is %q", got)
		}
		if err := os.Remove(filepath.Dir(s.Path)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryAfter)
		write(t, f, "6\n")
		if got := read(t, s.Path); got != "6\n" {
			t.Errorf("new file is %q", got)
		}
	})
}

// TestTorn: an entry of which only a part could be written gets a line of its
// own.
func TestTorn(t *testing.T) {
	s := plain(filepath.Join(t.TempDir(), "x.log"))
	f, _ := start(t, s)
	write(t, f, "1\n")
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	small := limit
	small.Cur = 5
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Skip(err)
	}
	n, err := f.WriteEntries([]byte("23456789\nabc\n"), []int{9, 13})
	if err2 := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err2 != nil {
		t.Fatal(err2)
	}
	if err == nil || n != 3 {
		t.Fatalf("%d bytes of a full disk: %v", n, err)
	}
	write(t, f, "end\n")
	if got := read(t, s.Path); got != "1\n234\nend\n" {
		t.Errorf("file is %q", got)
	}
}

func TestClosed(t *testing.T) {
	f, _ := start(t, plain(filepath.Join(t.TempDir(), "x.log")))
	write(t, f, "1\n")
	shut(f)
	if _, err := f.Write([]byte("2\n")); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := f.Close(); !errors.Is(err, errClosed) {
		t.Errorf("second Close: %v", err)
	}
}

// TestOneAtATime: while the roller of a former File works, nothing is rolled
// over, and nothing is lost.
func TestOneAtATime(t *testing.T) {
	busy := make(chan struct{})
	s := plain(filepath.Join(t.TempDir(), "x.log"))
	s.Size = 2
	f, err := Open(s, nil, busy)
	if err != nil {
		t.Fatal(err)
	}
	f.Start(s)
	write(t, f, "1\n", "2\n", "3\n")
	if got := read(t, s.Path); got != "1\n2\n3\n" {
		t.Errorf("file is %q", got)
	}
	close(busy)
	write(t, f, "4\n")
	if got := read(t, s.Path); got != "4\n" {
		t.Errorf("file is %q", got)
	}
	shut(f)
}

func TestDirect(t *testing.T) {
	f, _ := start(t, plain(filepath.Join(t.TempDir(), "x.log")))
	null, r := start(t, plain(os.DevNull))
	if !f.Direct() || null.Direct() {
		t.Error("files are direct, devices are not")
	}
	write(t, null, strings.Repeat("x", 1<<20), "\n")
	if list := r.take(); list != nil {
		t.Error(list)
	}
}

func TestCheckTimeFormat(t *testing.T) {
	for layout, ok := range map[string]bool{"2006-01-02T15-04-05.000": true, "2006-01-02-15-04-05": true, "2006-01-02T15-04": false, "x": false, "2006/01/02-15-04-05": false} {
		if err := CheckTimeFormat(layout); (err == nil) != ok {
			t.Errorf("%s: %v", layout, err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	s := plain(filepath.Join(b.TempDir(), "x.log"))
	s.Size = 100 << 20
	f, err := Open(s, func(err error) { b.Error(err) }, nil)
	if err != nil {
		b.Fatal(err)
	}
	f.Start(s)
	defer shut(f)
	line := []byte(strings.Repeat("x", 449) + "\n")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
	}
}
