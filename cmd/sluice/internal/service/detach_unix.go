//go:build unix

package service

import (
	"os/exec"
	"syscall"
)

// detach keeps signals of the terminal, such as Ctrl-C, from the child.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
