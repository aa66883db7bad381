package main

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/journal"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
)

func TestBestEffort(t *testing.T) {
	t.Parallel()
	b, good, bad := newBox(t), port(t), port(t)
	c := b.up()
	b.does("POST", "/load", document("a", site(good, "good"), "b", site(bad, "bad")))
	c.term()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", bad))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	want := b.wholeDocument(good, bad)

	c = b.up("--best-effort")
	c.logged(`"pointer":"/apps/http/servers/b"`)
	b.says(good, "good")
	if status, text := b.call("GET", "/readyz", ""); status != 503 || !strings.Contains(text, "/apps/http/servers/b") || strings.Contains(text, "/apps/http/servers/a") {
		t.Errorf("readyz: %d %s", status, text)
	}
	if got := b.does("GET", "/config/", ""); got != want {
		t.Errorf("the document is %s\nwant %s", got, want)
	}
	// Edits are of the whole document, so one that leaves it broken is refused.
	if status, text := b.call("PATCH", bodyPath, `"edited"`); status != 400 || !strings.Contains(text, "in use") {
		t.Errorf("edit of a good part: %d %s", status, text)
	}
	if status, _ := b.call("PATCH", "/config/apps/http/servers/zzz", `1`); status != 404 {
		t.Errorf("edit of nothing: %d", status)
	}
	b.says(good, "good")
	c.term()
	if r := b.ok("history"); strings.Count(r.stdout, "\n") != 2 {
		t.Errorf("a best-effort start made a revision:\n%s", r.stdout)
	}

	c = b.up("--best-effort")
	ln.Close()
	b.does("PATCH", bodyPath, `"edited"`)
	b.says(good, "edited")
	b.says(bad, "bad")
	if n := b.revision(); n != 2 {
		t.Errorf("revision %d, want 2", n)
	}
	b.does("PATCH", bodyPath, `"again"`)
	c.term()
	b.up()
	b.says(good, "again")
	b.says(bad, "bad")
	if n := b.revision(); n != 3 {
		t.Errorf("revision %d, want 3", n)
	}
}

// Removing exactly what does not run must be stored, although nothing changes
// in what runs.
func TestBestEffortThenRemoval(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	b.setenv("PORT", fmt.Sprint(port(t)))
	c := b.up()
	b.does("POST", "/load", document("a", site(p, "good"), "b", `{"listen":["127.0.0.1:{env.PORT}"]}`))
	c.term()
	b.unsetenv("PORT")
	b.up("--resume").term()
	c = b.up("--best-effort")
	b.says(p, "good")
	b.does("DELETE", "/config/apps/http/servers/b", "")
	if n := b.revision(); n != 2 {
		t.Errorf("revision %d, want 2", n)
	}
	c.term()
	c = b.up()
	b.says(p, "good")
	if got := b.does("GET", "/config/@id", ""); got != "null\n" {
		t.Errorf("the mark of a part was stored: %s", got)
	}
	// With nothing wrong the flag changes nothing.
	c.term()
	b.up("--best-effort")
	if n := b.revision(); n != 2 {
		t.Errorf("revision %d, want 2", n)
	}
}

// The admin object asks for a token that is gone. What is opened instead must
// not let in whom the token kept out.
func TestBrokenAdminWithTokens(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"", "--best-effort"} {
		t.Run("run "+flag, func(t *testing.T) {
			t.Parallel()
			b, p := newBox(t), port(t)
			b.setenv("THE_TOKEN", "0123456789abcdef0123")
			b.setenv("SLUICE_TOKEN", "0123456789abcdef0123")
			file := b.write("s.json", strings.Replace(document("a", site(p, "hi")), "{", `{"admin":{"tokens":[{"env":"THE_TOKEN"}]},`, 1))
			c := b.up("--config", file)
			if status, _ := b.call("GET", "/config/", ""); status != 401 {
				t.Errorf("without a token: %d", status)
			}
			b.ok("history")
			c.term()
			b.unsetenv("THE_TOKEN")
			args := []string{flag}
			if flag == "" {
				args = nil
			}
			c = b.up(args...)
			if status, text := b.call("GET", "/config/", ""); status != 0 {
				t.Errorf("without a token, after it is gone: %d %s", status, text)
			}
			socket := filepath.Join(b.dir, "d/sluice/admin.sock")
			client := http.Client{Transport: &http.Transport{Dial: func(_, _ string) (net.Conn, error) { return net.Dial("unix", socket) }}}
			resp, err := client.Get("http://127.0.0.1/readyz")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 503 {
				t.Errorf("readyz: %d", resp.StatusCode)
			}
			if flag != "" {
				b.says(p, "hi")
			}
			b.ok("stop", "--address", "unix/"+socket)
			c.exits(0)
		})
	}
}

// A document that an older or newer version has stored.
func TestBestEffortLeavesOutRoutes(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	route := func(path, handler string) string {
		return fmt.Sprintf(`{"match":[{"path":["/%s"]}],"handle":[{"handler":%q,"body":%q}]}`, path, handler, path)
	}
	doc := fmt.Sprintf(`{"logging":{"logs":{"default":{"level":"LOUD"}}},"apps":{"layer4":{},"http":{"servers":{"a":{"listen":["127.0.0.1:%d"],"routes":[%s,%s,%s,%s]}}}}}`,
		p, route("0", "gone"), route("1", "static_response"), route("2", "gone"), route("3", "static_response"))
	store, err := journal.Open(filepath.Join(b.dir, "s.db"), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	node, _, err := config.Parse([]byte(doc), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := config.NewDoc(node)
	if err != nil {
		t.Fatal(err)
	}
	entry := server.Entry{Verb: "load", Value: node, Digest: node.Digest(), Origin: "test"}
	if err := (journal.Journal{Store: store}).Commit(t.Context(), 0, []server.Entry{entry}, func() []byte { return whole.Root().AppendJSON(nil) }); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	c := b.up("--store", filepath.Join(b.dir, "s.db"), "--best-effort")
	for _, place := range []string{"/apps/http/servers/a/routes/0", "/apps/http/servers/a/routes/2", "/apps/layer4", "/logging"} {
		c.logged(fmt.Sprintf(`"msg":"left out of a best-effort start","pointer":%q`, place))
	}
	for path, want := range map[string]string{"0": "", "1": "1", "2": "", "3": "3"} {
		if _, got := fetch(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/%s", p, path), ""); got != want {
			t.Errorf("/%s says %q, want %q", path, got, want)
		}
	}
	if got := b.does("GET", "/config/", ""); got != string(node.AppendJSON(nil))+"\n" {
		t.Errorf("the document is %s", got)
	}
}
