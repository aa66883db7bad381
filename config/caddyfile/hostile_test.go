package caddyfile

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHostile gives the parser what would take for ever or all memory, and
// looks at both.
func TestHostile(t *testing.T) {
	var doubling, growing, chain, wide strings.Builder
	doubling.WriteString("(s0) {\n\tx\n\tx\n}\n")
	growing.WriteString("(s0) {\n\tx {args[0]}\n}\n")
	chain.WriteString("(s0) {\n\tx\n}\n")
	for i := range 60 {
		fmt.Fprintf(&doubling, "(s%d) {\n\timport s%d\n\timport s%d\n}\n", i+1, i, i)
		fmt.Fprintf(&growing, "(s%d) {\n\timport s%d {args[0]}{args[0]}\n}\n", i+1, i)
	}
	for i := range 150 {
		fmt.Fprintf(&chain, "(s%d) {\n\timport s%d\n}\n", i+1, i)
	}
	wide.WriteString("(s) {\n" + strings.Repeat("\t{blocks.x}\n", 100000) + "}\n:80 {\n" + strings.Repeat("\timport s\n", 1000) + "}\n")
	for _, c := range []struct{ name, in, want string }{
		{"doubling imports", doubling.String() + ":80\nimport s60\n", "the Caddyfile has more than"},
		{"growing argument", growing.String() + ":80\nimport s60 " + strings.Repeat("a", 100) + "\n", "the imports of the Caddyfile make more than"},
		{"long chain", chain.String() + ":80\nimport s150\n", "imports are nested more than 100 deep"},
		{"empty blocks", wide.String(), "the Caddyfile has more than"},
		{"deep blocks", ":80\n" + strings.Repeat("a {\n", 100000), "blocks are nested more than 200 deep"},
		{"deep blocks of a named route", "&(r) {\n" + strings.Repeat("a {\n", 1000) + strings.Repeat("}\n", 1000) + "}\n", "blocks are nested more than 200 deep"},
		{"deep snippet", "(s) {\n" + strings.Repeat("a {\n", 1000) + strings.Repeat("}\n", 1000) + "}\n:80\nimport s\n", "blocks are nested more than 200 deep"},
		{"huge heredoc", ":80\nrespond <<E\n" + strings.Repeat(" x\n", 1<<20), "incomplete heredoc <<E"},
		{"many heredocs", strings.Repeat("a <<E\nE\n", 1<<16), ""},
		{"open variables", strings.Repeat("{$", 1<<20), ""},
		{"open arguments", "(s) {\n\t" + strings.Repeat("{args[", 1<<18) + "\n}\n:80\nimport s\n", ""},
		{"one long word", strings.Repeat("a", 1<<22), ""},
		{"many tokens", ":80\n" + strings.Repeat("a ", MaxTokens+1), "the Caddyfile has more than"},
		{"escapes", strings.Repeat("\\ ", 1<<20), ""},
		{"import into block", "(s) {\n\t{block}\n\t{block}\n}\n:80\n" + strings.Repeat("import s {\n", 40) + "x\n" + strings.Repeat("}\n", 40), "the Caddyfile has more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := parse(c.in, nil, func(Warning) {})
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if err == nil && c.want != "" || err != nil && (c.want == "" || !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if err != nil && len(err.Error()) > 20000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 2<<30 {
				t.Errorf("%d MB were allocated", n>>20)
			}
			if took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			start = time.Now()
			Format([]byte(c.in))
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("formatting took %v", took)
			}
		})
	}
}

