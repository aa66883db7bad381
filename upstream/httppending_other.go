//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package upstream

import "errors"

const canPeek = false

func peek(uintptr) bool { return false }

func readNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
