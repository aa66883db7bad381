package vars

import (
	"errors"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

type namedString string
type namedFloat float64
type namedBytes []byte
type stringer struct{ s string }

func (s *stringer) String() string { return s.s }

type panics struct{}

func (panics) Error() string { panic("no text") }

func TestToString(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, ""}, {"s", "s"}, {"", ""}, {true, "true"}, {false, "false"}, {[]byte("b"), "b"},
		{0, "0"}, {-7, "-7"}, {int8(-8), "-8"}, {int16(1), "1"}, {int32(2), "2"}, {int64(math.MinInt64), "-9223372036854775808"},
		{uint(1), "1"}, {uint8(8), "8"}, {uint16(443), "443"}, {uint32(3), "3"}, {uint64(math.MaxUint64), "18446744073709551615"},
		{1e21, "1000000000000000000000"}, {0.0943, "0.0943"}, {1e-7, "0.0000001"}, {float32(0.1), "0.1"}, {100.0, "100"},
		{namedFloat(1e21), "1000000000000000000000"}, {namedString("n"), "n"}, {namedBytes("nb"), "nb"},
		{errors.New("broken"), "broken"}, {94300 * time.Nanosecond, "94.3µs"}, {netip.MustParseAddr("::1"), "::1"},
		{&stringer{"own"}, "own"}, {(*stringer)(nil), ""}, {[]string{"a", "b"}, "[a b]"}, {[]any{1, "x"}, "[1 x]"},
		{time.Date(2026, 8, 1, 2, 3, 4, 0, time.UTC), "2026-08-01 02:03:04 +0000 UTC"},
	} {
		if got := ToString(c.v); got != c.want {
			t.Errorf("%T %v: got %q, want %q", c.v, c.v, got, c.want)
		}
		if got := string(AppendString([]byte("x"), c.v)); got != "x"+c.want {
			t.Errorf("append %T %v: got %q, want %q", c.v, c.v, got, c.want)
		}
	}
	if got := ToString(panics{}); !strings.Contains(got, "PANIC") {
		t.Errorf("a method that panics gave %q", got)
	}
}

// TestParseDuration holds the rows of section 1.5 that are strings, and more.
func TestParseDuration(t *testing.T) {
	h, d := time.Hour, 24*time.Hour
	for s, want := range map[string]time.Duration{
		"10s": 10 * time.Second, "1.5d": 36 * h, "1d30m": d + 30*time.Minute, "1m2d30s": 2*d + 90*time.Second,
		"1d2d": 3 * d, "4m1.25d": 30*h + 4*time.Minute, "-1.25d12h": -42 * h, "0": 0, "-5s": -5 * time.Second,
		"+1d": d, ".5d": 12 * h, "1.d": d, "0d": 0, "-0d": 0, "1h1h": 2 * h, "1d1ns": d + 1, "2us": 2000, "2µs3d": 3*d + 2000,
		"1500ms": 1500 * time.Millisecond, "106751d": 106751 * d, "-106751d": -106751 * d,
		"0.00000000000001d": 0, "0.0000000000001d": 8, "0.33333333333333333333333333333333d": 28799999999999,
		"106751d23h47m16.854775807s": math.MaxInt64, "-106751d23h47m16.854775808s": math.MinInt64,
		"1d" + strings.Repeat("0", 1021) + "s": d, "00000000000000000000000000001d": d,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"10", "", " 5s", "5 s", "5S", "1w", "1e9", "xx", "5s ", "-", "+", "d", "-d", ".d", "1.2.3d", "1d5", "1d-5s", "--1d", "1dd", "1 d", "1D",
		"106752d", "106751d24h", "99999999999999999999d", "106751d106751d106751d", "106751.99999d", "-106751d23h47m16.854775809s", "1day", "١d",
		"0d" + strings.Repeat("0", 1022) + "s",
	} {
		got, err := ParseDuration(s)
		if err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
			continue
		}
		if len(s) < 100 && !strings.HasPrefix(err.Error(), "time: invalid duration \""+s+"\"") && s != "١d" {
			t.Errorf("%q: the error is %q", s, err)
		}
		if len(err.Error()) > 200 {
			t.Errorf("%q...: an error of %d bytes", s[:8], len(err.Error()))
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	f.Add("1d2h")
	f.Add("-1.25d")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseDuration(s)
		if want, wantErr := time.ParseDuration(s); wantErr == nil && len(s) <= MaxDurationLen && (err != nil || got != want) {
			t.Fatalf("%q: got %v, %v; want %v", s, got, err, want)
		}
		if err == nil {
			if again, err := ParseDuration(got.String()); err != nil || again != got {
				t.Fatalf("%q: %v does not read back: %v, %v", s, got, again, err)
			}
		}
	})
}

