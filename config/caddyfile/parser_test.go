package caddyfile

import (
	"strings"
	"testing"
	"testing/fstest"
)

// dump writes blocks on lines: keys, then each segment after a tab, with / for
// line breaks within it.
func dump(blocks []ServerBlock) string {
	var out strings.Builder
	for _, b := range blocks {
		switch b.Kind {
		case Global:
			out.WriteString("GLOBAL")
		case NamedRoute:
			out.WriteString("ROUTE " + b.Name)
		default:
			for i, k := range b.Keys {
				if i > 0 {
					out.WriteByte(' ')
				}
				out.WriteString(k.Text)
			}
		}
		if b.Braces {
			out.WriteString(" {}")
		}
		out.WriteByte('\n')
		for _, s := range b.Segments {
			out.WriteByte('\t')
			for i, t := range s {
				if i > 0 {
					if s[i-1].SameLine(t) {
						out.WriteByte(' ')
					} else {
						out.WriteByte('/')
					}
				}
				out.WriteString(t.Text)
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}

func parse(input string, files map[string]string, warn func(Warning)) ([]ServerBlock, error) {
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	env := Env{Files: FSFiles(fsys), Dir: "/w", Warn: warn, LookupEnv: func(n string) (string, bool) {
		return map[string]string{"SITE": "a.com, b.com", "LINES": "respond a\nrespond b"}[n], n == "SITE" || n == "LINES"
	}}
	return Parse("Caddyfile", []byte(input), env)
}

type parseCase struct {
	name, in string
	files    map[string]string
	want     string // what dump gives, or ! and a part of the error
}

func runParse(t *testing.T, cases []parseCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			blocks, err := parse(c.in, c.files, nil)
			if want, ok := strings.CutPrefix(c.want, "!"); ok {
				if err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Fatalf("got  %v\nwant %s\n%s", err, want, dump(blocks))
				}
				if _, ok := err.(*Error); !ok {
					t.Errorf("the error is a %T", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := dump(blocks); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	runParse(t, []parseCase{
		{name: "comments only", in: "# a\n", want: ""},
		{name: "keys only", in: ":80", want: ":80\n"},
		{name: "braceless", in: "a.com b.com\nrespond hi\nroot * /x {\n y\n}\n", want: "a.com b.com\n\trespond hi\n\troot * /x {/y/}\n"},
		{name: "commas", in: "a , b,\nc d {\n}\n", want: "a b c d {}\n"},
		{name: "brace on next line", in: "a.com\n{\nrespond hi\n}", want: "a.com {}\n\trespond hi\n"},
		{name: "directive after brace", in: "a.com { respond hi\n}", want: "a.com {}\n\trespond hi\n"},
		{name: "empty block", in: "a.com { }", want: "a.com {}\n"},
		{name: "braces as address", in: "a.com {}", want: "a.com {}\n"},
		{name: "options", in: "{\n\tdebug\n\tlog {\n\t\tx y\n\t}\n}\n:80\n", want: "GLOBAL {}\n\tdebug\n\tlog {/x y/}\n:80\n"},
		{name: "empty options", in: "{\n}\n:80 {\n}\n{\ndebug\n}", want: "!server block without any key is global configuration, and if used, it must be first, at Caddyfile:5"},
		{name: "empty options, then options", in: "{\n}\n{\ndebug\n}", want: "GLOBAL {}\n\tdebug\n"},
		{name: "empty key", in: "\"\" {\n\tdebug\n}", want: "GLOBAL {}\n\tdebug\n"},
		{name: "options after snippet", in: "(s) {\n\tx\n}\n{\n\tdebug\n}\n", want: "GLOBAL {}\n\tdebug\n"},
		{name: "options after named route", in: "&(s) {\n\tx\n}\n{\n\tdebug\n}\n", want: "!server block without any key is global configuration, and if used, it must be first"},
		{name: "quoted snippet key", in: "\"(s)\" {\n\tx\n}\n:80 {\n\timport s\n}", want: ":80 {}\n\tx\n"},
		{name: "quoted braces", in: ":80 {\n\trespond \"{\" `}`\n\t\"{\" a\n\trespond \"{}\"\n}", want: ":80 {}\n\trespond { }\n\t{ a\n\trespond {}\n"},
		{name: "environment", in: "{$SITE} {\n\t{$LINES}\n}", want: "a.com b.com {}\n\trespond a\n\trespond b\n"},
		{name: "nested", in: ":80 {\n\ta {\n\t\tb {\n\t\t\tc\n\t\t}\n\t}\n\td\n}", want: ":80 {}\n\ta {/b {/c/}/}\n\td\n"},
		{name: "missing last brace", in: ":80 {\n\ta {\n\t\tb\n\t}\n", want: ":80 {}\n\ta {/b/}\n"},
		{name: "surplus brace", in: ":80 {\n}\n}\n", want: ":80 {}\n}\n"},
		{name: "braceless after options", in: "{\n\tdebug\n}\n(s) {\n\tx y\n}\n:80\nimport s\nz\n", want: "GLOBAL {}\n\tdebug\n:80\n\tx y\n\tz\n"},
		{name: "named route", in: "&(n) {\n\timport x\n\ta {\n\t\tb\n\t}\n}\n:80\n", want: "ROUTE n {}\n\t&(n) {/import x/a {/b/}/}\n:80\n"},
		{name: "named route on fewer lines", in: "&(n)\n{ a b }\n:80\n", want: "ROUTE n {}\n\t&(n) {/a b/}\n:80\n"},
		{name: "heredoc argument", in: ":80\nrespond <<PAGE\n\t<p>\n\t  hi {path}\n\t</p>\n\tPAGE 201\n", want: ":80\n\trespond <p>\n  hi {path}\n</p> 201\n"},
		{name: "glued comment line", in: ":80\nroot * /srv # see C:\\docs\nfile_server\n", want: ":80\n\troot * /srv file_server\n"},

		{name: "brace at address", in: "example.com{\n}\n", want: "!Site addresses cannot end with a curly brace: 'example.com{' - put a space between the token and the brace, at Caddyfile:1"},
		{name: "comma in address", in: "foo.com,bar.com\n", want: "!Site addresses cannot contain a comma ',': 'foo.com,bar.com' - put a space after the comma to separate site addresses"},
		{name: "extra comma", in: "foo.com, {\n}\n", want: "!Expected another address but had '{' - check for extra comma"},
		{name: "comma at the end", in: "foo.com,\n", want: "!unexpected EOF, at Caddyfile:1"},
		{name: "matcher as key", in: "@x path /a\n", want: "!request matchers may not be defined globally, they must be in a site block; found @x"},
		{name: "closed on the line", in: ":80 { respond \"x\" }\n", want: "!Unexpected '}' because no matching opening brace"},
		{name: "open on new line", in: ":80\nhandle\n{\n\trespond hi\n}\n", want: "!Unexpected '{' on a new line; did you mean to place the '{' on the previous line?, at Caddyfile:3"},
		{name: "next on same line", in: ":80\nhandle { respond hi\n}\n", want: "!Unexpected next token after '{' on same line, at Caddyfile:2 near 'respond'"},
		{name: "braces at end of line", in: ":80\nhandle {}\n", want: "!Unexpected '{}' at end of line"},
		{name: "open block", in: ":80\nhandle {\n\trespond hi\n", want: "!unexpected EOF"},
		{name: "open site", in: ":80 {\n\trespond hi\n", want: "!syntax error: unexpected token 'hi', expecting '}', at Caddyfile:2"},
		{name: "open snippet", in: "(s) {\n\trespond hi\n", want: "!unexpected EOF"},
		{name: "snippet without block", in: "(s)\nx", want: "!syntax error: unexpected token 'x', expecting '{'"},
		{name: "snippet alone", in: "(s)", want: "!unexpected EOF"},
		{name: "options late", in: ":80 {\n}\n{\n\tdebug\n}\n", want: "!server block without any key is global configuration, and if used, it must be first"},
		{name: "snippet twice", in: "(a) {\n\trespond a\n}\n(a) {\n\trespond b\n}\n", want: "!redeclaration of previously declared snippet a, at Caddyfile:4"},
		{name: "named route twice", in: "&(a) {\n\tx\n}\n&(a) {\n\ty\n}\n", want: "!cannot have duplicate named_routes: a, at Caddyfile:4"},
		{name: "braceless, surplus brace", in: ":80\nx\n}\n", want: "!Unexpected '}' because no matching opening brace, at Caddyfile:3"},
		{name: "empty", in: "", want: "!EOF"},
	})
}

func TestImport(t *testing.T) {
	wrap := "(wrap) {\n\thandle /a/* {\n\t\t{blocks.a}\n\t}\n\thandle {\n\t\t{blocks.rest.x}\n\t\t{block}\n\t}\n}\n"
	runParse(t, []parseCase{
		{name: "arguments", in: "(s) {\n\trespond \"\\{x} {args[1]}\" {args[2]}\n\t@all path {args[3:]}\n\theader @all {args[0]} yes\n}\n\n:80 {\n\timport s X-Hit \"two words\" 203 /a /b\n}\n",
			want: ":80 {}\n\trespond {x} two words 203\n\t@all path /a /b\n\theader @all X-Hit yes\n"},
		{name: "argument forms", in: "(s) {\n\ta {args.1}x{args[0]} \"{args[:]}\" {args[1:2]} {args[2:]} {args[:1]} {args[0]}:{args[1]} <\n}\n:80\nimport s A B\n",
			want: ":80\n\ta BxA A B B A A:B <\n"},
		{name: "argument not there", in: "(s) {\n\ta {args[2]} {args[x]} {args[-1]} x{args[:]} {args[1:9]} {env.X} {args[0]\n}\n:80\nimport s A B\n",
			want: ":80\n\ta {args[2]} {args[x]} {args[-1]} x{args[:]} {args[1:9]} {env.X} {args[0]\n"},
		{name: "nested placeholder", in: "(s) {\n\ta {x{args[0]}} \\{args[0]} ^/a\\{2\\}$ {args[1]}\n}\n:80\nimport s A {args[0]}\nb \\{\n", want: ":80\n\ta {xA} {args[0]} ^/a{2}$ {args[0]}\n\tb \\{\n"},
		{name: "arguments of outer import", in: "(in) {\n\tx {args[0]} {args[1]}\n}\n(out) {\n\timport in {args[1]} {args[0]}\n}\n:80\nimport out a b\n", want: ":80\n\tx b a\n"},
		{name: "argument over lines", in: "(s) {\n\ta {args[0]}\n\tb\n}\n:80\nimport s \"x\ny\"\n", want: ":80\n\ta x\ny\n\tb\n"},
		{name: "blocks", in: wrap + ":80 {\n\timport wrap {\n\t\ta {\n\t\t\trespond \"inner\"\n\t\t}\n\t\trest.x respond outer {\n\t\t\ty\n\t\t}\n\t}\n}\n",
			want: ":80 {}\n\thandle /a/* {/respond inner/}\n\thandle {/respond outer/y/a {/respond inner/}/rest.x respond outer {/y/}/}\n"},
		{name: "no block", in: wrap + ":80\nimport wrap\n", want: ":80\n\thandle /a/* {/}\n\thandle {/}\n"},
		{name: "quoted block word", in: "(s) {\n\t\"{block}\"\n\tx{block}\n}\n:80\nimport s {\n\ta\n}\n", want: ":80\n\ta\n\tx{block}\n"},
		{name: "block twice", in: "(s) {\n\t{block}\n\t{block}\n}\n:80\nimport s {\n\ta b\n}\n", want: ":80\n\ta b\n\ta b\n"},
		{name: "block as argument", in: "(s) {\n\theader {blocks.h}\n}\n:80\nimport s {\n\th A b\n}\n", want: ":80\n\theader\n\tA b\n"},
		{name: "duplicate key", in: "(s) {\n\t{blocks.k}\n}\n:80\nimport s {\n\tk a\n\tk b\n}\n", want: ":80\n\tb\n"},
		{name: "nested blocks", in: "(snippet) {\n\theader {\n\t\t{blocks.bar}\n\t}\n\timport sub_snippet {\n\t\tbar {\n\t\t\t{blocks.foo}\n\t\t}\n\t}\n}\n(sub_snippet) {\n\theader {\n\t\t{blocks.bar}\n\t}\n}\nexample.com {\n\timport snippet {\n\t\tfoo {\n\t\t\tfoo a\n\t\t}\n\t\tbar {\n\t\t\tbar b\n\t\t}\n\t}\n}\n",
			want: "example.com {}\n\theader {/bar b/}\n\theader {/foo a/}\n"},
		{name: "block with site", in: "(site) {\n\thttps://{args[0]} {\n\t\t{block}\n\t}\n}\nimport site test.domain {\n\treverse_proxy x {\n\t\theader_up Host {host}\n\t}\n}\n",
			want: "https://test.domain {}\n\treverse_proxy x {/header_up Host {host}/}\n"},
		{name: "in options", in: "(o) {\n\tdebug\n}\n{\n\timport o\n\tadmin off\n}\n", want: "GLOBAL {}\n\tdebug\n\tadmin off\n"},
		{name: "in nested block", in: "(o) {\n\tx\n\ty z\n}\n:80 {\n\ta {\n\t\timport o\n\t\tb\n\t\timport o\n\t}\n}\n", want: ":80 {}\n\ta {/x/y z/b/x/y z/}\n"},
		{name: "not first", in: ":80\nx import y\n", want: ":80\n\tx import y\n"},
		{name: "quoted word", in: "(o) {\n\tx\n}\n:80\n\"import\" o\n", want: ":80\n\tx\n"},
		{name: "empty snippet", in: "(o) {\n}\n:80\nimport o\nx\n", want: ":80\n\tx\n"},
		{name: "empty snippet at top", in: "(o) {\n}\nimport o\n", want: ""},
		{name: "same snippet on the next line", in: "(b) {\n\tx\n}\n(a) {\n\timport b\n}\n:80\nimport a\nimport a\n", want: ":80\n\tx\n\tx\n"},
		{name: "key from an import", in: "(k) {\n\tb.com {\n\t\tx\n\t}\n}\na.com,\nimport k\n", want: "a.com b.com {}\n\tx\n"},

		{name: "file", in: "import sites/a.conf\nb.com {\n\timport sites/inner A\n}\n", files: map[string]string{"w/sites/a.conf": "a.com {\n\timport inner {args[0]} B\n}\n", "w/sites/inner": "respond {args[:]} # x\n"},
			want: "a.com {}\n\trespond {args[0]} B\nb.com {}\n\trespond A\n"},
		{name: "glob", in: ":80 {\n\timport s/*.c\n\timport s/.*\n\timport none/*\n}\n", files: map[string]string{"w/s/b.c": "b", "w/s/a.c": "a x", "w/s/.h.c": "h", "w/s/z.d": "z"}, want: ":80 {}\n\ta x\n\tb\n\th\n"},
		{name: "absolute", in: ":80\nimport /etc/x\n", files: map[string]string{"etc/x": "a"}, want: ":80\n\ta\n"},
		{name: "snippet before file", in: "(x) {\n\ts\n}\n:80\nimport x\n", files: map[string]string{"w/x": "f"}, want: ":80\n\ts\n"},
		{name: "environment in file", in: ":80\nimport x\n", files: map[string]string{"w/x": "{$LINES}"}, want: ":80\n\trespond a\n\trespond b\n"},
		{name: "definitions in file", in: "import x Z\n:80\nimport t A {\n\tk\n}\n", files: map[string]string{"w/x": "(t) {\n\ta {args[0]} x\\{\n\t{block}\n\tb {\n\t\tc\n\t}\n}\n(u) {\n\t{args[0]}\n}\n{args[0]} {\n\tx\n}\n"}, want: "Z {}\n\tx\n:80\n\ta A x{\n\tk\n\tb {/c/}\n"},
		{name: "empty file", in: "import x\n:80\nimport y\nz\n", files: map[string]string{"w/x": "", "w/y": " \n"}, want: ":80\n\tz\n"},

		{name: "no name", in: ":80\nimport\n", want: "!wrong argument count or unexpected line ending after 'import', at Caddyfile:2"},
		{name: "empty name", in: ":80\nimport \"\"\n", want: "!Import requires a non-empty filepath"},
		{name: "no such file", in: "(note) {\n}\n:80\nimport nope.conf\n", want: "!File to import not found: nope.conf, at Caddyfile:4"},
		{name: "nearly a snippet", in: "(logging) {\n\tx\n}\n:80\nimport loging\n", want: "!File to import not found: loging, at Caddyfile:5 (did you mean 'logging'?)"},
		{name: "directory", in: ":80\nimport d\n", files: map[string]string{"w/d/x": "y"}, want: "!Could not import /w/d: is a directory"},
		{name: "glob over the root", in: ":80\nimport /*\n", files: map[string]string{"w/d/x": "y"}, want: "!Could not import /w: is a directory"},
		{name: "two stars", in: ":80\nimport */*\n", want: "!Glob pattern may only contain one wildcard (*), but has others: /w/*/*"},
		{name: "two question marks", in: ":80\nimport ?a?\n", want: "!Glob pattern may only contain one wildcard (*), but has others: /w/?a?"},
		{name: "brackets", in: ":80\nimport [ab]\n", want: "!Glob pattern may only contain one wildcard (*), but has others: /w/[ab]"},
		{name: "bad pattern", in: ":80\nimport a[\n", want: "!Failed to use import pattern a[: syntax error in pattern"},
		{name: "anonymous block", in: "(s) {\n}\n:80\nimport s {\n\t{\n\t\tx\n\t}\n}\n", want: "!anonymous blocks are not supported, at Caddyfile:5"},
		{name: "open block", in: "(s) {\n}\n:80\nimport s {\n\tx\n", want: "!unexpected EOF"},
		{name: "cycle", in: "(a) {\n\timport a\n}\n:80 {\n\timport a\n}\n", want: "!a cycle of imports exists between Caddyfile:a and Caddyfile:a, at Caddyfile:2 import chain ['Caddyfile:5 (import a)']"},
		{name: "longer cycle", in: "(a) {\n\timport b\n}\n(b) {\n\timport a\n}\n:80 {\n\timport a\n}\n", want: "!a cycle of imports exists between Caddyfile:b and Caddyfile:a"},
		{name: "cycle of files", in: "import x\n", files: map[string]string{"w/x": "import sub/y\n", "w/sub/y": "import ../x\n"}, want: "!a cycle of imports exists between /w/sub/y and /w/x, at /w/sub/y:1 import chain ['Caddyfile:1 (import)','/w/x:1 (import)']"},
		{name: "itself", in: "import Caddyfile\n", files: map[string]string{"w/Caddyfile": "import Caddyfile\n"}, want: "!a cycle of imports exists between /w/Caddyfile and /w/Caddyfile"},
		{name: "error in a file", in: ":80\nimport x\n", files: map[string]string{"w/x": "a\nb <<\nc"}, want: "!missing opening heredoc marker on line #2; must contain only alphanumeric characters, dashes and underscores; got empty string, at /w/x:2 import chain ['Caddyfile:2 (import)'] near '<<'"},
		{name: "error in a snippet", in: "(s) {\n\tx {} y\n\tx {}\n}\n:80\nimport s\n", want: "!Unexpected '{}' at end of line, at Caddyfile:3 import chain ['Caddyfile:6 (import s)']"},
	})
}

func TestOrigins(t *testing.T) {
	blocks, err := parse("import f\n(out) {\n\timport in\n\t{block}\n}\n:80 {\n\timport out {\n\t\tmine\n\t}\n}\n",
		map[string]string{"w/f": "(in) {\n\tx\n}\n"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	x, mine := blocks[0].Segments[0][0], blocks[0].Segments[1][0]
	if x.File() != "/w/f" || x.Line != 2 || x.Origin.Snippet != "in" {
		t.Errorf("x is at %s:%d in %q", x.File(), x.Line, x.Origin.Snippet)
	}
	want := "['Caddyfile:1 (import)','Caddyfile:7 (import out)','Caddyfile:3 (import in)']"
	if got := chainText(x.Imports()); got != want {
		t.Errorf("chain of x is %s, want %s", got, want)
	}
	if mine.File() != "Caddyfile" || mine.Line != 8 || len(mine.Imports()) != 0 {
		t.Errorf("mine is at %s:%d by %v", mine.File(), mine.Line, mine.Imports())
	}
}

func TestWarnings(t *testing.T) {
	var got []string
	_, err := parse("(s) {\n\ta {args.0} {args[7]}\n}\n:80 {\n\timport s A\n\timport s B\n\timport no/*.conf\n\timport e\n\tb # c:\\d\n\tc {\n\t}\n",
		map[string]string{"w/e": " "}, func(w Warning) { got = append(got, w.File+": "+w.Message) })
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"Caddyfile: a backslash in a comment", "Caddyfile: {args.0} is an older spelling; use {args[0]}",
		"Caddyfile: {args[7]} stays as it is: the import has 1 arguments", "Caddyfile: No files matching import glob pattern: no/*.conf",
		"/w/e: Import file is empty", "Caddyfile: a closing brace '}' is missing at the end"} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Errorf("warning %d: want %s in\n%s", i, want, strings.Join(got, "\n"))
		}
	}
	if len(got) != 6 {
		t.Errorf("%d warnings: %q", len(got), got)
	}
}
