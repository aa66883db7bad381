// Package machine is what bench asks the operating system about processes.
package machine

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// OwnGroup puts a child in a group of its own. It is killed even when this
// program has no chance to do so.
func OwnGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// KillGroup kills a child and its descendants.
func KillGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// CPUTime is the CPU time, user and system, that a process and its living
// descendants have used, in steps of 10 ms.
func CPUTime(pid int) (time.Duration, error) {
	total, err := ownCPU(pid)
	if err != nil {
		return 0, err
	}
	for _, kid := range descendants(pid) {
		if d, err := ownCPU(kid); err == nil {
			total += d
		}
	}
	return total, nil
}

// descendants are the living children of a process, theirs, and so on.
func descendants(pid int) []int {
	var out []int
	kids, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for kid := range strings.FieldsSeq(string(kids)) {
		if n, err := strconv.Atoi(kid); err == nil {
			out = append(append(out, n), descendants(n)...)
		}
	}
	return out
}

// tick is the unit of times in /proc: 1/100 s on every system Go runs on.
const tick = 10 * time.Millisecond

func ownCPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name of the program stands in brackets and may hold anything; fields
	// 14 and 15 of the line are user and system time (proc(5)).
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is too short: %q", pid, text)
	}
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("/proc/%d/stat cannot be read: %q", pid, text)
	}
	return time.Duration(user+system) * tick, nil
}

// ResidentMB is the resident memory of a process in MB.
func ResidentMB(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
}

// ResidentTotal is the resident memory of a process and its living descendants
// in MB.
func ResidentTotal(pid int) (float64, error) {
	total, err := ResidentMB(pid)
	if err != nil {
		return 0, err
	}
	for _, kid := range descendants(pid) {
		if mb, err := ResidentMB(kid); err == nil {
			total += mb
		}
	}
	return total, nil
}

// SyncData is fdatasync(2).
func SyncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// OpenFiles raises the number of files that this process and its children may
// have open as far as it may, and returns it.
func OpenFiles() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	l.Cur = l.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) // the runtime asked for it before and keeps what it had
	return int(min(l.Max, 1<<20))
}
