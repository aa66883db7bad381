package environment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseEnv(t *testing.T) {
	for _, c := range []struct{ text, want string }{ // want: KEY=VALUE pairs between |, or an error
		{"", ""},
		{"\n  \n# a comment\n  # another\n", ""},
		{"KEY=value", "KEY=value"},
		{"\ufeffKEY=value\r\nB=c\r\n", "KEY=value|B=c"},
		{"  KEY=value  ", "KEY=value"},
		{"KEY=a=b", "KEY=a=b"},
		{"export KEY=value", "KEY=value"},
		{"OTHER_KEY=Some Value", "OTHER_KEY=Some Value"},
		{`SIMPLE_QUOTED="quoted value"`, "SIMPLE_QUOTED=quoted value"},
		{`Q='single "double" quoted'`, `Q=single "double" quoted`},
		{"NEWLINES=\"foo\n\tbar\"\nB=c", "NEWLINES=foo\n\tbar|B=c"},
		{"ESCAPED=\"\\\"escaped quotes\\\"\nhere\"", "ESCAPED=\"escaped quotes\"\nhere"},
		{"A=\"one\n\ntwo \\\"\nthree\"\r\nB=c", "A=one\n\ntwo \"\nthree|B=c"},
		{"EMPTY=", "EMPTY="},
		{`EMPTY=""`, "EMPTY="},
		{"COMMENT=foo bar  # x", "COMMENT=foo bar"},
		{`INSIDE="a # b"` + "\nB=c", "INSIDE=a|B=c"},
		{"ALL=# x", "ALL="},
		{`WHITESPACE="   foo bar "`, "WHITESPACE=   foo bar "},
		{"OPEN=\"a\nb\n", "OPEN=a\nb"},
		{"NEXT=\"\na\"\nB=c", "NEXT=\na|B=c"},
		{"NOVAR=$HOME", "NOVAR=$HOME"},
		{"A=1\nA=2", "A=1|A=2"},
		{"A=1\nNOTHING", "!can't parse line 2; line should be in KEY=VALUE format"},
		{"=value", "!missing or empty key on line 1"},
		{"export =x", "!missing or empty key on line 1"},
		{"INVALID KEY=x", "!invalid key on line 1: contains whitespace: INVALID KEY"},
		{"\nWHITESPACE=   foo", "!invalid value on line 2: whitespace before value: WHITESPACE"},
		{"T=\tfoo", "!invalid value on line 1: whitespace before value: T"},
	} {
		list, err := parseEnv(c.text)
		var got []string
		for _, v := range list {
			got = append(got, v.key+"="+v.value)
		}
		text := strings.Join(got, "|")
		if err != nil {
			text = "!" + err.Error()
		}
		if text != c.want {
			t.Errorf("%q: %q, want %q", c.text, text, c.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	t.Setenv("SLUICE_TEST_KEPT", "kept")
	for _, key := range []string{"SLUICE_TEST_A", "SLUICE_TEST_B"} {
		t.Setenv(key, "") // so that it is restored
		os.Unsetenv(key)
	}
	first := write("first", "SLUICE_TEST_A=first\nSLUICE_TEST_KEPT=no\n")
	second := write("second", "SLUICE_TEST_A=second\nSLUICE_TEST_B=second\n")
	if err := Load([]string{first, second}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"SLUICE_TEST_A": "first", "SLUICE_TEST_B": "second", "SLUICE_TEST_KEPT": "kept"} {
		if got := os.Getenv(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for file, want := range map[string]string{
		filepath.Join(dir, "none"): "loading additional environment variables: open ",
		write("bad", "A"):          "bad: can't parse line 1",
		write("nul", "A=\x00"):     "setting environment variable A from ",
	} {
		if err := Load([]string{file}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}