func TestGlobal(t *testing.T) {
	zone := time.FixedZone("X", 2*3600)
	now := time.Date(2026, 8, 1, 14, 3, 4, 567e6, zone)
	var failed []string
	files := map[string]string{"/a": "text\r\n", "/b": "text\n\n", "/c": "", "d.e}f": "x\r"}
	g := &Global{
		Getenv: func(n string) string { return map[string]string{"HOME": "/root", "a.b": "dot"}[n] },
		ReadFile: func(p string, limit int64) ([]byte, error) {
			if limit != 1<<20 {
				t.Errorf("limit %d", limit)
			}
			if s, ok := files[p]; ok {
				return []byte(s), nil
			}
			return nil, fs.ErrNotExist
		},
		Hostname: func() (string, error) { return "box", nil },
		Getwd:    func() (string, error) { return "", errors.New("gone") },
		Now:      func() time.Time { return now },
		OnError:  func(name string, err error) { failed = append(failed, name+": "+err.Error()) },
	}
	for name, want := range map[string]any{
		"env.HOME": "/root", "env.a.b": "dot", "env.UNSET": "", "env.": "",
		"file./a": "text", "file./b": "text\n", "file./c": "", "file.d.e}f": "x", "file./none": nil,
		"system.hostname": "box", "system.wd": "", "system.slash": string(filepath.Separator),
		"system.os": runtime.GOOS, "system.arch": runtime.GOARCH,
		"time.now": now, "time.now.http": "Sat, 01 Aug 2026 12:03:04 GMT", "time.now.common_log": "01/Aug/2026:14:03:04 +0200",
		"time.now.year": "2026", "time.now.unix": "1785585784", "time.now.unix_ms": "1785585784567",
	} {
		if got, known := g.Lookup(name); !known || got != want {
			t.Errorf("%s: got %#v, %v; want %#v", name, got, known, want)
		}
		if !IsGlobal(name) {
			t.Errorf("IsGlobal(%s) is false", name)
		}
	}
	if len(failed) != 1 || failed[0] != "file./none: file does not exist" {
		t.Errorf("reported errors: %q", failed)
	}
	for _, name := range []string{"", "env", "file", "system", "system.x", "time", "time.x", "time.now.x", "ENV.HOME", "http.request.method", "envx.a"} {
		if got, known := g.Lookup(name); known || got != nil {
			t.Errorf("%q is known: %v", name, got)
		}
		if got, known := (&Global{}).Lookup(name); known || got != nil {
			t.Errorf("%q is known: %v", name, got)
		}
		if IsGlobal(name) {
			t.Errorf("IsGlobal(%q) is true", name)
		}
	}
	g.OnError = nil
	if got, known := g.Lookup("file./none"); !known || got != nil {
		t.Errorf("without OnError: %v, %v", got, known)
	}
	for _, name := range []string{"env.HOME", "file./a", "system.hostname", "system.wd", "time.now"} {
		if _, known := (&Global{}).Lookup(name); known {
			t.Errorf("%s is known without its function", name)
		}
	}
}

func TestRealGlobal(t *testing.T) {
	g := NewGlobal()
	t.Setenv("VARS_TEST", "set")
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, []byte(strings.Repeat("x", MaxFileSize)+"tail\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := g.Lookup("file." + big); len(got.(string)) != MaxFileSize {
		t.Errorf("read %d bytes", len(got.(string)))
	}
	for _, path := range []string{dir, filepath.Join(dir, "none"), ""} {
		var failed string
		g.OnError = func(name string, err error) { failed = name }
		if got, known := g.Lookup("file." + path); got != nil || !known || failed != "file."+path {
			t.Errorf("%q: %v, %v, reported %q", path, got, known, failed)
		}
	}
	host, _ := os.Hostname()
	wd, _ := os.Getwd()
	for text, want := range map[string]string{"{env.VARS_TEST}": "set", "{system.hostname}": host, "{system.wd}": wd} {
		if got := Parse(text).Expand(g, All, ""); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	if got := Parse("{time.now}").Expand(g, All, ""); !strings.Contains(got, " m=+") {
		t.Errorf("time.now %q has no monotonic part", got)
	}
}

func TestChain(t *testing.T) {
	first, second := Map{"a": "1", "e": ""}, Map{"a": "2", "b": 3, "e": "x"}
	c := Chain(nil, first, Chain(second, &stringScope{"v"}), nil)
	for text, want := range map[string]string{"{a}": "1", "{b}": "3", "{e}": "", "{v}": "v", "{u}": "{u}", "{a}{b}{e}{v}{u}": "13v{u}"} {
		if got := Parse(text).Expand(c, Known, ""); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	for name, want := range map[string]any{"a": "1", "b": 3, "e": "", "v": "v"} {
		if got, known := c.Lookup(name); !known || got != want {
			t.Errorf("%s: got %v, %v", name, got, known)
		}
	}
	if _, known := Chain().Lookup("a"); known {
		t.Error("an empty chain knows a name")
	}
	if _, ok := Chain(nil, first).(Map); !ok {
		t.Error("a chain of one is not that one")
	}
}
