//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package certstore

import "os"

// flock always succeeds on systems without it: there the times in lock files, and
// bbolt's own lock, have to do.
func flock(*os.File) (bool, error) { return true, nil }

func unflock(*os.File) {}
