//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package fsx

import (
	"os"
	"syscall"
)

// TryLock takes the exclusive advisory lock of an open file and reports
// whether it got it; false without an error means that someone else has it.
// Closing the file releases it. Two opens of one file exclude each other also
// within a process.
func TryLock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch err {
		case nil:
			return true, nil
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			return false, nil
		default:
			return false, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}

// Unlock releases the lock of an open file. Closing a file isn't enough where
// a mapping of it is left behind.
func Unlock(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
}
