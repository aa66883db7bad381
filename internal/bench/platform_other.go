//go:build !linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"time"
)

var errPlatform = errors.New("CPU time and memory of other processes can be read on Linux only")

func ownGroup(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func cpuTime(int) (time.Duration, error) { return 0, errPlatform }

func residentMB(int) (float64, error) { return 0, errPlatform }

func residentTotal(int) (float64, error) { return 0, errPlatform }

func syncData(f *os.File) error { return f.Sync() }

// openFiles is how many files a process may have open nearly everywhere.
func openFiles() int { return 1024 }
