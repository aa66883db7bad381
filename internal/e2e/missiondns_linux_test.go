package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

const missionSRV = "example.com {\nreverse_proxy {\nto _api._tcp.example.com\nlb_policy round_robin\n}\n}\n"

// insideName is the variable of a test process that has a network and a view of the files of its own.
const insideName = "SLUICE_E2E_INSIDE"

// TestMissionSRV is mission 16. The file names no resolver, so the server asks whom the system asks. The test therefore
// runs itself again where it may say who that is: in a namespace in which /etc/resolv.conf names a DNS server of the
// test, at the port of DNS. Where the system makes no namespaces it cannot run.
func TestMissionSRV(t *testing.T) {
	if os.Getenv(insideName) == "" {
		t.Parallel()
		inside(t)
		return
	}
	loopback(t)
	dns := newNames(t, "127.0.0.1:53")
	resolve(t, "nameserver 127.0.0.1\n")
	m := newMission(t)
	m.given(t, "16", missionSRV)
	m.load(t, m.file)
	m.wants(t, "dynamic_upstreams", `{"source":"srv","name":"_api._tcp.example.com"}`)
	m.wants(t, "load_balancing", `{"selection_policy":{"policy":"round_robin"}}`)
	t.Run("as written", func(t *testing.T) { findRecords(t, m, dns) })
	t.Run("as they change", func(t *testing.T) { followRecords(t, m, dns) })
}

// inside runs the test in a process with namespaces of its own.
func inside(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out buffer
	for _, user := range []bool{false, true} { // as root, or else as root of a namespace
		cmd := exec.Command(self, "-test.run=^TestMissionSRV$", "-test.v", "-test.timeout=2m")
		for _, v := range os.Environ() {
			if name, _, _ := strings.Cut(v, "="); !strings.HasSuffix(strings.ToLower(name), "_proxy") { // of the real network
				cmd.Env = append(cmd.Env, v)
			}
		}
		cmd.Env = append(cmd.Env, insideName+"=yes", toolsName+"="+tools)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
		if user {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		cmd.Stdout, cmd.Stderr = &out, &out
		err = cmd.Run()
		var ended *exec.ExitError
		switch {
		case err == nil && strings.Contains(out.String(), "--- SKIP: TestMissionSRV"):
			t.Skip(out.String())
		case err == nil:
			t.Log(out.String())
			return
		case errors.As(err, &ended):
			t.Fatalf("%v\n%s", err, out.String())
		}
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) {
		t.Skip("no namespaces are to be had:", err)
	}
	t.Fatal(err)
}

// allowed skips what a system does not allow even in a namespace.
func allowed(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case errors.Is(err, fs.ErrPermission):
		t.Skipf("%s: %v", what, err)
	case err != nil:
		t.Fatalf("%s: %v", what, err)
	}
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
	allowed(t, "turning on the loopback device", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, device))
}

// resolve puts a text into the place of /etc/resolv.conf, for this process and those it starts.
func resolve(t *testing.T, text string) {
	t.Helper()
	allowed(t, "keeping mounts to ourselves", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	err := unix.Mount(file, "/etc/resolv.conf", "", unix.MS_BIND, "")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("this system has no /etc/resolv.conf to replace")
	}
	allowed(t, "replacing /etc/resolv.conf", err)
	t.Cleanup(func() { _ = unix.Unmount("/etc/resolv.conf", unix.MNT_DETACH) })
}

// names is a DNS server.
type names struct {
	mu    sync.Mutex
	lines map[string][]string // by name, in the words of zone files
	down  bool
	asked int // for SRV records
}

