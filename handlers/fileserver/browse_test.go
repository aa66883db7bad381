package fileserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluiceproxy/sluice/internal/fsys"
	"golang.org/x/net/html"
)

const acceptJSON, acceptText = "Accept: application/json", "Accept: text/plain"

// names are those of a listing as JSON.
func names(t *testing.T, a answer) string {
	t.Helper()
	var items []struct{ Name string }
	if err := json.Unmarshal([]byte(a.body), &items); err != nil {
		t.Fatalf("%d %v: %q", a.StatusCode, err, a.body)
	}
	var out []string
	for _, it := range items {
		out = append(out, it.Name)
	}
	return strings.Join(out, " ")
}

func browsing(root string, more obj) obj {
	if more == nil {
		more = obj{}
	}
	return fileServer(root, obj{"browse": more})
}

func TestListJSON(t *testing.T) {
	dir := folder(t, map[string]string{"sub/b:é%.txt": "hello", "sub/d e/x": "", "sub/link": "-> b:é%.txt", "sub/dirlink": "-> d e", "sub/broken": "-> nowhere", "empty/": ""})
	must(t, os.Chmod(filepath.Join(dir, "sub", "b:é%.txt"), 0o640))
	for _, reveal := range []bool{false, true} {
		a := serve(t, browsing(dir, obj{"reveal_symlinks": reveal})).get("/sub/", acceptJSON)
		expect(t, a, 200, "*", map[string]string{"Content-Type": "application/json; charset=utf-8", "Vary": "Accept, Accept-Encoding"})
		var items []map[string]any
		must(t, json.Unmarshal([]byte(a.body), &items))
		byName := map[string]map[string]any{}
		for _, it := range items {
			byName[it["name"].(string)] = it
		}
		check := func(name string, want obj) {
			t.Helper()
			for k, v := range want {
				if got := byName[name][k]; fmt.Sprint(got) != fmt.Sprint(v) {
					t.Errorf("%s: %s = %v, want %v", name, k, got, v)
				}
			}
			if to, shown := byName[name]["symlink_path"]; shown != (reveal && byName[name]["is_symlink"] == true) {
				t.Errorf("%s: symlink_path = %v", name, to)
			}
		}
		check("b:é%.txt", obj{"size": 5, "url": "./b:%C3%A9%25.txt", "mod_time": "2024-05-06T07:08:09.123456789Z", "mode": 0o640, "is_dir": false, "is_symlink": false})
		check("d e/", obj{"url": "./d%20e/", "is_dir": true, "is_symlink": false, "mode": float64(1<<31 | 0o755)})
		check("link", obj{"size": 5, "is_dir": false, "is_symlink": true, "mode": float64(1<<27 | 0o777), "url": "./link"})
		check("dirlink/", obj{"is_dir": true, "is_symlink": true, "url": "./dirlink/"})
		check("broken", obj{"size": 7, "is_dir": false, "is_symlink": true})
		if !strings.HasSuffix(a.body, "]\n") || len(items) != 5 {
			t.Errorf("%q", a.body)
		}
		for _, k := range [][2]string{{`{"name":`, `"size":`}, {`"size":`, `"url":`}, {`"url":`, `"mod_time":`}, {`"mod_time":`, `"mode":`}, {`"mode":`, `"is_dir":`}, {`"is_dir":`, `"is_symlink":`}} {
			if strings.Index(a.body, k[0]) > strings.Index(a.body, k[1]) {
				t.Errorf("%s stands behind %s", k[0], k[1])
			}
		}
		if reveal && byName["dirlink/"]["symlink_path"] != "d e" {
			t.Errorf("%v", byName["dirlink/"])
		}
	}
	expect(t, serve(t, browsing(dir, nil)).get("/empty/", acceptJSON), 200, "[]\n", nil)
}

func TestListText(t *testing.T) {
	dir := folder(t, map[string]string{"six": "123456", "big": strings.Repeat("x", 4096)})
	a := serve(t, browsing(dir, obj{"sort": []string{"size"}})).get("/", "accept: application/x", "accept: TEXT/Plain;q=0.5")
	expect(t, a, 200, "Name\tSize\tModified\n----\t----\t--------\nsix\t6 B\tMay 6, 2024 at 07:08:09\nbig\t4.0 KiB\tMay 6, 2024 at 07:08:09\n",
		map[string]string{"Content-Type": "text/plain; charset=utf-8"})
}

