package fileserver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluiceproxy/sluice/internal/fsys"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func TestSpecs(t *testing.T) {
	all := Specs()
	slices.Reverse(all) // the handler comes first
	handlertest.CheckSpec(t, all...)
}

// Section 5.2.1.
func TestLocate(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.txt": "A", "d/": "", "idx/index.html": "I", "both/index.txt": "T", "both/index.html": "H",
		"hid/index.html": "hidden", "hid/index.txt": "shown", "diridx/index.html/x": "x",
		"outside": "-> ../other", "loop": "-> loop", "broken": "-> nowhere", "sp ace.txt": "S", "%41.txt": "percent", "ünï.txt": "U", "back\\slash": "B",
	})
	other := filepath.Join(filepath.Dir(dir), "other")
	must(t, os.Mkdir(other, 0o755))
	must(t, os.WriteFile(filepath.Join(other, "o.txt"), []byte("O"), 0o644))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	c := serve(t, fileServer(dir, nil))
	hid := serve(t, fileServer(dir, obj{"hide": []string{filepath.Join(dir, "hid", "index.html")}}))
	for _, tc := range []struct {
		name   string
		c      *client
		target string
		status int
		body   string
	}{
		{"a file", c, "/a.txt", 200, "A"},
		{"one that is missing", c, "/b.txt", 404, ""},
		{"case counts", c, "/A.txt", 404, ""},
		{"encoded", c, "/%61%2etxt", 200, "A"},
		{"a space", c, "/sp%20ace.txt", 200, "S"},
		{"decoded once", c, "/%2541.txt", 200, "percent"},
		{"UTF-8", c, "/%C3%BCn%C3%AF.txt", 200, "U"},
		{"a backslash is a character", c, "/back%5Cslash", 200, "B"},
		{"NUL", c, "/a.txt%00", 400, ""},
		{"NUL in front of another extension", c, "/a%00.txt", 400, ""},
		{"through a file", c, "/a.txt/b", 400, ""},
		{"too long a name", c, "/" + strings.Repeat("x", 300), 500, ""},
		{"a link is followed out of the root", c, "/outside/o.txt", 200, "O"},
		{"a broken link", c, "/broken", 404, ""},
		{"a link to itself", c, "/loop", 500, ""},
		{"a pipe is no file", c, "/fifo", 404, ""},
		{"a directory without index", c, "/d/", 404, ""},
		{"the root without index", c, "/", 404, ""},
		{"an index file", c, "/idx/", 200, "I"},
		{"the first index file", c, "/both/", 200, "H"},
		{"the index file by its name", c, "/idx/index.html", 200, "I"},
		{"a directory named as the index", c, "/diridx/", 404, ""},
		{"a hidden index file is skipped", hid, "/hid/", 200, "shown"},
		{"dots", c, "/d/../a.txt", 200, "A"},
		{"dots above the root", c, "/../../a.txt", 200, "A"},
		{"encoded dots", c, "/%2e%2e/%2e%2e/a.txt", 200, "A"},
		{"an encoded slash", c, "/..%2f..%2fa.txt", 200, "A"},
		{"a name of dots", c, "/.../a.txt", 404, ""},
		{"slashes", c, "//d//..//a.txt", 200, "A"},
		{"a dot behind the name", c, "/a.txt.", 404, ""},
		{"a space behind the name", c, "/a.txt%20", 404, ""},
		{"an alternate stream", c, "/a.txt::$DATA", 404, ""},
		{"overlong dots", c, "/%c0%ae%c0%ae/%c0%ae%c0%ae/other/o.txt", 404, ""},
		{"an overlong slash", c, "/..%c0%afother%c0%afo.txt", 404, ""},
		{"backslash dots", c, "/..%5c..%5cother%5co.txt", 404, ""},
		{"out of the root by dots", c, "/../other/o.txt", 404, ""},
		{"out of the root by encoded dots", c, "/%2e%2e%2fother%2fo.txt", 404, ""},
		{"out of the root through a directory", c, "/d/%2e%2e/..%2fother/o.txt", 404, ""},
	} {
		t.Run(tc.name, func(t *testing.T) { expect(t, tc.c.get(tc.target), tc.status, tc.body, nil) })
	}
}

