package listen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// TestMain can be another process that holds an address.
func TestMain(m *testing.M) {
	if addr := os.Getenv("HOLD_ADDRESS"); addr != "" {
		l, err := net.Listen("tcp", addr)
		fmt.Println("holding", err)
		io.Copy(io.Discard, os.Stdin)
		if err == nil {
			l.Close()
		}
		return
	}
	os.Exit(m.Run())
}

func planErr(m *Manager, list []Want) error {
	p, err := m.Plan(context.Background(), list)
	if err != nil {
		return err
	}
	err = p.Prepare(context.Background())
	if err == nil {
		p.Undo()
	}
	return err
}

func TestKeptSocketIsTheSame(t *testing.T) {
	m := manager(t)
	port := freePort(t, 1)
	first := apply(t, m, echoLine, wants(t, "a", fmt.Sprintf(":%d", port), ":0"))
	before := first.Bindings()
	var answer atomic.Pointer[string]
	for i, spelling := range []string{":%d", "0.0.0.0:%d", "[::]:%d", "tcp/:%d"} {
		owner := fmt.Sprint("owner", i)
		serve := func(s *Socket, c net.Conn) {
			text := s.Owner()
			answer.Store(&text)
			echoLine(s, c)
		}
		p := apply(t, m, serve, wants(t, owner, fmt.Sprintf(spelling, port), ":0"))
		if p.Changes() || len(p.Kept()) != 2 {
			t.Errorf("%s: the plan changes something: open %v close %v", spelling, p.Open(), p.Close())
		}
		for k, b := range p.Bindings() {
			if b.Socket != before[k].Socket {
				t.Errorf("%s: another socket", spelling)
			}
		}
		if _, err := ask(fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
			t.Fatal(err)
		}
		if *answer.Load() != owner {
			t.Errorf("%s: served for %s", spelling, *answer.Load())
		}
	}
	list := m.List()
	if len(list) != 2 || list[1].Accepted != 4 || list[1].Owner != "owner3" || list[1].Opened.IsZero() {
		t.Errorf("%+v", list)
	}
	chosen := before[1].Socket
	if !chosen.ChosenPort() || chosen.Addr().(*net.TCPAddr).Port == 0 || before[0].Socket.ChosenPort() {
		t.Error("the chosen port is not told")
	}
	if _, err := ask(fmt.Sprintf("127.0.0.1:%d", chosen.Addr().(*net.TCPAddr).Port)); err != nil {
		t.Error(err)
	}
}

func TestSetServe(t *testing.T) {
	m := manager(t)
	s := apply(t, m, echoLine, wants(t, "a", "127.0.0.1:0")).Bindings()[0].Socket
	s.SetServe(func(s *Socket, c net.Conn) { io.WriteString(c, "second\n"); c.Close() })
	if got, err := ask(s.Addr().String()); got != "second\n" && err == nil {
		t.Errorf("%q %v", got, err)
	}
}

