package filematch

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/errorhandler"
	"github.com/sluiceproxy/sluice/handlers/rewrite"
	"github.com/sluiceproxy/sluice/handlers/setvars"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/internal/fsys"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

type obj = map[string]any

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch to, link := strings.CutPrefix(content, "-> "); {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(p, 0o755))
		case link:
			must(t, os.Symlink(to, p))
		default:
			must(t, os.WriteFile(p, []byte(content), 0o644))
		}
	}
	return dir
}

// shown is what a match makes known.
const shown = "{http.matchers.file.relative}|{http.matchers.file.absolute}|{http.matchers.file.type}|{http.matchers.file.remainder}"

func specs(more ...module.Spec) []module.Spec {
	return append(more, Spec(), staticresponse.Spec(), setvars.Spec(), rewrite.Spec())
}

// site answers with what the matcher found, or with "none".
func site(t testing.TB, cfg obj, before ...obj) *handlertest.Site {
	t.Helper()
	var routes []any
	for _, h := range before {
		routes = append(routes, obj{"handle": []any{h}})
	}
	routes = append(routes,
		obj{"match": []any{obj{"file": cfg}}, "handle": []any{obj{"handler": "static_response", "body": shown}}},
		obj{"handle": []any{obj{"handler": "static_response", "body": "none"}}})
	text, err := json.Marshal(obj{"routes": routes})
	must(t, err)
	return handlertest.New(t, string(text), specs(handlertest.FuncSpec("registered", useRegistered))...)
}

type holder struct {
	handlers.Server
	registry fsys.Registry
}

func (h holder) FileSystems() fsys.Registry { return h.registry }

func useRegistered(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	x := handlers.Of(r)
	x.Server = holder{x.Server, fsys.Registry{"assets": fsys.From(fstest.MapFS{"pub/a.txt": {}, "pub/d/b": {}, "pub/x.css": {}, "secret": {}})}}
	return next.ServeHTTP(w, r)
}

func TestSpec(t *testing.T) {
	for _, e := range Spec().Examples {
		handlertest.New(t, `{"routes": [{"match": [{"file": `+e.JSON+`}], "handle": []}]}`, Spec())
	}
}

