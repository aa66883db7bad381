package packaging

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// image is what the Dockerfile makes, as a root.
type image struct {
	t    *testing.T
	root string
	env  []string
	job  job
	main *exec.Cmd
	log  *os.File
}

// buildImage does what the Dockerfile says, with what this machine has in the places of the build stage.
func buildImage(t *testing.T) *image {
	t.Helper()
	list := dockerfile(t)
	stage := t.TempDir()
	in := func(path string) string { return filepath.Join(stage, path) }
	var steps []string
	for _, step := range list {
		if step.name == "RUN" {
			steps = append(steps, step.rest)
		}
	}
	const first = "GOOS=${TARGETOS} GOARCH=${TARGETARCH} make dist VERSION=${VERSION} BIN=/out/usr/bin/sluice"
	if len(steps) != 2 || steps[0] != first {
		t.Fatalf("the steps are %q; the test knows %q", steps, first)
	}
	text, err := os.ReadFile(program(t)) // which is what make dist made
	if err != nil {
		t.Fatal(err)
	}
	write(t, in("/out/usr/bin/sluice"), string(text), 0o755)
	cmd := exec.Command("sh", "-eu", "-c", strings.NewReplacer("/out", in("/out"), "/owned", in("/owned")).Replace(steps[1]))
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", steps[1], err, out)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	allowed(t, "mounting a file system in memory", unix.Mount("tmpfs", base, "tmpfs", 0, "mode=0755"))
	t.Cleanup(func() { _ = unix.Unmount(base, unix.MNT_DETACH) })
	i := &image{t: t, root: base, log: output(t)}
	for _, step := range lastStage(list) {
		words := step.words()
		switch step.name {
		case "COPY":
			from := words[0]
			switch {
			case strings.HasPrefix(from, "/usr/local/go/"):
				from = filepath.Join(strings.TrimSpace(string(goroot)), strings.TrimPrefix(from, "/usr/local/go"))
			case from != "/etc/ssl/certs/ca-certificates.crt":
				from = in(from) + "/"
			}
			i.copy(from, words[1], step.flags["--chown"])
		case "ENV":
			i.env = append(i.env, words...)
		}
	}
	args := last(t, list, "CMD").words()
	args[0] = i.program(args[0])
	i.job = job{Root: i.root, Dir: last(t, list, "WORKDIR").rest, Args: args, Env: i.env, Umask: 0o022, NoNew: true}
	if many() {
		user, _, _ := strings.Cut(last(t, list, "USER").rest, ":")
		if i.job.User, err = strconv.Atoi(user); err != nil || i.job.User == 0 {
			t.Fatalf("the user is %q", user)
		}
	}
	// An engine adds these.
	bind(t, "/proc", filepath.Join(i.root, "proc"), true)
	write(t, filepath.Join(i.root, "etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n", 0o644)
	return i
}

// copy is COPY: a file, or what is in a folder.
func (i *image) copy(from, to, owner string) {
	i.t.Helper()
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(from, "/etc/") {
		i.t.Logf("this machine has no %s", from)
		return
	}
	to = filepath.Join(i.root, to)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		i.t.Fatal(err)
	}
	args := []string{"-rT"}
	if out, err := exec.Command("cp", append(args, from, to)...).CombinedOutput(); err != nil {
		i.t.Fatalf("%v %s", err, out)
	}
	if owner == "" || !many() {
		return
	}
	// COPY changes the owner of what it copies.
	err := filepath.WalkDir(from, func(name string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(from, name)
		if err != nil || rel == "." {
			return err
		}
		out, err := exec.Command("chown", owner, filepath.Join(to, rel)).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w %s", err, out)
		}
		return err
	})
	if err != nil {
		i.t.Fatal(err)
	}
}

// program finds a program as a container engine does.
func (i *image) program(name string) string {
	i.t.Helper()
	for _, v := range i.env {
		if dirs, ok := strings.CutPrefix(v, "PATH="); ok {
			for dir := range strings.SplitSeq(dirs, ":") {
				if info, err := os.Stat(filepath.Join(i.root, dir, name)); err == nil && info.Mode()&0o111 != 0 {
					return filepath.Join(dir, name)
				}
			}
		}
	}
	i.t.Fatalf("there is no %s in the image", name)
	return ""
}