func newNames(t *testing.T, address string) *names {
	t.Helper()
	n := &names{lines: map[string][]string{}}
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{{PacketConn: udp, Handler: n}, {Listener: tcp, Handler: n}} {
		ready := make(chan struct{})
		server.NotifyStartedFunc = func() { close(ready) }
		go func() { _ = server.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return n
}

// set says what there is below a name. Without lines there is no such name.
func (n *names) set(name string, lines ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lines[name] = lines; lines == nil {
		delete(n.lines, name)
	}
}

func (n *names) fail(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

// questions is how often somebody has asked for SRV records.
func (n *names) questions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// ServeDNS implements dns.Handler.
func (n *names) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	question := q.Question[0]
	if question.Qtype == dns.TypeSRV {
		n.asked++
	}
	lines, ok := n.lines[strings.ToLower(question.Name)]
	switch {
	case n.down:
		m.Rcode = dns.RcodeServerFailure
	case !ok:
		m.Rcode = dns.RcodeNameError
	}
	for _, l := range lines {
		rr, err := dns.NewRR(question.Name + " 60 IN " + l)
		if err != nil {
			panic(err)
		}
		if m.Rcode == dns.RcodeSuccess && rr.Header().Rrtype == question.Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	_ = w.WriteMsg(m)
}

// records are SRV records that lead to upstreams with these numbers.
func (m *mission) records(numbers ...int) []string {
	var lines []string
	for _, i := range numbers {
		_, port, _ := net.SplitHostPort(m.ups[i].address())
		lines = append(lines, fmt.Sprintf("SRV 10 5 %s host%d.internal.example.", port, i))
	}
	return lines
}

const recordsName = "_api._tcp.example.com."

// turns checks that upstreams with these numbers answer in turn, and waits until they do.
func (m *mission) turns(t *testing.T, numbers ...int) {
	t.Helper()
	var want []string
	for _, i := range numbers {
		want = append(want, fmt.Sprint("up", i))
	}
	n := len(want)
	poll(t, fmt.Sprint(want, " in turn"), func() error {
		var got []string
		for range 3 * n {
			res, body := m.fetch(t, "/")
			name := res.Header.Get("X-Powered-By")
			if res.StatusCode != http.StatusOK || !strings.Contains(body, name) {
				return fmt.Errorf("status %d", res.StatusCode)
			}
			got = append(got, name)
		}
		for round := range 3 {
			part := slices.Clone(got[round*n : (round+1)*n])
			if slices.Sort(part); !slices.Equal(part, want) {
				return fmt.Errorf("they are %v", got)
			}
		}
		return nil
	})
}

// none waits until there is no upstream.
func (m *mission) none(t *testing.T) {
	t.Helper()
	poll(t, "no upstreams to be left", func() error {
		if got := m.status(t); got != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d", got)
		}
		return nil
	})
}

// findRecords: the file as it is. Nobody is asked at load, so it loads before there are any records, and takes them up
// when they come.
func findRecords(t *testing.T, m *mission, dns *names) {
	for i := range m.ups {
		dns.set(fmt.Sprintf("host%d.internal.example.", i), "A 127.0.0.1")
	}
	if n := dns.questions(); n != 0 {
		t.Errorf("%d questions at load", n)
	}
	m.none(t)
	dns.set(recordsName, m.records(0, 1)...)
	m.turns(t, 0, 1)
	before := dns.questions()
	m.names(t, 20)
	if n := dns.questions() - before; n != 0 {
		t.Errorf("%d questions within the minute that an answer is good", n)
	}
	m.load(t, m.file+"# edited\n")
	m.turns(t, 0, 1)
	if n := dns.questions() - before; n != 0 {
		t.Errorf("%d questions after an edit that changes nothing", n)
	}
}

// followRecords: the same source in the words that have a place for how long an answer is good, which otherwise is a
// minute.
func followRecords(t *testing.T, m *mission, dns *names) {
	m.edit(t, "to _api._tcp.example.com", "dynamic srv {\nname _api._tcp.example.com\nrefresh 50ms\n}")
	m.wants(t, "dynamic_upstreams", `{"source":"srv","name":"_api._tcp.example.com","refresh":50000000}`)
	m.turns(t, 0, 1)
	dns.set(recordsName, m.records(1, 2)...)
	m.turns(t, 1, 2)
	dns.set(recordsName, m.records(0, 1, 2)...)
	m.turns(t, 0, 1, 2)
	dns.set(recordsName, m.records(2)...)
	m.turns(t, 2)
	// While the DNS is down, what was known goes on.
	dns.fail(true)
	before := dns.questions()
	poll(t, "a question in vain", func() error {
		m.turns(t, 2)
		if dns.questions() == before {
			return errors.New("nobody has asked")
		}
		return nil
	})
	m.turns(t, 2)
	dns.fail(false)
	dns.set(recordsName) // the name is gone
	m.none(t)
	dns.set(recordsName, m.records(0, 2)...)
	m.turns(t, 0, 2)
}
