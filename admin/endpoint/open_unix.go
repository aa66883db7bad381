//go:build unix

package endpoint

import (
	"errors"
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

// share sets whether a socket lets others of this user have its port.
func share(c syscall.RawConn, on bool) error {
	value := 0
	if on {
		value = 1
	}
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, value)
	})
	return errors.Join(err, failed)
}