func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := folder(t, map[string]string{"secret.txt": "S", "locked/a.txt": "A"})
	must(t, os.Chmod(filepath.Join(dir, "secret.txt"), 0))
	must(t, os.Chmod(filepath.Join(dir, "locked"), 0))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "locked"), 0o755) })
	c := serve(t, fileServer(dir, obj{"browse": obj{}}))
	for _, target := range []string{"/secret.txt", "/locked/a.txt", "/locked/"} {
		expect(t, c.get(target), 403, "", nil)
	}
}

func TestRootAndIndex(t *testing.T) {
	dir := folder(t, map[string]string{"x/a.txt": "X", "y/a.txt": "Y", "x/home.htm": "home", "x/sub/start": "start", "x/outer": "outer"})
	x := filepath.Join(dir, "x")
	for _, tc := range []struct {
		name   string
		hs     []obj
		target string
		status int
		body   string
	}{
		{"the variable root", []obj{{"handler": "vars", "root": x}, {"handler": "file_server"}}, "/a.txt", 200, "X"},
		{"a root of its own wins", []obj{{"handler": "vars", "root": x}, fileServer(filepath.Join(dir, "y"), nil)}, "/a.txt", 200, "Y"},
		{"the working directory", []obj{{"handler": "file_server"}}, "/fileserver_test.go", 200, "*"},
		{"placeholders", []obj{fileServer(dir+"/{http.request.header.Which}", nil)}, "/a.txt", 200, "Y"},
		{"an empty placeholder is a dot", []obj{fileServer(dir+"/{http.vars.nope}", nil)}, "/x/a.txt", 200, "X"},
		{"index names", []obj{fileServer(x, obj{"index_names": []string{"no", "home.htm"}})}, "/", 200, "home"},
		{"index names with placeholders", []obj{fileServer(x, obj{"index_names": []string{"{http.request.header.Index}.htm"}})}, "/", 200, "home"},
		{"an index name in a directory", []obj{fileServer(x, obj{"index_names": []string{"sub/start"}})}, "/", 200, "start"},
		{"an index name cannot leave the directory", []obj{fileServer(x, obj{"index_names": []string{"../outer"}})}, "/sub/", 404, ""},
		{"no index names", []obj{fileServer(x, obj{"index_names": []string{}})}, "/", 404, ""},
		{"an empty index name is none", []obj{fileServer(x, obj{"index_names": []string{"{http.vars.nope}"}})}, "/", 404, ""},
		{"a file as root", []obj{fileServer(x+"/a.txt", nil)}, "/", 200, "X"},
		{"a root that is missing", []obj{fileServer(x+"/nope", nil)}, "/", 404, ""},
		{"a root with NUL", []obj{fileServer(x+"\x00", nil)}, "/", 400, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, serve(t, tc.hs...).get(tc.target, "Which: y", "Index: home"), tc.status, tc.body, nil)
		})
	}
}

func TestFileSystems(t *testing.T) {
	dir := folder(t, map[string]string{"a.txt": "OS"})
	registered = fsys.Registry{"assets": fsys.From(fstest.MapFS{
		"pub/a.txt": {Data: []byte("assets"), ModTime: stamp}, "pub/d/b.txt": {Data: []byte("b")},
		"secret.txt": {Data: []byte("secret")},
	})}
	t.Cleanup(func() { registered = fsys.Registry{} })
	use := obj{"handler": "registered"}
	for _, tc := range []struct {
		name, target string
		hs           []obj
		status       int
		body         string
	}{
		{"the default", "/a.txt", []obj{use, fileServer(dir, nil)}, 200, "OS"},
		{"named default", "/a.txt", []obj{use, fileServer(dir, obj{"fs": "default"})}, 200, "OS"},
		{"a registered one", "/a.txt", []obj{use, fileServer("/pub", obj{"fs": "assets"})}, 200, "assets"},
		{"a placeholder", "/a.txt", []obj{use, fileServer("pub", obj{"fs": "{http.request.header.Fs}"})}, 200, "assets"},
		{"the variable", "/a.txt", []obj{use, {"handler": "vars", "fs": "assets"}, fileServer("/pub", nil)}, 200, "assets"},
		{"out of the root", "/../secret.txt", []obj{use, fileServer("/pub", obj{"fs": "assets"})}, 404, ""},
		{"unknown", "/a.txt", []obj{use, fileServer(dir, obj{"fs": "nope"})}, 404, ""},
		{"unknown, without any", "/a.txt", []obj{fileServer(dir, obj{"fs": "assets", "pass_thru": true})}, 404, ""},
		{"a listing", "/", []obj{use, fileServer("/pub", obj{"fs": "assets", "browse": obj{}})}, 200, "Name\tSize\tModified\n----\t----\t--------\nd/\t0 B\tJanuary 1, 0001 at 00:00:00\na.txt\t6 B\tMay 6, 2024 at 07:08:09\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, serve(t, tc.hs...).get(tc.target, "Fs: assets", "Accept: text/plain"), tc.status, tc.body, nil)
		})
	}
	a := serve(t, use, fileServer("/pub", obj{"fs": "assets"})).get("/a.txt", "Range: bytes=2-3")
	expect(t, a, 206, "se", map[string]string{"Content-Range": "bytes 2-3/6"})
}