func TestClashes(t *testing.T) {
	type l = []string
	for _, c := range []struct {
		name string
		a, b l
		want []string // all in the error; none: it is fine
	}{
		{"twice", l{":81"}, l{":81"}, l{":81", "listed twice", `"a"`, `"b"`}},
		{"twice in one server", l{":81", ":81"}, nil, l{"listed twice"}},
		{"port 0 twice", l{":0", ":0"}, nil, l{"listed twice"}},
		{"range and port", l{"127.0.0.1:7000-7002"}, l{"127.0.0.1:7001"}, l{"127.0.0.1:7001", "listed twice"}},
		{"range and port in one server", l{"127.0.0.1:7000-7002", "127.0.0.1:7001"}, nil, l{"listed twice"}},
		{"two spellings", l{":81"}, l{"0.0.0.0:81"}, l{"same socket", ":81", "0.0.0.0:81"}},
		{"two spellings in one server", l{":81", "0.0.0.0:81", "[::]:81"}, nil, nil},
		{"name and its address", l{"localhost:81"}, l{"127.0.0.1:81"}, l{"same socket"}},
		{"wildcard and specific", l{":81"}, l{"127.0.0.1:81"}, nil},
		{"both families and IPv4", l{":81"}, l{"tcp4/:81"}, nil},
		{"both families and IPv6", l{":81"}, l{"tcp6/:81"}, l{"IPv6"}},
		{"both families and IPv6 in one server", l{":81", "tcp6/:81"}, nil, nil},
		{"IPv4 and IPv6", l{"tcp4/:81"}, l{"tcp6/:81"}, nil},
		{"modes", l{"unix//tmp/x.sock|0600", "unix//tmp/../tmp/x.sock|0660"}, nil, l{"two modes"}},
		{"same file with two modes as text", l{"unix//tmp/x.sock|0600"}, l{"unix//tmp/x.sock|0660"}, l{"listed twice"}},
		{"same file", l{"unix//tmp/x.sock"}, l{"unix//tmp/./x.sock"}, l{"same socket"}},
		{"udp", l{"udp/:81"}, nil, l{"datagrams", "udp/:81", `"a"`}},
		{"unixgram", l{"unixgram//x"}, nil, l{"datagrams"}},
		{"fdgram", l{"fdgram/3"}, nil, l{"datagrams"}},
		{"unknown network", l{"sctp/:81"}, nil, l{"unknown network", "sctp"}},
		{"fd that is no number", l{"fd/x"}, nil, l{"fd"}},
		{"IPv6 address of tcp4", l{"tcp4/[::1]:81"}, nil, l{"no address of tcp4"}},
		{"IPv4 wildcard of tcp6", l{"tcp6/0.0.0.0:81"}, nil, l{"no address of tcp6"}},
		{"unknown name", l{"nowhere.invalid:81"}, nil, l{"nowhere.invalid", "no such host"}},
		{"long path", l{"unix//" + strings.Repeat("x", 120)}, nil, l{"bytes"}},
		{"all at once", l{"udp/:81", "sctp/:82", ":83", ":83"}, nil, l{"datagrams", "unknown network", "listed twice"}},
	} {
		m := NewManager(Options{Resolver: fixed{}})
		_, err := m.Plan(context.Background(), append(wants(t, "a", c.a...), wants(t, "b", c.b...)...))
		if (err == nil) != (len(c.want) == 0) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q is not in: %v", c.name, w, err)
			}
		}
	}
}

// fixed knows one host.
type fixed struct{}

func (fixed) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if host == "localhost" {
		return []netip.Addr{netip.IPv6Loopback(), netip.MustParseAddr("127.0.0.1")}, nil
	}
	return nil, errors.New("no such host")
}

// A name whose first address changes keeps the socket it has.
func TestNameKeepsItsSocket(t *testing.T) {
	r := &turning{}
	m := NewManager(Options{Resolver: r})
	defer m.Close(context.Background())
	list := wants(t, "a", fmt.Sprintf("web:%d", freePort(t, 1)))
	apply(t, m, echoLine, list)
	if p := apply(t, m, echoLine, list); p.Changes() {
		t.Errorf("%v %v", p.Open(), p.Close())
	}
}

type turning struct{ n int }

func (r *turning) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	r.n++
	a := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
	if r.n%2 == 0 {
		a[0], a[1] = a[1], a[0]
	}
	return a, nil
}

// Specific addresses win over wildcards within one plan.
func TestSpecificWins(t *testing.T) {
	m := manager(t)
	port := freePort(t, 1)
	list := append(wants(t, "any", fmt.Sprintf(":%d", port)), wants(t, "one", fmt.Sprintf("127.0.0.2:%d", port))...)
	list = append(list, wants(t, "four", fmt.Sprintf("tcp4/:%d", port))...)
	apply(t, m, func(s *Socket, c net.Conn) { io.WriteString(c, s.Owner()+"\n"); echoLine(s, c) }, list)
	for host, want := range map[string]string{"127.0.0.2": "one\n", "127.0.0.1": "four\n", "[::1]": "any\n"} {
		if got, err := ask(fmt.Sprintf("%s:%d", host, port)); got != want {
			t.Errorf("%s is served by %q, %v; want %q", host, got, err, want)
		}
	}
}

