package packaging

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager does what systemd does with the units that are installed in a root, by what is written in them. The root's
// systemctl and journalctl ask it.
type manager struct {
	t    *testing.T
	root string

	turn    sync.Mutex // holds what follows; one command at a time
	sockets []*os.File // of sluice.socket, while it is active
	asked   []string   // the command lines of systemctl
	running map[string]*service

	journal *os.File // what services print
}

// service is a unit that runs.
type service struct {
	unit   *unit
	notify *net.UnixConn
	done   chan struct{} // closed when the main process has ended
	err    error         // of that

	mu    sync.Mutex
	pid   int // of the main process
	heard []string
	bell  chan struct{} // closed when more is heard
}

const systemctl = `#!/bin/sh
# Asks the test.
echo "$*" >/run/manager/ask
read -r code </run/manager/answer
exit "$code"
`

const journalctl = `#!/bin/sh
cat /run/manager/journal
`

func newManager(t *testing.T, root string) *manager {
	t.Helper()
	m := &manager{t: t, root: root, running: map[string]*service{}}
	for name, text := range map[string]string{"systemctl": systemctl, "journalctl": journalctl} {
		file := filepath.Join(root, "usr/bin", name)
		_ = os.Remove(file)
		write(t, file, text, 0o755)
	}
	dir := filepath.Join(root, "run/manager")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ask", "answer"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Both ends, so that opening never waits and nobody is the last writer.
	ask, err := os.OpenFile(filepath.Join(dir, "ask"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := os.OpenFile(filepath.Join(dir, "answer"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A file and no pipe, for who takes over prints to it as well.
	if m.journal, err = os.OpenFile(filepath.Join(dir, "journal"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(ask); lines.Scan(); {
			m.turn.Lock()
			m.asked = append(m.asked, lines.Text())
			code := 0
			if err := m.do(strings.Fields(lines.Text())); err != nil {
				m.log("systemctl " + lines.Text() + ": " + err.Error())
				code = 1
			}
			m.turn.Unlock()
			_, _ = fmt.Fprintln(answer, code)
		}
	}()
	t.Cleanup(func() {
		m.turn.Lock()
		defer m.turn.Unlock()
		for _, s := range m.running {
			s.signal(syscall.SIGKILL)
			<-s.done
		}
		if t.Failed() {
			t.Log(read(t, m.journal.Name()))
		}
	})
	return m
}

// service is the unit that runs, nil if it does not.
func (m *manager) service(name string) *service {
	m.turn.Lock()
	defer m.turn.Unlock()
	return m.running[name]
}

// commands are the command lines of systemctl since the last time.
func (m *manager) commands() []string {
	m.turn.Lock()
	defer m.turn.Unlock()
	list := m.asked
	m.asked = nil
	return list
}

func (m *manager) log(line string) { _, _ = m.journal.WriteString(line + "\n") }

// do carries out what systemctl is asked for.
func (m *manager) do(args []string) error {
	now, verb := false, ""
	var units []string
	for _, a := range args {
		switch {
		case a == "--now":
			now = true
		case strings.HasPrefix(a, "-"):
		case verb == "":
			verb = a
		default:
			if !strings.Contains(a, ".") {
				a += ".service"
			}
			units = append(units, a)
		}
	}
	for _, name := range units {
		var err error
		switch verb {
		case "enable", "disable":
			err = m.enable(name, verb == "enable", now)
		case "is-enabled":
			if _, err = os.Lstat(m.wants(name)); err != nil {
				err = fmt.Errorf("%s is disabled", name)
			}
		case "is-active", "status":
			if m.running[name] == nil && (name != "sluice.socket" || m.sockets == nil) {
				err = fmt.Errorf("%s is inactive", name)
			}
		case "start":
			err = m.start(name)
		case "stop":
			err = m.stop(name)
		case "restart", "try-restart":
			if m.running[name] != nil || verb == "restart" {
				if err = m.stop(name); err == nil {
					err = m.start(name)
				}
			}
		case "reload":
			err = m.reload(name)
		case "kill":
			if s := m.running[name]; s != nil {
				s.signal(signalIn(args))
			}
		default:
			err = fmt.Errorf("systemctl %s is not known to the test", verb)
		}
		if err != nil {
			return err
		}
	}
	if len(units) == 0 && verb != "daemon-reload" {
		return fmt.Errorf("systemctl %s is not known to the test", verb)
	}
	return nil
}

// signalIn is the signal of --signal=NAME.
func signalIn(args []string) syscall.Signal {
	for _, a := range args {
		if name, ok := strings.CutPrefix(a, "--signal="); ok {
			return unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG"))
		}
	}
	return syscall.SIGTERM
}

func (m *manager) unit(name string) (*unit, error) {
	file := filepath.Join(m.root, "usr/lib/systemd/system", name)
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("%s is not installed", name)
	}
	u := parseUnit(m.t, file)
	more, _ := filepath.Glob(filepath.Join(m.root, "etc/systemd/system", name+".d", "*.conf"))
	for _, file := range more {
		for _, l := range parseUnit(m.t, file).lines {
			if l.value == "" { // forgets what was said
				u.lines = slices.DeleteFunc(u.lines, func(o setting) bool { return o.key == l.key })
				continue
			}
			u.lines = append(u.lines, l)
		}
	}
	return u, nil
}

// wants is the link by which a unit is started with the machine.
func (m *manager) wants(name string) string {
	target := "multi-user.target"
	if strings.HasSuffix(name, ".socket") {
		target = "sockets.target"
	}
	return filepath.Join(m.root, "etc/systemd/system", target+".wants", name)
}

func (m *manager) enable(name string, on, now bool) error {
	u, err := m.unit(name)
	if err != nil {
		return err
	}
	link := m.wants(name)
	if want := u.get("WantedBy") + ".wants"; filepath.Base(filepath.Dir(link)) != want {
		return fmt.Errorf("%s is wanted by %s", name, want)
	}
	if on {
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("/usr/lib/systemd/system/"+name, link); err != nil && !os.IsExist(err) {
			return err
		}
	} else if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		return err
	}
	switch {
	case now && on:
		return m.start(name)
	case now:
		return m.stop(name)
	}
	return nil
}

// start starts a unit, and returns when it says that it is ready.
func (m *manager) start(name string) error {
	u, err := m.unit(name)
	if err != nil || m.running[name] != nil {
		return err
	}
	if strings.HasSuffix(name, ".socket") {
		return m.listen(u)
	}
	for _, other := range u.words("Conflicts") {
		if err := m.stop(other); err != nil {
			return err
		}
	}
	s := &service{unit: u, done: make(chan struct{}), bell: make(chan struct{})}
	socket := filepath.Join(m.root, "run/systemd/notify")
	_ = os.Remove(socket)
	if s.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"}); err != nil {
		return err
	}
	_ = os.Chmod(socket, 0o777)
	raw, err := s.notify.SyscallConn()
	if err != nil {
		return err
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	if err != nil {
		return err
	}
	go s.hear()
	j, err := m.job(u, u.get("ExecStart"))
	if err != nil {
		return err
	}
	var files []*os.File
	if name == "sluice.service" {
		files = m.sockets
	}
	j.Env = append(j.Env, "NOTIFY_SOCKET=/run/systemd/notify")
	if len(files) > 0 {
		j.Env = append(j.Env, "LISTEN_FDS="+strconv.Itoa(len(files)))
	}
	if u.get("Type") != "notify" || u.get("NotifyAccess") != "" {
		return fmt.Errorf("the way in which %s tells that it is ready is not known to the test", name)
	}
	cmd := j.command(m.t, files...)
	cmd.Stdout, cmd.Stderr = m.journal, m.journal
	s.mu.Lock() // until it is known who may say something
	if err := cmd.Start(); err != nil {
		s.mu.Unlock()
		return err
	}
	s.pid = cmd.Process.Pid
	s.mu.Unlock()
	go s.await(s.pid)
	if !s.hears(0, "READY=1") {
		s.signal(syscall.SIGKILL)
		<-s.done
		return fmt.Errorf("%s does not start: %v, it said %q", name, s.err, s.heard)
	}
	m.running[name] = s
	return nil
}

// listen opens the sockets of a unit.
func (m *manager) listen(u *unit) error {
	if m.sockets != nil {
		return nil
	}
	for _, l := range u.lines {
		var f *os.File
		var err error
		switch l.key {
		case "ListenStream":
			var ln net.Listener
			if ln, err = net.Listen("tcp", ":"+l.value); err == nil {
				f, err = ln.(*net.TCPListener).File()
				_ = ln.Close()
			}
		case "ListenDatagram":
			var pc net.PacketConn
			if pc, err = net.ListenPacket("udp", ":"+l.value); err == nil {
				f, err = pc.(*net.UDPConn).File()
				_ = pc.Close()
			}
		default:
			continue
		}
		if err != nil {
			return err
		}
		m.sockets = append(m.sockets, f)
	}
	return nil
}

// stop stops a unit, which must end by itself, in time, and well.
func (m *manager) stop(name string) error {
	if name == "sluice.socket" {
		for _, f := range m.sockets {
			_ = f.Close()
		}
		m.sockets = nil
		return nil
	}
	s := m.running[name]
	if s == nil {
		return nil
	}
	delete(m.running, name)
	began := s.mark()
	limit, err := time.ParseDuration(s.unit.get("TimeoutStopSec"))
	if err != nil {
		return err
	}
	s.signal(syscall.SIGTERM)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
		s.signal(syscall.SIGKILL)
		<-s.done
		return m.fault("%s did not stop in %v", name, limit)
	}
	if s.err != nil {
		return m.fault("%s stopped with %v", name, s.err)
	}
	if said := s.since(began); !slices.Equal(said, []string{"STOPPING=1"}) {
		return m.fault("%s said %q when it was stopped", name, said)
	}
	return nil
}

// fault is an error that fails the test even if nobody looks.
func (m *manager) fault(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	m.t.Error(err)
	return err
}

// reload runs the reload command of a unit.
func (m *manager) reload(name string) error {
	s := m.running[name]
	if s == nil {
		return fmt.Errorf("%s is inactive", name)
	}
	line := s.unit.get("ExecReload")
	if line == "" {
		return fmt.Errorf("%s cannot be reloaded", name)
	}
	j, err := m.job(s.unit, line)
	if err != nil {
		return err
	}
	cmd := j.command(m.t)
	cmd.Stdout, cmd.Stderr = m.journal, m.journal
	return cmd.Run()
}

// environment is what a unit sets.
func (m *manager) environment(u *unit) ([]string, error) {
	env := append([]string{path, "USER=" + u.get("User"), "LOGNAME=" + u.get("User")}, u.words("Environment")...)
	for _, file := range u.all("EnvironmentFile") {
		name, optional := strings.CutPrefix(file, "-")
		text, err := os.ReadFile(filepath.Join(m.root, name))
		if err != nil && !optional {
			return nil, err
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				env = append(env, line)
			}
		}
	}
	return env, nil
}

// job is a command line of a unit, with the rights that the unit gives.
func (m *manager) job(u *unit, line string) (*job, error) {
	env, err := m.environment(u)
	if err != nil {
		return nil, err
	}
	yes := func(key string) bool { return u.get(key) == "yes" }
	j := &job{Root: m.root, Dir: "/", Args: strings.Fields(line), Env: env, Umask: 0o022,
		NoNew: yes("NoNewPrivileges"), NoExec: yes("MemoryDenyWriteExecute")}
	if u.get("ProtectSystem") == "strict" {
		j.ReadOnly = []string{"/", "/usr"}
	}
	if text := u.get("UMask"); text != "" {
		n, err := strconv.ParseUint(text, 8, 16)
		if err != nil {
			return nil, err
		}
		j.Umask = int(n)
	}
	if j.Files, err = strconv.ParseUint(u.get("LimitNOFILE"), 10, 64); err != nil {
		return nil, err
	}
	if u.get("AmbientCapabilities") != "CAP_NET_BIND_SERVICE" || u.get("CapabilityBoundingSet") != "CAP_NET_BIND_SERVICE" {
		return nil, fmt.Errorf("these capabilities are not known to the test")
	}
	j.Caps = []int{unix.CAP_NET_BIND_SERVICE}
	if many() {
		if j.User, err = userID(m.root, u.get("User")); err != nil {
			return nil, err
		}
	}
	for key, parent := range map[string]string{"StateDirectory": "/var/lib", "LogsDirectory": "/var/log", "RuntimeDirectory": "/run"} {
		for _, name := range u.words(key) {
			dir := filepath.Join(parent, name)
			if err := m.directory(dir, u.get(key+"Mode"), j.User); err != nil {
				return nil, err
			}
			j.Writable = append(j.Writable, dir)
		}
	}
	for _, name := range u.words("RestrictAddressFamilies") {
		number, ok := map[string]int{"AF_INET": unix.AF_INET, "AF_INET6": unix.AF_INET6, "AF_UNIX": unix.AF_UNIX, "AF_NETLINK": unix.AF_NETLINK}[name]
		if !ok {
			return nil, fmt.Errorf("%s is not known to the test", name)
		}
		j.Families = append(j.Families, number)
	}
	j.Calls, err = systemCalls(u.all("SystemCallFilter"))
	return j, err
}

func (m *manager) directory(dir, mode string, user int) error {
	dir = filepath.Join(m.root, dir)
	n, err := strconv.ParseUint(mode, 8, 16)
	if err != nil {
		n = 0o755
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, os.FileMode(n)); err != nil {
		return err
	}
	return os.Chown(dir, user, user)
}

// userID is the number of a user of a root.
func userID(root, name string) (int, error) {
	text, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `:[^:]*:(\d+):`).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("there is no user %s", name)
	}
	return strconv.Atoi(string(found[1]))
}