func TestPassThru(t *testing.T) {
	dir := folder(t, map[string]string{"a.txt": "A", "d/": "", "h.txt": "H"})
	next := obj{"handler": "static_response", "body": "next"}
	c := serve(t, fileServer(dir, obj{"pass_thru": true, "hide": []string{"h.txt"}}), next)
	for target, body := range map[string]string{"/a.txt": "A", "/b.txt": "next", "/d/": "next", "/h.txt": "next", "/": "next"} {
		expect(t, c.get(target), 200, body, nil)
	}
	expect(t, c.get("/a.txt/b"), 400, "", nil)
}

// Section 5.2.2.
func TestHide(t *testing.T) {
	dir := folder(t, map[string]string{
		".git/x": "", ".gitignore": "I", "foo/.git/bar": "", "prefix/foo": "", "prefixed": "P", "foo/bar.txt": "", "foo/x/bar": "", "foo/bar/b.txt": "", "foo/b.txt": "B", "foo/UP.TXT": "U",
	})
	in := func(p string) string { return filepath.Join(dir, filepath.FromSlash(p)) }
	for _, tc := range []struct {
		name, hide, target string
		hidden             bool
	}{
		{"a name", ".git", "/.git/x", true},
		{"a name anywhere", ".git", "/foo/.git/bar", true},
		{"not a longer name", ".git", "/.gitignore", false},
		{"a path, not a longer one", in(".git"), "/.gitignore", false},
		{"a path and what is below", in("prefix"), "/prefix/foo", true},
		{"not a path that begins so", in("prefix"), "/prefixed", false},
		{"a path with a slash behind", in("prefix") + "/", "/prefix/foo", true},
		{"a glob", "*.txt", "/foo/bar.txt", true},
		{"case counts", "*.txt", "/foo/UP.TXT", false},
		{"a glob in a path", in("foo/*/bar"), "/foo/x/bar", true},
		{"a glob at the end of a path", in("foo/bar/*.txt"), "/foo/bar/b.txt", true},
		{"a star stands for no slash", in("foo/bar/*.txt"), "/foo/b.txt", false},
		{"by other ways", ".git", "/foo/../%2egit/x", true},
		{"by slashes", in("prefix"), "//prefix//foo", true},
		{"a placeholder", "{http.request.header.Hide}", "/foo/b.txt", true},
		{"a placeholder in a path", dir + "/{http.vars.none}foo", "/foo/b.txt", true},
		{"an empty placeholder hides nothing", "{http.vars.none}", "/foo/b.txt", false},
		{"an empty entry hides nothing", "", "/foo/b.txt", false},
		{"a component of the root", filepath.Base(filepath.Dir(dir)), "/foo/b.txt", true},
		{"a glob that is none", "[", "/foo/b.txt", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := serve(t, fileServer(dir, obj{"hide": []string{"nothing", tc.hide}}))
			want := 200
			if tc.hidden {
				want = 404
			}
			expect(t, c.get(tc.target, "Hide: b.txt"), want, "*", nil)
		})
	}
}

