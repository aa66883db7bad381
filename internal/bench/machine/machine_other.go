//go:build !linux

package machine

import (
	"errors"
	"os"
	"os/exec"
	"time"
)

var errPlatform = errors.New("CPU time and memory of other processes can be read on Linux only")

// OwnGroup does nothing here.
func OwnGroup(*exec.Cmd) {}

// KillGroup kills the child.
func KillGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

// CPUTime is an error here.
func CPUTime(int) (time.Duration, error) { return 0, errPlatform }

// ResidentMB is an error here.
func ResidentMB(int) (float64, error) { return 0, errPlatform }

// ResidentTotal is an error here.
func ResidentTotal(int) (float64, error) { return 0, errPlatform }

// SyncData makes what was written durable.
func SyncData(f *os.File) error { return f.Sync() }

// OpenFiles is how many files a process may have open nearly everywhere.
func OpenFiles() int { return 1024 }
