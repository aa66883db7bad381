package caddyfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// formatCases: what to write, and how it should be written. Where the second is
// empty, the first is right already.
var formatCases = []struct{ name, in, want string }{
	{"spec example 1", "a.com{\nrespond   \"x  y\"  200 # c\n}b.com {\n\n}\n", "a.com {\n\trespond \"x  y\" 200 # c\n}\n\nb.com {\n}\n"},
	{"spec example 2", "a.com\n{ # note\n\n  handle { respond x\n  }\n}\n", "a.com {\n\t# note\n\n\thandle {\n\t\trespond x\n\t}\n}\n"},
	{"trim", "\n\n  a  b\t c  \n\n", "a b c\n"},
	{"empty", "", "\n"},
	{"byte-order mark", " \uFEFF  a  b", "\uFEFFa b\n"},
	{"CRLF", "a {\r\n\tb `x\r\ny`\r\n}\r\n", "a {\n\tb `x\ny`\n}\n"},
	{"comment keeps its text", "a  #b   c \n  #  d   \"e", "a #b   c \n#  d   \"e\n"},
	{"hash in a word", "redir / /some/#/path   x  {\ny  z", "redir / /some/#/path   x  {\ny z\n"},
	{"quotes", "a   \"b   {  }\n  c\\\"  #\"   d\"e   f\"", "a \"b   {  }\n  c\\\"  #\" d\"e f\"\n"},
	{"backtick toggles anywhere", "a b`c   \" {\n  d`e    f", "a b`c   \" {\n  d`e f\n"},
	{"quotes in each other", "a \"`\"   b `\"`   c", "a \"`\" b `\"` c\n"},
	{"backslash", "a \\\"b   c\\\"   \\{   \\#x   \\`   d", "a \\\"b c\\\" \\{ \\#x   \\`   d\n"},
	{"backslash in a word", "a\\#b   c\\`d   e\\ f", "a\\#b c\\`d e\\ f\n"},
	{"heredoc", "a   <<END\n  x   y {\n  END   200   {\nb\n}", "a <<END\n  x   y {\n  END 200 {\n\tb\n}\n"},
	{"heredoc marker in a word", "a <<END\n ENDx  y\n END  b", "a <<END\n ENDx  y\n END b\n"},
	{"heredoc with space stays a word", "a <<END \n  b   c", "a <<END \nb c\n"},
	{"blank lines", "a {\n\n\n\tb\n\n\n\n\tc\n\n}\n\n\n\nd", "a {\n\tb\n\n\tc\n}\n\nd\n"},
	{"brace pulled up", "a\n\n\n{\nb\n}", "a {\n\tb\n}\n"},
	{"brace at the start", "\n{\nb\n}", "{\n\tb\n}\n"},
	{"brace after a comment", "# c\n\n\n{\nb\n}\na # d\n{\nc\n}", "# c\n\n{\n\tb\n}\na # d\n{\n\tc\n}\n"},
	{"brace after a brace", "a\n{\n{ b\n}\n}", "a {\n\t{\n\t\tb\n\t}\n}\n"},
	{"brace after import", "import  x\n{\nb\n}\na {\nimport x\n{\n}\n}", "import x\n{\n\tb\n}\na {\n\timport x {\n\t}\n}\n"},
	{"brace after a block", "a {\n}\n{\nb\n}", "a {\n}\n\n{\n\tb\n}\n"},
	{"placeholders", "a {b}   {c}d  {\n{e}\n}", "a {b} {c}d {\n\t{e}\n}\n"},
	{"malformed braces", "foo{bar} foo{ bar}baz", "foo{bar} foo {\n\tbar\n}\n\nbaz\n"},
	{"unbalanced word", "a {\nfoo}", "a {\n\tfoo\n}\n"},
	{"variables", "{$A}\n\nb {\n{$C}\n}\n\nd { {$E}\n}\n:{$PORT:a  b }   x", "{$A}\n\nb {\n\t{$C}\n}\n\nd {\n\t{$E}\n}\n:{$PORT:a  b } x\n"},
	{"template in backticks", "block {respond `All braces should remain: {{now | date \"2006\"}}`}", "block {respond `All braces should remain: {{now | date \"2006\"}}`}\n"},
	{"quotes in blocks on a line", "block { respond \"`\" } block { respond `\"`}", "block {\n\trespond \"`\"\n}\n\nblock {\n\trespond `\"`\n}\n"},
	{"blocks on a line", "abc {\n\tdef\n}ghi{\n\tjkl mno\npqr}", "abc {\n\tdef\n}\n\nghi {\n\tjkl mno\n\tpqr\n}\n"},
	{"adjacent blocks", "a {\n}\nb {\n}\n}", "a {\n}\nb {\n}\n}\n"},
	{"too many open", "a\n{\n\t{\n}", "a {\n\t{\n\t}\n"},
	{"too many closed", "a\n{\n\t{\n}}}}", "a {\n\t{\n\t}\n}\n}\n}\n"},
	{"continuation", "a  \\\n\t b \\\n   c\nd\\\n{\ne\n}", "a \\\n b \\\n c\nd\\\n {\n\te\n}\n"},
	{"continuation of nothing", "a {\nb \\\n\n\n\nc \\\n}\n", "a {\n\tb \\\n\n\n\tc \\\n}\n"},
	{"JSON", "foo\nbar      \"{\\\"key\\\":34}\"", "foo\nbar \"{\\\"key\\\":34}\"\n"},
	{"depth", strings.Repeat("a {\n", 12) + "b", func() string {
		var s strings.Builder
		for i := range 12 {
			s.WriteString(strings.Repeat("\t", min(i, 10)) + "a {\n")
		}
		return s.String() + strings.Repeat("\t", 10) + "b\n"
	}()},
	{"all", `  a
b

	c {
		d
}

e { f
}



g {
h {
i
}
}

m {
	n { o
	}
	p { q r
s }
}

	{
{ t
		u

	v

w
}
}`, `a
b

c {
	d
}

e {
	f
}

g {
	h {
		i
	}
}

m {
	n {
		o
	}
	p {
		q r
		s
	}
}

{
	{
		t
		u

		v

		w
	}
}
`},
	{"closing brace with text", "a {\nb {\n} # end\n}   # end", "a {\n\tb {\n\t} # end\n}\n\n# end\n"},
}

