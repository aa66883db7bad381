//go:build unix

package idleread

import (
	"io"
	"os"
	"syscall"
)

const canRaw = true

// try reads what is there. It reports false if nothing is, and holds no buffer then.
func (r *Reader) try(fd uintptr) bool {
	p := r.buffers.get()
	for {
		n, err := syscall.Read(int(fd), *p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			r.buffers.put(p)
			return false
		case err != nil:
			r.buffers.put(p)
			r.err = os.NewSyscallError("read", err)
		case n == 0:
			r.buffers.put(p)
			r.err = io.EOF
		default:
			r.lent, r.n = p, n
		}
		return true
	}
}
