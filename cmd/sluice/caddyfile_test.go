package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// caddysite is a Caddyfile with one site that says one thing.
func caddysite(port int, text string) string {
	return fmt.Sprintf("http://127.0.0.1:%d {\n\trespond %q\n}\n", port, text)
}

// adapted is what adapt prints for a site :80 that says hi.
const (
	saysHi  = ":80 {\n\trespond hi\n}\n"
	adapted = `{"apps":{"http":{"servers":{"srv0":{"listen":[":80"],"routes":[{"handle":[{"body":"hi","handler":"static_response"}]}]}}}}}` + "\n"
)

func TestAdaptCommand(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.write("other.txt", saysHi)
	b.write("odd", ":80 {\n respond hi\n}\n")
	b.write("port.env", "PORT=80\n")
	b.write("env", ":{$PORT} {\n\trespond hi\n}\n")
	b.write("part", "respond hi\n")
	b.write("main", ":80 {\n\timport part\n}\n")
	b.write("https", "example.com\n")
	for _, c := range []struct {
		args, stdin    string
		code           int
		stdout, stderr string
	}{
		{"--config other.txt", "", 0, adapted, ""},
		{"--config other.txt --adapter caddyfile", "", 0, adapted, ""},
		{"--config -", saysHi, 0, adapted, ""},
		{"--config - --validate", saysHi, 0, adapted, ""},
		{"--config main", "", 0, adapted, ""},
		{"--config -", ":80 {\n\timport part\n}\n", 0, adapted, ""}, // from the working directory
		{"--config env --envfile port.env", "", 0, adapted, ""},
		{"--config odd", "", 0, adapted, `"logger":"caddyfile","msg":"Caddyfile input is not formatted; run 'sluice fmt --overwrite' to fix inconsistencies","file":"odd","line":2}`},
		{"--config -", "localhost {\n", 1, "", "adapting config using caddyfile: "},
		{"--config -", ":80 {\n\timport none\n}\n", 1, "", "File to import not found: none, at Caddyfile:2"},
		{"--config https --validate", "", 0, `{"apps":{"http":{"servers":{"srv0":{"listen":[":443"],"routes":[{"match":[{"host":["example.com"]}],"terminal":true}]}}}}}` + "\n", ""},
		{"", "", 1, "", "input file required when there is no Caddyfile in current directory (use --config flag)"},
	} {
		r := b.runWith(c.stdin, append([]string{"adapt"}, strings.Fields(c.args)...)...)
		if r.code != c.code || !strings.Contains(r.stdout, c.stdout) || !strings.Contains(r.stderr, c.stderr) || c.stderr == "" && (r.stderr != "" || r.stdout != c.stdout) {
			t.Errorf("adapt %s: code %d, want %d\nstdout %s\nwant   %s\nstderr %s\nwant   %s", c.args, r.code, c.code, r.stdout, c.stdout, r.stderr, c.stderr)
		}
	}
	b.write("Caddyfile", saysHi)
	if r := b.ok("adapt"); r.stdout != adapted || r.stderr != "" {
		t.Errorf("the Caddyfile in the working directory: %+v", r)
	}
	r := b.ok("adapt", "--pretty")
	var indented strings.Builder
	enc := json.NewEncoder(&indented)
	enc.SetIndent("", "\t")
	if err := enc.Encode(json.RawMessage(adapted)); err != nil || r.stdout != indented.String() {
		t.Errorf("--pretty prints %s\nwant %s", r.stdout, indented.String())
	}
	if r := b.ok("validate"); r.stdout != "Valid configuration\n" {
		t.Errorf("validate says %+v", r)
	}
	b.write("Caddyfile", ":80 {\n respond hi\n}\n")
	if r := b.ok("validate"); !strings.Contains(r.stderr, `"file":"Caddyfile","line":2,"adapter":"caddyfile"`) {
		t.Errorf("validate does not warn: %s", r.stderr)
	}
}

