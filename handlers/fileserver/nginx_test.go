package fileserver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/internal/porttest"
)

// nginx serves a folder, until the test ends.
func nginx(t *testing.T, root string) *client {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program = "/usr/sbin/nginx"; !exists(program) {
			t.Skip("there is no nginx")
		}
	}
	dir := t.TempDir()
	addr := fmt.Sprintf("127.0.0.1:%d", porttest.Free(t, 1)[0])
	paths := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		paths += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n" // so that both may read the same
	}
	config := user + `daemon off; master_process off; pid ` + dir + `/pid; error_log ` + dir + `/error.log;
events {}
http {
` + paths + `access_log off; sendfile on; default_type ""; index index.html index.txt; absolute_redirect off;
types { text/plain txt; text/html html; }
server { listen ` + addr + `; root ` + root + `; }
}
`
	must(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600))
	cmd := exec.Command(program, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx does not answer: %v", err)
		}
	}
	return &client{t: t, addr: addr}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// TestAgainstNginx serves one folder with both. Each difference is listed with
// the rule that it comes from; one that no longer exists is an error as well.
func TestAgainstNginx(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.txt": "0123456789", "idx/index.html": "I", "txt/index.txt": "T", "d/": "", "sp ace.txt": "S", "ünï.txt": "U", "none": "N", "empty.txt": "", "big.txt": strings.Repeat("0123456789abcdef", 1<<14),
		"link.txt": "-> a.txt", "broken": "-> nowhere", ".dotfile": "dot", "%41.txt": "percent",
	})
	must(t, os.Symlink(filepath.Join(dir, "idx"), filepath.Join(dir, "out")))
	ours, theirs := serve(t, fileServer(dir, nil)), nginx(t, dir)
	theirTag := theirs.get("/a.txt").get("Etag")
	const at = "Mon, 06 May 2024 07:08:09 GMT"
	for _, c := range []struct {
		request string   // method and target
		lines   []string // TAG stands for the server's own tag
		rule    string   // why the answers differ; "" if they do not
	}{
		{"GET /a.txt", nil, ""}, {"HEAD /a.txt", nil, ""}, {"GET /big.txt", nil, ""}, {"GET /empty.txt", nil, ""}, {"GET /none", nil, ""}, {"GET /.dotfile", nil, ""},
		{"GET /link.txt", nil, ""}, {"GET /broken", nil, ""}, {"GET /out/", nil, ""}, {"GET /sp%20ace.txt", nil, ""}, {"GET /%c3%bcn%c3%af.txt", nil, ""}, {"GET /%2541.txt", nil, ""},
		{"GET /nope", nil, ""}, {"GET /nope/nope", nil, ""}, {"GET /A.txt", nil, ""}, {"GET /idx/", nil, ""}, {"GET /txt/", nil, ""}, {"GET /idx/index.html", nil, ""},
		{"GET /d/../a.txt", nil, ""}, {"GET //d//..//a.txt", nil, ""}, {"GET /%2e/a.txt", nil, ""}, {"GET /d/%2e%2e%2fa.txt", nil, ""}, {"GET /a.txt.", nil, ""},
		{"GET /%c0%ae%c0%ae/a.txt", nil, ""}, {"GET /..%5ca.txt", nil, ""},
		{"GET /../a.txt", nil, "5.2.1.1: dots end at the root, and are no error"},
		{"GET /%2e%2e/a.txt", nil, "5.2.1.1: dots end at the root, and are no error"},
		{"GET /a.txt%00", nil, ""},
		{"GET /a.txt/b", nil, "5.2.1.2: a path through a file is error 400"},
		{"GET /a.txt/", nil, "5.2.3: a file with a slash is redirected"},
		{"GET /idx", nil, "5.2.3: redirects have status 308"},
		{"GET /idx?x=1", nil, "5.2.3: redirects have status 308"},
		{"GET /d", nil, "5.2.3: a directory without index is not found, and not redirected to"},
		{"GET /d/", nil, "5.2.1.5: a directory without index is not found"},
		{"GET /", nil, "5.2.1.5: a directory without index is not found"},
		{"POST /a.txt", nil, ""}, {"PUT /a.txt", nil, ""}, {"POST /nope", nil, ""},
		{"GET /a.txt", []string{"Range: bytes=0-4"}, ""}, {"GET /a.txt", []string{"Range: bytes=7-"}, ""}, {"GET /a.txt", []string{"Range: bytes=-3"}, ""}, {"GET /a.txt", []string{"Range: bytes=-30"}, ""},
		{"GET /a.txt", []string{"Range: bytes=8-99"}, ""}, {"GET /a.txt", []string{"Range: bytes=10-"}, ""}, {"GET /a.txt", []string{"Range: bytes=4-2"}, ""}, {"GET /a.txt", []string{"Range: lines=0-1"}, ""},
		{"GET /a.txt", []string{"Range: bytes=a-b"}, ""}, {"GET /a.txt", []string{"Range: bytes=20-30,1-2"}, ""}, {"HEAD /a.txt", []string{"Range: bytes=0-4"}, ""}, {"GET /a.txt", []string{"Range: bytes=0-1,4-5"}, ""},
		{"GET /big.txt", []string{"Range: bytes=100000-200000"}, ""},
		{"GET /a.txt", []string{"If-None-Match: TAG"}, ""}, {"GET /a.txt", []string{"If-None-Match: W/TAG"}, ""}, {"GET /a.txt", []string{`If-None-Match: "x"`}, ""}, {"GET /a.txt", []string{"If-None-Match: *"}, ""},
		{"GET /a.txt", []string{"If-Match: TAG"}, ""}, {"GET /a.txt", []string{`If-Match: "x"`}, ""}, {"GET /a.txt", []string{"If-Modified-Since: " + at}, ""},
		{"GET /a.txt", []string{"If-Modified-Since: Mon, 06 May 2024 07:08:10 GMT"}, "5.2.4.9: a later date matches as well, not only an equal one"},
		{"GET /a.txt", []string{"If-Unmodified-Since: " + at}, ""}, {"GET /a.txt", []string{"If-Unmodified-Since: Mon, 06 May 2024 07:08:08 GMT"}, ""},
		{"GET /a.txt", []string{"Range: bytes=0-4", "If-Range: TAG"}, ""}, {"GET /a.txt", []string{"Range: bytes=0-4", `If-Range: "x"`}, ""}, {"GET /a.txt", []string{"Range: bytes=0-4", "If-Range: " + at}, ""},
	} {
		method, target, _ := strings.Cut(c.request, " ")
		ask := func(cl *client) answer {
			tag := theirTag
			if cl == ours {
				tag = ours.get("/a.txt").get("Etag")
			}
			var lines []string
			for _, l := range c.lines {
				lines = append(lines, strings.ReplaceAll(l, "TAG", tag))
			}
			return cl.do(method, target, lines...)
		}
		mine, other := summary(ask(ours)), summary(ask(theirs))
		switch {
		case mine != other && c.rule == "":
			t.Errorf("%s %q:\nours   %s\ntheirs %s", c.request, c.lines, mine, other)
		case mine == other && c.rule != "":
			t.Errorf("%s %q: both %s; the difference is listed without need: %s", c.request, c.lines, mine, c.rule)
		}
	}
}

// summary is what two servers should agree on. Pages for errors are each
// server's own, as are tags and boundaries.
func summary(a answer) string {
	out := fmt.Sprint(a.StatusCode)
	if a.StatusCode >= 300 {
		return out + " " + a.get("Location") + " " + a.get("Content-Range")
	}
	body := a.body
	kind, boundary, several := strings.Cut(a.get("Content-Type"), "; boundary=")
	length := fmt.Sprint(a.ContentLength)
	if several {
		parts := strings.Split(strings.ReplaceAll(body, boundary, "B"), "\r\n")
		body, length = "", ""
		for _, p := range parts {
			if !strings.HasPrefix(p, "Content-Type:") {
				body += p + "|"
			}
		}
		body = strings.Trim(body, "|")
	}
	kind, _, _ = strings.Cut(kind, ";")
	if len(body) > 200 {
		body = fmt.Sprintf("%d bytes %x", len(body), body[len(body)-20:])
	}
	return fmt.Sprintf("%s %s %s %s %q %s", out, kind, length, a.get("Content-Range"), body, a.get("Last-Modified"))
}
