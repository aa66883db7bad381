package configfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/schema"
)

func TestLanguageOf(t *testing.T) {
	for _, c := range []struct{ file, flag, want string }{
		{"Caddyfile", "", "caddyfile"}, {"./Caddyfile", "", "caddyfile"}, {"Caddyfile.prd", "", "caddyfile"},
		{"./conf.caddyfile", "", "caddyfile"}, {"./Caddyfile", "caddyfile", "caddyfile"}, {"./Caddyfile.yaml", "yaml", "yaml"},
		{"./Caddyfile.json", "", "json"}, {"x.json", "", "json"}, {"x", "", "json"}, {"-", "", "json"}, {"/Caddyfile/x", "", "json"},
	} {
		if got := LanguageOf(c.file, c.flag); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.file, c.flag, got, c.want)
		}
	}
}

// reader reads in a directory of its own, with some variables.
func reader(t *testing.T, stdin string) *Reader {
	t.Helper()
	t.Chdir(t.TempDir())
	a := adapttest.Adapter(t)
	return &Reader{Stdin: strings.NewReader(stdin), Files: caddyfile.OSFiles(),
		Adapter:   func() (*adapt.Adapter, error) { return a, nil },
		LookupEnv: func(name string) (string, bool) { return "value of " + name, name == "SET" }}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	hi   = ":80 {\n\trespond hi\n}\n"
	hiIs = `{"apps":{"http":{"servers":{"srv0":{"listen":[":80"],"routes":[{"handle":[{"body":"hi","handler":"static_response"}]}]}}}}}`
)

