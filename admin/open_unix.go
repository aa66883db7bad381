//go:build unix

package admin

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

func duplicate(fd uintptr) (uintptr, error) {
	n, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	return uintptr(n), err
}

// withMode gives a socket without a name the mode that its file will have. Not
// all systems can do that; the mode is set again on the file.
func withMode(c syscall.RawConn, mode fs.FileMode) error {
	return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), uint32(mode)) })
}
