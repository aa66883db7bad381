package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	unformatted = "a.com{\nrespond   \"x  y\"  200 # c\n}\n"
	formatted   = "a.com {\n\trespond \"x  y\" 200 # c\n}\n"
)

func TestFmt(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.write("Caddyfile", unformatted)
	b.write("good", formatted)
	b.write("crlf", "a.com {\r\n\trespond\r\n}\r\n")
	b.write("-", unformatted) // is not what "-" means
	const diff = "- a.com{\n- respond   \"x  y\"  200 # c\n+ a.com {\n+ \trespond \"x  y\" 200 # c\n  }\n"
	complaint := func(file string) string {
		return `"msg":"` + file + `:1: Caddyfile input is not formatted; run 'sluice fmt --overwrite' to fix inconsistencies"}` + "\n"
	}
	for _, c := range []struct {
		args           []string
		stdin          string
		code           int
		stdout, stderr string
	}{
		{nil, "", 1, formatted, complaint("Caddyfile")},
		{[]string{"./Caddyfile"}, "", 1, formatted, complaint("./Caddyfile")},
		{[]string{"--config", "Caddyfile"}, "", 1, formatted, complaint("Caddyfile")},
		{[]string{"good"}, "", 0, formatted, ""},
		{[]string{"crlf"}, "", 0, "a.com {\n\trespond\n}\n", ""},
		{[]string{"-d"}, "", 1, diff, complaint("Caddyfile")},
		{[]string{"--diff", "good"}, "", 0, "  a.com {\n  \trespond \"x  y\" 200 # c\n  }\n", ""},
		{[]string{"-"}, unformatted, 0, formatted, ""},
		{[]string{"--config", "-"}, formatted, 0, formatted, ""},
		{[]string{"-", "-w"}, unformatted, 0, formatted, ""},
		{[]string{"-", "-d"}, unformatted, 0, diff, ""},
		{[]string{"."}, "", 1, "", "is a directory"},
		{[]string{"-w", "none"}, "", 1, "", "no such file or directory"},
	} {
		r := b.runWith(c.stdin, append([]string{"fmt"}, c.args...)...)
		if r.code != c.code || trimDiff(r.stdout) != c.stdout || !holds(r.stderr, c.stderr) {
			t.Errorf("fmt %q: %+v, want %+v", c.args, r, c)
		}
	}
}

// trimDiff takes the last, empty line of a diff away, if there is one.
func trimDiff(text string) string {
	if n := len(text); n > 3 && text[n-3:] == "  \n" {
		return text[:n-3]
	}
	return text
}

func TestFmtOverwrite(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	file := b.write("real", unformatted)
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(b.dir, "Caddyfile")); err != nil {
		t.Fatal(err)
	}
	old, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if r := b.ok("fmt", "--overwrite"); r.stdout+r.stderr != "" {
			t.Errorf("fmt says %+v", r)
		}
		text, err := os.ReadFile(file)
		info, _ := os.Stat(file)
		if err != nil || string(text) != formatted || info.Mode().Perm() != 0o640 {
			t.Fatalf("%q %v %v", text, info.Mode(), err)
		}
		if os.SameFile(old, info) {
			t.Error("the file was written in place")
		}
		if list, _ := filepath.Glob(filepath.Join(b.dir, ".fmt*")); len(list) > 0 {
			t.Errorf("left behind: %v", list)
		}
	}
	if info, err := os.Lstat(filepath.Join(b.dir, "Caddyfile")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is no link any more: %v %v", info, err)
	}
}

// holds reports whether text has the part; an empty part is all of it.
func holds(text, part string) bool {
	if part == "" {
		return text == ""
	}
	return strings.Contains(text, part)
}