// hear takes messages of the main process, and of no other.
func (s *service) hear() {
	buf, oob := make([]byte, 1<<16), make([]byte, 1<<10)
	for {
		n, extra, _, _, err := s.notify.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		sender := 0
		if parts, err := unix.ParseSocketControlMessage(oob[:extra]); err == nil && len(parts) > 0 {
			if who, err := unix.ParseUnixCredentials(&parts[0]); err == nil {
				sender = int(who.Pid)
			}
		}
		s.mu.Lock()
		if sender == s.pid {
			for line := range strings.SplitSeq(strings.TrimSpace(string(buf[:n])), "\n") {
				if text, ok := strings.CutPrefix(line, "MAINPID="); ok {
					s.pid, _ = strconv.Atoi(text)
					go s.await(s.pid)
				}
				s.heard = append(s.heard, line)
			}
			close(s.bell)
			s.bell = make(chan struct{})
		}
		s.mu.Unlock()
	}
}

// await waits for the end of a process, which is that of the service if it is the main one then.
func (s *service) await(pid int) {
	var status unix.WaitStatus
	var err error
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); err != unix.EINTR {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid != pid {
		return // another has taken over
	}
	if err == nil && (!status.Exited() || status.ExitStatus() != 0) {
		err = fmt.Errorf("exit status %d, signal %d", status.ExitStatus(), status.Signal())
	}
	s.err = err
	_ = s.notify.Close()
	close(s.done)
}