func TestHideFromTheWorkingDirectory(t *testing.T) {
	c := serve(t, obj{"handler": "file_server", "hide": []string{"./file.go", "page.*"}})
	expect(t, c.get("/file.go"), 404, "", nil)
	expect(t, c.get("/page.html"), 404, "", nil)
	expect(t, c.get("/serve.go"), 200, "*", nil)
}

// Section 5.2.3.
func TestCanonical(t *testing.T) {
	dir := folder(t, map[string]string{"a.txt": "A", "idx/index.html": "I", "d/": "", "x/y z/index.html": "Y", "é/index.html": "E", "q?#%\\/index.html": "Q"})
	c := serve(t, fileServer(dir, nil))
	off := serve(t, fileServer(dir, obj{"canonical_uris": false}))
	rewritten := serve(t, obj{"handler": "rewrite", "uri": "/idx"}, fileServer(dir, nil))
	file := serve(t, fileServer(filepath.Join(dir, "a.txt"), nil))
	for _, tc := range []struct {
		name     string
		c        *client
		target   string
		status   int
		location string
	}{
		{"a file with a slash", c, "/a.txt/", 308, "/a.txt"},
		{"an encoded slash", c, "/a.txt%2f", 308, "/a.txt"},
		{"several slashes", c, "/a.txt//", 308, "/a.txt"},
		{"a directory without", c, "/idx", 308, "/idx/"},
		{"with a query", c, "/idx?x=1", 308, "/idx/?x=1"},
		{"slashes in front", c, "//idx", 308, "/idx/"},
		{"many slashes in front", c, "///idx", 308, "/idx/"},
		{"the last element was rewritten", rewritten, "/foo", 200, ""},
		{"the last element was not", rewritten, "/x/idx", 308, "/x/idx/"},
		{"no index", c, "/d", 404, ""},
		{"no index, with a slash", c, "/d/", 404, ""},
		{"the name of the index", c, "/idx/index.html", 200, ""},
		{"a space is kept", c, "/x/y%20z", 308, "/x/y z/"},
		{"not ASCII", c, "/%c3%a9", 308, "/%c3%a9/"},
		{"what would end the path", c, "/q%3f%23%25%5c", 308, "/q%3f%23%25%5c/"},
		{"no way to another site", c, "/%5cevil.test/..%2fidx", 308, "/idx/"},
		{"no way to another site by slashes", c, "//evil.test/..%2fidx", 308, "/idx/"},
		{"no line of its own", c, "/d/%0d%0aX:%20y/..%2f..%2fidx", 308, "/idx/"},
		{"a quote in the query", c, "/idx?%22\"<x>", 308, "/idx/?%22%22%3cx%3e"},
		{"off: a file with a slash", off, "/a.txt/", 200, ""},
		{"off: a directory without", off, "/idx", 200, ""},
		{"the root is a file", file, "/", 200, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := tc.c.get(tc.target)
			expect(t, a, tc.status, "*", map[string]string{"Location": tc.location})
			if tc.status == 308 && (!strings.Contains(a.body, `href="`) || a.get("Content-Type") != "text/html; charset=utf-8") {
				t.Errorf("%s: %q", a.get("Content-Type"), a.body)
			}
		})
	}
	expect(t, c.do("POST", "/idx"), 308, "", map[string]string{"Location": "/idx/", "Content-Type": ""})
	expect(t, c.do("HEAD", "/idx"), 308, "", map[string]string{"Location": "/idx/"})
}