func TestListSorting(t *testing.T) {
	dir := folder(t, map[string]string{"B": "22", "a": "333", "c": "1", "Dir/x": "", "e/x": ""})
	for i, n := range []string{"c", "Dir", "a", "e", "B"} {
		at := stamp.Add(time.Duration(i) * time.Hour)
		must(t, os.Chtimes(filepath.Join(dir, n), at, at))
	}
	for _, tc := range []struct {
		name, query string
		sort        []string
		cookie      string
		want        string
		remembered  string
	}{
		{"nothing given", "", nil, "", "Dir/ e/ a B c", ""},
		{"name", "?sort=name", nil, "", "a B c Dir/ e/", "sort=name"},
		{"name desc", "?sort=name&order=desc", nil, "", "e/ Dir/ c B a", "sort=name order=desc"},
		{"directories first", "?sort=namedirfirst&order=asc", nil, "", "Dir/ e/ a B c", "sort=namedirfirst order=asc"},
		{"directories first desc", "?sort=namedirfirst&order=desc", nil, "", "c B a e/ Dir/", "sort=namedirfirst order=desc"},
		{"size", "?sort=size", nil, "", "Dir/ e/ c B a", "sort=size"},
		{"size desc", "?sort=size&order=desc", nil, "", "a B c e/ Dir/", "sort=size order=desc"},
		{"time", "?sort=time", nil, "", "c Dir/ a e/ B", "sort=time"},
		{"configured", "", []string{"time", "desc"}, "", "B e/ a Dir/ c", "sort=time order=desc"},
		{"configured, without order", "", []string{"size"}, "", "Dir/ e/ c B a", "sort=size"},
		{"the query wins over the config", "?sort=name&order=asc", []string{"time", "desc"}, "", "a B c Dir/ e/", "sort=name order=asc"},
		{"half of the query", "?order=asc", []string{"time", "desc"}, "", "c Dir/ a e/ B", "sort=time order=asc"},
		{"cookies", "", nil, "sort=time; order=desc", "B e/ a Dir/ c", ""},
		{"the config wins over cookies", "", []string{"name", "asc"}, "sort=time; order=desc", "a B c Dir/ e/", "sort=name order=asc"},
		{"an order that is none", "?sort=name&order=down", nil, "", "a B c Dir/ e/", "sort=name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines := []string{acceptJSON}
			if tc.cookie != "" {
				lines = append(lines, "Cookie: "+tc.cookie)
			}
			a := serve(t, browsing(dir, obj{"sort": tc.sort})).get("/"+tc.query, lines...)
			if got := names(t, a); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			var set []string
			for _, c := range a.Cookies() {
				set = append(set, c.Name+"="+c.Value)
				if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure || c.MaxAge != 0 || !c.Expires.IsZero() {
					t.Errorf("cookie %v", c)
				}
			}
			if got := strings.Join(set, " "); got != tc.remembered {
				t.Errorf("cookies %s, want %s", got, tc.remembered)
			}
		})
	}
	// Over TLS the cookies are for TLS only.
	r := httptest.NewRequest("GET", "https://a.test/?sort=name&order=asc", nil)
	rec := httptest.NewRecorder()
	serve(t, browsing(dir, nil)).site.ServeHTTP(rec, r)
	for _, c := range rec.Result().Cookies() {
		if !c.Secure || !c.HttpOnly {
			t.Errorf("over TLS: cookie %v", c)
		}
	}
	if n := len(rec.Result().Cookies()); r.TLS == nil || n != 2 {
		t.Errorf("over TLS: %d cookies", n)
	}
	// An unknown way leaves the items as the directory has them.
	entries, err := os.Open(dir)
	must(t, err)
	defer entries.Close()
	list, err := entries.Readdirnames(-1)
	must(t, err)
	got := names(t, serve(t, browsing(dir, nil)).get("/?sort=colour", acceptJSON))
	if strings.ReplaceAll(got, "/", "") != strings.Join(list, " ") {
		t.Errorf("%s, want %v", got, list)
	}
}

