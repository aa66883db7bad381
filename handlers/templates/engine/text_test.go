package engine

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func contextOf(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithCancel(r.Context())
}

func makePipe(name string) error { return syscall.Mkfifo(name, 0o600) }

func TestStripHTML(t *testing.T) {
	for in, want := range map[string]string{
		`<h1>x</h1>`:                "x",
		`<a href="a>b">t</a>`:       "t",
		`<a href='a>b'>t</a>`:       "t",
		`hello <world`:              "hello ",
		`<h1<b>hi`:                  "",
		`<h1<b>>hi`:                 "hi",
		`stray > x`:                 "stray > x",
		`a "quoted > text" b`:       `a "quoted > text" b`,
		`<p title="unclosed>x</p>y`: "",
		``:                          "",
		`ü<b>é</b>`:                 "üé",
	} {
		if got := stripHTML(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSplitFrontMatter(t *testing.T) {
	for _, c := range []struct{ in, meta, body string }{
		{"---\ntitle: T\n---\nbody", "map[title:T]", "\nbody"},
		{"---\ntitle: T\n...\nbody", "map[title:T]", "\nbody"},
		{"---\r\ntitle: T\r\nn: 1\r\n---\r\nbody", "map[n:1 title:T]", "\r\nbody"},
		{"{\n\"title\":\"T\"\n}\nbody", "map[title:T]", "\nbody"},
		{"+++\ntitle = \"T\"\n[a]\nb = [1, 2]\n+++\nbody", "map[a:map[b:[1 2]] title:T]", "\nbody"},
		{"text only", "map[]", "text only"},
		{"\n\n  \n---\na: 1\n---", "map[a:1]", ""},
		{"---  \na: 1\n---  \nbody", "map[a:1]", "  \nbody"},
		{"  ---\na: 1\n---", "map[]", "  ---\na: 1\n---"},
		{"text\n---\na: 1\n---", "map[]", "text\n---\na: 1\n---"},
		{"----\na: 1\n----", "map[]", "----\na: 1\n----"},
		{"---\na: '---'\n --- no\n---\nbody", "", ""},
		{"---\n---\nbody", "map[]", "\nbody"},
		{"{\"a\": 1}\nbody", "map[]", "{\"a\": 1}\nbody"},
		{"", "map[]", ""},
	} {
		doc, err := splitFrontMatter(c.in)
		if c.meta == "" {
			if err == nil {
				t.Errorf("%q: no error", c.in)
			}
			continue
		}
		if err != nil || fmt.Sprint(doc.Meta) != c.meta || doc.Body != c.body {
			t.Errorf("%q: %v, %q, %v; want %s, %q", c.in, doc.Meta, doc.Body, err, c.meta, c.body)
		}
	}
	for in, want := range map[string]string{
		"---\ntitle: T\nbody": "no line ---", "+++\n": "no line +++", "{\n": "no line }", "---": "no line ---",
		"---\na: [\n---\n": "reading front matter", "+++\na\n+++\n": "reading front matter", "{\na\n}\n": "reading front matter", "---\n- a\n---\n": "reading front matter",
		"---\n" + strings.Repeat("# x\n", maxFrontMatter/4+1) + "---\n": "longer than",
	} {
		if _, err := splitFrontMatter(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", in, err, want)
		}
	}
	b := newBench(t, Options{}, map[string]string{"post.md": "---\ntitle: T\ntags: [a, b]\n---\n# Hi"})
	b.prints(`{{$d := splitFrontMatter (readFile "post.md")}}{{$d.Meta.title}} {{range $d.Meta.tags}}{{.}} {{end}}{{markdown $d.Body}}[{{$d.Meta.none}}]`,
		"T a b <h1 id=\"hi\">Hi</h1>\n[<no value>]")
}

func TestMarkdown(t *testing.T) {
	for in, want := range map[string]string{
		"# Two Words":                     `<h1 id="two-words">Two Words</h1>`,
		"**b** ~~s~~":                     "<p><strong>b</strong> <del>s</del></p>",
		"|a|\n|-|\n|b|":                   "<td>b</td>",
		"- [x] done":                      `type="checkbox"`,
		"https://a.test":                  `<a href="https://a.test">`,
		"x[^1]\n\n[^1]: note":             `class="footnotes"`,
		"<b onclick=x>raw</b>":            "<b onclick=x>raw</b>",
		"```go\nfunc f() {}\n```":         `<span class="kd">func</span>`,
		"```nolanguage\n<x>\n```":         "&lt;x&gt;",
		"a\n\n<div>\n*raw block*\n</div>": "<div>\n*raw block*\n</div>",
	} {
		if got, err := toHTML(in); err != nil || !strings.Contains(got, want) {
			t.Errorf("%q: %q, %v; want %q in it", in, got, err, want)
		}
	}
	if got, err := toHTML(7); err != nil || got != "<p>7</p>\n" {
		t.Errorf("a number: %q, %v", got, err)
	}
	if _, err := toHTML(strings.Repeat("x", maxMarkdown+1)); err == nil {
		t.Error("no error for a text that is too long")
	}
}

// FuzzTemplate executes any text. It may fail, but it does not crash, it ends,
// and it prints nothing from outside of the root.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		`{{.Host}} {{upper "x"}}`, `{{include "in" 1 2}}`, `{{import "in"}}{{template "d" .}}`, `{{readFile "../secret"}}`,
		`{{include "/../../secret"}}`, `{{range listFiles ".."}}{{readFile .}}{{end}}`, `{{splitFrontMatter "---\na: 1\n---\n" | toJson}}`,
		`{{markdown "# x"}}{{stripHTML "<b>"}}`, `{{httpInclude "/x"}}`, `{{httpError 404}}`, `{{maybe "x" .}}`, `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`,
		`{{.Req.Header.Get "X"}}{{.RespHeader.Set "A" "b"}}{{.OriginalReq.URL}}`, `{{humanize "time" "x"}}`, `{{with $x := dict "a" 1}}{{$x.a}}{{end}}`,
	} {
		f.Add(s)
	}
	b := newBench(f, Options{}, map[string]string{"in": `{{define "d"}}[{{.Host}}]{{end}}{{.Args}}`, "sub/x": "y"})
	const secret = "TOP-SECRET-TEXT"
	if err := os.WriteFile(filepath.Join(b.root, "../secret"), []byte(secret), 0o600); err != nil {
		f.Fatal(err)
	}
	b.server.include = func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("{{.Host}}")) }
	f.Fuzz(func(t *testing.T, text string) {
		for _, costly := range []string{"gen", "bcrypt", "htpasswd", "derive", "until", "seq", "repeat", "rand", "indent", "wrap", "Custom", "AES", "getHost", "printf", "Method"} {
			if strings.Contains(text, costly) { // takes as long, or as much, as it is told
				return
			}
		}
		own := *b
		own.t = t
		own.w = httptest.NewRecorder()
		own.request(httptest.NewRequest("GET", "http://a.test/", nil))
		ctx, cancel := context.WithTimeout(own.r.Context(), 5*time.Second)
		defer cancel()
		own.r = own.r.WithContext(ctx)
		out, err := own.run(text)
		if strings.Contains(out, secret) || (err != nil && strings.Contains(err.Error(), secret)) {
			t.Errorf("%q prints what is outside of the root", text)
		}
	})
}

