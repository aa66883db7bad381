package packaging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// insideName is the variable of a test process that has namespaces of its own, and is root in them.
const insideName = "SLUICE_PACKAGING_INSIDE"

// inside runs the test again in a process with a network, processes, and a view of the files of its own, and reports
// whether this is that process. Where the system makes no namespaces the test is skipped.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideName) != "" {
		loopback(t)
		allowed(t, "keeping mounts to ourselves", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		allowed(t, "showing our own processes", unix.Mount("proc", "/proc", "proc", 0, ""))
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program(t)
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasSuffix(strings.ToLower(name), "_proxy") { // of the real network
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, insideName+"=yes", builtName+"="+built.dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	runtime.LockOSThread() // the thread's end would be taken for ours
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	err = cmd.Run()
	var ended *exec.ExitError
	switch {
	case err == nil && strings.Contains(out.String(), "--- SKIP: "+t.Name()):
		t.Skip(out.String())
	case err == nil:
		if testing.Verbose() {
			t.Log(out.String())
		}
	case errors.As(err, &ended):
		t.Fatalf("%v\n%s", err, out.String())
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSPC):
		t.Skip("no namespaces are to be had:", err)
	default:
		t.Fatal(err)
	}
	return false
}

// many reports whether there is more than one user here.
func many() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Contains(string(text), "4294967295")
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

// emptyRoot makes the root of a machine on which nothing was installed but what every Debian has, which it takes from this
// one: /usr is a copy that is made when it is written to.
func emptyRoot(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	allowed(t, "mounting a file system in memory", unix.Mount("tmpfs", base, "tmpfs", 0, "mode=0755"))
	t.Cleanup(func() { _ = unix.Unmount(base, unix.MNT_DETACH) })
	root := filepath.Join(base, "root")
	for _, dir := range []string{"upper", "work", "root/usr", "root/etc", "root/dev", "root/proc", "root/root", "root/srv", "root/tmp", "root/run/systemd/system",
		"root/var/lib/dpkg/info", "root/var/lib/dpkg/updates", "root/var/lib/dpkg/triggers", "root/var/log", "root/var/cache"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	allowed(t, "a sticky /tmp", os.Chmod(filepath.Join(root, "tmp"), 0o777|fs.ModeSticky))
	err := unix.Mount("overlay", filepath.Join(root, "usr"), "overlay", 0, fmt.Sprintf("lowerdir=/usr,upperdir=%s/upper,workdir=%[1]s/work", base))
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) {
		t.Skip("this system has no overlays: ", err)
	}
	allowed(t, "laying an overlay over /usr", err)
	_ = os.Remove(filepath.Join(root, "usr/sbin/policy-rc.d")) // a policy of this machine only
	for _, name := range []string{"bin", "sbin", "lib", "lib32", "lib64"} {
		switch to, err := os.Readlink("/" + name); {
		case err == nil:
			if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
		case !errors.Is(err, fs.ErrNotExist):
			bind(t, "/"+name, filepath.Join(root, name), true)
		}
	}
	bind(t, "/proc", filepath.Join(root, "proc"), true)
	for _, device := range []string{"null", "zero", "urandom"} {
		bind(t, "/dev/"+device, filepath.Join(root, "dev", device), false)
	}
	for name, text := range map[string]string{
		"passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", "group": "root:x:0:\nnogroup:x:65534:\n",
		"shadow": "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n", "gshadow": "root:*::\nnogroup:*::\n",
		"hosts": "127.0.0.1 localhost\n::1 localhost\n", "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
		"login.defs": "SYS_UID_MIN 100\nSYS_UID_MAX 999\nSYS_GID_MIN 100\nSYS_GID_MAX 999\n",
	} {
		write(t, filepath.Join(root, "etc", name), text, 0o644)
	}
	if text, err := os.ReadFile("/etc/ld.so.cache"); err == nil {
		write(t, filepath.Join(root, "etc", "ld.so.cache"), string(text), 0o644)
	}
	write(t, filepath.Join(root, "var/lib/dpkg/status"), fmt.Sprintf(
		"Package: passwd\nStatus: install ok installed\nMaintainer: x\nArchitecture: %s\nVersion: 1:4\nDescription: x\n\n", runtime.GOARCH), 0o644)
	return root
}

// bind makes what is at one place be at another as well.
func bind(t *testing.T, from, to string, dir bool) {
	t.Helper()
	if dir {
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
	} else {
		write(t, to, "", 0o644)
	}
	allowed(t, "binding "+from, unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""))
}

// path is where programs are looked for in the root.
const path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"

// in is a command in a root, as its superuser.
func in(root string, args ...string) *exec.Cmd {
	cmd := exec.Command("/usr/bin/env", append([]string{"--"}, args...)...)
	cmd.Env = []string{path, "HOME=/root", "LANG=C", "DEBIAN_FRONTEND=noninteractive"}
	cmd.Dir = "/root"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	return cmd
}

// ok runs a command in a root, which must succeed, and returns what it printed.
func ok(t *testing.T, root string, args ...string) string {
	t.Helper()
	out, err := in(root, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// command is a job as a process, which inherits the files.
func (j *job) command(t *testing.T, files ...*os.File) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{jobName + "=" + string(text)}
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	return cmd
}