func TestListCutting(t *testing.T) {
	dir := folder(t, map[string]string{"a": "", "b": "", "c": "", "d": "", "e": ""})
	c := serve(t, browsing(dir, nil))
	for query, want := range map[string]string{
		"":                   "a b c d e",
		"?offset=2":          "c d e",
		"?limit=2":           "a b",
		"?offset=1&limit=2":  "b c",
		"?offset=4&limit=2":  "e",
		"?offset=5":          "",
		"?offset=6":          "a b c d e",
		"?offset=-1&limit=0": "a b c d e",
		"?offset=x&limit=9":  "a b c d e",
		"?limit=5":           "a b c d e",
	} {
		if got := names(t, c.get("/"+query, acceptJSON)); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	for limit, want := range map[int]int{3: 3, 5: 5, 0: 5, -1: 5, -7: 5} {
		if got := names(t, serve(t, browsing(dir, obj{"file_limit": limit})).get("/", acceptJSON)); len(strings.Fields(got)) != want {
			t.Errorf("file_limit %d: %s", limit, got)
		}
	}
}

func TestListBound(t *testing.T) {
	many := fstest.MapFS{}
	for i := range defaultFileLimit + 20 {
		many[fmt.Sprint(i)] = &fstest.MapFile{}
	}
	registered = fsys.Registry{"many": fsys.From(many)}
	t.Cleanup(func() { registered = fsys.Registry{} })
	c := serve(t, obj{"handler": "registered"}, fileServer("/", obj{"fs": "many", "browse": obj{}}))
	if n := strings.Count(c.get("/", acceptText).body, "\n") - 2; n != defaultFileLimit {
		t.Errorf("%d items", n)
	}
}

func TestListHidden(t *testing.T) {
	dir := folder(t, map[string]string{"a": "A", ".git/x": "", "b.bak": "", "secret/x": "", "c/file.go": ""})
	c := serve(t, fileServer(dir, obj{"browse": obj{}, "hide": []string{".git", "*.bak", filepath.Join(dir, "a"), filepath.Join(dir, "secret"), "./file.go"}}))
	// Paths do not filter listings, though they cannot be had.
	if got := names(t, c.get("/", acceptJSON)); got != "c/ secret/ a" {
		t.Errorf("%s", got)
	}
	for _, target := range []string{"/a", "/.git/", "/secret/", "/b.bak"} {
		expect(t, c.get(target, acceptJSON), 404, "", nil)
	}
	// A bare name is made absolute from the working directory.
	if got := names(t, c.get("/c/", acceptJSON)); got != "" {
		t.Errorf("%s", got)
	}
}

func TestListRedirects(t *testing.T) {
	dir := folder(t, map[string]string{"d/x": "", "idx/index.html": "I"})
	for _, canonical := range []bool{true, false} {
		c := serve(t, fileServer(dir, obj{"browse": obj{}, "canonical_uris": canonical}))
		expect(t, c.get("/d?a=b"), 308, "*", map[string]string{"Location": "/d/?a=b"})
		expect(t, c.get("/d/"), 200, "*", map[string]string{"Location": ""})
	}
	rewritten := serve(t, obj{"handler": "rewrite", "uri": "/d"}, browsing(dir, nil))
	expect(t, rewritten.get("/foo"), 200, "*", nil)
	expect(t, rewritten.get("/x/d"), 308, "*", map[string]string{"Location": "/x/d/"})
	emptied := serve(t, obj{"handler": "rewrite", "strip_path_prefix": "/foo"}, browsing(dir, nil))
	expect(t, emptied.get("/foo"), 308, "*", map[string]string{"Location": "/foo/"})
	expect(t, emptied.get("/foo/", acceptJSON), 200, "*", nil)
	expect(t, serve(t, browsing(dir, nil)).get("/idx/"), 200, "I", nil)
	for _, m := range []string{"POST", "DELETE", "HEAD", "OPTIONS"} {
		expect(t, serve(t, browsing(dir, nil)).do(m, "/d/", acceptJSON), 200, "*", nil)
	}
}

func TestListModified(t *testing.T) {
	dir := folder(t, map[string]string{"d/old": "", "d/new": "", "d/hidden": ""})
	newest := stamp.Add(2 * time.Hour)
	must(t, os.Chtimes(filepath.Join(dir, "d", "new"), newest, newest))
	late := stamp.Add(9 * time.Hour)
	must(t, os.Chtimes(filepath.Join(dir, "d", "hidden"), late, late))
	c := serve(t, fileServer(dir, obj{"browse": obj{}, "hide": []string{"hidden"}}))
	const at, before = "Mon, 06 May 2024 09:08:09 GMT", "Mon, 06 May 2024 09:08:08 GMT"
	expect(t, c.get("/d/"), 200, "*", map[string]string{"Last-Modified": at})
	expect(t, c.get("/d/", "If-Modified-Since: "+before), 200, "*", nil)
	a := c.get("/d/?sort=name", "If-Modified-Since: "+at)
	expect(t, a, 304, "", map[string]string{"Vary": "Accept, Accept-Encoding"})
	delete(a.Header, "Date")
	delete(a.Header, "Connection")
	if len(a.Header) != 1 {
		t.Errorf("%v", a.Header)
	}
}

func TestListPage(t *testing.T) {
	evil := `<img src=x onerror=alert(1)>"'&{{.}}.html`
	dir := folder(t, map[string]string{"foo/bar/" + evil: "x", "foo/bar/javascript:alert(1)": "yy", "foo/bar/p.png": "", "foo/bar/sub/x": "", "foo/bar/to": "-> </script><script>"})
	c := serve(t, browsing(dir, obj{"reveal_symlinks": true}))
	for _, layout := range []string{"", "?layout=list", "?layout=grid", "?layout=%22%3E%3Cscript%3E", "?limit=2&offset=1&sort=%3Cscript%3E"} {
		t.Run(layout, func(t *testing.T) {
			a := c.get("/foo/bar/"+layout, "Accept: text/html", `Cookie: order="><script>`)
			expect(t, a, 200, "*", map[string]string{"Content-Type": "text/html; charset=utf-8"})
			policy := regexp.MustCompile(`^default-src 'none'; img-src 'self'; style-src 'nonce-(\w{20,})'; script-src 'nonce-(\w{20,})'; base-uri 'none'; form-action 'none'$`).FindStringSubmatch(a.get("Content-Security-Policy"))
			if policy == nil || policy[1] != policy[2] {
				t.Fatalf("policy %s", a.get("Content-Security-Policy"))
			}
			checkPage(t, a.body, policy[1], layout)
		})
	}
	// The page as a template_file is the same, and no less careful.
	own := filepath.Join(t.TempDir(), "page.html")
	must(t, os.WriteFile(own, []byte(Template()), 0o600))
	c2 := serve(t, browsing(dir, obj{"reveal_symlinks": true, "template_file": own}))
	for _, layout := range []string{"", "?layout=grid", "?limit=2&offset=1&sort=%3Cscript%3E"} {
		a := c2.get("/foo/bar/"+layout, "Accept: text/html", `Cookie: order="><script>`)
		expect(t, a, 200, "*", map[string]string{"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": ""})
		checkPage(t, a.body, "", layout)
	}
	if a, b := c.get("/foo/bar/").get("Content-Security-Policy"), c.get("/foo/bar/").get("Content-Security-Policy"); a == b {
		t.Error("the nonce is always the same")
	}
}

// checkPage looks for what names could have smuggled in.
func checkPage(t *testing.T, page, nonce, layout string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	must(t, err)
	scripts, styles, texts := 0, 0, ""
	var links []string
	for n := range root.Descendants() {
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("attribute %s on %s", a.Key, n.Data)
			}
		}
		if n.Type == html.TextNode && n.Parent.Data != "script" && n.Parent.Data != "style" {
			texts += n.Data
		}
		switch n.Data {
		case "script", "style":
			if n.Type != html.ElementNode {
				break
			}
			if attr["nonce"] != nonce || attr["src"] != "" {
				t.Errorf("%s: %v", n.Data, attr)
			}
			if n.Data == "script" {
				scripts++
			} else {
				styles++
			}
		case "a":
			links = append(links, attr["href"])
		case "img":
			if attr["src"] != "./p.png" {
				t.Errorf("picture %q", attr["src"])
			}
		case "link", "iframe", "form", "object", "base":
			t.Errorf("element %s", n.Data)
		}
	}
	if scripts != 1 || styles != 1 {
		t.Errorf("%d scripts, %d styles", scripts, styles)
	}
	for _, l := range links {
		if !strings.HasPrefix(l, "./") && !strings.HasPrefix(l, "../") && !strings.HasPrefix(l, "?") {
			t.Errorf("link %q", l)
		}
	}
	if strings.Contains(layout, "limit") {
		if !slices.ContainsFunc(links, func(l string) bool { return strings.Contains(l, "limit=2") && strings.Contains(l, "offset=1") }) {
			t.Errorf("links do not keep limit and offset: %q", links)
		}
		return
	}
	for _, want := range []string{`<img src=x onerror=alert(1)>"'&{{.}}.html`, "javascript:alert(1)", "p.png", "sub/", "→ </script><script>", "1 directory", "4 files", "foo", "bar"} {
		if !strings.Contains(texts, want) {
			t.Errorf("%q is not shown", want)
		}
	}
	for _, want := range []string{"../../", "../", "./", "./javascript:alert%281%29", "./sub/"} {
		if !slices.Contains(links, want) && !slices.Contains(links, strings.NewReplacer("%28", "(", "%29", ")").Replace(want)) {
			t.Errorf("no link %q in %q", want, links)
		}
	}
}