// exec runs a command in the running container.
func (i *image) exec(args ...string) (string, error) {
	j := i.job
	j.Args = append([]string{i.program(args[0])}, args[1:]...)
	out, err := j.command(i.t).CombinedOutput()
	return string(out), err
}

// healthy polls the health check.
func (i *image) healthy() {
	i.t.Helper()
	check := last(i.t, dockerfile(i.t), "HEALTHCHECK")
	text, isCommand := strings.CutPrefix(check.rest, "CMD ")
	var args []string
	if err := json.Unmarshal([]byte(text), &args); err != nil || !isCommand {
		i.t.Fatalf("HEALTHCHECK %s: %v", check.rest, err)
	}
	poll(i.t, "the container to be healthy", func() error {
		out, err := i.exec(args...)
		if err != nil {
			return fmt.Errorf("%w: %s\n%s", err, out, read(i.t, i.log.Name()))
		}
		return nil
	})
}

// The image runs as the Dockerfile says: with nothing else in it, as nobody, read only, and stops when it is told to.
func TestImage(t *testing.T) {
	if !inside(t) {
		return
	}
	i := buildImage(t)
	// As Docker does it.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0); err != nil {
		t.Skip("ports below 1024 are for root here: ", err)
	}
	for _, name := range []string{"data", "config", "run/sluice", "var/log/sluice"} {
		if info, err := os.Stat(filepath.Join(i.root, name)); err != nil || owner(info) != i.job.User {
			t.Errorf("/%s is not of user %d: %v", name, i.job.User, err)
		}
	}
	if _, err := i.exec("sluice", "api", "GET", "/healthz"); err == nil {
		t.Error("it is healthy before it runs")
	}
	i.job.ReadOnly, i.job.Writable = []string{"/"}, []string{"/data", "/config"}
	i.main = i.job.command(t)
	i.main.Stdout, i.main.Stderr = i.log, i.log
	if err := i.main.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.main.Process.Kill() })
	i.healthy()
	m := &machine{manager: &manager{t: t, root: i.root}, client: http.DefaultClient}
	m.says("http://localhost/", welcome)
	if out, err := i.exec("sluice", "version"); err != nil || strings.TrimSpace(out) != version {
		t.Errorf("version %q %v", out, err)
	}
	for _, command := range dockerCommands(t) {
		if out, err := i.exec(command...); err != nil {
			t.Errorf("docker exec sluice %s: %v %s", strings.Join(command, " "), err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(i.root, "data/sluice/sluice.db")); err != nil {
		t.Error("the store is not in the volume:", err)
	}
	if err := i.main.Process.Signal(unix.SignalNum(last(t, dockerfile(t), "STOPSIGNAL").rest)); err != nil {
		t.Fatal(err)
	}
	if err := i.main.Wait(); err != nil {
		t.Errorf("it stopped with %v\n%s", err, read(t, i.log.Name()))
	}
	if state := i.main.ProcessState.Sys().(syscall.WaitStatus); state.Signaled() {
		t.Error("it was killed")
	}
}

// dockerCommands are those that docs/operate.md runs in a container.
func dockerCommands(t *testing.T) (list [][]string) {
	t.Helper()
	for line := range strings.SplitSeq(read(t, filepath.Join(top, "docs/operate.md")), "\n") {
		if rest, ok := strings.CutPrefix(line, "docker exec sluice "); ok {
			if strings.ContainsAny(rest, `"'|<>$`) {
				t.Fatalf("the test cannot run %s", line)
			}
			list = append(list, strings.Fields(rest))
		}
	}
	if len(list) < 2 || !slices.ContainsFunc(list, func(c []string) bool { return slices.Contains(c, "reload") }) {
		t.Fatalf("only %q", list)
	}
	return list
}
