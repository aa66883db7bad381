//go:build !unix

package service

import "os/exec"

// detach has nothing to do here.
func detach(*exec.Cmd) {}
