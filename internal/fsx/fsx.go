// Package fsx holds what stores need of the operating system: advisory
// file locks, and directories whose entries are on disk.
package fsx

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// SyncDir makes the entries of a directory durable: a file created, renamed
// or removed in it before stays so after a power cut. Systems that can't sync
// a directory are not an error.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// MkdirAll creates dir and its parents with mode 0700 and makes those it
// creates durable. A directory that exists is left as it is.
func MkdirAll(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &os.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil
		}
		return err
	}
	return SyncDir(parent)
}