// All problems of a Caddyfile are found at once, also those that only the
// document shows.
func TestProblemsNameLinesOfTheCaddyfile(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	b.write("sites", "http://127.0.0.1:1 {\n\trespnd a\n}\n\nhttp://127.0.0.1:2 {\n\treverse_prxy b\n}\n")
	b.write("Caddyfile", "import sites\n")
	r := b.fails("adapting config using caddyfile: ", "validate")
	for _, part := range []string{`"problems":[`, "sites:2: unrecognized directive: respnd", "sites:6: unrecognized directive: reverse_prxy"} {
		if !strings.Contains(r.stderr, part) {
			t.Errorf("%s lacks %s", r.stderr, part)
		}
	}
	broken := "\n\n\thttp://127.0.0.1:%d {\n\turi path_regexp [ x\n}\n"
	b.write("sites", fmt.Sprintf(broken, p))
	place := filepath.Join(b.dir, "sites") + ":4)"
	b.fails(place, "validate")
	b.fails(place, "adapt", "--validate")
	b.fails("loading initial config: /apps/http/servers/srv0/routes/0", "run")
	b.fails(place, "run")
	c := b.up("--store", "none", "--best-effort") // which does not look for Caddyfiles
	b.fails(place, "reload")
	b.write("alone.caddyfile", fmt.Sprintf(broken, p))
	b.fails(`alone.caddyfile`, "reload", "--config", "alone.caddyfile")
	c.term()
}

func TestCaddyfileAndTheOrderOfStart(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	c := b.up()
	b.does("POST", "/load", document("a", site(p, "stored")))
	c.term()

	b.write("Caddyfile", caddysite(p, "caddyfile")) // before the last revision
	c = b.up()
	c.logged("using the Caddyfile in the working directory")
	b.says(p, "caddyfile")
	c.logged("`sluice rollback 1` brings it back")
	var rev struct {
		Source     string
		SourceType string `json:"source_type"`
		Origin     string
	}
	if err := json.Unmarshal([]byte(b.does("GET", "/revisions/2", "")), &rev); err != nil {
		t.Fatal(err)
	}
	if rev.Source != caddysite(p, "caddyfile") || rev.SourceType != "caddyfile" || rev.Origin != "file "+filepath.Join(b.dir, "Caddyfile") {
		t.Errorf("the revision is %+v", rev)
	}
	b.does("PATCH", "/config/apps/http/servers/srv0/routes/0/handle/0/routes/0/handle/0/body", `"edited"`)
	c.term()

	c = b.up("--resume") // before the Caddyfile
	b.says(p, "edited")
	c.term()
	c = b.up("--revision", "1")
	b.says(p, "stored")
	c.term()
	c = b.up("--best-effort") // is for the last revision
	b.says(p, "stored")
	c.term()
	file := b.write("s.json", document("a", site(p, "file")))
	c = b.up("--config", file)
	b.says(p, "file")
	c.term()
	c = b.up("--resume", "--store", "none") // the autosaved document
	b.says(p, "file")
	c.term()
	os.Remove(filepath.Join(b.dir, "c/sluice/autosave.json"))
	c = b.up("--resume", "--store", "none") // there is none
	b.says(p, "caddyfile")
	c.term()
	b.write("Caddyfile", "{\n")
	b.fails("loading initial config: adapting config using caddyfile: ", "run")
	os.Remove(filepath.Join(b.dir, "Caddyfile"))
	b.up()
	b.says(p, "file")
}