func TestUndo(t *testing.T) {
	m := manager(t)
	port := freePort(t, 2)
	apply(t, m, echoLine, wants(t, "a", fmt.Sprintf(":%d", port)))
	l := startLoad(fmt.Sprintf("127.0.0.1:%d", port))
	l.progress(t, 10)
	eventually(t, "sockets settle", func() bool { return len(m.List()) == 1 })
	for range 20 {
		p, err := m.Plan(context.Background(), wants(t, "b", fmt.Sprintf("127.0.0.1:%d-%d", port, port+1), "127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Prepare(context.Background()); err != nil {
			t.Fatal(err)
		}
		if len(p.Opened()) != 3 || len(p.Open()) != 3 || len(p.Close()) != 1 {
			t.Errorf("opened %d, %v, %v", len(p.Opened()), p.Open(), p.Close())
		}
		p.Undo()
		p.Undo()
		l.progress(t, 10)
	}
	l.end(t)
	eventually(t, "only the old socket is left", func() bool { return len(m.List()) == 1 })
	if _, err := ask(fmt.Sprintf("127.0.0.1:%d", port+1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("an undone socket answers: %v", err)
	}
}

// One failing open leaves everything as it was.
func TestPartialFailure(t *testing.T) {
	m := manager(t)
	port := freePort(t, 3)
	path := filepath.Join(t.TempDir(), "s")
	kept := fmt.Sprintf("127.0.0.1:%d", port)
	apply(t, m, echoLine, wants(t, "a", kept, "unix/"+path+"|0600"))
	other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+2))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := ask(kept); err != nil { // the poller's own descriptors exist
		t.Fatal(err)
	}
	before, routines := settled(t)
	for range 5 {
		err := planErr(m, wants(t, "b", fmt.Sprintf(":%d-%d", port, port+2), "unix/"+path+"|0660", "unix/"+path+"2"))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf(":%d ", port+2)) || !strings.Contains(err.Error(), "in use") {
			t.Fatalf("%v", err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("the mode was not put back: %v %v", fi.Mode(), err)
		}
		if _, err := os.Stat(path + "2"); err == nil {
			t.Error("the new socket's file was left behind")
		}
	}
	eventually(t, "descriptors and goroutines are as before", func() bool {
		return fds(t) == before && runtime.NumGoroutine() <= routines && len(m.List()) == 2
	})
	if _, err := ask(kept); err != nil {
		t.Error(err)
	}
}

// settled waits until nothing changes by itself.
func settled(t *testing.T) (f, g int) {
	f, g = fds(t), runtime.NumGoroutine()
	for since := time.Now(); time.Since(since) < 50*time.Millisecond; time.Sleep(time.Millisecond) {
		if f2, g2 := fds(t), runtime.NumGoroutine(); f2 != f || g2 != g {
			f, g, since = f2, g2, time.Now()
		}
	}
	return f, g
}

func TestNoLeaks(t *testing.T) {
	before, routines := settled(t)
	m := NewManager(Options{})
	port := freePort(t, 2)
	path := filepath.Join(t.TempDir(), "s")
	for i := range 20 {
		apply(t, m, echoLine, wants(t, "a", fmt.Sprintf(":%d-%d", port, port+1), "unix/"+path, "unix/@leak"+path))
		if i == 0 {
			eventually(t, "one goroutine for each socket", func() bool { return runtime.NumGoroutine() == routines+4 })
		}
		apply(t, m, echoLine, wants(t, "a", fmt.Sprintf("127.0.0.1:%d", port)))
	}
	apply(t, m, echoLine, nil)
	eventually(t, "everything is closed", func() bool { return len(m.List()) == 0 })
	if err := m.Close(context.Background()); err != nil {
		t.Error(err)
	}
	eventually(t, "descriptors and goroutines are as before", func() bool {
		return fds(t) <= before && runtime.NumGoroutine() <= routines
	})
	if err := planErr(m, wants(t, "a", ":0")); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestForeignHolder(t *testing.T) {
	port := freePort(t, 1)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ held, wanted string }{{"127.0.0.1", "127.0.0.1"}, {"127.0.0.1", ""}, {"", "127.0.0.1"}, {"[::1]", ""}, {"", "[::1]"}} {
		m := manager(t)
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), fmt.Sprintf("HOLD_ADDRESS=%s:%d", c.held, port))
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, _ := bufio.NewReader(out).ReadString('\n'); line != "holding <nil>\n" {
			t.Fatalf("%q", line)
		}
		addr := fmt.Sprintf("%s:%d", c.wanted, port)
		err := planErr(m, wants(t, "web", addr))
		if err == nil {
			t.Errorf("%s shares with %s", addr, c.held)
		} else {
			for _, w := range []string{addr, `"web"`, "in use", fmt.Sprintf("process %d", cmd.Process.Pid), "stop that"} {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in: %v", w, err)
				}
			}
		}
		in.Close()
		cmd.Wait()
		if err := planErr(m, wants(t, "web", addr)); err != nil {
			t.Errorf("after the other has gone: %v", err)
		}
	}
}

