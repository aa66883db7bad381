package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/storage"
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

func TestAdminAddress(t *testing.T) {
	env := func(pairs ...string) func(string) (string, bool) {
		return func(key string) (string, bool) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == key {
					return pairs[i+1], true
				}
			}
			return "", false
		}
	}
	for _, c := range []struct {
		flag, doc string
		env       []string
		want      string
	}{
		{"", "null", nil, "tcp/localhost:2019"},
		{"", "null", []string{"CADDY_ADMIN", "localhost:1"}, "tcp/localhost:1"},
		{"", "null", []string{"CADDY_ADMIN", "localhost:1", "SLUICE_ADMIN", "localhost:2"}, "tcp/localhost:2"},
		{"", "null", []string{"CADDY_ADMIN", "localhost:1", "SLUICE_ADMIN", ""}, "tcp/localhost:2019"},
		{"", `{"admin":{"listen":"localhost:3"}}`, []string{"SLUICE_ADMIN", "localhost:2"}, "tcp/localhost:3"},
		{"", `{"admin":{}}`, []string{"SLUICE_ADMIN", "localhost:2"}, "tcp/localhost:2"},
		{"", `{"admin":[]}`, nil, "tcp/localhost:2019"},
		{"localhost:4", `{"admin":{"listen":"localhost:3"}}`, nil, "tcp/localhost:4"},
		{"example.com", "null", nil, "tcp/example.com:2019"},
		{"[::1]:5", "null", nil, "tcp/[::1]:5"},
		{"unix//run/a.sock|0220", "null", nil, "unix//run/a.sock|0220"},
		{"", `{"admin":{"listen":"{env.X}:3"}}`, nil, "tcp/{env.X}:3"}, // as written
		{"localhost:1-2", "null", nil, "!range"},
		{"fd/3", "null", nil, "!--address"},
		{"localhost:x", "null", nil, "!admin address"},
	} {
		root, _, err := config.Parse([]byte(c.doc), config.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		p := &program{defaultAdmin: defaultAdmin(env(c.env...))}
		a, err := p.adminAddress(c.flag, root)
		if part, fails := strings.CutPrefix(c.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%+v: %v %v", c, a, err)
			}
			continue
		}
		if err != nil || a.String() != c.want {
			t.Errorf("%+v: %v %v", c, a, err)
		}
		if a.IsUnix() && newClient(a).address.JoinHostPort(0) != "/run/a.sock" {
			t.Error("the mode is part of the path")
		}
	}
}

func TestDirectories(t *testing.T) {
	for _, c := range []struct{ system, env, config, data string }{
		{"linux", "HOME=/h", "/h/.config/sluice", "/h/.local/share/sluice"},
		{"freebsd", "HOME=/h XDG_CONFIG_HOME=/c XDG_DATA_HOME=/d", "/c/sluice", "/d/sluice"},
		{"linux", "", "./sluice", "./sluice"},
		{"darwin", "HOME=/h", "/h/Library/Application Support/Sluice", "/h/Library/Application Support/Sluice"},
		{"darwin", "HOME=/h XDG_DATA_HOME=/d", "/h/Library/Application Support/Sluice", "/d/sluice"},
		{"windows", "AppData=/a USERPROFILE=/u", "/a/Sluice", "/a/Sluice"},
		{"plan9", "home=/p", "/p/lib/sluice", "/p/lib/sluice"},
		{"android", "HOME=/h", "/h/.config/sluice", "/h/sluice"},
	} {
		vars := map[string]string{}
		for _, kv := range strings.Fields(c.env) {
			k, v, _ := strings.Cut(kv, "=")
			vars[k] = v
		}
		d := findDirectories(c.system, func(k string) string { return vars[k] })
		if filepath.ToSlash(d.config) != c.config || filepath.ToSlash(d.data) != c.data {
			t.Errorf("%s %s: %+v", c.system, c.env, d)
		}
		if d.guessed != (c.env == "") {
			t.Errorf("%s %s: guessed is %v", c.system, c.env, d.guessed)
		}
	}
	for _, c := range []struct {
		env  []string
		want bool
	}{{nil, true}, {[]string{"HOME"}, false}, {[]string{"XDG_CONFIG_HOME", "XDG_DATA_HOME"}, true},
		{[]string{"XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"}, false}} {
		got := homeMissing("linux", func(k string) string {
			if slices.Contains(c.env, k) {
				return "/x"
			}
			return ""
		})
		if got != c.want {
			t.Errorf("homeMissing with %v: %v", c.env, got)
		}
	}
}