func TestRunReadsACaddyfile(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	b.setenv("PORT", fmt.Sprint(p))
	if err := os.Mkdir(filepath.Join(b.dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.write("sub/part", "respond {$WHAT:nothing}\n")
	b.write("sub/x.caddyfile", "http://127.0.0.1:{$PORT} {\n import part\n}\n")
	b.write("e.env", "WHAT=something\n")
	c := b.up("--config", "sub/x.caddyfile", "--envfile", "e.env")
	b.says(p, "something")
	c.logged(`"msg":"Caddyfile input is not formatted; run 'sluice fmt --overwrite' to fix inconsistencies","file":"sub/x.caddyfile","line":2,"adapter":"caddyfile"`)
	c.term()
	c = b.spawn(strings.NewReader("http://127.0.0.1:{$PORT} {\n\timport sub/part\n}\n"), "run", "--config", "-", "--adapter", "caddyfile", "--watch")
	c.logged("there is no config file to watch")
	b.says(p, "nothing")
	c.term()
	b.write("admin.caddyfile", fmt.Sprintf("{\n\tadmin 127.0.0.1:%d\n}\n", port(t)))
	r := b.ok("start", "--config", "admin.caddyfile")
	if !strings.HasPrefix(r.stdout, "Successfully started sluice (pid=") {
		t.Errorf("start says %+v", r)
	}
	b.ok("stop", "--config", "admin.caddyfile")
}

func TestReloadOfACaddyfile(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	last := func() (source, kind string) {
		t.Helper()
		var rev struct {
			Source     string
			SourceType string `json:"source_type"`
		}
		if err := json.Unmarshal([]byte(b.does("GET", fmt.Sprintf("/revisions/%d", b.revision()), "")), &rev); err != nil {
			t.Fatal(err)
		}
		return rev.Source, rev.SourceType
	}
	b.up()
	b.fails("no config file to load", "reload")
	b.write("Caddyfile", caddysite(p, "one"))
	b.ok("reload")
	b.says(p, "one")
	if source, kind := last(); source != caddysite(p, "one") || kind != "caddyfile" {
		t.Errorf("the revision has the text %q of type %q", source, kind)
	}
	// What needs files or variables of this process is sent as JSON.
	b.write("part", "respond {$WHAT}\n")
	b.write("x.caddyfile", fmt.Sprintf("http://127.0.0.1:%d {\n\timport part\n}\n", p))
	b.setenv("WHAT", "two")
	b.ok("reload", "--config", "x.caddyfile")
	b.says(p, "two")
	if source, kind := last(); source != "" || kind != "" {
		t.Errorf("the revision has the text %q of type %q", source, kind)
	}
	n := b.revision()
	b.ok("reload", "--config", "x.caddyfile")
	if b.revision() != n {
		t.Error("a reload of the same made a revision")
	}
	b.write("x", caddysite(p, "three"))
	b.ok("reload", "--config", "x", "--adapter", "caddyfile")
	b.says(p, "three")
	b.write("x", "http:// {\n respond\n")
	b.fails("adapting config using caddyfile: ", "reload", "--config", "x", "--adapter", "caddyfile")
	b.says(p, "three")
}

func TestWatchOfACaddyfile(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	says := func(want string) {
		t.Helper()
		eventually(t, "answer "+want, func() bool {
			_, got := fetch(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/", p), "")
			return got == want
		})
	}
	b.write("part", "respond one\n")
	main := fmt.Sprintf("http://127.0.0.1:%d {\n\timport part\n\timport more/*\n}\n", p)
	b.write("Caddyfile", main)
	c := b.up("--watch")
	says("one")
	b.write("part", "respond two\n") // an imported file
	says("two")
	b.write("part", "respnd three\n")
	c.logged("cannot read the changed config file; watching goes on")
	c.logged("unrecognized directive: respnd")
	b.says(p, "two")
	b.write("part", "respond three\n")
	says("three")
	b.write("Caddyfile", strings.Replace(main, "import part", "uri path_regexp [ x", 1)) // adapts, but is not valid
	c.logged("applying latest config")
	c.logged("(Caddyfile:2)")
	b.says(p, "three")
	n := b.revision()
	b.write("Caddyfile", "# a comment\n"+main)
	c.logged("config is unchanged")
	if b.revision() != n {
		t.Error("a comment made a revision")
	}
	if err := os.Mkdir(filepath.Join(b.dir, "more"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.write("more/a", "header X-A b\n")
	eventually(t, "the new file", func() bool { return strings.Contains(b.does("GET", "/config/", ""), "X-A") })
}

// A Caddyfile that is sent to the admin API can import, and its problems have
// places, too.
func TestAPITakesCaddyfiles(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	b.write("part", "respond hi\n")
	b.up()
	post := func(path, text string) (int, string) {
		t.Helper()
		return send(t, "POST", "http://"+b.admin+path, "text/caddyfile", text)
	}
	text := fmt.Sprintf("http://127.0.0.1:%d {\n\timport part\n}\n", p)
	if status, got := post("/load", text); status != 200 || got != "" {
		t.Errorf("load: %d %s", status, got)
	}
	b.says(p, "hi")
	if status, got := post("/load", strings.Replace(text, "\timport", "import", 1)); status != 200 || !strings.Contains(got, "not formatted") {
		t.Errorf("a text that is not formatted: %d %s", status, got)
	}
	if status, got := post("/load", ":80 {\n\trespnd\n}\n"); status != 400 || !strings.Contains(got, "adapting config using caddyfile adapter: Caddyfile:2: unrecognized directive: respnd") {
		t.Errorf("a text that is broken: %d %s", status, got)
	}
	if status, got := post("/adapt", saysHi); status != 200 || got != `{"result":`+strings.TrimSpace(adapted)+"}\n" {
		t.Errorf("adapt: %d %s", status, got)
	}
}
