//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package upstream

const canPeek = false

func peek(uintptr) bool { return false }