func TestTooManyBytes(t *testing.T) {
	files := OSFiles()
	name := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(name, make([]byte, 11), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := files.ReadFile(name, 11); len(b) != 11 || err != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := files.ReadFile(name, 10); err == nil {
		t.Error("a file beyond the limit was read")
	}
	if _, err := Parse("F", make([]byte, MaxBytes+1), Env{}); err == nil || !strings.HasPrefix(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
}

func TestOSFiles(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "inc"), []byte("respond {args[0]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := Env{Files: OSFiles(), Dir: dir}
	for name, want := range map[string]string{
		"fifo":      "Could not import " + dir + "/fifo: not a regular file, at C:2",
		"/dev/zero": "Could not import /dev/zero: not a regular file, at C:2",
		"/proc/kms": "Could not import /proc/kms: not a regular file, at C:2",
		"/*":        "Could not import /",
		"../*":      "Could not import " + filepath.Dir(dir) + "/",
		"nope":      "File to import not found: nope, at C:2",
	} {
		if _, err := Parse("C", []byte(":80\nimport "+name+"\n"), env); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	blocks, err := Parse("C", []byte(":80\nimport in* x\n"), env)
	if err != nil || dump(blocks) != ":80\n\trespond x\n" {
		t.Errorf("got %s, %v", dump(blocks), err)
	}
	if _, err := Parse("C", []byte(":80\nimport x\n"), Env{}); err == nil || !strings.HasPrefix(err.Error(), "File to import not found: x") {
		t.Errorf("without files: %v", err)
	}
}

// corpus returns the Caddyfiles in testdata/corpus.txt.
func corpus(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split("\n"+string(b), "\n=== ")[1:]
	for i := range parts {
		_, parts[i], _ = strings.Cut(parts[i], "\n")
	}
	if len(parts) < 100 {
		t.Fatalf("%d cases", len(parts))
	}
	return parts
}

func TestCorpus(t *testing.T) {
	files := map[string]string{"w/testdata/issue_7557_invalid_subdirective_snippet.conf": "(test) {\n  reverse_proxy {\n    {block}\n  }\n}\n"}
	failed := 0
	for _, in := range corpus(t) {
		once := Format([]byte(in))
		if again := Format(once); string(again) != string(once) {
			t.Errorf("not idempotent:\n%s", Diff(once, again))
		}
		want, err := parse(in, files, nil)
		if err != nil {
			if failed++; !strings.Contains(err.Error(), "mismatched leading whitespace in heredoc") {
				t.Errorf("%v in\n%s", err, in)
			}
			continue
		}
		got, err := parse(string(once), files, nil)
		if err != nil || dump(got) != dump(want) {
			t.Errorf("the formatted text means something else: %v\n%s", err, Diff([]byte(dump(want)), []byte(dump(got))))
		}
	}
	if failed != 2 {
		t.Errorf("%d cases are errors", failed)
	}
}

// TestManySites checks that the time is in proportion to the size.
func TestManySites(t *testing.T) {
	in := manySites(10000)
	start := time.Now()
	blocks, err := parse(in, nil, nil)
	if err != nil || len(blocks) != 10000 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func manySites(n int) string {
	var b strings.Builder
	b.WriteString("(common) {\n\tencode gzip\n\theader X-Site {args[0]}\n\tlog {\n\t\t{block}\n\t}\n}\n")
	for i := range n {
		fmt.Fprintf(&b, "site%d.example.com {\n\timport common s%d {\n\t\toutput discard\n\t}\n\thandle /api/* {\n\t\treverse_proxy 10.0.0.1:80 {\n\t\t\theader_up Host \"{host}\"\n\t\t}\n\t}\n}\n\n", i, i)
	}
	return b.String()
}

func BenchmarkParse10kSites(b *testing.B) {
	in := []byte(manySites(10000))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("Caddyfile", in, Env{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFormat10kSites(b *testing.B) {
	in := []byte(manySites(10000))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		Format(in)
	}
}

// seeds are texts for the fuzz targets.
func seeds(f *testing.F) {
	for _, in := range corpus(f) {
		f.Add(in)
	}
	for _, c := range formatCases {
		f.Add(c.in)
	}
	for _, in := range []string{"(s) {\n\ta {args[0]} {args[1:]} {block} {blocks.x} \\{\n}\nimport s x y {\n\tx {\n\t\ty\n\t}\n}\n", "&(r) {\n}\n{$A:b} <<E\n E", "\\\"\"\" `\r\n#\\\n{ }", "import *\nimport x\n"} {
		f.Add(in)
	}
}

func FuzzLexer(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in string) {
		tokens, err := Lex(in, &Origin{File: "F"})
		if err != nil {
			return
		}
		line, size := int32(1), 0
		for _, tok := range tokens {
			if tok.Line < line || tok.End < tok.Line {
				t.Fatalf("%q is on the lines %d to %d, after %d", tok.Text, tok.Line, tok.End, line)
			}
			if tok.Text == "" && !tok.Quoted() {
				t.Fatal("an empty word")
			}
			line = tok.Line
			size += len(tok.Text)
		}
		if int(line) > 1+strings.Count(in, "\n") || size > len(in) {
			t.Fatalf("line %d, %d bytes of %d", line, size, len(in))
		}
	})
}

func FuzzParser(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in string) {
		files := map[string]string{"w/x": "(s) {\n\t{block}\n}\na {args[0]}\n", "w/y": "import x {args[:]}\n", "w/z": in}
		blocks, err := parse(in, files, func(Warning) {})
		if err != nil {
			if e, ok := err.(*Error); !ok || e.File == "" || e.Line < 1 {
				t.Fatalf("an error without a place: %v", err)
			}
			return
		}
		for i, b := range blocks {
			if (b.Kind == Global) != (len(b.Keys) == 0) || b.Kind == Global && i > 0 {
				t.Fatalf("block %d has %d keys and is of kind %d", i, len(b.Keys), b.Kind)
			}
			for _, s := range b.Segments {
				d := NewDispenser(s)
				for d.Next() {
					walk(d, 0)
				}
				var c proxy
				options := proxyOptions()
				d.Reset()
				d.Next()
				_ = options.Parse(d, &c)
			}
		}
	})
}

// walk reads a directive as directives do.
func walk(d *Dispenser, depth int) {
	d.CountRemainingArgs()
	d.RemainingArgs()
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if depth < 20 {
			walk(d, depth+1)
		}
	}
	_ = d.ArgErr().Error()
}

func FuzzFormat(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in string) {
		once := Format([]byte(in))
		if again := Format(once); string(again) != string(once) {
			t.Fatalf("once\n%q\nagain\n%q", once, again)
		}
		if len(once) > 24*len(in)+8 {
			t.Fatalf("%d bytes became %d", len(in), len(once))
		}
		if n := Unformatted(once); n != 0 {
			t.Fatalf("line %d of\n%q", n, once)
		}
	})
}

// TestFormatRandom is FuzzFormat for every run, on the bytes that matter.
func TestFormatRandom(t *testing.T) {
	words := []string{"a", "b c", " ", "  ", "\n", "\n\n\n", "{", "}", "{ ", " }", "\"", "`", "\\", "#", "<<E", "<<E\n", "E", "{$A", "{$A}", "\r\n", "\r", "\t", "import ", "import x\n", "\\\n", "\uFEFF", "\u00a0", "{x}", "\n{\n", "\n}\n"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 60000 {
		var in strings.Builder
		for range 1 + r.IntN(14) {
			in.WriteString(words[r.IntN(len(words))])
		}
		once := Format([]byte(in.String()))
		if again := Format(once); string(again) != string(once) {
			t.Fatalf("in %q\nonce\n%q\nagain\n%q", in.String(), once, again)
		}
	}
}
