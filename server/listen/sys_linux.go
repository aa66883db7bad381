package listen

import (
	"errors"
	"io/fs"
	"math"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const maxUnixPath = 107

// hide takes the socket out of the search for new connections. Handshakes that
// have begun and queued connections are not affected.
func (s *Socket) hide() {
	switch s.target.kind {
	case kindTCP:
		// Best effort: before Linux 5.7 it fails without CAP_NET_RAW, and the
		// socket keeps taking connections until it is closed.
		control(s.ln, func(fd uintptr) error {
			return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, math.MaxInt32)
		})
	case kindUnix:
		s.removeFile()
		control(s.ln, func(fd uintptr) error { return unix.Shutdown(int(fd), unix.SHUT_RD) })
	}
}

// acceptNow accepts without waiting, whatever the deadline says.
func acceptNow(ln listener) (net.Conn, error) {
	var nfd int
	err := control(ln, func(fd uintptr) (err error) {
		nfd, _, err = unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, err
	}
	return fileConn(nfd)
}

// presetMode makes a bind create the file with no more than mode: Linux takes
// the bits of the socket, less the umask.
func presetMode(fd uintptr, mode fs.FileMode) error {
	return unix.Fchmod(int(fd), uint32(mode.Perm()))
}

func isInUse(err error) bool { return errors.Is(err, unix.EADDRINUSE) }

func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "accepted")
	defer f.Close()
	return net.FileConn(f)
}
