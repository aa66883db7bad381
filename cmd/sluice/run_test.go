package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStartsEmptyAndStops(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	c := b.up()
	if got := b.does("GET", "/config/", ""); got != "null\n" {
		t.Errorf("config is %s", got)
	}
	if n := b.revision(); n != 0 {
		t.Errorf("an empty start made revision %d", n)
	}
	b.does("PUT", "/config/", `{"logging":{}}`) // as after DELETE /config/
	if n := b.revision(); n != 1 {
		t.Errorf("revision %d", n)
	}
	if info, err := os.Stat(filepath.Join(b.dir, "d/sluice/sluice.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("store: %v %v", info, err)
	}
	if r := b.ok("stop"); r.stdout != "" {
		t.Errorf("stop says %q", r.stdout)
	}
	c.exits(0)
	for _, line := range []string{"exiting; byeee!!", `"msg":"shutdown complete","exit_code":0`, "admin endpoint started"} {
		if !strings.Contains(c.stderr.String(), line) {
			t.Errorf("log lacks %q", line)
		}
	}
	b.fails("connection refused", "stop")
}

func TestTakesUpTheLastRevisionAfterAKill(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	c := b.up()
	b.does("POST", "/load", document("a", site(p, "one")))
	b.does("PATCH", bodyPath, `"two"`)
	b.says(p, "two")
	_ = c.cmd.Process.Kill()
	<-c.ended
	c = b.up()
	b.says(p, "two")
	if n := b.revision(); n != 2 {
		t.Errorf("revision %d, want 2: a start is no change", n)
	}
	b.does("DELETE", "/config/", "")
	c.term()
	b.up()
	if got := b.does("GET", "/config/", ""); got != "null\n" {
		t.Errorf("after a deletion and a restart the document is %s", got)
	}
	b.does("PUT", "/config/", `{"apps":{}}`) // only possible where there is none
	if n := b.revision(); n != 4 {
		t.Errorf("revision %d, want 4", n)
	}
}

func TestConfigOverNewerEdits(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	file := b.write("s.json", document("a", site(p, "file")))
	c := b.up("--config", file)
	b.says(p, "file")
	b.does("PATCH", bodyPath, `"edited"`)
	c.term()
	c = b.up("-c", file)
	b.says(p, "file")
	c.logged("`sluice rollback 2` brings it back")
	if n := b.revision(); n != 3 {
		t.Errorf("revision %d, want 3", n)
	}
	r := b.ok("rollback", "2")
	if !strings.Contains(r.stdout, "as revision 4") {
		t.Errorf("rollback says %q", r.stdout)
	}
	b.says(p, "edited")
	if r := b.ok("history"); strings.Count(r.stdout, "\n") != 5 || !strings.Contains(r.stdout, "file "+file) {
		t.Errorf("history:\n%s", r.stdout)
	}
	c.term()
	b.write("s.json", document("a", site(p, "new file")))
	if c = b.up("-c", file); !strings.Contains(c.stderr.String(), "rollback 4") {
		t.Error("no warning about revision 4, which did not come from the file")
	}
	c.term()
	b.write("s.json", document("a", site(p, "newer file")))
	if c = b.up("-c", file); strings.Contains(c.stderr.String(), "rollback") {
		t.Error("a warning although only the file was changed")
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	file := b.write("s.json", document("a", site(p, "file")))
	c := b.up("--resume", "--store", "none", "--config", file)
	c.logged("no autosave file exists")
	b.says(p, "file")
	b.does("PATCH", bodyPath, `"edited"`)
	c.term()
	saved := filepath.Join(b.dir, "c/sluice/autosave.json")
	if info, err := os.Stat(saved); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("autosave file: %v %v", info, err)
	}
	if list, _ := filepath.Glob(filepath.Join(b.dir, "c/sluice/*")); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "d")); err == nil {
		t.Error("--store none made a data directory")
	}
	c = b.up("--resume", "--store", "none", "--config", file)
	c.logged("ignoring --config")
	b.says(p, "edited")
	b.does("POST", "/config/admin", `{"config":{"persist":false}}`)
	b.does("PATCH", bodyPath, `"unsaved"`)
	c.term()
	if text, _ := os.ReadFile(saved); !strings.Contains(string(text), "edited") {
		t.Errorf("persist is false, and yet the autosave file became %s", text)
	}
	c = b.up("--resume") // the store is empty
	b.says(p, "edited")
	b.does("PATCH", bodyPath, `"stored"`)
	c.term()
	b.write("c/sluice/autosave.json", document("a", site(p, "autosaved")))
	c = b.up("--resume")
	b.says(p, "stored") // the store wins
}

