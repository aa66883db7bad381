//go:build unix && !linux

package listen

import (
	"errors"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const maxUnixPath = 103

// hide removes a unix socket's file. A TCP socket cannot be taken out of the
// search for new connections here: those that come between the last accept and
// the close are lost.
func (s *Socket) hide() {
	if s.target.kind == kindUnix {
		s.removeFile()
	}
}

// acceptNow accepts without waiting, whatever the deadline says.
func acceptNow(ln listener) (net.Conn, error) {
	var nfd int
	err := control(ln, func(fd uintptr) (err error) {
		nfd, _, err = unix.Accept(int(fd))
		return err
	})
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(nfd)
	f := os.NewFile(uintptr(nfd), "accepted")
	defer f.Close()
	return net.FileConn(f)
}

// presetMode does nothing here: the file has the umask's mode until it is set,
// and the folder's permissions are what protects it.
func presetMode(uintptr, fs.FileMode) error { return nil }

func isInUse(err error) bool { return errors.Is(err, unix.EADDRINUSE) }

// handshakes cannot be counted here.
func handshakes(*Socket) (int, error) { return 0, nil }

// foreignHolder cannot be told here: the kernel's check alone is left.
func foreignHolder(*target, map[uint64]bool, bool) string { return "" }

// handshakeList has no use here.
type handshakeList struct{}
