package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// addresses waits for as many servers to print where they listen.
func (c *child) addresses(n int) []string {
	c.Helper()
	var found []string
	eventually(c.T, "addresses of servers", func() bool {
		found = nil
		for line := range strings.Lines(c.stdout.String()) {
			if a, ok := strings.CutPrefix(line, "Server address: "); ok && strings.HasSuffix(a, "\n") {
				found = append(found, strings.TrimSpace(a))
			}
		}
		select {
		case <-c.ended:
			return true
		default:
			return len(found) >= n
		}
	})
	if len(found) != n {
		c.Fatalf("%d servers: %v", len(found), found)
	}
	return found
}

func TestRespond(t *testing.T) {
	t.Parallel()
	p := port(t)
	for _, c := range []struct {
		args, stdin  string
		status       int
		body, header string
	}{
		{"", "", 200, "", ""},
		{"hi", "", 200, "hi", ""},
		{"404", "", 404, "", ""},
		{"--status 201 404", "", 201, "404", ""},
		{"--body x 404", "", 404, "x", ""},
		{"--listen localhost:0 -H X-A:b -s 299", "piped", 299, "piped", "b"},
		{"--listen 127.0.0.1:0 {{.N}}-{{.Port}}-{{.Address}}", "", 200, "0-PORT-ADDRESS", ""},
		{fmt.Sprintf("-l 127.0.0.1:%d -b {{.Port}}", p), "", 200, "PORT", ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			child := b.spawn(strings.NewReader(c.stdin), append([]string{"respond"}, strings.Fields(c.args)...)...)
			address := child.addresses(1)[0]
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.Get("http://127.0.0.1:" + port + "/any?path")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			_, body := fetch(t, "GET", "http://127.0.0.1:"+port, "")
			want := strings.NewReplacer("PORT", port, "ADDRESS", address).Replace(c.body)
			if resp.StatusCode != c.status || body != want || resp.Header.Get("X-A") != c.header {
				t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
			}
			// There is no admin endpoint, and nothing is left behind.
			if status, text := b.call("GET", "/config/", ""); status != 0 {
				t.Errorf("the admin endpoint answers %d %s", status, text)
			}
			child.term()
			if list, err := os.ReadDir(b.dir); err != nil || len(list) > 0 {
				t.Errorf("left behind: %v %v", list, err)
			}
		})
	}
}

func TestRespondOnARangeOfPorts(t *testing.T) {
	t.Parallel()
	b, first := newBox(t), 0
	for first == 0 { // two ports side by side, of which one is ours
		p := port(t)
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p+1)); err == nil {
			ln.Close()
			first = p
		}
	}
	c := b.spawn(nil, "respond", "--listen", fmt.Sprintf("127.0.0.1:%d-%d", first, first+1), "--access-log", "--debug", "--body", "server {{.N}}")
	for i, address := range c.addresses(2) {
		if want := fmt.Sprintf("127.0.0.1:%d", first+i); address != want {
			t.Errorf("server %d is at %s, want %s", i, address, want)
		}
		if _, got := fetch(t, "GET", "http://"+address, ""); got != fmt.Sprintf("server %d", i) {
			t.Errorf("%s says %q", address, got)
		}
	}
	c.logged(`"logger":"http.log.access"`)
	c.signal(os.Interrupt)
	c.exits(0)
}

func TestReverseProxy(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s up=%s", r.Host, r.URL, r.Header.Get("X-Up"))
	}))
	defer upstream.Close()
	to := strings.TrimPrefix(upstream.URL, "http://")
	get := func(address, host string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequest("GET", "http://"+address+"/a?b", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		buf := make([]byte, 4096)
		n, _ := resp.Body.Read(buf)
		return resp, string(buf[:n])
	}
	b, p := newBox(t), port(t)
	at := fmt.Sprintf("127.0.0.1:%d", p)
	c := b.spawn(nil, "reverse-proxy", "--from", fmt.Sprint(":", p), "--to", to+","+upstream.URL, "--access-log", "--header-up", "X-Up: a, b", "--header-down", "X-Down: c")
	c.logged(fmt.Sprintf(`"msg":"sluice proxying","from":"http://:%d","to":[%q,%q]`, p, to, to))
	c.logged(`"msg":"using default load balancing policy","name":"round_robin"`)
	c.logged("serving initial configuration")
	if resp, got := get(at, "x.example"); got != "x.example /a?b up=a, b" || resp.Header.Get("X-Down") != "c" {
		t.Errorf("%q %v", got, resp.Header)
	}
	c.logged(`"logger":"http.log.access"`)
	if status, _ := b.call("GET", "/config/", ""); status != 0 {
		t.Errorf("the admin endpoint answers %d", status)
	}
	c.term()
	if list, err := os.ReadDir(b.dir); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v %v", list, err)
	}

	c = b.spawn(nil, "reverse-proxy", "-f", fmt.Sprintf("http://x.example:%d", p), "-t", upstream.URL, "-c", "-r", "-v")
	c.logged("serving initial configuration")
	if _, got := get(at, "x.example"); got != to+" /a?b up=" {
		t.Errorf("with --change-host-header: %q", got)
	}
	if _, got := get(at, "y.example"); got != "" {
		t.Errorf("another host: %q", got)
	}
}
