package urlpath

import (
	"math/rand/v2"
	"path"
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	for _, c := range []struct {
		in    string
		merge bool
		want  string
	}{
		// The table of section 4.
		{"//foo", true, "/foo"},
		{"//foo", false, "//foo"},
		{"/foo//bar/", true, "/foo/bar/"},
		{"/foo/./.././bar", false, "/bar"},
		{"/foo//./..//./bar", false, "/foo//bar"},
		{"/foo///./..//./bar", false, "/foo///bar"},
		{"/foo///./..//.", false, "/foo//"},
		// More of the rules.
		{"", true, ""}, {"", false, ""}, {"/", true, "/"}, {"/", false, "/"},
		{"//", true, "/"}, {"//", false, "//"}, {"///", true, "/"}, {"///", false, "///"},
		{"/..", true, "/"}, {"/../", true, "/"}, {"/../../x", true, "/x"}, {"/.", true, "/"}, {"/./", true, "/"},
		{"/a/.", true, "/a"}, {"/a/./", true, "/a/"}, {"/a/..", true, "/"}, {"/a/../", true, "/"}, {"/a/b/..", true, "/a"}, {"/a/b/../", true, "/a/"},
		{"/a/...", true, "/a/..."}, {"/.a/..b/c..", true, "/.a/..b/c.."}, {"/...", false, "/..."},
		{"//..", false, "/"}, {"//../", false, "/"}, {"/a//..", false, "/a"}, {"/a//../", false, "/a/"}, {"/a//", false, "/a//"}, {"/..//", false, "//"},
		{"/a%2f..", true, "/a%2f.."}, {"/%2e%2e/a", true, "/%2e%2e/a"},
		{"foo", true, "foo"}, {"foo//bar", true, "foo/bar"}, {"foo//bar", false, "foo//bar"}, {"foo/../bar", true, "bar"}, {"foo/..", true, ""},
		{"..", true, ".."}, {"../a/../b", true, "../b"}, {"../../a", true, "../../a"}, {"a/../../b", true, "../b"}, {"./a/", true, "a/"}, {".", true, ""},
		{"*", true, "*"}, {".a", true, ".a"}, {"a/..//b", false, "b"}, {"a//../b", false, "a/b"}, {"..//../a", false, "../a"},
	} {
		got := Clean(c.in, c.merge)
		if got != c.want {
			t.Errorf("Clean(%q, %v) = %q, want %q", c.in, c.merge, got, c.want)
		}
		if again := Clean(got, c.merge); again != got {
			t.Errorf("Clean(%q, %v) = %q, a second time %q", c.in, c.merge, got, again)
		}
		if !IsClean(got, c.merge) && got[0] == '/' {
			t.Errorf("IsClean(%q, %v) is false", got, c.merge)
		}
	}
}

// TestAgainstModel compares with the standard library: merged paths directly,
// others by giving empty segments a name.
func TestAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	model := func(p string) string {
		c := path.Clean(p)
		if strings.HasSuffix(p, "/") && c != "/" {
			c += "/"
		}
		return c
	}
	parts := []string{"/", "/", "/", ".", "..", "a", "b.", "...", "é"}
	for range 200_000 {
		p := "/"
		for range rnd.IntN(9) {
			p += parts[rnd.IntN(len(parts))]
		}
		if got, want := Clean(p, true), model(p); got != want {
			t.Fatalf("merged %q: got %q, want %q", p, got, want)
		}
		named := p
		for strings.Contains(named, "//") {
			named = strings.ReplaceAll(named, "//", "/\xff/")
		}
		if got, want := Clean(p, false), strings.ReplaceAll(model(named), "\xff", ""); got != want {
			t.Fatalf("unmerged %q: got %q, want %q", p, got, want)
		}
		for _, merge := range []bool{true, false} {
			if got := Clean(p, merge) == p; got != IsClean(p, merge) {
				t.Fatalf("IsClean(%q, %v) = %v", p, merge, !got)
			}
		}
	}
}

func TestHost(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a.test": "a.test", "A.Test:8443": "a.test", "a.test:": "a.test", ":80": "", "a.test.": "a.test.",
		"[::1]": "::1", "[::1]:80": "::1", "::1": "::1", "[FE80::1%25eth0]:1": "fe80::1%25eth0", "1.2.3.4:5": "1.2.3.4",
		"[::1": "::1", "[::1]x:80": "::1]x:80", "a:b:c": "a:b:c", ":": "", "[]:80": "",
	} {
		if got := Host(in); got != want {
			t.Errorf("Host(%q) = %q, want %q", in, got, want)
		}
	}
	for _, h := range []string{"a.test", "a.test:80", "[::1]:80", "[::1]", "::1"} {
		if n := testing.AllocsPerRun(100, func() { sink = Host(h) }); n != 0 {
			t.Errorf("%q: %v allocations", h, n)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	for _, p := range []string{"/", "/a/b.c/.d/..e/", "/index.html", ""} {
		if n := testing.AllocsPerRun(100, func() { sink = Clean(p, true) }); n != 0 {
			t.Errorf("%q: %v allocations", p, n)
		}
	}
}

var sink string

func FuzzClean(f *testing.F) {
	f.Add("/a/../b//c/.", true)
	f.Add("../x", false)
	f.Fuzz(func(t *testing.T, p string, merge bool) {
		got := Clean(p, merge)
		if again := Clean(got, merge); again != got {
			t.Fatalf("Clean(%q, %v) = %q, a second time %q", p, merge, got, again)
		}
		if strings.HasPrefix(p, "/") != strings.HasPrefix(got, "/") {
			t.Fatalf("Clean(%q, %v) = %q", p, merge, got)
		}
	})
}

func BenchmarkClean(b *testing.B) {
	for _, p := range []string{"/", "/api/v1/users/12345/profile.html", "/a/../b//c"} {
		b.Run(p, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink = Clean(p, true)
			}
		})
	}
}