// A stranger with SO_REUSEPORT is noticed although we hand over beside it.
func TestReusePortStranger(t *testing.T) {
	m := manager(t)
	port := freePort(t, 1)
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return rawControl(c, func(fd uintptr) error { return setReusePort(fd, true) })
	}}
	apply(t, m, echoLine, wants(t, "a", fmt.Sprintf("127.0.0.1:%d", port)))
	stranger, err := lc.Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.2:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	err = planErr(m, wants(t, "a", fmt.Sprintf(":%d", port)))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("127.0.0.2:%d", port)) {
		t.Errorf("shared with a stranger: %v", err)
	}
	stranger.Close()
	refused := func(when, host string) {
		t.Helper()
		if l, err := lc.Listen(context.Background(), "tcp", fmt.Sprintf("%s:%d", host, port)); err == nil {
			l.Close()
			t.Errorf("%s: a stranger may share %s", when, host)
		}
	}
	refused("before", "127.0.0.1")
	refused("before", "")
	apply(t, m, echoLine, wants(t, "a", fmt.Sprintf(":%d", port)))
	eventually(t, "the old one is gone", func() bool { return len(m.List()) == 1 })
	// Another sluice is refused, whatever has been handed over.
	for _, host := range []string{"127.0.0.1", "127.0.0.2", ""} {
		if err := planErr(manager(t), wants(t, "b", fmt.Sprintf("%s:%d", host, port))); err == nil {
			t.Errorf("another manager may share %q", host)
		}
	}
}

func TestUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.sock")
	m := manager(t)
	old := syscall.Umask(0o022)
	defer syscall.Umask(old)
	for _, c := range []struct {
		text string
		mode os.FileMode
	}{{"", 0o200}, {"|0660", 0o660}, {"|222", 0o222}, {"|0777", 0o777}} {
		p := apply(t, m, echoLine, wants(t, "a", "unix/"+path+c.text))
		fi, err := os.Stat(path)
		if err != nil || fi.Mode().Perm() != c.mode {
			t.Errorf("%q: %v %v", c.text, fi.Mode(), err)
		}
		if c.text != "" && p.Changes() {
			t.Errorf("%q: another mode is another socket", c.text)
		}
	}
	askUnix := func(name string) error {
		c, err := net.Dial("unix", name)
		if err != nil {
			return err
		}
		defer c.Close()
		io.WriteString(c, "x\n")
		_, err = bufio.NewReader(c).ReadString('\n')
		return err
	}
	if err := askUnix(path); err != nil {
		t.Error(err)
	}
	// Another manager is another process as far as files go.
	if err := planErr(manager(t), wants(t, "b", "unix/"+path)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a live socket was taken: %v", err)
	}
	if err := askUnix(path); err != nil {
		t.Errorf("after another tried: %v", err)
	}
	apply(t, m, echoLine, wants(t, "a", "unix/@"+path))
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is left behind")
	}
	if err := askUnix("@" + path); err != nil {
		t.Error(err)
	}
	// A stale socket makes way, other files do not.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	apply(t, m, echoLine, wants(t, "a", "unix/"+path))
	if err := askUnix(path); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := planErr(m, wants(t, "a", "unix/"+file)); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a plain file: %v", err)
	}
	if err := planErr(m, wants(t, "a", "unix/"+filepath.Join(dir, "none", "s"))); err == nil {
		t.Error("a missing folder is fine")
	}
}

// The file never has more bits than asked for: it is made with the mode, not
// given it later.
func TestUnixModeFromTheStart(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "s")
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return rawControl(c, func(fd uintptr) error { return presetMode(fd, 0o600) })
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
}

