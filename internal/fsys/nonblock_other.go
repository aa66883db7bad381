//go:build !unix

package fsys

const nonblock = 0