func TestRead(t *testing.T) {
	for _, c := range []struct{ file, text, adapter, want string }{
		{"a.json", `{"a": 1}`, "", `json {"a":1}`},
		{"a.json", ``, "", `json null`},
		{"a.json", hi, "", "!config is not valid JSON: "},
		{"a.json", hi, "", "!did you mean to use a config adapter (the --adapter flag)?"},
		{"a.json", hi, "caddyfile", "caddyfile " + hiIs},
		{"Caddyfile", hi, "", "caddyfile " + hiIs},
		{"sub/site.caddyfile", hi, "", "caddyfile " + hiIs},
		{"Caddyfile", `{"a":1}`, "json", `json {"a":1}`},
		{"Caddyfile", `{"a":1}`, "", "!; it is JSON: read it with --adapter json"},
		{"Caddyfile", ":80 {\n respnd hi\n}", "", "!adapting config using caddyfile: Caddyfile:2: unrecognized directive: respnd"},
		{"Caddyfile", ":80 {\n respond hi\n", "", "!Caddyfile:"},
		{"Caddyfile", hi, "yaml", "!unrecognized config adapter: yaml"},
		{"none", "", "", "!reading config from file: open none: no such file or directory"},
		{"-", hi, "caddyfile", "caddyfile " + hiIs},
		{"-", `{"a":1}`, "", `json {"a":1}`},
		{"-", ":80 {\n respnd hi\n}", "caddyfile", "!Caddyfile:2: "},
		{"", "", "", "!no config file to load"},
		{"", "", "caddyfile", "!cannot adapt config without config file (use --config)"},
	} {
		t.Run(c.file+c.adapter, func(t *testing.T) {
			r := reader(t, c.text)
			if c.file != "none" && c.file != "-" && c.file != "" {
				write(t, c.file, c.text)
			}
			f, err := r.Read(c.file, c.adapter)
			got := ""
			if err != nil {
				got = "!" + err.Error()
			} else {
				got = f.Language + " " + string(f.Root.AppendJSON(nil))
			}
			if got != c.want && !(c.want[0] == '!' && got[0] == '!' && strings.Contains(got, c.want[1:])) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	if _, err := reader(t, "").Read("", ""); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

func TestOriginAndSource(t *testing.T) {
	r := reader(t, "{}")
	write(t, "Caddyfile", hi)
	write(t, "a.json", "{}")
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, origin, source, language string }{
		{"Caddyfile", "file " + filepath.Join(dir, "Caddyfile"), hi, "caddyfile"},
		{"a.json", "file " + filepath.Join(dir, "a.json"), "", ""},
		{"-", "standard input", "", ""},
	} {
		f, err := r.Read(c.file, "")
		if err != nil {
			t.Fatal(err)
		}
		source, language := f.Source()
		if f.Origin() != c.origin || string(source) != c.source || language != c.language {
			t.Errorf("%s: %s, %q, %s", c.file, f.Origin(), source, language)
		}
	}
}

func TestWarnings(t *testing.T) {
	r := reader(t, "")
	write(t, "a.json", "{\"a\":1,\n\"a\":2}")
	write(t, "Caddyfile", ":80 {\n respond hi\n}\n")
	for file, want := range map[string]string{"a.json": "a.json:2 /a ", "Caddyfile": "Caddyfile:2  Caddyfile input is not formatted;"} {
		f, err := r.Read(file, "")
		if err != nil || len(f.Warnings) != 1 {
			t.Fatalf("%s: %v %+v", file, err, f)
		}
		w := f.Warnings[0]
		if got := fmt.Sprintf("%s:%d %s %s", w.File, w.Line, w.Pointer, w.Message); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}

func TestLocate(t *testing.T) {
	r := reader(t, "")
	write(t, "a.json", "{\n \"a\": {\n  \"b\": 1}}")
	write(t, "Caddyfile", ":80 {\n\tredir /x /y\n\trespond hi\n}\n")
	write(t, "main.caddyfile", "import Caddyfile\n")
	for _, c := range []struct{ file, pointer, want string }{
		{"a.json", "/a/b", "a.json:3:8"},
		{"a.json", "/a/b/none", "a.json:3:8"},
		{"a.json", "/none", "a.json:1:1"},
		{"Caddyfile", "/apps/http/servers/srv0/routes/1/handle/0", "Caddyfile:3:0"},
		{"main.caddyfile", "/apps/http/servers/srv0/routes/1/handle/0/body", "/Caddyfile:3:0"},
	} {
		f, err := r.Read(c.file, "")
		if err != nil {
			t.Fatal(err)
		}
		p := f.Locate(schema.Problems{{Pointer: c.pointer}})[0]
		if got := fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column); !strings.HasSuffix(got, c.want) {
			t.Errorf("%s %s: %s, want %s", c.file, c.pointer, got, c.want)
		}
	}
}

func TestSelfContained(t *testing.T) {
	r := reader(t, "")
	write(t, "part", "respond hi\n")
	for text, want := range map[string]bool{
		hi: true,
		"(s) {\n\trespond hi\n}\n:80 {\n\timport s\n}\n": true,
		":80 {\n\timport part\n}\n":                      false,
		":80 {\n\timport none*\n}\n":                     false,
		":80 {\n\trespond \"{$SET}\"\n}\n":               false,
		":80 {\n\trespond {$UNSET:hi}\n}\n":              false,
		":80 {\n\trespond {env.SET}\n}\n":                true, // the running process replaces it
	} {
		write(t, "Caddyfile", text)
		f, err := r.Read("Caddyfile", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := f.SelfContained(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestWatch(t *testing.T) {
	r := reader(t, "")
	write(t, "Caddyfile", ":80 {\n\timport part\n\timport more/*\n}\n")
	write(t, "part", "respond one\n")
	f, err := r.Read("Caddyfile", "")
	if err != nil {
		t.Fatal(err)
	}
	w := f.Watch()
	for _, c := range []struct {
		what   string
		change func()
		want   string // part of the document; "!" and part of an error; "-" for nothing
	}{
		{"nothing", func() {}, "-"},
		{"an imported file", func() { write(t, "part", "respond two\n") }, "two"},
		{"the same again", func() { write(t, "part", "respond two\n") }, "-"},
		{"a new file in a pattern", func() { write(t, "more/a", "redir /x /y\n") }, `"Location":["/y"]`},
		{"that file", func() { write(t, "more/a", "redir /x /z\n") }, `"Location":["/z"]`},
		{"it goes", func() { os.Remove("more/a") }, "two"},
		{"an imported file breaks", func() { write(t, "part", "respnd two\n") }, "!respnd"},
		{"it stays broken", func() {}, "-"},
		{"it is mended", func() { write(t, "part", "respond three\n") }, "three"},
		{"an imported file goes", func() { os.Remove("part") }, "!part"},
		{"it stays away", func() {}, "-"},
		{"it comes back", func() { write(t, "part", "respond four\n") }, "four"},
		{"the file goes", func() { os.Remove("Caddyfile") }, "!no such file"},
		{"it stays away, too", func() {}, "-"},
		{"it comes back alone", func() { write(t, "Caddyfile", ":80 {\n\trespond five\n}\n") }, "five"},
		{"what is not imported any more", func() { write(t, "part", "respond six\n") }, "-"},
	} {
		c.change()
		f, err := w.Poll()
		got := "-"
		switch {
		case err != nil:
			got = "!" + err.Error()
		case f != nil:
			got = string(f.Root.AppendJSON(nil))
		}
		if got[:1] != c.want[:1] && (got[0] == '-' || c.want[0] == '-' || got[0] == '!') || !strings.Contains(got, strings.TrimPrefix(c.want, "!")) {
			t.Fatalf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

func TestWatchIsPossible(t *testing.T) {
	r := reader(t, "{}")
	write(t, "a.json", "{}")
	for _, c := range []struct {
		file string
		want bool
	}{{"-", false}, {"a.json", true}, {os.DevNull, false}} {
		f, err := r.Read(c.file, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Watch().Possible(); got != c.want {
			t.Errorf("%s: %v", c.file, got)
		}
	}
}

func TestAdaptWithoutAFile(t *testing.T) {
	r := reader(t, "")
	write(t, "sub/part", "respond hi\n")
	text := []byte(":80 {\n\timport part\n}\n")
	f, err := r.Adapt("sub/Caddyfile", text)
	if err != nil || string(f.Root.AppendJSON(nil)) != hiIs || f.SelfContained() {
		t.Errorf("%+v %v", f, err)
	}
	if _, err := r.Adapt("", text); err == nil || !strings.HasPrefix(err.Error(), "File to import not found: part, at Caddyfile:2") {
		t.Error(err)
	}
	r.Adapter = func() (*adapt.Adapter, error) { return nil, errors.New("none today") }
	if _, err := r.Adapt("", []byte(hi)); err == nil || err.Error() != "none today" {
		t.Error(err)
	}
}

func TestInWorkingDirectory(t *testing.T) {
	reader(t, "")
	if got := InWorkingDirectory(); got != "" {
		t.Error(got)
	}
	if err := os.Mkdir("Caddyfile", 0o700); err != nil {
		t.Fatal(err)
	}
	if got := InWorkingDirectory(); got != "" {
		t.Errorf("a directory: %s", got)
	}
	os.Remove("Caddyfile")
	write(t, "Caddyfile", "")
	if got := InWorkingDirectory(); got != "Caddyfile" {
		t.Error(got)
	}
}
