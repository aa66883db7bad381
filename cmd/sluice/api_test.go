package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// site is a document with one route that answers.
func siteAnswering(b *box, port int, body string) string {
	return fmt.Sprintf(`{"admin":{"listen":%q},"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%d"],"automatic_https":{"disable":true},`+
		`"routes":[{"@id":"a","handle":[{"handler":"static_response","body":%q}]}]}}}}}`, b.admin, port, body)
}

func (b *box) exit(code int, r result) result {
	b.Helper()
	if r.code != code {
		b.Fatalf("exit code %d, want %d\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	return r
}

func TestAPICommand(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	if r := b.exit(exitNobody, b.run("api", "GET", "/config/")); !strings.Contains(r.stderr, "start one with `sluice run`") {
		t.Errorf("nobody there: %s", r.stderr)
	}
	b.up()
	b.write("a.json", siteAnswering(b, port(t), "hi"))
	b.exit(0, b.run("api", "--dry-run", "POST", "/load", "a.json"))
	if r := b.exit(0, b.run("api", "GET", "/config/")); strings.TrimSpace(r.stdout) != "null" {
		t.Errorf("a dry run has changed it: %s", r.stdout)
	}
	b.exit(0, b.run("api", "post", "/load", "a.json"))
	b.exit(0, b.runWith(`"10s"`, "api", "POST", "/config/apps/http/grace_period", "-"))
	if r := b.exit(0, b.run("api", "GET", "/config/apps/http/grace_period")); r.stdout != "\"10s\"\n" {
		t.Errorf("printed %q", r.stdout)
	}
	r := b.exit(exitRefused, b.runWith(`{"handler":"static_response","bdy":1,"close":2}`, "api", "PATCH", "/id/a/handle/0", "-"))
	if lines := strings.Split(strings.TrimSpace(r.stderr), "\n"); len(lines) != 3 || lines[0] != "400 Bad Request" || !strings.Contains(r.stderr, `did you mean "body"?`) {
		t.Errorf("refused: %q", r.stderr)
	}
	etag := strings.TrimSpace(b.exit(0, b.run("api", "GET", "/id/a", "--etag")).stderr)
	b.exit(0, b.runWith(`"ho"`, "api", "PATCH", "/id/a/handle/0/body", "-", "--if-match", etag))
	if r := b.exit(exitConflict, b.run("api", "DELETE", "/id/a", "--if-match", etag)); !strings.HasPrefix(r.stderr, "412 Precondition Failed\n") {
		t.Errorf("changed meanwhile: %q", r.stderr)
	}
	b.exit(exitRefused, b.run("api", "GET", "/nowhere"))
	b.write("Caddyfile", "{\n\tadmin "+b.admin+"\n}\n:"+fmt.Sprint(port(t))+" {\n\trespond adapted\n}\n")
	b.exit(0, b.run("api", "POST", "/load", "Caddyfile"))
	if r := b.exit(0, b.run("api", "GET", "/config/apps/http/servers")); !strings.Contains(r.stdout, "adapted") {
		t.Errorf("a Caddyfile: %s", r.stdout)
	}
	for _, c := range []struct{ args, want string }{
		{"api GET config", "must begin with a slash"},
		{"api GET / -H nonsense", "Name: value"},
		{"api GET", "accepts between 2 and 3 arg"},
		{"api POST /load nowhere.json", "no such file"},
	} {
		b.fails(c.want, strings.Fields(c.args)...)
	}
}

func TestDiffCommand(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	p := port(t)
	b.write("a.json", siteAnswering(b, p, "hi"))
	b.write("b.json", strings.Replace(siteAnswering(b, p, "ho"), `"routes":[`, `"routes":[{"@id":"new"},`, 1))
	b.write("bad.json", strings.Replace(siteAnswering(b, p, "hi"), `"body"`, `"bdy"`, 1))
	c := b.up("--config", "a.json")
	same := b.exit(0, b.run("diff", "a.json"))
	if same.stdout != "" || same.stderr != "" {
		t.Errorf("no difference: %+v", same)
	}
	const routes = "/apps/http/servers/s/routes/"
	want := "+ " + routes + `0  {"@id":"new"}` + "\n~ " + routes + `1/handle/0/body  "hi" -> "ho"` + "\n"
	if r := b.exit(exitDiffers, b.run("diff", "b.json")); r.stdout != want || !strings.Contains(r.stderr, "would build ") {
		t.Errorf("got %+v, want %s", r, want)
	}
	var list []struct{ Op, Pointer string }
	if r := b.exit(exitDiffers, b.run("diff", "-c", "b.json", "--json")); json.Unmarshal([]byte(r.stdout), &list) != nil || len(list) != 2 || list[1].Pointer != routes+"1/handle/0/body" || list[1].Op != "replace" {
		t.Errorf("as JSON: %+v", r)
	}
	if r := b.exit(exitDiffers, b.run("diff", "b.json", "-q")); r.stdout != "" {
		t.Errorf("quiet: %s", r.stdout)
	}
	if r := b.exit(exitTrouble, b.run("diff", "bad.json")); !strings.Contains(r.stderr, "bad.json would be refused:\n") || !strings.Contains(r.stderr, `did you mean "body"?`) {
		t.Errorf("refused: %s", r.stderr)
	}
	b.exit(exitTrouble, b.run("diff", "nowhere.json"))
	b.exit(0, b.run("diff", "a.json")) // nothing was loaded
	b.exit(0, b.run("stop"))
	c.exits(0)
	b.exit(0, b.run("diff", "a.json"))
	if r := b.exit(exitDiffers, b.run("diff", "b.json")); r.stdout != want {
		t.Errorf("with the store: %+v", r)
	}
	b.exit(exitTrouble, b.run("diff", "bad.json"))
}