// FuzzPath: whatever the name, the file is one below the root.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"", "..", "/../x", "a/../../b", "\x00", `..\..\x`, "a/./b//c", "%2e%2e/x", "....//", "/", "\xff/../.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, root := range []string{"/srv/www", ".", "www", "/"} {
			c := &Context{root: root}
			file, err := c.path(name)
			if err != nil {
				continue
			}
			rel, err := filepath.Rel(root, file)
			if err != nil || !filepath.IsLocal(rel) || strings.ContainsRune(file, 0) {
				t.Errorf("%q in %s is %q", name, root, file)
			}
		}
	})
}

// FuzzFrontMatter: what comes out is a part of what went in.
func FuzzFrontMatter(f *testing.F) {
	for _, s := range []string{"---\na: 1\n---\nx", "+++\na = 1\n+++\nx", "{\n\"a\": 1\n}\nx", "---\r\n...\r\n", "---\na: &a [*a]\n---"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := splitFrontMatter(text)
		if err == nil && !strings.HasSuffix(text, doc.Body) {
			t.Errorf("%q: body %q", text, doc.Body)
		}
		_ = stripHTML(text)
		if _, err := toHTML(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func BenchmarkExecute(b *testing.B) {
	x := newBench(b, Options{}, nil)
	text := "<h1>{{.Host}}</h1>" + strings.Repeat("<p>some text</p>\n", 200) + `{{upper "x"}}`
	for _, bench := range []struct {
		name string
		text func(int) string
	}{{"same", func(int) string { return text }}, {"new", func(i int) string { return text + fmt.Sprint(i) }}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			var out strings.Builder
			for i := 0; b.Loop(); i++ {
				out.Reset()
				c := NewContext(x.w, x.r, x.root, "test")
				if err := x.engine.Execute(&out, "page", bench.text(i), c, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