// main is the number of the main process.
func (s *service) main() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

func (s *service) signal(sig syscall.Signal) { _ = syscall.Kill(s.main(), sig) }

// mark is how much was heard until now.
func (s *service) mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.heard)
}

// since is what was heard after a mark.
func (s *service) since(mark int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heard[mark:])
}

// hears waits for a message after a mark. It reports false if the service ends without it.
func (s *service) hears(mark int, want string) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		s.mu.Lock()
		found, bell := slices.Contains(s.heard[mark:], want), s.bell
		s.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-bell:
		case <-s.done:
			return slices.Contains(s.since(mark), want)
		case <-timer.C:
			return false
		}
	}
}

var callNumber = regexp.MustCompile(`SYS_([A-Z0-9_]+)\s+= (\d+)`)

// systemCalls are the numbers of the calls that filters let through; nil, for all, where nobody can tell what the sets
// of systemd are.
func systemCalls(filters []string) ([]int, error) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		return nil, nil
	}
	table, err := callTable()
	if err != nil {
		return nil, err
	}
	allowed := map[string]bool{}
	for name := range callsIn("@default") {
		allowed[name] = true
	}
	for _, filter := range filters {
		list, refuse := strings.CutPrefix(filter, "~")
		for _, word := range strings.Fields(list) {
			for name := range callsIn(word) {
				allowed[name] = !refuse
			}
		}
	}
	var numbers []int
	for name, yes := range allowed {
		if n, ok := table[name]; ok && yes {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) < 100 {
		return nil, fmt.Errorf("%q lets only %d calls through", filters, len(numbers))
	}
	return numbers, nil
}

