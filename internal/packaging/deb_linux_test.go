package packaging

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

// debianPackage makes the package of the program for a version.
func debianPackage(t *testing.T, described string) string {
	t.Helper()
	nfpm, err := filepath.Abs(top + "/.deps/bin/nfpm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(nfpm); err != nil {
		absent(t, "nfpm", true)
	}
	cmd := exec.Command("sh", "deb.sh", program(t), described, t.TempDir())
	cmd.Env = append(os.Environ(), "NFPM="+nfpm, epoch)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("making the package: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// machine is a root with a service manager, as an operator has it.
type machine struct {
	*manager
	client *http.Client
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	root := emptyRoot(t)
	if _, err := os.Stat(filepath.Join(root, "usr/bin/dpkg")); err != nil {
		absent(t, "dpkg", false)
	}
	if !many() {
		t.Skip("a package makes a user, and there is no other user in this namespace; as root the test runs")
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return &machine{newManager(t, root), client}
}

// give puts a file into the home of root.
func (m *machine) give(file string) string {
	m.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		m.t.Fatal(err)
	}
	write(m.t, filepath.Join(m.root, "root", filepath.Base(file)), string(text), 0o644)
	return "/root/" + filepath.Base(file)
}

// run runs a part of the story. What follows a part that failed would fail as well.
func (m *machine) run(name string, part func(t *testing.T)) {
	whole := m.t
	if whole.Failed() {
		return
	}
	whole.Run(name, func(t *testing.T) {
		m.t = t
		part(t)
	})
	m.t = whole
}

func (m *machine) file(name string) string { return filepath.Join(m.root, name) }

// get is the body of an answer.
func (m *machine) get(url string) (string, error) {
	res, err := m.client.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

func (m *machine) says(url, want string) {
	m.t.Helper()
	if got, err := m.get(url); err != nil || got != want {
		m.t.Fatalf("%s: %q %v, want %q", url, got, err, want)
	}
}

const welcome = "sluice is running. Its configuration is /etc/sluice/Caddyfile."

// The package is installed on a machine that has never seen it, and does there what a package has to do.
func TestPackage(t *testing.T) {
	if !inside(t) {
		return
	}
	m := newMachine(t)
	before := filesOf(t, m.root)
	pkg := m.give(debianPackage(t, version))
	ok(t, m.root, "dpkg", "-i", pkg)
	if got := m.commands(); !slices.Contains(got, "enable sluice.service") || !slices.Contains(got, "start sluice.service") {
		t.Fatalf("it asked for %q", got)
	}
	m.run("first start", func(t *testing.T) { firstStart(t, m) })
	m.run("reload", func(t *testing.T) { reloads(t, m) })
	m.run("logs", func(t *testing.T) { rotates(t, m) })
	m.run("newer version", func(t *testing.T) { newer(t, m) })
	m.run("sockets", func(t *testing.T) { activation(t, m) })
	m.run("configured by the API", func(t *testing.T) { byAPI(t, m) })
	m.run("remove and purge", func(t *testing.T) { removes(t, m, before) })
}

func firstStart(t *testing.T, m *machine) {
	m.says("http://localhost/", welcome)
	if text := ok(t, m.root, "sluice", "version"); strings.TrimSpace(text) != version {
		t.Errorf("version %q", text)
	}
	user, err := userID(m.root, "sluice")
	if err != nil || user < 100 || user > 999 {
		t.Fatalf("user %d %v", user, err)
	}
	for _, dir := range []string{"var/lib/sluice", "var/log/sluice"} {
		info, err := os.Stat(m.file(dir))
		if err != nil || info.Mode().Perm() != 0o750 || owner(info) != user {
			t.Errorf("%s: %v %v, want 0750 of %d", dir, info, err, user)
		}
	}
	if _, err := os.Stat(m.file("var/lib/sluice/sluice.db")); err != nil {
		t.Error(err)
	}
	status := read(t, fmt.Sprintf("/proc/%d/status", m.service("sluice.service").main()))
	for _, want := range []string{fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", user), "CapEff:\t0000000000000400\n", "CapBnd:\t0000000000000400\n", "NoNewPrivs:\t1\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("the process has not %q in\n%s", want, status)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err == nil && !strings.Contains(status, "Seccomp:\t2\n") {
		t.Errorf("no filter for system calls:\n%s", status)
	}
}

func reloads(t *testing.T, m *machine) {
	s := m.service("sluice.service")
	mark := s.mark()
	write(t, m.file("etc/sluice/Caddyfile"), ":80 {\n\trespond \"of mine\"\n}\n", 0o644)
	ok(t, m.root, "systemctl", "reload", "sluice")
	if got := s.since(mark); !slices.Equal(got, []string{"RELOADING=1", "READY=1"}) {
		t.Errorf("it said %q", got)
	}
	m.says("http://localhost/", "of mine")
	write(t, m.file("etc/sluice/Caddyfile"), ":80 {\n\trespnd \"of mine\"\n}\n", 0o644)
	if out, err := in(m.root, "systemctl", "reload", "sluice").CombinedOutput(); err == nil {
		t.Errorf("a Caddyfile with a mistake is loaded: %s", out)
	}
	m.says("http://localhost/", "of mine")
	write(t, m.file("etc/sluice/Caddyfile"), ":80 {\n\trespond \"of mine\"\n}\n", 0o644)
	pid := s.main()
	ok(t, m.root, "systemctl", "restart", "sluice")
	if now := m.service("sluice.service"); now == nil || now.main() == pid {
		t.Error("it was not started anew")
	}
	m.says("http://localhost/", "of mine")
}

// rotates: a log file is rolled over by sluice itself, by another who renames it, and all that with the rights of the unit.
func rotates(t *testing.T, m *machine) {
	write(t, m.file("etc/sluice/Caddyfile"), `:80 {
	respond "logged"
	log own {
		output file /var/log/sluice/own.log {
			roll_size 1MiB
		}
	}
}
:8080 {
	respond "logged"
	log others {
		output file /var/log/sluice/others.log {
			roll_disabled
		}
	}
}
`, 0o644)
	ok(t, m.root, "systemctl", "reload", "sluice")
	long := "http://localhost/" + strings.Repeat("long", 1000)
	poll(t, "a log to be rolled over", func() error {
		m.says(long, "logged")
		found, _ := filepath.Glob(m.file("var/log/sluice/own-*-size.log.gz"))
		if len(found) == 0 {
			out, _ := exec.Command("ls", "-l", m.file("var/log/sluice")).CombinedOutput()
			return fmt.Errorf("it is not, there is\n%s", out)
		}
		return nil
	})
	// The new one is written to, and nothing went wrong.
	m.says(long, "logged")
	poll(t, "an entry in the new log", func() error {
		info, err := os.Stat(m.file("var/log/sluice/own.log"))
		if err == nil && info.Size() == 0 {
			err = errors.New("it is empty")
		}
		return err
	})
	if text := read(t, m.journal.Name()); strings.Contains(text, "rolling over") || strings.Contains(text, "timberjack") {
		t.Errorf("%s", text)
	}
	m.says("http://localhost:8080/", "logged")
	if err := os.Rename(m.file("var/log/sluice/others.log"), m.file("var/log/sluice/others.log.1")); err != nil {
		t.Fatal(err)
	}
	poll(t, "a new log", func() error {
		m.says("http://localhost:8080/", "logged")
		info, err := os.Stat(m.file("var/log/sluice/others.log"))
		if err == nil && info.Size() == 0 {
			err = errors.New("it is empty")
		}
		return err
	})
}

// newer: a newer version leaves the configuration as it was changed, and takes over from the running one so that no client
// notices.
func newer(t *testing.T, m *machine) {
	s := m.service("sluice.service")
	old, mark := s.main(), s.mark()
	pkg := m.give(debianPackage(t, "v1.2.4"))
	m.commands()
	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		fresh := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
		for {
			for _, client := range []*http.Client{m.client, fresh} {
				res, err := client.Get("http://localhost:8080/")
				if err != nil {
					failed <- err
					return
				}
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if err != nil {
					failed <- err
					return
				}
			}
			select {
			case <-stop:
				failed <- nil
				return
			default:
			}
		}
	}()
	ok(t, m.root, "dpkg", "-i", pkg)
	close(stop)
	if err := <-failed; err != nil {
		t.Error("a request while the program was replaced: ", err)
	}
	got := m.commands()
	for _, not := range []string{"enable sluice.service", "restart sluice.service", "start sluice.service"} {
		if slices.Contains(got, not) {
			t.Errorf("it asked for %q", got)
		}
	}
	if m.service("sluice.service") != s || s.main() == old {
		t.Errorf("the old program goes on; it said %q", s.since(mark))
	}
	m.says("http://localhost/", "logged")
	// What does not answer is started anew.
	write(t, m.file("etc/sluice/environment"), "SLUICE_ADMIN=\"localhost:1\"\n", 0o644)
	ok(t, m.root, "dpkg", "-i", pkg)
	if got := m.commands(); !slices.Contains(got, "restart sluice.service") || m.service("sluice.service") == s {
		t.Errorf("it asked for %q", got)
	}
	ok(t, m.root, "rm", "/etc/sluice/environment")
	// Who has stopped it for good finds it stopped after the next one.
	ok(t, m.root, "systemctl", "disable", "--now", "sluice")
	ok(t, m.root, "dpkg", "-i", pkg)
	if m.service("sluice.service") != nil {
		t.Error("it was started although it is disabled")
	}
	// And a policy of the machine is obeyed.
	ok(t, m.root, "systemctl", "enable", "sluice")
	write(t, m.file("usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n", 0o755)
	ok(t, m.root, "dpkg", "-i", pkg)
	if m.service("sluice.service") != nil {
		t.Error("it was started although the policy forbids it")
	}
	ok(t, m.root, "rm", "/usr/sbin/policy-rc.d")
}

// activation: with the sockets of systemd nobody is refused while sluice is not there.
func activation(t *testing.T, m *machine) {
	write(t, m.file("etc/sluice/Caddyfile"), read(t, m.file("usr/share/doc/sluice/examples/socket.Caddyfile")), 0o644)
	ok(t, m.root, "systemctl", "enable", "--now", "sluice.socket")
	ok(t, m.root, "systemctl", "start", "sluice")
	const want = "sluice is running, on sockets of systemd."
	poll(t, "the certificate", func() error {
		_, err := m.get("https://localhost/")
		return err
	})
	m.says("https://localhost/", want)
	m.says("http://localhost/", want) // after a redirect
	res, err := m.client.Get("https://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Header.Get("Alt-Svc"); !strings.HasPrefix(got, `h3=":443"`) {
		t.Errorf("Alt-Svc %q", got)
	}
	third := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer third.Close()
	res, err = third.RoundTrip(must(http.NewRequest("GET", "https://localhost/", nil)))
	if err != nil {
		t.Fatal("HTTP/3: ", err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || string(text) != want || res.ProtoMajor != 3 {
		t.Errorf("%s %q %v", res.Proto, text, err)
	}
	ok(t, m.root, "systemctl", "stop", "sluice")
	m.client.CloseIdleConnections()
	answer := make(chan string, 1)
	go func() {
		res, err := m.client.Transport.RoundTrip(must(http.NewRequest("GET", "http://localhost/", nil)))
		if err == nil {
			_ = res.Body.Close()
			answer <- res.Status
			return
		}
		answer <- err.Error()
	}()
	ok(t, m.root, "systemctl", "start", "sluice")
	if got := <-answer; got != "308 Permanent Redirect" {
		t.Errorf("a request that came before: %q", got)
	}
	ok(t, m.root, "systemctl", "stop", "sluice")
	ok(t, m.root, "systemctl", "disable", "--now", "sluice.socket")
	m.client.CloseIdleConnections()
}

// byAPI: the other service has no file. What it was told it knows after a restart.
func byAPI(t *testing.T, m *machine) {
	write(t, m.file("etc/sluice/Caddyfile"), read(t, "Caddyfile"), 0o644)
	ok(t, m.root, "systemctl", "enable", "--now", "sluice")
	m.says("http://localhost/", welcome)
	ok(t, m.root, "systemctl", "disable", "sluice")
	ok(t, m.root, "systemctl", "enable", "--now", "sluice-api") // stops the other
	if m.service("sluice.service") != nil || m.service("sluice-api.service") == nil {
		t.Fatal("not one in the place of the other")
	}
	m.says("http://localhost/", welcome) // the store is the same
	cmd := in(m.root, "sluice", "api", "PATCH", "/config/apps/http/servers/srv0/routes", "-")
	cmd.Stdin = strings.NewReader(`[{"handle":[{"handler":"static_response","body":"by the API"}]}]`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	m.says("http://localhost/", "by the API")
	ok(t, m.root, "systemctl", "restart", "sluice-api")
	m.says("http://localhost/", "by the API")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func removes(t *testing.T, m *machine, before map[string]bool) {
	ok(t, m.root, "dpkg", "-r", "sluice")
	if m.service("sluice-api.service") != nil {
		t.Error("it goes on without its program")
	}
	if _, err := os.Stat(m.file("etc/sluice/Caddyfile")); err != nil {
		t.Error("the configuration went before a purge:", err)
	}
	if _, err := os.Stat(m.file("var/lib/sluice/sluice.db")); err != nil {
		t.Error("the store went before a purge:", err)
	}
	ok(t, m.root, "dpkg", "-P", "sluice")
	for name := range filesOf(t, m.root) {
		if !before[name] && !slices.ContainsFunc([]string{"etc/", "root/", "run/", "var/lib/dpkg/", "var/log/dpkg.log"}, func(p string) bool { return strings.HasPrefix(name, p) }) ||
			strings.HasPrefix(name, "etc/sluice") || strings.HasPrefix(name, "etc/systemd") && strings.Contains(name, "sluice") {
			t.Errorf("%s was left behind", name)
		}
	}
	if _, err := userID(m.root, "sluice"); err != nil {
		t.Error("the user went, and another may get its number:", err)
	}
}

// filesOf are the files of a root, but those of /usr that are this machine's own.
func filesOf(t *testing.T, root string) map[string]bool {
	t.Helper()
	files := map[string]bool{}
	for _, part := range []string{root, filepath.Join(root, "../upper")} {
		err := filepath.WalkDir(part, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(part, name)
			if part == root && d.IsDir() && slices.Contains([]string{"usr", "proc", "dev"}, rel) {
				return fs.SkipDir
			}
			if part != root {
				rel = "usr/" + rel
			}
			if !d.IsDir() && d.Type()&fs.ModeCharDevice == 0 { // which is how an overlay says that something is gone
				files[rel] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}
