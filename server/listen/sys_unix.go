//go:build unix

package listen

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func setReusePort(fd uintptr, on bool) error {
	v := 0
	if on {
		v = 1
	}
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, v)
}

// inode is the identity of a socket in the system's lists, 0 if unknown.
func inode(fd uintptr) uint64 {
	var st unix.Stat_t
	if unix.Fstat(int(fd), &st) != nil {
		return 0
	}
	return uint64(st.Ino)
}

// dupListener duplicates a descriptor after checking that it is a listening
// stream socket.
func dupListener(fd uintptr) (*os.File, error) {
	if err := ofType(fd, unix.SOCK_STREAM, "stream socket, which HTTP/1 and HTTP/2 need"); err != nil {
		return nil, err
	}
	if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on == 0 {
		return nil, fmt.Errorf("descriptor %d is a socket that does not listen", fd)
	}
	return duplicate(fd)
}

// dupPacket duplicates a descriptor after checking that it is a datagram socket.
func dupPacket(fd uintptr) (*os.File, error) {
	if err := ofType(fd, unix.SOCK_DGRAM, "datagram socket, which HTTP/3 needs"); err != nil {
		return nil, err
	}
	return duplicate(fd)
}

// ofType checks the type of a socket.
func ofType(fd uintptr, want int, what string) error {
	typ, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case errors.Is(err, unix.EBADF):
		return fmt.Errorf("the process was not started with descriptor %d", fd)
	case err != nil:
		return fmt.Errorf("descriptor %d is no socket: %w", fd, err)
	case typ != want:
		return fmt.Errorf("descriptor %d is no %s", fd, what)
	}
	return nil
}

func duplicate(fd uintptr) (*os.File, error) {
	n, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicating descriptor %d: %w", fd, err)
	}
	return os.NewFile(uintptr(n), fmt.Sprintf("fd/%d", fd)), nil
}

// hasDualStack reports whether one socket can take IPv4 and IPv6.
func hasDualStack() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) == nil
}