// callTable has the number of each system call of this machine.
var callTable = sync.OnceValues(func() (map[string]int, error) {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "golang.org/x/sys/unix").Output()
	if err != nil {
		return nil, fmt.Errorf("finding golang.org/x/sys: %w", err)
	}
	arch, err := exec.Command("go", "env", "GOARCH").Output()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "zsysnum_linux_"+strings.TrimSpace(string(arch))+".go"))
	if err != nil {
		return nil, err
	}
	table := map[string]int{}
	for _, found := range callNumber.FindAllStringSubmatch(string(text), -1) {
		table[strings.ToLower(found[1])], _ = strconv.Atoi(found[2])
	}
	return table, nil
})

var setOfCalls sync.Map // name of a set -> map[string]bool

// callsIn are the calls of a set of systemd, and of those in it.
func callsIn(name string) map[string]bool {
	if !strings.HasPrefix(name, "@") {
		return map[string]bool{name: true}
	}
	if known, ok := setOfCalls.Load(name); ok {
		return known.(map[string]bool)
	}
	calls := map[string]bool{}
	out, _ := exec.Command("systemd-analyze", "syscall-filter", "--no-pager", name).Output()
	for line := range strings.SplitSeq(string(out), "\n") {
		word := strings.TrimSpace(line)
		if !strings.HasPrefix(line, " ") || word == "" || word[0] == '#' {
			continue
		}
		for call := range callsIn(word) {
			calls[call] = true
		}
	}
	setOfCalls.Store(name, calls)
	return calls
}
