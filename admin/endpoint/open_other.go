//go:build !unix

package endpoint

import (
	"errors"
	"io/fs"
	"syscall"
)

func duplicate(uintptr) (uintptr, error) {
	return 0, errors.New("inherited descriptors are not available on this system")
}

func withMode(syscall.RawConn, fs.FileMode) error { return nil }

func share(syscall.RawConn, bool) error {
	return errors.New("addresses cannot be shared on this system")
}