// Unix sockets exchanged under load: path to path, and kept.
func TestUnixQueueIsDrained(t *testing.T) {
	m := manager(t)
	path := filepath.Join(t.TempDir(), "s")
	for _, addr := range []string{"unix/" + path, "unix/@" + path} {
		p := apply(t, m, nil, wants(t, "a", addr))
		s := p.Bindings()[0].Socket
		// Clients that connect while nobody accepts.
		hold := make(chan struct{})
		s.SetServe(func(s *Socket, c net.Conn) { <-hold; echoLine(s, c) })
		var conns []net.Conn
		for range 20 {
			c, err := net.Dial("unix", strings.TrimPrefix(addr, "unix/"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns = append(conns, c)
		}
		done := make(chan struct{})
		go func() { apply(t, m, echoLine, nil); close(done) }()
		<-done
		close(hold)
		for i, c := range conns {
			io.WriteString(c, "x\n")
			c.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
				t.Errorf("%s: connection %d was dropped: %v", addr, i, err)
			}
		}
		if _, err := net.Dial("unix", strings.TrimPrefix(addr, "unix/")); err == nil {
			t.Errorf("%s still takes connections", addr)
		}
	}
}

// The same for TCP, without anybody who takes over: what had connected is
// served, what comes later is refused at once.
func TestQueueIsDrained(t *testing.T) {
	m := manager(t)
	s := apply(t, m, nil, wants(t, "a", "127.0.0.1:0")).Bindings()[0].Socket
	hold := make(chan struct{})
	s.SetServe(func(s *Socket, c net.Conn) { <-hold; echoLine(s, c) })
	var conns []net.Conn
	for range 50 {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	p, err := m.Plan(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	gone := make(chan *Socket, 1)
	p.Commit(echoLine, func(s *Socket) { gone <- s })
	if _, err := net.Dial("tcp", s.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection after the commit: %v", err)
	}
	close(hold)
	for i, c := range conns {
		io.WriteString(c, "x\n")
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Errorf("connection %d was dropped: %v", i, err)
		}
	}
	if g := <-gone; g != s || s.Accepted() != 50 {
		t.Errorf("%d were accepted", s.Accepted())
	}
	<-s.Done()
}

func TestInherited(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := manager(t)
	list := wants(t, "a", fmt.Sprintf("fd/%d", f.Fd()))
	for range 3 { // comes and goes, the descriptor stays
		s := apply(t, m, echoLine, list).Bindings()[0].Socket
		if got, err := ask(l.Addr().String()); err != nil || !strings.HasPrefix(got, "fd/") {
			t.Errorf("%q %v", got, err)
		}
		dup, err := s.File()
		if err != nil {
			t.Error(err)
		}
		dup.Close()
		apply(t, m, echoLine, nil)
		eventually(t, "it has left", func() bool { return len(m.List()) == 0 })
	}
	if ours := wants(t, "a", l.Addr().String()); planErr(m, ours) == nil {
		t.Error("the address of an inherited descriptor was opened")
	}
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	uf, _ := u.(*net.UDPConn).File()
	defer uf.Close()
	r, w, _ := os.Pipe()
	defer r.Close()
	defer w.Close()
	for n, want := range map[uintptr]string{999999: "not started with", r.Fd(): "no socket", uf.Fd(): "no stream"} {
		if err := planErr(m, wants(t, "a", fmt.Sprintf("fd/%d", n))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("fd/%d: %v, want %q", n, err, want)
		}
	}
}

func TestPlanOrder(t *testing.T) {
	m := manager(t)
	ctx := context.Background()
	a, _ := m.Plan(ctx, wants(t, "a", "127.0.0.1:0"))
	b, _ := m.Plan(ctx, wants(t, "b", "127.0.0.2:0"))
	if err := a.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Prepare(ctx); err == nil {
		t.Error("two plans are prepared at once")
	}
	a.Commit(echoLine, nil)
	if err := b.Prepare(ctx); err == nil || !strings.Contains(err.Error(), "plan again") {
		t.Errorf("a plan of the past: %v", err)
	}
	if err := a.Prepare(ctx); err == nil {
		t.Error("a plan is prepared twice")
	}
	defer func() {
		if recover() == nil {
			t.Error("Commit without Prepare")
		}
	}()
	b.Commit(echoLine, nil)
}

func TestKeepAlive(t *testing.T) {
	if c := KeepAlive(-1, 5, 5); c.Enable {
		t.Error("a negative interval means no probes")
	}
	m := manager(t)
	a, err := netaddr.Parse("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cfg                   net.KeepAliveConfig
		on, interval, idle, n int
	}{
		{KeepAlive(0, 0, 0), 1, 15, 15, 9},
		{KeepAlive(20*time.Second, 30*time.Second, 4), 1, 20, 30, 4},
		{KeepAlive(20*time.Second, -1, -1), 1, 20, 7200, 9},
		{KeepAlive(-1, 30*time.Second, 4), 0, 0, 0, 0},
	} {
		got := make(chan [4]int, 1)
		p := apply(t, m, func(_ *Socket, conn net.Conn) {
			raw, _ := conn.(*net.TCPConn).SyscallConn()
			raw.Control(func(fd uintptr) { got <- keepAliveOptions(int(fd)) })
			conn.Close()
		}, []Want{{Addr: a, Owner: "a", KeepAlive: c.cfg}})
		conn, err := net.Dial("tcp", p.Bindings()[0].Socket.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if o := <-got; o[0] != c.on || c.on == 1 && o != [4]int{c.on, c.interval, c.idle, c.n} {
			t.Errorf("%+v: %v", c.cfg, o)
		}
	}
}

// fake is a listener that fails.
type fake struct {
	listener
	mu     sync.Mutex
	calls  int
	err    error
	wake   chan struct{}
	closed bool
}

func (f *fake) Accept() (net.Conn, error) {
	f.mu.Lock()
	f.calls++
	err := f.err
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	<-f.wake
	return nil, net.ErrClosed
}
func (f *fake) Addr() net.Addr                        { return &net.UnixAddr{} }
func (f *fake) SetDeadline(time.Time) error           { return nil }
func (f *fake) SyscallConn() (syscall.RawConn, error) { return nil, net.ErrClosed }
func (f *fake) Close() error                          { f.closed = true; return nil }

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewManager(Options{})
		f := &fake{err: syscall.EMFILE, wake: make(chan struct{})}
		s := newSocket(m, &want{target: &target{kind: kindFD}}, f)
		m.sockets["x"] = s
		s.start()
		time.Sleep(30 * time.Second)
		f.mu.Lock()
		if f.calls < 30 || f.calls > 45 {
			t.Errorf("%d accepts in 30 s without descriptors", f.calls)
		}
		f.err, f.calls = nil, 0
		f.mu.Unlock()
		time.Sleep(2 * time.Second)
		f.mu.Lock()
		if f.calls != 1 {
			t.Errorf("%d accepts after descriptors came back", f.calls)
		}
		f.mu.Unlock()
		go m.Close(context.Background())
		synctest.Wait()
		close(f.wake)
		<-s.Done()
		if !f.closed {
			t.Error("it was not closed")
		}
		// One that leaves does not wait for the pause to end.
		m = NewManager(Options{})
		f = &fake{err: syscall.EMFILE}
		s = newSocket(m, &want{target: &target{kind: kindFD}}, f)
		m.sockets["y"] = s
		s.start()
		time.Sleep(time.Minute)
		start := time.Now()
		m.Close(context.Background())
		if d := time.Since(start); d != 0 {
			t.Errorf("closing took %v", d)
		}
	})
}

