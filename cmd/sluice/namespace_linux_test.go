package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// insideName is the variable of a test process that has a network of its own.
const insideName = "SLUICE_TEST_INSIDE"

// inside reports whether the test has a network of its own, where all ports are
// free. Elsewhere it runs the test again in a process that has one, and skips it
// where the system makes no such thing.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideName) != "" {
		loopback(t)
		return true
	}
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []bool{false, true} { // as root, or else as root of a namespace
		var out output
		cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
		cmd.Env = append(os.Environ(), insideName+"=yes")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if user {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		cmd.Stdout, cmd.Stderr = &out, &out
		err = cmd.Run()
		var ended *exec.ExitError
		switch {
		case err == nil && strings.Contains(out.String(), "--- SKIP"):
			t.Skip(out.String())
		case err == nil:
			return false
		case errors.As(err, &ended):
			t.Fatalf("%v\n%s", err, out.String())
		}
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) {
		t.Skip("no namespaces are to be had: ", err)
	}
	t.Fatal(err)
	return false
}

// loopback turns on the only device of a new network.
func loopback(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	device, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	device.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, device)
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("turning on the loopback device: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// redirects checks where a URL leads.
func (b *box) redirects(url, want string) {
	b.Helper()
	if got := b.gets(url); got.StatusCode != 308 || got.Header.Get("Location") != want {
		b.Errorf("%s: %d to %q, want %q", url, got.StatusCode, got.Header.Get("Location"), want)
	}
}

// The ports of HTTP and HTTPS, as a user has them who writes nothing more.
func TestServersAtThePortsOfTheWeb(t *testing.T) {
	if !inside(t) {
		return
	}
	plain := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(plain.Close)
	to := strings.TrimPrefix(plain.URL, "http://")
	refused := func(address string) {
		t.Helper()
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			t.Errorf("somebody listens at %s", address)
		}
	}

	t.Run("reverse-proxy", func(t *testing.T) {
		b := newBox(t)
		c := b.spawn(nil, "reverse-proxy", "--to", to+","+to)
		c.logged(fmt.Sprintf(`"msg":"sluice proxying","from":"https://localhost:443","to":[%q,%[1]q]`, to))
		c.logged(`"msg":"using default load balancing policy","name":"round_robin"`)
		if got := b.gets("https://localhost/a?b"); got.body != "localhost /a?b proto=https up=" {
			t.Errorf("%q", got.body)
		}
		b.redirects("http://localhost/a?b", "https://localhost/a?b")
		c.noAdmin()
		c.term()
		c = b.spawn(nil, "reverse-proxy", "--to", to, "--disable-redirects")
		if got := b.gets("https://localhost/"); got.StatusCode != 200 {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
		refused("127.0.0.1:80")
		c.term()
		c = b.spawn(nil, "reverse-proxy", "--from", "other.test:80", "--to", to)
		if got := b.gets("http://other.test/"); got.body != "other.test / proto=http up=" {
			t.Errorf("%q", got.body)
		}
		refused("127.0.0.1:443")
		c.term()
	})
	t.Run("file-server", func(t *testing.T) {
		b := newBox(t)
		if err := os.Mkdir(filepath.Join(b.dir, "www"), 0o700); err != nil {
			t.Fatal(err)
		}
		b.write("www/index.html", "hello")
		c := b.spawn(nil, "file-server", "--domain", "files.localhost", "--root", "www", "--access-log")
		c.logged("sluice serving static files on :443")
		if got := b.gets("https://files.localhost/"); got.body != "hello" || got.ProtoMajor != 2 {
			t.Errorf("%s %q", got.Proto, got.body)
		}
		b.redirects("http://files.localhost/x", "https://files.localhost/x")
		c.logged(`"logger":"http.log.access"`)
		c.noAdmin()
		c.term()
		c = b.spawn(nil, "file-server", "--domain", "localhost", "--listen", ":8443", "--root", "www")
		c.logged("sluice serving static files on :8443")
		if got := b.gets("https://localhost:8443/"); got.body != "hello" {
			t.Errorf("%q", got.body)
		}
		b.redirects("http://localhost/x", "https://localhost:8443/x")
		c.term()
		c = b.spawn(nil, "file-server", "--root", "www")
		c.logged("sluice serving static files on :80")
		if got := b.gets("http://whatever.test/"); got.body != "hello" {
			t.Errorf("%q", got.body)
		}
		refused("127.0.0.1:443")
		c.term()
	})
}
