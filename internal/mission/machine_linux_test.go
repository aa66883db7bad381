package mission

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

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

// must ends the test with an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// loopback turns on the only device of a new network.
func loopback(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	device, err := unix.NewIfreq("lo")
	must(t, err)
	device.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	allowed(t, "turning on the loopback device", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, device))
}

// Folders and files of the new root. What is not here is not there.
var (
	taken   = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "nix", "dev", "proc", "sys"} // from the real machine
	folders = []string{"etc/sluice", "run", "srv", "tmp", "tools", "var/www/html", "var/www/maintenance", "var/www/static", home}
	files   = map[string]string{
		"etc/hosts":         "127.0.0.1 localhost\n",
		"etc/resolv.conf":   "nameserver 127.0.0.1\n",
		"etc/nsswitch.conf": "hosts: files dns\n",
	}
)

// home is where the server runs.
const home = "var/lib/sluice"

// enter makes a folder the root of this process and of those that it starts: a machine on which nothing is but programs.
func enter(t *testing.T, root string) {
	t.Helper()
	allowed(t, "keeping mounts to ourselves", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	allowed(t, "mounting a root", unix.Mount("sluice", root, "tmpfs", 0, ""))
	for _, name := range folders {
		must(t, os.MkdirAll(filepath.Join(root, name), 0o755))
	}
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	bind(t, tools, filepath.Join(root, "tools"))
	for _, name := range taken {
		from, to := "/"+name, filepath.Join(root, name)
		info, err := os.Lstat(from)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			t.Fatal(err)
		case info.Mode()&fs.ModeSymlink != 0: // to a folder below usr
			target, err := os.Readlink(from)
			must(t, err)
			must(t, os.Symlink(target, to))
		default:
			must(t, os.Mkdir(to, 0o755))
			bind(t, from, to)
		}
	}
	allowed(t, "changing the root", unix.Chroot(root))
	must(t, os.Chdir("/"))
}

// bind shows a folder at another place as well.
func bind(t *testing.T, from, to string) {
	t.Helper()
	allowed(t, "mounting "+from, unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""))
}