// Section 5.2.4.
func TestServe(t *testing.T) {
	dir := folder(t, map[string]string{"a.txt": "hello", "b.unknown-type": "hello", "none": "hello", "old.txt": "old", "older.txt": "old", "empty.txt": ""})
	must(t, os.Chtimes(filepath.Join(dir, "old.txt"), stamp, time.Unix(0, 0)))
	must(t, os.Chtimes(filepath.Join(dir, "older.txt"), stamp, time.Unix(1, 0)))
	c := serve(t, fileServer(dir, nil))
	tag := `"` + strconv.FormatInt(stamp.UnixNano(), 36) + `-5"`
	full := map[string]string{
		"Content-Length": "5", "Content-Type": "text/plain; charset=utf-8", "Etag": tag, "Last-Modified": "Mon, 06 May 2024 07:08:09 GMT",
		"Accept-Ranges": "bytes", "Vary": "Accept-Encoding", "Content-Encoding": "",
	}
	expect(t, c.get("/a.txt"), 200, "hello", full)
	expect(t, c.do("HEAD", "/a.txt"), 200, "", full)
	expect(t, c.get("/b.unknown-type"), 200, "hello", map[string]string{"Content-Type": ""})
	expect(t, c.get("/none"), 200, "hello", map[string]string{"Content-Type": ""})
	expect(t, c.get("/empty.txt"), 200, "", map[string]string{"Content-Length": "0", "Accept-Ranges": "bytes"})
	for _, target := range []string{"/old.txt", "/older.txt"} {
		expect(t, c.get(target), 200, "old", map[string]string{"Etag": "", "Last-Modified": ""})
	}
	for _, m := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		expect(t, c.do(m, "/a.txt"), 405, "", map[string]string{"Allow": "GET, HEAD", "Vary": "Accept-Encoding", "Etag": "", "Content-Encoding": ""})
		expect(t, c.do(m, "/missing.txt"), 404, "", map[string]string{"Allow": ""})
	}
	kept := serve(t, obj{"handler": "static_response", "status_code": 103, "headers": obj{"Etag": []string{`"own"`}, "Content-Type": []string{"a/b"}, "Vary": []string{"X"}}}, fileServer(dir, nil))
	rec := kept.site.Get("/a.txt")
	if h := rec.Header(); h.Get("Etag") != `"own"` || h.Get("Content-Type") != "a/b" || strings.Join(h["Vary"], "|") != "X|Accept-Encoding" {
		t.Errorf("header = %v", h)
	}
}

func TestConditions(t *testing.T) {
	dir := folder(t, map[string]string{"a.txt": "hello"})
	c := serve(t, fileServer(dir, nil))
	tag := `"` + strconv.FormatInt(stamp.UnixNano(), 36) + `-5"`
	const at, before, after = "Mon, 06 May 2024 07:08:09 GMT", "Mon, 06 May 2024 07:08:08 GMT", "Mon, 06 May 2024 07:08:10 GMT"
	for _, tc := range []struct {
		name   string
		lines  []string
		status int
	}{
		{"If-None-Match", []string{"If-None-Match: " + tag}, 304},
		{"If-None-Match, weak", []string{"If-None-Match: W/" + tag}, 304},
		{"If-None-Match, a list", []string{`If-None-Match: "x", W/"y" , ` + tag}, 304},
		{"If-None-Match, in a second line", []string{`If-None-Match: "x"`, "If-None-Match: " + tag}, 304},
		{"If-None-Match, all", []string{"If-None-Match: *"}, 304},
		{"If-None-Match, another", []string{`If-None-Match: "x"`}, 200},
		{"If-None-Match, garbage", []string{"If-None-Match: x, " + tag}, 200},
		{"If-None-Match wins over the date", []string{`If-None-Match: "x"`, "If-Modified-Since: " + after}, 200},
		{"If-Modified-Since, equal", []string{"If-Modified-Since: " + at}, 304},
		{"If-Modified-Since, later", []string{"If-Modified-Since: " + after}, 304},
		{"If-Modified-Since, before", []string{"If-Modified-Since: " + before}, 200},
		{"If-Modified-Since, garbage", []string{"If-Modified-Since: yesterday"}, 200},
		{"If-Match", []string{"If-Match: " + tag}, 200},
		{"If-Match, all", []string{"If-Match: *"}, 200},
		{"If-Match, weak", []string{"If-Match: W/" + tag}, 412},
		{"If-Match, another", []string{`If-Match: "x"`}, 412},
		{"If-Match wins over the date", []string{"If-Match: " + tag, "If-Unmodified-Since: " + before}, 200},
		{"If-Unmodified-Since, equal", []string{"If-Unmodified-Since: " + at}, 200},
		{"If-Unmodified-Since, before", []string{"If-Unmodified-Since: " + before}, 412},
		{"If-Match comes first", []string{`If-Match: "x"`, "If-None-Match: " + tag}, 412},
		{"If-Match, then If-None-Match", []string{"If-Match: *", "If-None-Match: *"}, 304},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(tc.name+" "+method, func(t *testing.T) {
				body, fields := "", map[string]string{"Vary": "Accept-Encoding"}
				switch {
				case tc.status == 304:
					fields = map[string]string{"Vary": "Accept-Encoding", "Etag": tag, "Content-Type": "", "Content-Length": "", "Last-Modified": "", "Accept-Ranges": ""}
				case tc.status == 200 && method == "GET":
					body = "hello"
				}
				expect(t, c.do(method, "/a.txt", tc.lines...), tc.status, body, fields)
			})
		}
	}
}

