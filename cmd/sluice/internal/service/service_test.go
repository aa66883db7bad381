package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// asChild makes the test binary be a program that is started.
const asChild = "SLUICE_SERVICE_TEST_CHILD"

func TestMain(m *testing.M) {
	if how := os.Getenv(asChild); how != "" {
		os.Exit(beChild(how, os.Args[len(os.Args)-1]))
	}
	os.Exit(m.Run())
}

func beChild(how, address string) int {
	switch how {
	case "confirm":
		if Confirm(strings.NewReader("somebody else's secret, which is ignored"), address) != nil || Confirm(os.Stdin, address) != nil {
			return 1
		}
		return 0
	case "fail":
		return 3
	}
	return 0
}

func TestStart(t *testing.T) {
	for _, c := range []struct{ how, want string }{
		{"confirm", ""},
		{"fail", "sluice process exited with error: exit status 3"},
		{"leave", "sluice process exited with error: it stopped before it was up"},
	} {
		var cmd *exec.Cmd
		pid, err := Start(func(address string) *exec.Cmd {
			cmd = exec.Command(os.Args[0], address)
			cmd.Env = append(os.Environ(), asChild+"="+c.how)
			return cmd
		})
		text := ""
		if err != nil {
			text = err.Error()
		} else if pid != cmd.Process.Pid {
			t.Errorf("%s: pid %d, want %d", c.how, pid, cmd.Process.Pid)
		}
		if text != c.want {
			t.Errorf("%s: %q, want %q", c.how, text, c.want)
		}
	}
	if _, err := Start(func(string) *exec.Cmd { return exec.Command(filepath.Join(t.TempDir(), "none")) }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestNotifier(t *testing.T) {
	dir, err := os.MkdirTemp("", "sn") // a unix socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "s")
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Skip("no unix datagram sockets: ", err)
	}
	defer sock.Close()
	hears := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		_ = sock.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := sock.Read(buf); err != nil || string(buf[:n]) != want {
			t.Fatalf("heard %q %v, want %q", buf[:n], err, want)
		}
	}
	n := Notifier{name}
	n.Send("RELOADING=1")
	hears("RELOADING=1")
	n.Loaded(nil)
	hears("READY=1")
	n.Loaded(errors.New("one\ntwo\r\nthree"))
	hears("STATUS=one two three")
	hears("READY=1")
	Notifier{}.Send("to nobody")
	Notifier{filepath.Join(dir, "none")}.Send("to somebody who is gone")
}

func TestWritePidFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	if err := WritePidFile(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != fmt.Sprintf("%d\n", os.Getpid()) {
		t.Errorf("%q %v", text, err)
	}
}
