//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package fsx

import "os"

// TryLock always succeeds on systems without flock: there the stores rely on
// what else they have (bbolt's own lock, the times in lock files).
func TryLock(*os.File) (bool, error) { return true, nil }

// Unlock does nothing.
func Unlock(*os.File) {}