func TestRanges(t *testing.T) {
	dir := folder(t, map[string]string{"a.txt": "0123456789", "empty.txt": ""})
	c := serve(t, fileServer(dir, nil))
	tag := `"` + strconv.FormatInt(stamp.UnixNano(), 36) + `-a"`
	for _, tc := range []struct {
		name, spec   string
		more         string
		status       int
		body, ranged string
	}{
		{"the first", "bytes=0-4", "", 206, "01234", "bytes 0-4/10"},
		{"in any case", "Bytes=0-0", "", 206, "0", "bytes 0-0/10"},
		{"to the end", "bytes=7-", "", 206, "789", "bytes 7-9/10"},
		{"the last", "bytes=-3", "", 206, "789", "bytes 7-9/10"},
		{"more than there is", "bytes=-30", "", 206, "0123456789", "bytes 0-9/10"},
		{"past the end", "bytes=8-99", "", 206, "89", "bytes 8-9/10"},
		{"numbers beyond all", "bytes=8-99999999999999999999999", "", 206, "89", "bytes 8-9/10"},
		{"one outside is left out", "bytes=20-30,1-2", "", 206, "12", "bytes 1-2/10"},
		{"empty elements", "bytes=,, 1-2 ,", "", 206, "12", "bytes 1-2/10"},
		{"outside", "bytes=10-", "", 416, "*", "bytes */10"},
		{"far outside", "bytes=99999999999999999999999-", "", 416, "*", "bytes */10"},
		{"the last none", "bytes=-0", "", 416, "*", "bytes */10"},
		{"backwards", "bytes=4-2", "", 416, "*", "bytes */10"},
		{"no range", "bytes=", "", 416, "*", "bytes */10"},
		{"a dash", "bytes=-", "", 416, "*", "bytes */10"},
		{"no number", "bytes=a-b", "", 416, "*", "bytes */10"},
		{"a sign", "bytes=+1-2", "", 416, "*", "bytes */10"},
		{"two signs", "bytes=--1", "", 416, "*", "bytes */10"},
		{"another unit is ignored", "lines=1-2", "", 200, "0123456789", ""},
		{"more bytes than the file has", "bytes=0-6,3-9", "", 200, "0123456789", ""},
		{"too many", "bytes=" + strings.Repeat("0-0,", maxRanges) + "0-0", "", 200, "0123456789", ""},
		{"If-Range, the tag", "bytes=0-1", "If-Range: " + tag, 206, "01", "bytes 0-1/10"},
		{"If-Range, another tag", "bytes=0-1", `If-Range: "x"`, 200, "0123456789", ""},
		{"If-Range, a weak tag", "bytes=0-1", "If-Range: W/" + tag, 200, "0123456789", ""},
		{"If-Range, the date", "bytes=0-1", "If-Range: Mon, 06 May 2024 07:08:09 GMT", 206, "01", "bytes 0-1/10"},
		{"If-Range, another date", "bytes=0-1", "If-Range: Mon, 06 May 2024 07:08:10 GMT", 200, "0123456789", ""},
		{"If-Range, garbage", "bytes=0-1", "If-Range: x", 200, "0123456789", ""},
		{"a condition comes first", "bytes=0-1", "If-None-Match: *", 304, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines := []string{"Range: " + tc.spec}
			if tc.more != "" {
				lines = append(lines, tc.more)
			}
			a := c.get("/a.txt", lines...)
			expect(t, a, tc.status, tc.body, map[string]string{"Content-Range": tc.ranged, "Vary": "Accept-Encoding"})
			switch tc.status {
			case 206, 200:
				expect(t, a, tc.status, "*", map[string]string{"Content-Length": strconv.Itoa(len(tc.body)), "Accept-Ranges": "bytes", "Etag": tag})
				expect(t, c.do("HEAD", "/a.txt", lines...), tc.status, "", map[string]string{"Content-Length": strconv.Itoa(len(tc.body)), "Content-Range": tc.ranged})
			case 416:
				expect(t, a, 416, "*", map[string]string{"Etag": "", "Last-Modified": "", "Accept-Ranges": "", "Content-Type": "text/plain; charset=utf-8"})
				if a.body == "" {
					t.Error("there is no text")
				}
			}
		})
	}
	expect(t, c.get("/empty.txt", "Range: bytes=0-1"), 200, "", nil)
}

