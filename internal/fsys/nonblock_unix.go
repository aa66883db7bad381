//go:build unix

package fsys

import "syscall"

const nonblock = syscall.O_NONBLOCK
