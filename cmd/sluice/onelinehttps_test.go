package main

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/internal/porttest"
)

// client trusts the authority of the box and takes every name for this machine.
// It does not follow redirects, and keeps no connection.
func (b *box) client() *http.Client {
	roots := x509.NewCertPool()
	if text, err := os.ReadFile(filepath.Join(b.dir, "d", "sluice", "pki", "authorities", "local", "root.crt")); err == nil {
		roots.AppendCertsFromPEM(text)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
		TLSClientConfig: &tls.Config{RootCAs: roots}, DisableCompression: true, DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is what came back.
type answer struct {
	*http.Response
	body string
}

// gets waits until a URL answers, as it does when its certificate is there.
func (b *box) gets(url string, header ...string) answer {
	b.Helper()
	var got answer
	var last error
	defer func() {
		if got.Response == nil {
			b.Logf("GET %s: %v", url, last)
		}
	}()
	eventually(b.T, "an answer of "+url, func() bool {
		r, err := http.NewRequest("GET", url, nil)
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := b.client().Do(r)
		if err != nil {
			last = err
			return false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if last = err; err == nil {
			got = answer{resp, string(text)}
		}
		return err == nil
	})
	return got
}

// noAdmin checks that there is no admin endpoint, and no trace of a config.
func (c *child) noAdmin() {
	c.Helper()
	if status, text := c.call("GET", "/config/", ""); status != 0 {
		c.Errorf("the admin endpoint answers %d %s", status, text)
	}
	for _, file := range []string{"c/sluice/autosave.json", "d/sluice/sluice.db"} {
		if _, err := os.Stat(filepath.Join(c.dir, file)); err == nil {
			c.Errorf("%s was written", file)
		}
	}
}

// echo says what an upstream was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-From", "upstream")
	fmt.Fprintf(w, "%s %s proto=%s up=%s", r.Host, r.URL, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Up"))
}

func TestReverseProxyOverHTTPS(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.HandlerFunc(echo))
	t.Cleanup(secure.Close)
	at := strings.TrimPrefix(secure.URL, "https://")
	b, p := newBox(t), porttest.FreeBoth(t, 1)[0]
	from := fmt.Sprintf("app.example:%d", p)
	args := []string{"reverse-proxy", "--from", from, "--internal-certs", "--disable-redirects", "--to", secure.URL, "--access-log"}
	c := b.spawn(nil, append(args, "--insecure", "-c", "-H", "X-Up: a", "-d", "X-Down: b")...)
	c.logged(fmt.Sprintf(`"msg":"sluice proxying","from":"https://%s","to":[%q]`, from, at))
	got := b.gets("https://" + from + "/x?y")
	if got.body != at+" /x?y proto=https up=a" || got.ProtoMajor != 2 || got.Header.Get("X-Down") != "b" || got.Header.Get("X-From") != "upstream" {
		t.Errorf("%s %q %v", got.Proto, got.body, got.Header)
	}
	c.logged(`"logger":"http.log.access"`)
	c.noAdmin()
	c.term()

	// The same authority again; and an upstream that nobody can verify.
	c = b.spawn(nil, args...)
	if got := b.gets("https://" + from + "/"); got.StatusCode != 502 {
		t.Errorf("an upstream with a certificate of nobody: %d %q", got.StatusCode, got.body)
	}
	c.logged("certificate signed by unknown authority")
	c.term()

	// What has no effect is said.
	c = b.spawn(nil, "reverse-proxy", "-f", fmt.Sprint(":", p), "-t", at, "--insecure", "-i")
	c.logged("--insecure has no effect, since no upstream is reached over https://")
	c.logged("--internal-certs has no effect, since http://:")
	c.term()
}

func TestFileServer(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	root := filepath.Join(b.dir, "www")
	if err := os.MkdirAll(filepath.Join(root, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("hello ", 1000)
	b.write("www/long.txt", long)
	b.write("www/page.html", `{{.Host}} {{include "/part"}}`)
	b.write("www/part", "{{len .Req.Method}}")
	b.write("www/app.js", "plain")
	b.write("www/app.js.gz", zipped(t, "packed"))
	b.write("www/sub/a", "")
	b.write("www/sub/b", "")
	if err := os.Symlink("a", filepath.Join(root, "sub/link")); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("http://127.0.0.1:%d", p)
	listen := fmt.Sprintf("127.0.0.1:%d", p)

	c := b.spawn(nil, "file-server", "--root", "www", "--listen", listen)
	c.logged("sluice serving static files on " + listen)
	if got := b.gets(at+"/long.txt", "Accept-Encoding", "gzip, zstd"); got.Header.Get("Content-Encoding") != "zstd" || len(got.body) > len(long)/10 {
		t.Errorf("%d bytes, %v", len(got.body), got.Header)
	}
	if got := b.gets(at + "/long.txt"); got.body != long || got.Header.Get("Content-Encoding") != "" {
		t.Errorf("%d bytes, %v", len(got.body), got.Header)
	}
	if got := b.gets(at + "/page.html"); !strings.Contains(got.body, "{{include") {
		t.Errorf("a template is executed unasked: %q", got.body)
	}
	if got := b.gets(at+"/app.js", "Accept-Encoding", "gzip"); got.body != "plain" {
		t.Errorf("a compressed file is served unasked: %q", got.body)
	}
	for _, path := range []string{"/", "/sub/", "/none"} {
		if got := b.gets(at + path); got.StatusCode != 404 {
			t.Errorf("%s: %d %q", path, got.StatusCode, got.body)
		}
	}
	c.noAdmin()
	c.term()
	if list, err := filepath.Glob(filepath.Join(b.dir, "[cdx]")); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v %v", list, err)
	}

	c = b.spawn(nil, "file-server", "-r", root, "-l", listen, "-b", "--reveal-symlinks", "-t", "-a", "-v", "-f", "2", "--no-compress", "-p", "br,gzip")
	c.logged(`"level":"debug"`)
	c.logged("set memory limit")
	if got := b.gets(at+"/long.txt", "Accept-Encoding", "gzip, zstd"); got.body != long {
		t.Errorf("%d bytes, %v", len(got.body), got.Header)
	}
	if got := b.gets(at + "/page.html"); got.body != "127.0.0.1 3" {
		t.Errorf("the template says %q", got.body)
	}
	if got := b.gets(at+"/app.js", "Accept-Encoding", "gzip"); got.Header.Get("Content-Encoding") != "gzip" || got.body != zipped(t, "packed") {
		t.Errorf("%v %q", got.Header, got.body)
	}
	if got := b.gets(at+"/sub/", "Accept", "application/json"); strings.Count(got.body, `"name"`) != 2 {
		t.Errorf("two items are asked for, and it lists %s", got.body)
	}
	if got := b.gets(at + "/"); got.StatusCode != 200 || !strings.Contains(got.body, "app.js") {
		t.Errorf("%d %q", got.StatusCode, got.body)
	}
	c.logged(`"logger":"http.log.access"`)
	c.signal(os.Interrupt)
	c.exits(0)

	b.setenv("GOMEMLIMIT", "1GiB")
	c = b.spawn(nil, "file-server", "-r", root, "-l", listen, "--browse", "--reveal-symlinks", "--debug")
	c.logged("serving initial configuration")
	if got := b.gets(at+"/sub/", "Accept", "application/json"); strings.Count(got.body, `"name"`) != 3 || !strings.Contains(got.body, `"symlink_path":"a"`) {
		t.Errorf("the listing is %s", got.body)
	}
	if strings.Contains(c.stderr.String(), "set memory limit") {
		t.Error("GOMEMLIMIT is not respected")
	}
	c.term()
	c = b.spawn(nil, "file-server", "-r", root, "-l", listen, "--reveal-symlinks")
	c.logged("--reveal-symlinks has no effect without --browse")
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The page that is exported does as a template_file.
func TestExportedTemplate(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	page := b.ok("file-server", "export-template").stdout
	file := b.write("listing.html", page)
	b.write("<b>&'\".txt", "x")
	b.up("--config", b.write("s.json", document("a", fmt.Sprintf(
		`{"listen":["127.0.0.1:%d"],"routes":[{"handle":[{"handler":"file_server","root":%q,"browse":{"template_file":%q}}]}]}`, p, b.dir, file))))
	got := b.gets(fmt.Sprintf("http://127.0.0.1:%d/", p), "Accept", "text/html")
	if got.StatusCode != 200 || !strings.Contains(got.body, "&lt;b&gt;&amp;&#39;&#34;.txt") || strings.Contains(got.body, "<b>") {
		t.Errorf("%d %q", got.StatusCode, got.body)
	}
}