func TestSeveralRanges(t *testing.T) {
	dir := folder(t, map[string]string{"a.txt": "0123456789", "b": "0123456789"})
	c := serve(t, fileServer(dir, nil))
	a := c.get("/a.txt", "Range: bytes=0-1, 4-4,-2")
	kind, boundary, ok := strings.Cut(a.get("Content-Type"), "; boundary=")
	if a.StatusCode != 206 || kind != "multipart/byteranges" || !ok || a.get("Content-Range") != "" {
		t.Fatalf("%d %v", a.StatusCode, a.Header)
	}
	part := func(b, r, kind, data string) string {
		return "--" + b + "\r\nContent-Range: bytes " + r + "/10\r\n" + kind + "\r\n" + data + "\r\n"
	}
	const text = "Content-Type: text/plain; charset=utf-8\r\n"
	want := part(boundary, "0-1", text, "01") + part(boundary, "4-4", text, "4") + part(boundary, "8-9", text, "89") + "--" + boundary + "--\r\n"
	if a.body != want || a.ContentLength != int64(len(want)) {
		t.Errorf("%q\nwant %q, %d bytes", a.body, want, a.ContentLength)
	}
	if a := c.get("/b", "Range: bytes=0-0,2-2"); strings.Contains(a.body, "Content-Type") {
		t.Errorf("a type was made up: %q", a.body)
	}
	if head := c.do("HEAD", "/a.txt", "Range: bytes=0-1, 4-4,-2"); head.StatusCode != 206 || head.ContentLength != a.ContentLength {
		t.Errorf("HEAD: %d, %d bytes", head.StatusCode, head.ContentLength)
	}
	most := c.get("/a.txt", "Range: bytes=0-0"+strings.Repeat(",,", 20)+",1-1")
	if most.StatusCode != 206 {
		t.Errorf("status %d", most.StatusCode)
	}
}

func TestStatus(t *testing.T) {
	dir := folder(t, map[string]string{"a.txt": "hello", "500.html": "sorry"})
	c := serve(t, fileServer(dir, obj{"status_code": 404}))
	expect(t, c.get("/a.txt"), 404, "hello", nil)
	expect(t, c.get("/a.txt", "If-None-Match: *"), 404, "", map[string]string{"Content-Type": ""})
	expect(t, c.get("/a.txt", "Range: bytes=1-2"), 404, "el", map[string]string{"Content-Range": "bytes 1-2/5"})
	expect(t, c.get("/a.txt", "Range: bytes=9-"), 404, "*", map[string]string{"Content-Range": "bytes */5"})
	expect(t, c.get("/a.txt", "If-Match: \"x\""), 404, "", nil)
	expect(t, c.do("POST", "/a.txt"), 405, "", nil)
	expect(t, c.do("HEAD", "/a.txt"), 404, "", map[string]string{"Content-Length": "5"})
	expect(t, serve(t, fileServer(dir, obj{"status_code": 204})).get("/a.txt"), 204, "", map[string]string{"Content-Length": ""})
	expect(t, serve(t, fileServer(dir, obj{"status_code": "{http.request.header.S}"})).get("/a.txt", "S: 203"), 203, "hello", nil)
	for _, bad := range []any{"abc", true, "99", 1000, "{http.vars.none}", "2 00"} {
		expect(t, serve(t, fileServer(dir, obj{"status_code": bad})).get("/a.txt"), 500, "", nil)
	}
	if w := handlertest.New(t, doc(t, fileServer(dir, obj{"status_code": "abc", "hide": []string{"", "["}})), specs()...).Warnings(); len(w) != 3 {
		t.Errorf("warnings: %v", w)
	}
}