func TestBreadcrumbs(t *testing.T) {
	for path, want := range map[string][]Crumb{
		"/":              {{"", "/"}},
		"/foo/bar/":      {{"../../", "/"}, {"../", "foo"}, {"", "bar"}},
		"/foo/bar":       {{"../../", "/"}, {"../", "foo"}, {"", "bar"}},
		"/AC%2FDC/":      {{"../", "/"}, {"", "AC/DC"}},
		"/100%25 x/y/":   {{"../../", "/"}, {"../", "100% x"}, {"", "y"}},
		"/%zz/":          {{"../", "/"}, {"", "%zz"}},
		"/\u00e4/%C3%A4": {{"../../", "/"}, {"../", "ä"}, {"", "ä"}},
	} {
		if got := (&Listing{Path: path}).Breadcrumbs(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func TestTemplateFile(t *testing.T) {
	dir := folder(t, map[string]string{"foo/d 1/a.TXT": "hello", "foo/d 1/b/x": "", "foo/d 1/link": "-> a.TXT", "site.tpl": `{{.Name}}|{{.Path}}|{{.CanGoUp}}|{{.NumDirs}}|{{.NumFiles}}|{{.TotalFileSize}}|{{.TotalFileSizeFollowingSymlinks}}|{{.HumanTotalFileSize}}|{{.HumanTotalFileSizeFollowingSymlinks}}|{{.Offset}}|{{.Limit}}|{{.Sort}}|{{.Order}}|{{.Layout}}
{{range .Breadcrumbs}}{{.Link}}={{.Text}};{{end}}
{{range .Items}}{{.Name}},{{.Size}},{{.HumanSize}},{{.URL}},{{.ModTime.Year}},{{.HumanModTime "2006"}},{{.Mode}},{{.IsDir}},{{.IsSymlink}},{{.SymlinkPath}},{{.HasExt ".png" ".txt"}},{{.Tpl.Name}}
{{end}}{{.Req.Method}}|{{.OriginalReq.RequestURI}}|{{.Host}}|{{.RemoteIP}}|{{.Cookie "c"}}|{{ph "http.request.method"}}|{{placeholder "nope"}}|{{upper "x"}}|{{pathEscape "a/b"}}|{{html "<"}}{{.RespHeader.Set "X-Own" "1"}}
`, "bad.tpl": "{{", "failing.tpl": "half{{fail \"x\"}}"})
	own := func(name string) *client {
		return serve(t, fileServer(dir, obj{"browse": obj{"template_file": filepath.Join(dir, name), "reveal_symlinks": true, "sort": []string{"namedirfirst", "asc"}}}))
	}
	a := own("site.tpl").get("/foo/d%201/?limit=3&layout=x", "Cookie: c=v")
	want := `d%201|/foo/d%201|true|1|2|10|10|10 B|10 B|0|3|namedirfirst|asc|list
../../=/;../=foo;=d 1;
b/,4096,4.0 KiB,./b/,2024,2024,drwxr-xr-x,true,false,,false,d%201
a.TXT,5,5 B,./a.TXT,2024,2024,-rw-r--r--,false,false,,true,d%201
`
	rest, ok := strings.CutPrefix(strings.ReplaceAll(a.body, fmt.Sprint(sizeOf(t, dir, "foo/d 1/b")), "4096"), want)
	if !ok || a.get("X-Own") != "1" || a.get("Content-Security-Policy") != "" {
		t.Errorf("%v\n%s\nwant %s", a.Header, a.body, want)
	}
	if !strings.HasPrefix(rest, "link,5,5 B,./link,") || !strings.Contains(rest, ",false,true,a.TXT,false,d%201\nGET|/foo/d%201/?limit=3&layout=x|a.test|127.0.0.1|v|GET||X|a%2Fb|&lt;") {
		t.Errorf("%s", rest)
	}
	for _, name := range []string{"missing.tpl", "bad.tpl", "failing.tpl"} {
		expect(t, own(name).get("/foo/"), 500, "", nil)
	}
}

func sizeOf(t *testing.T, dir, name string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
	must(t, err)
	return info.Size()
}