func TestParseTCP(t *testing.T) {
	line := "   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 563 1 000000008401a084 100 0 0 10 0"
	if e, ok := parseTCP(line); !ok || e.local.String() != "[::1]:8080" || e.state != stateListen || e.inode != 563 {
		t.Errorf("%+v %v", e, ok)
	}
	for _, bad := range []string{"", "x", "  sl  local_address rem_address   st", strings.Replace(line, "1F90", "XXXX", 1)} {
		if _, ok := parseTCP(bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
	// Both ways see the same listeners.
	m := manager(t)
	s := apply(t, m, echoLine, wants(t, "a", ":0")).Bindings()[0].Socket
	port := uint16(s.Addr().(*net.TCPAddr).Port)
	for name, each := range map[string]func(uint16, uint32, func(tcpEntry)) error{"netlink": eachTCP, "proc": eachTCPProc} {
		n := 0
		err := each(port, 1<<stateListen, func(e tcpEntry) {
			if m.inodes()[e.inode] && e.local.Addr().IsUnspecified() && e.state == stateListen {
				n++
			}
		})
		if err != nil || n != 1 {
			t.Errorf("%s: %d listeners, %v", name, n, err)
		}
	}
}

// A wide range that leaves is gone soon.
func TestWideRange(t *testing.T) {
	m := manager(t)
	port := freePort(t, 300)
	start := time.Now()
	apply(t, m, echoLine, wants(t, "a", fmt.Sprintf("127.0.0.1:%d-%d", port, port+299)))
	apply(t, m, echoLine, nil)
	eventually(t, "the range has left", func() bool { return len(m.List()) == 0 })
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}
