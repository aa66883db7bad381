package fastcgi_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// spooling makes a folder the one for temporary files, and returns a check that nothing is in it.
func spooling(t *testing.T) (empty func() bool) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return func() bool {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(list) == 0
	}
}

// unknown hides the length of a body.
func unknown(body []byte) io.Reader { return io.MultiReader(bytes.NewReader(body)) }

// digest answers with the length that the application was told, and the length and the sum of what has come.
func digest(t *testing.T) string {
	return raw(t, func(c *conversation) {
		c.stdout(fmt.Sprintf("Content-Type: text/plain\r\n\r\n%s %d %x", c.params["CONTENT_LENGTH"], len(c.stdin), sha256.Sum256(c.stdin)))
		c.end(0)
	})
}

func digestOf(body []byte) string {
	return fmt.Sprintf("%d %d %x", len(body), len(body), sha256.Sum256(body))
}

// caddyserver/caddy #6637: uploads whose length the client does not say arrive whole, many at once.
func TestUploadsOfUnknownLength(t *testing.T) {
	empty := spooling(t)
	f := start(t, digest(t), "", "", nil)
	var wg sync.WaitGroup
	for i, size := range []int{1, 4095, 4096, 4097, 32 << 10, 65528, 1<<20 + 1, 5 << 20} {
		body := bytes.Repeat([]byte{byte(i), 1, 2, 3, 4, 5, 6}, size/7+1)[:size]
		for range 3 {
			wg.Go(func() { f.do("POST", "/", unknown(body), -1).want(t, 200, digestOf(body)) })
		}
	}
	wg.Wait()
	if !empty() {
		t.Error("files are left")
	}
}

// Where there is no room for the file the answer says so, and the application hears nothing.
func TestSpoolThatCannotBeMade(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the folder for temporary files has another name there")
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("TMPDIR", none)
	f := start(t, raw(t, func(*conversation) { t.Error("the application was asked") }), "", "", nil)
	res := f.do("POST", "/", unknown(make([]byte, 5000)), -1)
	if res.want(t, 500, ""); !strings.Contains(res.Header.Get("X-Error"), "temporary file in "+none) {
		t.Errorf("the error is %q", res.Header.Get("X-Error"))
	}
}

// An upload that breaks off reaches no application, and a request that was refused for its length neither.
func TestSpooledUploadThatBreaksOff(t *testing.T) {
	empty := spooling(t)
	f := start(t, raw(t, func(*conversation) { t.Error("the application was asked") }), `"body_spool_size":20000`, "", nil)
	for _, text := range []string{"1000\r\n" + strings.Repeat("x", 4096) + "\r\n1000\r\nxx", "2000\r\n" + strings.Repeat("x", 8192) + "\r\nzz\r\n"} {
		conn, err := net.Dial("tcp", f.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+text)
		conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(conn)
		if got := string(answer); got != "" && !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.1 502") {
			t.Errorf("answered with %q", got)
		}
		conn.Close()
	}
	res := f.do("POST", "/", unknown(make([]byte, 20001)), -1)
	if res.want(t, 413, ""); !strings.Contains(res.Header.Get("X-Error"), "20000 bytes") {
		t.Errorf("the error is %q", res.Header.Get("X-Error"))
	}
	eventually(t, "no files are left", empty)
}

// What was spooled is sent again with each attempt.
func TestSpooledUploadsAreRetried(t *testing.T) {
	empty := spooling(t)
	body := bytes.Repeat([]byte("0123456789"), 20_000)
	hangsUp := raw(t, func(*conversation) {})
	good := digest(t)
	handler := fmt.Sprintf(`"load_balancing":{"retries":2,"selection_policy":{"policy":"first"},"retry_match":[{"method":["POST"]}]},
		"health_checks":{"passive":{"fail_duration":"1m"}},"upstreams":[{"dial":"127.0.0.1:1"},{"dial":%q},{"dial":%q}]`, hangsUp, good)
	f := start(t, "x", "", handler, nil) // the upstreams that come last count
	f.do("POST", "/", unknown(body), -1).want(t, 200, digestOf(body))
	if !empty() {
		t.Error("files are left")
	}
}

// An application that answers before it has read what was spooled.
func TestSpooledUploadAndEarlyAnswer(t *testing.T) {
	empty := spooling(t)
	up := rawEarly(t, func(c *conversation) {
		for {
			if kind, content, err := c.record(); err != nil || kind == 4 && len(content) == 0 {
				break
			}
		}
		c.stdout("Status: 403 No\r\nContent-Length: 2\r\n\r\nno")
		c.end(0)
	})
	f := start(t, up, "", "", nil)
	for range 20 {
		f.do("POST", "/", unknown(make([]byte, 1<<20)), -1).want(t, 403, "no")
	}
	if !empty() {
		t.Error("files are left")
	}
}