// The table of section 4.15.
func TestMatch(t *testing.T) {
	dir := folder(t, map[string]string{
		"one.txt": "1", "two.txt": "22", "d/e/f.txt": "", "index.php": "p", "foo.php.php/x": "", "notphp.php.txt": "", "st*r.txt": "", "?.html": "", "br[a]ck": "", `b\s`: "",
		"other.php": "", "up.PHP": "", "broken": "-> nowhere", "link": "-> one.txt", "dirlink": "-> d", "index.phpx": "", "l.php/file.txt": "", "ü.php": "",
	})
	secret := filepath.Join(filepath.Dir(dir), "secret.txt")
	must(t, os.WriteFile(secret, []byte("s"), 0o644))
	const path = "{http.request.uri.path}"
	chain := []string{path, path + "/", "/index.php"}
	php := []string{".php"}
	found := func(rel, kind, rest string) string { return rel + "|" + dir + rel + "|" + kind + "|" + rest }
	for _, c := range []struct {
		name    string
		try     []string
		split   []string
		target  string
		want    string
		notMade bool
	}{
		{name: "the path", target: "/one.txt", want: found("/one.txt", "file", "")},
		{name: "with a slash", target: "/one.txt/", want: found("/one.txt", "file", "")},
		{name: "a directory", target: "/d", want: "none"},
		{name: "a directory with a slash", target: "/d/", want: "none"},
		{name: "the root", target: "/", want: "none"},
		{name: "case", target: "/ONE.txt", want: "none"},
		{name: "a link", target: "/link", want: found("/link", "file", "")},
		{name: "a broken link", target: "/broken", want: "none"},
		{name: "a directory in a chain", try: chain, target: "/d", want: found("/d/", "directory", "")},
		{name: "with its slash", try: chain, target: "/d/", want: found("/d/", "directory", "")},
		{name: "a link to a directory", try: chain, target: "/dirlink", want: found("/dirlink/", "directory", "")},
		{name: "the last of a chain", try: chain, target: "/zz", want: found("/index.php", "file", "")},
		{name: "the root in a chain", try: chain, target: "/", want: found("/", "directory", "")},
		{name: "a glob", try: []string{"/*.txt"}, target: "/x", want: found("/notphp.php.txt", "file", "")},
		{name: "a glob for one character", try: []string{"/t?o.txt"}, target: "/x", want: found("/two.txt", "file", "")},
		{name: "a glob of directories", try: []string{"/*/e/*"}, target: "/x", want: found("/d/e/f.txt", "file", "")},
		{name: "a glob that matches only directories", try: []string{"/l.ph?"}, target: "/x", want: "none"},
		{name: "a glob that is none", try: []string{"/[", "/one.txt"}, target: "/x", want: found("/one.txt", "file", "")},
		{name: "a star in the path is itself", target: "/st*r.txt", want: found("/st*r.txt", "file", "")},
		{name: "a star in the path is no glob", target: "/*.txt", want: "none"},
		{name: "a star in the path, next to a glob", try: []string{path + "t*"}, target: "/*.tx", want: "none"},
		{name: "a star that is itself, next to a glob", try: []string{path + "tx*"}, target: "/st*r.", want: found("/st*r.txt", "file", "")},
		{name: "brackets", target: "/br%5Ba%5Dck", want: found("/br[a]ck", "file", "")},
		{name: "a backslash", target: "/b%5cs", want: found(`/b\s`, "file", "")},
		{name: "a decoded question mark", target: "/%3F.html", want: found("/?.html", "file", "")},
		{name: "an error", try: []string{"/nope", "=404"}, target: "/x", want: "404"},
		{name: "an error that is not reached", try: []string{"/one.txt", "=404"}, target: "/x", want: found("/one.txt", "file", "")},
		{name: "another error", try: []string{"=503"}, target: "/x", want: "503"},
		{name: "too small a status", try: []string{"/nope", "=99"}, target: "/x", want: "none"},
		{name: "too large a status", try: []string{"/nope", "=1000"}, target: "/x", want: "none"},
		{name: "no status", try: []string{"/nope", "=abc"}, target: "/x", want: "none"},
		{name: "nothing to try", try: []string{}, target: "/one.txt", want: "none"},
		{name: "split", try: []string{path}, split: php, target: "/index.php/a/b", want: found("/index.php", "file", "/a/b")},
		{name: "nothing to split", try: []string{path}, split: php, target: "/index.php", want: found("/index.php", "file", "")},
		{name: "no split in a word", try: []string{path}, split: php, target: "/index.phpx", want: found("/index.phpx", "file", "")},
		{name: "no split before another extension", try: []string{path}, split: php, target: "/notphp.php.txt", want: found("/notphp.php.txt", "file", "")},
		{name: "only the first occurrence", try: []string{path}, split: php, target: "/foo.php.php/x", want: found("/foo.php.php/x", "file", "")},
		{name: "split in any case", try: []string{path}, split: php, target: "/up.PHP/x", want: found("/up.PHP", "file", "/x")},
		{name: "split a name that is not ASCII", try: []string{path}, split: php, target: "/%c3%bc.php/x", want: found("/ü.php", "file", "/x")},
		{name: "split with the second delimiter", try: []string{path}, split: []string{".nope", ".php"}, target: "/index.php/a", want: found("/index.php", "file", "/a")},
		{name: "split into a directory", try: []string{path}, split: php, target: "/l.php/file.txt", want: "none"},
		{name: "split next to a glob", try: []string{"/ind?x.php/a*"}, split: php, target: "/x", want: found("/index.php", "file", "/a*")},
		{name: "out of the root", target: "/../secret.txt", want: "none"},
		{name: "out of the root, encoded", target: "/%2e%2e%2fsecret.txt", want: "none"},
		{name: "out of the root by config", try: []string{"../secret.txt", "/../../secret.txt", `/\.\./secret.t*`, "/[.][.]/secret.t*"}, target: "/", want: "none"},
		{name: "NUL", target: "/one.txt%00", want: "none"},
		{name: "through a file", target: "/one.txt/x", want: "none"},
		{name: "relative", try: []string{"one.txt"}, target: "/x", want: found("/one.txt", "file", "")},
		{name: "an unknown placeholder", try: []string{"{nope}one.txt"}, target: "/x", want: found("/one.txt", "file", "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := obj{"root": dir}
			if c.try != nil {
				cfg["try_files"] = c.try
			}
			if c.split != nil {
				cfg["split_path"] = c.split
			}
			rec := site(t, cfg).Get(c.target)
			got := rec.Body.String()
			if rec.Code != 200 {
				got = fmt.Sprint(rec.Code)
			}
			if got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

func TestError(t *testing.T) {
	s := site(t, obj{"root": t.TempDir(), "try_files": []string{"=418"}})
	s.Errors = func(first, second error) {
		if e, ok := first.(*handlers.Error); !ok || e.Status != 418 || e.Message() != "418" {
			t.Errorf("%v", first)
		}
	}
	if rec := s.Get("/"); rec.Code != 418 {
		t.Errorf("status %d", rec.Code)
	}
}

// A status in an error route is the answer; other failures there leave that of the error.
func TestErrorRoute(t *testing.T) {
	dir := folder(t, map[string]string{"here.html": "here"})
	const text = `{"routes": [{"handle": [{"handler": "error", "status_code": 502}]}],
		"errors": {"routes": [{"match": [{"file": {"root": %q, "try_files": [%q, "=503"]}}], "handle": [{"handler": %q, "status_code": 418}]}]}}`
	for _, c := range []struct {
		file, handler string
		want          int
	}{{"/none.html", "error", 503}, {"/here.html", "error", 502}, {"/here.html", "static_response", 418}} {
		s := handlertest.New(t, fmt.Sprintf(text, dir, c.file, c.handler), specs(errorhandler.Spec())...)
		if rec := s.Get("/"); rec.Code != c.want {
			t.Errorf("%s, %s: status %d, want %d", c.file, c.handler, rec.Code, c.want)
		}
	}
}

func TestPolicies(t *testing.T) {
	dir := folder(t, map[string]string{"zero": "", "one": "1", "three": "333", "five": "55555", "d/": "", "broken": "-> nowhere"})
	at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, n := range []string{"three", "one", "d", "zero", "five"} {
		must(t, os.Chtimes(filepath.Join(dir, n), at.Add(time.Duration(i)*time.Hour), at.Add(time.Duration(i)*time.Hour)))
	}
	must(t, os.Chtimes(filepath.Join(dir, "zero"), at, at.Add(4*time.Hour)))
	for _, c := range []struct {
		policy string
		try    []string
		want   string
	}{
		{"first_exist", []string{"/nope", "/three", "/one"}, "/three file"},
		{"first_exist", []string{"/d", "/one"}, "/one file"},
		{"first_exist", []string{"/one/", "/d/"}, "/d/ directory"},
		{"first_exist_fallback", []string{"/nope", "/one"}, "/one file"},
		{"first_exist_fallback", []string{"/d", "/one", "/nope"}, "/one file"},
		{"first_exist_fallback", []string{"/nope", "/d"}, "/d file"},
		{"first_exist_fallback", []string{"/nope", "/d/"}, "/d/ file"},
		{"first_exist_fallback", []string{"/nope", "/broken"}, "/broken file"},
		{"first_exist_fallback", []string{"/nope", "/nope2"}, "none"},
		{"first_exist_fallback", []string{"/d", "/broken", "/nope"}, "none"},
		{"smallest_size", []string{"/three", "/one", "/five"}, "/one file"},
		{"smallest_size", []string{"/zero", "/one"}, "/one file"},
		{"smallest_size", []string{"/one", "/zero"}, "/zero file"},
		{"smallest_size", []string{"/zero"}, "/zero file"},
		{"smallest_size", []string{"/nope", "/d"}, "/d directory"},
		{"smallest_size", []string{"/nope", "=404"}, "none"},
		{"smallest_size", []string{"/t*", "/f*", "/on*"}, "/one file"},
		{"largest_size", []string{"/three", "/five", "/one"}, "/five file"},
		{"largest_size", []string{"/zero"}, "none"},
		{"largest_size", []string{"/broken", "/nope"}, "none"},
		{"most_recently_modified", []string{"/three", "/one"}, "/one file"},
		{"most_recently_modified", []string{"/three", "/d", "/one"}, "/d directory"},
		{"most_recently_modified", []string{"/zero", "/five"}, "/zero file"},
		{"most_recently_modified", []string{"/five", "/zero"}, "/five file"},
		{"most_recently_modified", []string{"/nope"}, "none"},
	} {
		t.Run(c.policy+strings.Join(c.try, ","), func(t *testing.T) {
			got := site(t, obj{"root": dir, "try_files": c.try, "try_policy": c.policy}).Get("/").Body.String()
			if parts := strings.Split(got, "|"); len(parts) == 4 {
				got = parts[0] + " " + parts[2]
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestRoots(t *testing.T) {
	dir := folder(t, map[string]string{"a.txt": "", "[x]/b.txt": "", "sub/c.txt": ""})
	rel := func(got string) string { r, _, _ := strings.Cut(got, "|"); return r }
	for _, c := range []struct {
		name   string
		cfg    obj
		before []obj
		target string
		want   string
	}{
		{"the variable", obj{}, []obj{{"handler": "vars", "root": dir}}, "/a.txt", "/a.txt"},
		{"its own", obj{"root": dir + "/sub"}, []obj{{"handler": "vars", "root": dir}}, "/c.txt", "/c.txt"},
		{"the working directory", obj{}, nil, "/search.go", "search.go"},
		{"a dot", obj{"root": "."}, nil, "/search.go", "search.go"},
		{"a directory of the working directory", obj{"root": "../filematch/"}, nil, "/search.go", "/search.go"},
		{"the root of all", obj{"root": "/"}, nil, dir + "/a.txt", dir[1:] + "/a.txt"},
		{"a slash behind", obj{"root": dir + "/"}, nil, "/a.txt", "/a.txt"},
		{"a placeholder", obj{"root": "{http.request.header.Root}"}, nil, "/a.txt", "/a.txt"},
		{"an empty placeholder", obj{"root": dir + "/{nope}"}, nil, "/a.txt", "/a.txt"},
		{"brackets", obj{"root": dir + "/[x]"}, nil, "/b.txt", "/b.txt"},
		{"brackets and a glob", obj{"root": dir + "/[x]", "try_files": []string{"/*.txt"}}, nil, "/", "/b.txt"},
		{"another file system", obj{"root": "/pub", "fs": "assets"}, []obj{{"handler": "registered"}}, "/a.txt", "/a.txt"},
		{"a glob there", obj{"root": "/pub", "fs": "assets", "try_files": []string{"/*.css"}}, []obj{{"handler": "registered"}}, "/", "/x.css"},
		{"by the variable", obj{"root": "pub"}, []obj{{"handler": "registered"}, {"handler": "vars", "fs": "assets"}}, "/d/b", "/d/b"},
		{"out of its root", obj{"root": "/pub", "fs": "assets"}, []obj{{"handler": "registered"}}, "/../secret", "none"},
		{"an unknown file system", obj{"root": dir, "fs": "nope"}, nil, "/a.txt", "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := rel(site(t, c.cfg, c.before...).Get(c.target, "Root: "+dir).Body.String()); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	// A file whose name begins with a dot keeps it.
	t.Chdir(folder(t, map[string]string{".env": ""}))
	if got := rel(site(t, obj{}).Get("/.env").Body.String()); got != ".env" {
		t.Errorf("%s", got)
	}
}

func TestRewriteToFile(t *testing.T) {
	dir := folder(t, map[string]string{"a b?%.html": ""})
	text := `{"routes": [
		{"match": [{"file": {"root": "` + dir + `", "try_files": ["{http.request.uri.path}.html"]}}], "handle": [{"handler": "rewrite", "uri": "{http.matchers.file.relative}"}]},
		{"handle": [{"handler": "static_response", "body": "{http.request.uri}"}]}]}`
	if got := handlertest.New(t, text, specs()...).Get("/a%20b%3F%25?q=1").Body.String(); got != "/a%20b%3F%25.html?q=1" {
		t.Errorf("%s", got)
	}
}

func TestRefusedAtLoad(t *testing.T) {
	for fields, pointer := range map[string]string{
		`"try_policy": "last"`: "/try_policy",
		`"try_file": []`:       "/try_file",
		`"root": 1`:            "/root",
		`"try_files": ["/ok", "` + strings.Repeat("{", 200) + `"]`: "/try_files/1",
	} {
		ps := handlertest.Problems(t, `{"routes": [{"match": [{"file": {`+fields+`}}]}]}`, Spec())
		if len(ps) == 0 || ps[0].Pointer != "/routes/0/match/0/file"+pointer {
			t.Errorf("%s: %v", fields, ps)
		}
	}
	s := handlertest.New(t, `{"routes": [{"match": [{"file": {"try_files": []}}]}]}`, Spec())
	if len(s.Warnings()) != 1 {
		t.Errorf("warnings: %v", s.Warnings())
	}
}

// FuzzMatch looks for a path that leads out of the root.
func FuzzMatch(f *testing.F) {
	for _, p := range []string{"/a.txt", "/../secret", "/..%2fsecret", "/*/../../secret", `/\..\secret`, "/d/\x00", "/[.]/x", "//..//../secret", "/%c0%ae/x"} {
		f.Add(p, ".txt")
	}
	f.Fuzz(func(t *testing.T, p, delimiter string) {
		rec := &recorder{FS: fsys.From(fstest.MapFS{"r/a.txt": {}, "r/d/b.txt": {}, "secret": {}, "secret.txt": {}, "r*/x": {}})}
		x := &handlers.Exchange{}
		m, err := compile(nil, &Config{Root: "/r", SplitPath: []string{delimiter}, TryFiles: []string{"{p}", "{p}/", "{p}*", "/d/{p}", "/d/*{p}", "../{p}"}})
		if err != nil {
			t.Fatal(err)
		}
		x.Set("p", p)
		for _, policy := range policies {
			s := search{m: m.(*matcher), x: x, fs: rec, root: "/r"}
			s.m.policy = policy
			if _, err := s.run(); err != nil {
				t.Fatal(err)
			}
			if name := s.best.name; name != "" && name != "/r" && !strings.HasPrefix(name, "/r/") {
				t.Fatalf("%q: found %q", p, name)
			}
		}
		for _, name := range rec.names {
			if n := filepath.Clean(name); n != "/r" && !strings.HasPrefix(n, "/r/") {
				t.Fatalf("%q: looked at %q", p, name)
			}
		}
	})
}

// recorder remembers the names that it is asked for.
type recorder struct {
	fsys.FS
	names []string
}

func (r *recorder) Open(name string) (fsys.File, error) {
	r.names = append(r.names, name)
	return r.FS.Open(name)
}

func (r *recorder) Stat(name string) (os.FileInfo, error) {
	r.names = append(r.names, name)
	return r.FS.Stat(name)
}

func (r *recorder) Lstat(name string) (os.FileInfo, error) {
	r.names = append(r.names, name)
	return r.FS.Lstat(name)
}