func TestErrorRoutes(t *testing.T) {
	dir := folder(t, map[string]string{"e.html": "sorry"})
	route := func(status, more string) string {
		return fmt.Sprintf(`{"routes": [{"handle": [{"handler": "error", "status_code": %s}]}],
			"errors": {"routes": [{"handle": [{"handler": "rewrite", "uri": "/e.html"}, {"handler": "file_server", "root": %q%s}]}]}}`, status, dir, more)
	}
	c := serveDoc(t, route("403", ""))
	expect(t, c.get("/x"), 403, "sorry", nil)
	// A field that the file in question has left is not doubled.
	twice := serveDoc(t, fmt.Sprintf(`{"routes": [{"handle": [{"handler": "file_server", "root": %q}]}],
		"errors": {"routes": [{"handle": [{"handler": "file_server", "root": %q}]}]}}`, dir, dir))
	expect(t, twice.do("POST", "/e.html"), 405, "sorry", map[string]string{"Vary": "Accept-Encoding", "Allow": "GET, HEAD"})
	expect(t, c.do("POST", "/x"), 403, "sorry", nil)
	expect(t, c.do("DELETE", "/x", "If-None-Match: *"), 403, "", nil)
	expect(t, serveDoc(t, route("403", `, "status_code": 200`)).get("/x"), 200, "sorry", nil)
	plain := strings.Replace(route("1", ""), `{"handler": "error", "status_code": 1}`, `{"handler": "fail"}`, 1)
	site := handlertest.New(t, plain, append(specs(), handlertest.FailSpec())...)
	if rec := site.Get("/x"); rec.Code != 500 || rec.Body.String() != "sorry" {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
}

func TestRefusedAtLoad(t *testing.T) {
	for _, tc := range []struct{ name, fields, pointer string }{
		{"unknown format", `"precompressed": {"lzma": {}}`, "/routes/0/handle/0/precompressed/lzma"},
		{"null as format", `"precompressed": {"gzip": null}`, "/routes/0/handle/0/precompressed/gzip"},
		{"a level", `"precompressed": {"gzip": {"level": 10}}`, "/routes/0/handle/0/precompressed/gzip/level"},
		{"another level", `"precompressed": {"gzip": {"level": -4}}`, "/routes/0/handle/0/precompressed/gzip/level"},
		{"a level by name", `"precompressed": {"zstd": {"level": "most"}}`, "/routes/0/handle/0/precompressed/zstd/level"},
		{"a field", `"precompressed": {"br": {"level": 1}}`, "/routes/0/handle/0/precompressed/br/level"},
		{"a way to sort", `"browse": {"sort": ["colour"]}`, "/routes/0/handle/0/browse/sort/0"},
		{"order first", `"browse": {"sort": ["desc", "name"]}`, "/routes/0/handle/0/browse/sort/0"},
		{"an order", `"browse": {"sort": ["name", "down"]}`, "/routes/0/handle/0/browse/sort/1"},
		{"three", `"browse": {"sort": ["name", "asc", "desc"]}`, "/routes/0/handle/0/browse/sort/2"},
		{"an unknown field", `"roots": ["a"]`, "/routes/0/handle/0/roots"},
		{"a text that is no template", `"root": "` + strings.Repeat("{", 200) + `"`, "/routes/0/handle/0/root"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "file_server", `+tc.fields+`}]}]}`, specs()...)
			for _, p := range ps {
				if p.Pointer == tc.pointer {
					return
				}
			}
			t.Errorf("problems: %v", ps)
		})
	}
	for _, fields := range []string{
		`"precompressed": {"gzip": {"level": 9}, "zstd": {"level": "BEST", "checksum": false}, "br": {}}, "precompressed_order": ["nope"]`,
		`"fs": "nope"`, `"browse": {"sort": [], "template_file": "/nope"}`, `"browse": {"sort": ["size"], "file_limit": -5}`, `"status_code": {"a": 1}`,
	} {
		handlertest.New(t, `{"routes": [{"handle": [{"handler": "file_server", `+fields+`}]}]}`, specs()...)
	}
}