func TestAdapterFor(t *testing.T) {
	for _, c := range []struct{ file, flag, want string }{
		{"Caddyfile", "", "caddyfile"}, {"./Caddyfile", "", "caddyfile"}, {"Caddyfile.prd", "", "caddyfile"},
		{"./conf.caddyfile", "", "caddyfile"}, {"./Caddyfile", "caddyfile", "caddyfile"}, {"./Caddyfile.yaml", "yaml", "yaml"},
		{"./Caddyfile.json", "", "json"}, {"x.json", "", "json"}, {"x", "", "json"}, {"-", "", "json"}, {"/Caddyfile/x", "", "json"},
	} {
		if got := adapterFor(c.file, c.flag); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.file, c.flag, got, c.want)
		}
	}
}

func TestReplay(t *testing.T) {
	edit := func(verb, path, body string) storage.Edit {
		e := storage.Edit{Verb: verb, Path: path}
		if body != "" {
			e.Body = []byte(body)
		}
		return e
	}
	for _, c := range []struct {
		doc   string
		edits []storage.Edit
		want  string
	}{
		{`{"a":[1]}`, []storage.Edit{edit("POST", "/a", "2"), edit("PUT", "/a/0", "0"), edit("PATCH", "/a/1", `{"x":null}`), edit("DELETE", "/a/2", "")}, `{"a":[0,{"x":null}]}`},
		{`{"a":[1]}`, []storage.Edit{edit("POST", "/a/...", "[2,3]")}, `{"a":[1,2,3]}`},
		{`{"a/b":{"~":1}}`, []storage.Edit{edit("PATCH", "/a~1b/~0", "2")}, `{"a/b":{"~":2}}`},
		{`{"a":1}`, []storage.Edit{edit("PATCH", "/a", "null")}, `{"a":null}`},
		{`{"a":1}`, []storage.Edit{edit("DELETE", "", "")}, ""},
		{`{"a":1}`, []storage.Edit{edit("DELETE", "", ""), edit("PUT", "/b", "1")}, `{"b":1}`},
		{"", []storage.Edit{edit("PUT", "", `{"b":1}`)}, `{"b":1}`},   // it had been deleted
		{"", []storage.Edit{edit("PATCH", "", `{"b":1}`)}, `{"b":1}`}, // it was null
		{"", []storage.Edit{edit("POST", "", `{"b":1}`)}, `{"b":1}`},
		{`{"a":1}`, []storage.Edit{edit("POST", "", "null")}, ""},
		{`{"a":1}`, []storage.Edit{edit("PATCH", "/b", "1")}, "!replaying PATCH /b"},
		{`{"a":1}`, []storage.Edit{edit("BREW", "/b", "1")}, "!unknown verb"},
		{`{"a":1}`, []storage.Edit{edit("POST", "b", "1")}, "!malformed path"},
	} {
		got, err := replay([]byte(c.doc), c.edits)
		text := string(got)
		if err != nil {
			text = "!" + err.Error()
		}
		if text != c.want && !(strings.HasPrefix(c.want, "!") && strings.Contains(text, c.want[1:])) {
			t.Errorf("%s %v: %s, want %s", c.doc, c.edits, text, c.want)
		}
		if c.want == "" && got != nil {
			t.Errorf("%s: the null document is %q, not nil", c.doc, got)
		}
	}
	if fmt.Sprint(storedDigest(nil)) != fmt.Sprint(config.NewNull().Digest()) {
		t.Error("the digest of the null document is not that of null")
	}
}
