//go:build !unix

package listen

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

const maxUnixPath = 107

var errNotHere = errors.New("not possible on this system")

func (s *Socket) hide() {
	if s.target.kind == kindUnix {
		s.removeFile()
	}
}

func acceptNow(ln listener) (net.Conn, error) {
	ln.SetDeadline(time.Now().Add(minLinger))
	return ln.Accept()
}

func presetMode(uintptr, fs.FileMode) error               { return nil }
func setReusePort(uintptr, bool) error                    { return errNotHere }
func inode(uintptr) uint64                                { return 0 }
func dupListener(uintptr) (*os.File, error)               { return nil, errNotHere }
func dupPacket(uintptr) (*os.File, error)                 { return nil, errNotHere }
func hasDualStack() bool                                  { return true }
func handshakes(*Socket) (int, error)                     { return 0, nil }
func foreignHolder(*target, map[uint64]bool, bool) string { return "" }

// wsaeaddrinuse is Windows' error number.
const wsaeaddrinuse = syscall.Errno(10048)

func isInUse(err error) bool { return errors.Is(err, wsaeaddrinuse) }

// handshakeList has no use here.
type handshakeList struct{}
