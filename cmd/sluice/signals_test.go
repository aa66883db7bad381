//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPidFileAndSIGTERM(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	file := filepath.Join(b.dir, "pid")
	c := b.up("--pidfile", file)
	text, err := os.ReadFile(file)
	info, _ := os.Stat(file)
	if err != nil || string(text) != fmt.Sprintf("%d\n", c.cmd.Process.Pid) || info.Mode().Perm() != 0o600 {
		t.Errorf("pid file: %q %v", text, err)
	}
	c.term()
	if _, err := os.Stat(file); err == nil {
		t.Error("the pid file is still there")
	}
	c = b.up("--pidfile", file)
	os.Remove(file)
	c.signal(syscall.SIGTERM)
	c.exits(3)
	c.logged("unclean shutdown")
	c = b.up("--pidfile", filepath.Join(b.dir, "no", "such", "dir"))
	c.logged("writing pid file")
	c.signal(syscall.SIGQUIT)
	c.exits(2)
}

func TestSIGQUITLeavesThePidFile(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	file := filepath.Join(b.dir, "pid")
	c := b.up("--pidfile", file)
	c.signal(syscall.SIGQUIT)
	c.exits(2)
	if _, err := os.Stat(file); err != nil {
		t.Error("SIGQUIT removed the pid file")
	}
	b.fails("no such file", "run", "--pidfile", file, "--config", "nope")
}

// hangs opens a request that keeps a graceful stop waiting.
func hangs(t *testing.T, port int) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn
}

// backend answers when it is told to.
func backend(t *testing.T) (address string, asked chan net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	asked = make(chan net.Conn, 8)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			asked <- conn
		}
	}()
	return ln.Addr().String(), asked
}

func (c *child) proxying(p int, address string) {
	c.does("POST", "/load", document("a", fmt.Sprintf(`{"listen":["127.0.0.1:%d"],"routes":[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":%q}]}]}]}`, p, address)))
}

func TestGracefulStopWaitsAndASecondInterruptDoesNot(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	address, asked := backend(t)
	c := b.up()
	c.proxying(p, address)
	client := hangs(t, p)
	upstream := <-asked
	c.signal(syscall.SIGTERM)
	c.logged("exiting; byeee!!")
	select {
	case <-c.ended:
		t.Fatal("did not wait for the request")
	case <-time.After(50 * time.Millisecond):
	}
	fmt.Fprintf(upstream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone")
	buf := make([]byte, 4096)
	n, _ := client.Read(buf)
	if !strings.HasSuffix(string(buf[:n]), "done") {
		t.Errorf("the request was cut: %q", buf[:n])
	}
	c.exits(0)

	c = b.up()
	hangs(t, p)
	<-asked
	c.signal(os.Interrupt)
	c.logged("exiting; byeee!!")
	c.signal(os.Interrupt)
	c.exits(2)
}

func TestSIGUSR1(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	file := b.write("s.json", document("a", site(p, "one")))
	c := b.up("--config", file)
	says := func(want string) {
		t.Helper()
		eventually(t, "answer "+want, func() bool {
			_, got := fetch(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/", p), "")
			return got == want
		})
	}
	b.write("s.json", document("a", site(p, "two")))
	c.signal(syscall.SIGUSR1)
	says("two")
	b.write("s.json", `{"nope":1}`)
	c.signal(syscall.SIGUSR1)
	c.logged("failed to reload config file")
	b.says(p, "two")
	// A reload of the same file keeps the source known, an edit does not.
	b.write("s.json", document("a", site(p, "three")))
	b.ok("reload", "--config", file, "--address", b.admin)
	b.write("s.json", document("a", site(p, "four")))
	c.signal(syscall.SIGUSR1)
	says("four")
	b.does("PATCH", bodyPath, `"edited"`)
	c.signal(syscall.SIGUSR1)
	c.logged("last config unknown, ignored SIGUSR1")
	b.says(p, "edited")
	c.signal(syscall.SIGHUP)
	c.logged("not implemented")
	c.signal(syscall.SIGUSR2)
	c.term()
}

func TestServiceManagerIsNotified(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	dir, err := os.MkdirTemp("", "sn") // a unix socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	b.setenv("NOTIFY_SOCKET", filepath.Join(dir, "s"))
	hears := func(want ...string) {
		t.Helper()
		for _, w := range want {
			buf := make([]byte, 4096)
			_ = sock.SetReadDeadline(time.Now().Add(patience))
			n, err := sock.Read(buf)
			if got := string(buf[:n]); err != nil || !strings.HasPrefix(got, w) {
				t.Fatalf("heard %q %v, want %q", got, err, w)
			}
		}
	}
	c := b.up("--config", b.write("s.json", document("a", site(p, "one"))))
	hears("RELOADING=1", "READY=1")
	b.does("PATCH", bodyPath, `"two"`) // says nothing
	b.does("POST", "/load", document("a", site(p, "three")))
	hears("RELOADING=1", "READY=1")
	b.call("POST", "/load", `{"nope":1}`)
	hears("RELOADING=1", "STATUS=", "READY=1")
	c.term()
	hears("STOPPING=1")
	c = b.launch("--config", b.write("bad.json", `{"nope":1}`))
	c.exits(1)
	hears("RELOADING=1", "STATUS=")
	// Started with nothing, the process is ready, too.
	b.up("--store", "none")
	hears("READY=1")
}

func TestSIGUSR1WithACaddyfile(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	says := func(want string) {
		t.Helper()
		eventually(t, "answer "+want, func() bool {
			_, got := fetch(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/", p), "")
			return got == want
		})
	}
	b.write("Caddyfile", caddysite(p, "one"))
	c := b.up()
	b.write("Caddyfile", caddysite(p, "two"))
	c.signal(syscall.SIGUSR1)
	says("two")
	b.write("Caddyfile", caddysite(p, "{$WHAT:three}"))
	b.ok("reload") // sent as JSON; the source stays known
	says("three")
	b.write("Caddyfile", caddysite(p, "four"))
	b.ok("reload") // sent as text
	says("four")
	b.write("Caddyfile", "{\n")
	c.signal(syscall.SIGUSR1)
	c.logged("failed to reload config file; the old configuration stays")
	b.says(p, "four")
	b.write("Caddyfile", caddysite(p, "five"))
	c.signal(syscall.SIGUSR1)
	says("five")
	b.does("POST", "/config/logging", `{}`)
	c.signal(syscall.SIGUSR1)
	c.logged("last config unknown, ignored SIGUSR1")
}