func TestFormat(t *testing.T) {
	for _, c := range formatCases {
		t.Run(c.name, func(t *testing.T) {
			got := string(Format([]byte(c.in)))
			if got != c.want {
				t.Errorf("got\n%q\nwant\n%q", got, c.want)
			}
			if again := string(Format([]byte(got))); again != got {
				t.Errorf("formatted again\n%q\nwas\n%q", again, got)
			}
			if n := Unformatted([]byte(got)); n != 0 {
				t.Errorf("line %d of a formatted text is not formatted", n)
			}
		})
	}
}

// TestFormatKeepsMeaning formats the files in testdata and compares what they
// parse to.
func TestFormatKeepsMeaning(t *testing.T) {
	names, err := filepath.Glob("testdata/format/*.caddyfile")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		in, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		once := Format(in)
		if again := Format(once); string(again) != string(once) {
			t.Errorf("%s: not idempotent:\n%s", name, Diff(once, again))
		}
		want, err1 := parse(string(in), nil, nil)
		got, err2 := parse(string(once), nil, nil)
		if err1 != nil || err2 != nil {
			t.Errorf("%s: %v, formatted: %v", name, err1, err2)
		} else if dump(got) != dump(want) {
			t.Errorf("%s: the formatted text means something else:\n%s", name, Diff([]byte(dump(want)), []byte(dump(got))))
		}
	}
}

func TestUnformatted(t *testing.T) {
	for in, want := range map[string]int{
		"a b\n": 0, "a b\r\n": 0, "a  b\n": 1, "a b": 1, "\na b\n": 1, "a b\n\n": 2, "a {\n\tb\n  c\n}\n": 3, "a {\n\tb\n}\n\n\n\nc\n": 5,
	} {
		if got := Unformatted([]byte(in)); got != want {
			t.Errorf("%q: line %d, want %d", in, got, want)
		}
	}
}

func TestDiff(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"a\nb\nc\n", "a\nb\nc\n", "  a\n  b\n  c\n"},
		{"a\nb\nc\n", "a\nx\nc\n", "  a\n- b\n+ x\n  c\n"},
		{"", "a\n", "+ a\n"},
		{"a\n", "", "- a\n"},
		{"a\nb\nc\nd\ne\n", "b\nx\nd\nf\n", "- a\n  b\n- c\n+ x\n  d\n- e\n+ f\n"},
		{strings.Repeat("a\n", 1200), strings.Repeat("b\n", 1200), strings.Repeat("- a\n", 1200) + strings.Repeat("+ b\n", 1200)},
	} {
		if got := Diff([]byte(c.a), []byte(c.b)); got != c.want {
			t.Errorf("%.20q and %.20q: got\n%s", c.a, c.b, got)
		}
	}
}

// FuzzDiff checks that each text can be had back from the diff.
func FuzzDiff(f *testing.F) {
	f.Add("a\nb\nc", "b\nc\nd")
	f.Fuzz(func(t *testing.T, a, b string) {
		var left, right []string
		for _, l := range strings.SplitAfter(Diff([]byte(a), []byte(b)), "\n") {
			if l == "" {
				continue
			}
			if l[0] != '+' {
				left = append(left, l[2:])
			}
			if l[0] != '-' {
				right = append(right, l[2:])
			}
		}
		if got := strings.Join(left, ""); strings.TrimSuffix(got, "\n") != strings.TrimSuffix(a, "\n") {
			t.Errorf("old is %q, was %q", got, a)
		}
		if got := strings.Join(right, ""); strings.TrimSuffix(got, "\n") != strings.TrimSuffix(b, "\n") {
			t.Errorf("new is %q, was %q", got, b)
		}
	})
}