func TestResumeWithADamagedAutosave(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	if err := os.MkdirAll(filepath.Join(b.dir, "c/sluice"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.write("c/sluice/autosave.json", `{"apps`)
	b.fails("config is not valid JSON", "run", "--resume")
}

func TestASecondRunOnOneStoreFails(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	c := b.up()
	b.setenv("SLUICE_ADMIN", fmt.Sprintf("127.0.0.1:%d", port(t)))
	start := time.Now()
	r := b.fails("is in use by process "+fmt.Sprint(c.cmd.Process.Pid), "run")
	if d := time.Since(start); d > 2*time.Second { // 1 s, and a race detector's start
		t.Errorf("took %v", d)
	}
	if !strings.Contains(r.stderr, filepath.Join(b.dir, "d/sluice/sluice.db")) {
		t.Errorf("the path is missing: %s", r.stderr)
	}
	// What does not need the store does not mind.
	file := b.write("s.json", document("a", site(p, "x")))
	b.ok("validate", "--config", file)
	b.ok("adapt", "--config", file, "--adapter", "json", "--validate")
	b.ok("reload", "--config", file, "--address", b.admin)
	b.says(p, "x")
	b.fails("no instance answers", "history")
	other := b.up("--store", filepath.Join(b.dir, "other.db"))
	other.term()
}

func TestOtherOrdersOfStart(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	file := b.write("s.json", document("a", site(p, "file")))
	for _, args := range [][]string{
		{"--revision", "1", "--config", file}, {"--revision", "1", "--resume"},
		{"--revision", "1", "--best-effort"}, {"--best-effort", "--config", file},
	} {
		b.fails("cannot be used", append([]string{"run"}, args...)...)
	}
	b.fails("cannot adapt config without config file", "run", "--adapter", "caddyfile")
	b.fails("loading initial config: reading config from file: open nope.json", "run", "--config", "nope.json")
	b.fails("not found", "run", "--revision", "7")
	b.fails("unrecognized config adapter: yaml", "run", "--config", file, "--adapter", "yaml")
}

func TestBrokenConfigFile(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	file := b.write("bad.json", "{\"apps\":{\"http\":{\"servers\":{\"x\":{\n \"listn\":[\":80\"]}}}}}")
	r := b.fails("loading initial config: /apps/http/servers/x/listn (line 2, column 10)", "run", "--config", file)
	if !strings.Contains(r.stderr, `did you mean \"listen\"`) {
		t.Error(r.stderr)
	}
	b.fails("line 2", "validate", "--config", file)
}

func TestLastRevisionNoLongerStarts(t *testing.T) {
	t.Parallel()
	b, good, bad := newBox(t), port(t), port(t)
	c := b.up()
	b.does("POST", "/load", document("a", site(good, "good")))
	b.does("PUT", "/config/apps/http/servers/b", site(bad, "bad"))
	c.term()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", bad))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	want := b.wholeDocument(good, bad)

	c = b.up()
	c.logged("the last revision does not start")
	c.logged("sluice run --best-effort")
	c.logged("sluice run --revision N")
	if status, text := b.call("GET", "/readyz", ""); status != 503 || !strings.Contains(text, fmt.Sprint(bad)) {
		t.Errorf("readyz: %d %s", status, text)
	}
	if status, _ := b.call("GET", "/healthz", ""); status != 200 {
		t.Errorf("healthz: %d", status)
	}
	if got := b.does("GET", "/config/", ""); got != want {
		t.Errorf("the document is %s\nwant %s", got, want)
	}
	b.does("DELETE", "/config/apps/http/servers/b", "")
	b.says(good, "good")
	if n := b.revision(); n != 3 {
		t.Errorf("revision %d, want 3", n)
	}
	c.term()

	b.fails("address is in use", "run", "--revision", "2")
	c = b.up("--revision", "1")
	b.says(good, "good")
}

// wholeDocument is the canonical form of two sites.
func (b *box) wholeDocument(good, bad int) string {
	var v any
	if err := json.Unmarshal([]byte(document("a", site(good, "good"), "b", site(bad, "bad"))), &v); err != nil {
		b.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	return string(text) + "\n"
}

func TestAdminAddressTaken(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	ln, err := net.Listen("tcp", b.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file := b.write("s.json", `{"apps":{}}`)
	for _, args := range [][]string{{"run"}, {"run", "--config", file}, {"run", "--config", file, "--store", "none"}} {
		b.fails("is another instance running?", args...)
	}
	// A stored document whose own admin address is taken, too, can still be
	// reached, by the owner of the data directory.
	b.setenv("SLUICE_ADMIN", fmt.Sprintf("127.0.0.1:%d", port(t)))
	c := b.up("--config", b.write("s.json", fmt.Sprintf(`{"admin":{"listen":"127.0.0.1:%d"},"apps":{}}`, port(t))))
	c.term()
	blocked, err := net.Listen("tcp", b.documentAdmin("s.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer blocked.Close()
	b.setenv("SLUICE_ADMIN", b.admin)
	c = b.up()
	c.logged("the last revision does not start")
	b.ok("stop", "--address", "unix/"+filepath.Join(b.dir, "d/sluice/admin.sock"))
	c.exits(0)
}

// documentAdmin is the admin address that a file names.
func (b *box) documentAdmin(file string) string {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, file))
	if err != nil {
		b.Fatal(err)
	}
	var doc struct{ Admin struct{ Listen string } }
	if err := json.Unmarshal(text, &doc); err != nil {
		b.Fatal(err)
	}
	return doc.Admin.Listen
}
